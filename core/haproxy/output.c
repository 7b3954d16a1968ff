/* Reads from the last position on; a buffer joins the bytes to lines. The space of output that was read is freed by
 * punching a hole at the beginning of the file, so offsets stay the same. Truncating the file would not work: with its
 * first line of log, HAProxy clears O_APPEND on its standard output (it sets O_NONBLOCK and nothing else). It would
 * continue at its former offset, after zeros that would have to be read again each time.
 */
#include "haproxy/output.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"

#define KEPT_BYTES (1 << 20)
#define LINE_BYTES 4096
#define SINCE_BYTES 65536

int output_open(struct output *o, const char *path, struct err *err)
{
    memset(o, 0, sizeof(*o));
    o->fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (o->fd < 0)
        return err_set_sys(err, errno, "open %s", path);
    o->read = o->start = lseek(o->fd, 0, SEEK_END);
    return 0;
}

/* On a file system without holes the file is truncated, and a writer that appends starts at 0 again (output_follow
 * notices this). */
static void space_return(struct output *o)
{
    int64_t end = o->read - SINCE_BYTES;

    if (o->read - o->dropped <= KEPT_BYTES)
        return;
    if (fallocate(o->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, end) == 0 || ftruncate(o->fd, 0) == 0)
        o->dropped = o->read;
}

void output_done(struct output *o)
{
    close_fd(&o->fd);
    o->fd = -1;
    buf_done(&o->line);
}

void output_follow(struct output *o, void (*line)(void *ctx, const char *text), void *ctx)
{
    char chunk[LINE_BYTES];

    if (lseek(o->fd, 0, SEEK_END) < o->read) /* the file was truncated */
        o->read = o->start = o->dropped = 0;
    for (ssize_t n; (n = pread(o->fd, chunk, sizeof(chunk), o->read)) > 0;) {
        o->read += n;
        for (const char *at = chunk, *end = chunk + n; at < end;) {
            const char *newline = memchr(at, '\n', (size_t)(end - at));
            size_t length = (size_t)((newline ? newline : end) - at), room = LINE_BYTES - o->line.length;
            buf_add(&o->line, at, length < room ? length : room);
            if (newline && line && o->line.length)
                line(ctx, buf_str(&o->line));
            if (newline)
                buf_clear(&o->line);
            at += length + (newline != NULL);
        }
    }
    space_return(o);
}

void output_mark(struct output *o)
{
    o->start = o->read;
}

char *output_since_mark(const struct output *o)
{
    int64_t end = lseek(o->fd, 0, SEEK_END), from = end - o->start > SINCE_BYTES ? end - SINCE_BYTES : o->start;
    char *text = xcalloc(1, SINCE_BYTES + 1);
    if (end > from && pread(o->fd, text, SINCE_BYTES, from) < 0)
        text[0] = '\0';
    return text;
}
