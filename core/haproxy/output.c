/* How it works: reads from where it has read so far; lines are put together in a buffer. */
#include "haproxy/output.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"

#define MAX_BYTES (1 << 20)
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

void output_done(struct output *o)
{
    close_fd(&o->fd);
    o->fd = -1;
    buf_done(&o->line);
}

void output_follow(struct output *o, void (*line)(void *ctx, const char *text), void *ctx)
{
    char chunk[LINE_BYTES];
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
    if (o->read > MAX_BYTES && ftruncate(o->fd, 0) == 0)
        o->read = o->start = 0;
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
