/* The directory is opened at once when no part of its path is a link, else part by part. The path of the socket is then
 * a name in /proc/self/fd. */
#include "haproxy/socket_path.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/linkless.h"

static bool is_foreign_link(int at, const char *name)
{
    struct stat st;

    return fstatat(at, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(st.st_mode) && st.st_uid != 0 &&
           st.st_uid != geteuid();
}

static int step(int at, const char *path, const char *part, struct err *err)
{
    int fd = openat(at, part, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

    if (fd < 0 && (errno == ELOOP || errno == ENOTDIR)) {
        if (is_foreign_link(at, part))
            return err_set(err, ERR_INVALID, "socket %s: \"%s\" in its path is a link of another user", path, part);
        fd = openat(at, part, O_PATH | O_DIRECTORY | O_CLOEXEC);
    }
    return fd < 0 ? err_set_sys(err, errno, "socket %s", path) : fd;
}

/* Changes directory. Links of other users are refused. */
static int open_parts(const char *path, char *directory, int *ret_at, struct err *err)
{
    CLEANUP(close_fd) int at = open(path[0] == '/' ? "/" : ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    char *part;

    if (at < 0)
        return err_set_sys(err, errno, "socket %s", path);
    while ((part = strsep(&directory, "/"))) {
        if (!*part)
            continue;
        int next = step(at, path, part, err);
        if (next < 0)
            return -1;
        close(at);
        at = next;
    }
    *ret_at = steal_fd(&at);
    return 0;
}

int socket_path_open(const char *path, struct socket_path *ret_path, struct err *err)
{
    CLEANUP(free_ptr) char *copy = xstrdup(path);
    char *slash = strrchr(copy, '/'), *name = slash ? slash + 1 : copy, none[] = "";
    CLEANUP(close_fd) int at = -1;

    *ret_path = (struct socket_path){.directory = -1};
    if (slash)
        *slash = '\0';
    if (slash && slash != copy)
        at = linkless_open(copy, O_PATH);
    if (at < 0 && open_parts(path, slash ? copy : none, &at, err) < 0)
        return -1;
    if (is_foreign_link(at, name))
        return err_set(err, ERR_INVALID, "socket %s is a link of another user", path);
    int length = snprintf(ret_path->path, sizeof(ret_path->path), "/proc/self/fd/%d/%s", at, name);
    if (length < 0 || (size_t)length >= sizeof(ret_path->path))
        return err_set(err, ERR_LIMIT, "socket %s: its name is too long", path);
    ret_path->directory = steal_fd(&at);
    return 0;
}

void socket_path_close(struct socket_path *p)
{
    close_fd(&p->directory);
}
