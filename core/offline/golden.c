/* A file is written beside its name and then renamed: whoever watches it never sees a half. */
#include "offline/golden.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cleanup.h"

#define GOLDEN_MAX ((size_t)64 << 20)

static char *path_of(const char *beside, const char *name)
{
    const char *slash = strrchr(beside, '/');

    return slash == NULL || *name == '/' ? xstrdup(name) : xasprintf("%.*s/%s", (int)(slash - beside), beside, name);
}

static int read_all(const char *path, struct buf *out, struct err *err)
{
    CLEANUP(close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
    char chunk[16384];
    ssize_t n;

    if (fd < 0)
        return err_set_sys(err, errno, "%s", path);
    while ((n = read(fd, chunk, sizeof(chunk))) > 0)
        if (buf_try_add(out, chunk, (size_t)n, err) < 0)
            return err_wrap(err, "%s", path);
    return n < 0 ? err_set_sys(err, errno, "%s", path) : 0;
}

int golden_read(const char *beside, const char *name, struct buf *ret_text, struct err *err)
{
    CLEANUP(free_ptr) char *path = path_of(beside, name);

    buf_init(ret_text, GOLDEN_MAX);
    if (access(path, F_OK) < 0)
        return err_set(err, ERR_NOTFOUND, "%s is not there; haptic test --update writes it", path);
    return read_all(path, ret_text, err);
}

int golden_write(const char *beside, const char *name, const char *text, size_t length, bool *ret_changed,
                 struct err *err)
{
    CLEANUP(free_ptr) char *path = path_of(beside, name);
    CLEANUP(free_ptr) char *draft = xasprintf("%s.new", path);
    CLEANUP(buf_done) struct buf before = {.max = GOLDEN_MAX};
    struct err ignored;

    *ret_changed = false;
    if (read_all(path, &before, &ignored) == 0 && before.length == length &&
        memcmp(buf_str(&before), text, length) == 0)
        return 0;
    CLEANUP(close_fd) int fd = open(draft, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0)
        return err_set_sys(err, errno, "%s", draft);
    for (size_t at = 0; at < length;) {
        ssize_t n = write(fd, text + at, length - at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set_sys(err, errno, "%s", draft);
        at += (size_t)n;
    }
    if (rename(draft, path) < 0)
        return err_set_sys(err, errno, "%s", path);
    *ret_changed = true;
    return 0;
}
