/* The kernel starts writing the bytes of a file at once, so that fsync() has little to wait for. */
#include "haproxy/pending.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cleanup.h"

static int write_all(int fd, const char *bytes, size_t length)
{
    while (length > 0) {
        ssize_t n = write(fd, bytes, length);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        bytes += n;
        length -= (size_t)n;
    }
    return 0;
}

static char *temporary_name(const struct disk_file *file, const char **ret_name)
{
    const char *slash = strrchr(file->path, '/');
    *ret_name = slash ? slash + 1 : file->path;
    return xasprintf(".%s.tmp", *ret_name);
}

static void pending_done(struct pending *p)
{
    close_fd(&p->fd);
    close_fd(&p->folder);
}

int pending_write(int at, const struct disk_file *file, struct pending *ret_pending, struct err *err)
{
    const char *name;
    CLEANUP(free_ptr) char *temporary = temporary_name(file, &name);
    CLEANUP(free_ptr)
    char *folder = name > file->path ? xmemdup0(file->path, (size_t)(name - file->path - 1)) : xstrdup(".");
    struct pending p = {.file = file, .fd = -1, .folder = disk_folder_open(at, folder, err)};
    if (p.folder < 0)
        return -1;
    p.fd = openat(p.folder, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (p.fd < 0 || write_all(p.fd, file->bytes, file->length) < 0) {
        err_set_sys(err, errno, "write %s", file->path);
        (void)unlinkat(p.folder, temporary, 0);
        pending_done(&p);
        return -1;
    }
    /* Starts the transfer to disk, which goes on while other files are written; pending_place() waits for it. */
    (void)sync_file_range(p.fd, 0, 0, SYNC_FILE_RANGE_WRITE);
    *ret_pending = p;
    return 0;
}

void pending_drop(struct pending *p)
{
    const char *name;
    CLEANUP(free_ptr) char *temporary = temporary_name(p->file, &name);
    (void)unlinkat(p->folder, temporary, 0);
    pending_done(p);
}

int pending_place(struct pending *p, struct err *err)
{
    const char *name;
    CLEANUP(free_ptr) char *temporary = temporary_name(p->file, &name);
    int result = 0;
    if (fsync(p->fd) < 0)
        result = err_set_sys(err, errno, "write %s", p->file->path);
    else if (renameat(p->folder, temporary, p->folder, name) < 0)
        result = err_set_sys(err, errno, "rename to %s", p->file->path);
    if (result < 0)
        pending_drop(p);
    else
        pending_done(p);
    return result;
}

int pending_create(int at, const struct disk_file *file, struct err *err)
{
    CLEANUP(close_fd)
    int fd = openat(at, file->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0 || write_all(fd, file->bytes, file->length) < 0)
        return err_set_sys(err, errno, "write %s", file->path);
    return 0;
}
