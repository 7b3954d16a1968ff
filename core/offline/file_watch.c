/* The names that count are kept per folder, as the watch's number tells it. */
#include "offline/file_watch.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/vec.h"

#define SETTLE_MS 20

struct watched_file {
    int folder;
    char *name;
};

struct file_watch {
    int fd;
    VEC(struct watched_file) files;
};

struct file_watch *file_watch_new(struct err *err)
{
    int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);

    if (fd < 0) {
        err_set_sys(err, errno, "inotify");
        return NULL;
    }
    struct file_watch *w = xcalloc(1, sizeof(*w));
    w->fd = fd;
    return w;
}

struct file_watch *file_watch_free(struct file_watch *w)
{
    if (w == NULL)
        return NULL;
    for (size_t i = 0; i < w->files.length; i++)
        free(w->files.items[i].name);
    vec_done(&w->files);
    close(w->fd);
    free(w);
    return NULL;
}

int file_watch_add(struct file_watch *w, const char *path, struct err *err)
{
    const char *slash = strrchr(path, '/');
    CLEANUP(free_ptr) char *folder = slash ? xmemdup0(path, (size_t)(slash - path) + 1) : xstrdup(".");
    int number = inotify_add_watch(w->fd, folder, IN_CLOSE_WRITE | IN_MOVED_TO | IN_DELETE);

    if (number < 0)
        return err_set_sys(err, errno, "watching %s", folder);
    for (size_t i = 0; i < w->files.length; i++)
        if (w->files.items[i].folder == number && strcmp(w->files.items[i].name, slash ? slash + 1 : path) == 0)
            return 0;
    vec_push(&w->files, ((struct watched_file){.folder = number, .name = xstrdup(slash ? slash + 1 : path)}));
    return 0;
}

static bool is_watched(const struct file_watch *w, const struct inotify_event *e)
{
    for (size_t i = 0; i < w->files.length; i++)
        if (w->files.items[i].folder == e->wd && e->len > 0 && strcmp(w->files.items[i].name, e->name) == 0)
            return true;
    return (e->mask & IN_Q_OVERFLOW) != 0;
}

int file_watch_fd(const struct file_watch *w)
{
    return w->fd;
}

bool file_watch_take(struct file_watch *w)
{
    _Alignas(struct inotify_event) char bytes[16384];
    bool any = false;
    ssize_t n;

    while ((n = read(w->fd, bytes, sizeof(bytes))) > 0)
        for (char *at = bytes; at < bytes + n;) {
            const struct inotify_event *e = (const struct inotify_event *)(const void *)at;
            any = any || is_watched(w, e);
            at += sizeof(*e) + e->len;
        }
    return any;
}

void file_watch_settle(struct file_watch *w)
{
    struct pollfd p = {.fd = w->fd, .events = POLLIN};

    while (poll(&p, 1, SETTLE_MS) > 0)
        (void)file_watch_take(w);
}

int file_watch_await(struct file_watch *w, struct err *err)
{
    struct pollfd p = {.fd = w->fd, .events = POLLIN};
    bool changed = false;

    while (!changed) {
        if (poll(&p, 1, -1) < 0 && errno != EINTR)
            return err_set_sys(err, errno, "waiting for a file");
        changed = file_watch_take(w);
    }
    file_watch_settle(w);
    return 0;
}
