/* One inotify descriptor under uv_poll. Events of files are turned into paths. Events that may concern whole trees
 * (folders, symbolic links, the "..data" link of a mounted ConfigMap, a lost event) become "everything". The creation
 * of a file is ignored, because the writer's close follows. */
#include "store/dir_watch.h"

#include <errno.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/map.h"
#include "base/vec.h"

/* Paths in one batch; more are "everything". */
#define PATHS_MAX 256

struct folder {
    char *path;
    bool is_shared; /* several paths lead to it */
};

struct dir_watch {
    uv_poll_t handle;
    int fd;
    dir_watch_changed *changed;
    void *ctx;
    struct map folders; /* watch descriptor → folder */
    bool everything;
    VEC(char *) paths;
};

static struct folder *folder_of(struct dir_watch *w, int wd)
{
    return map_getn(&w->folders, (const char *)&wd, sizeof(wd));
}

static void folder_forget(struct dir_watch *w, int wd)
{
    struct folder *folder = map_deln(&w->folders, (const char *)&wd, sizeof(wd));

    if (folder)
        free(folder->path);
    free(folder);
}

static bool is_known_folder(struct dir_watch *w, const char *path)
{
    struct map_slot *slot;

    for (size_t it = 0; (slot = map_next(&w->folders, &it));)
        if (strcmp(((struct folder *)slot->value)->path, path) == 0)
            return true;
    return false;
}

static void take_event(struct dir_watch *w, const struct inotify_event *event)
{
    struct folder *folder = folder_of(w, event->wd);
    struct stat st;

    if (event->mask & IN_IGNORED) {
        folder_forget(w, event->wd);
        return;
    }
    if (event->mask & IN_MOVE_SELF) {
        (void)inotify_rm_watch(w->fd, event->wd);
        folder_forget(w, event->wd);
    }
    if ((event->mask & (IN_Q_OVERFLOW | IN_DELETE_SELF | IN_MOVE_SELF)) || !folder || folder->is_shared) {
        w->everything = true;
        return;
    }
    if (event->len == 0 || (event->name[0] == '.' && event->name[1] != '.'))
        return;
    if ((event->mask & IN_ISDIR) || event->name[0] == '.' || w->paths.length == PATHS_MAX) {
        w->everything = true;
        return;
    }
    char *path = xasprintf("%s/%s", folder->path, event->name);
    bool there = lstat(path, &st) == 0;
    if ((there && S_ISLNK(st.st_mode)) || (!there && is_known_folder(w, path)))
        w->everything = true;
    /* A created file is written and closed later. Only a hard link is complete at once. */
    if (!(event->mask & IN_CREATE) || (there && st.st_nlink > 1))
        vec_push(&w->paths, path);
    else
        free(path);
}

static void on_readable(uv_poll_t *handle, int status, int events)
{
    struct dir_watch *w = handle->data;
    _Alignas(struct inotify_event) char bytes[16384];
    ssize_t length;

    (void)status;
    (void)events;
    while ((length = read(w->fd, bytes, sizeof(bytes))) > 0) {
        const struct inotify_event *event;
        for (char *at = bytes; at < bytes + length; at += sizeof(*event) + event->len) {
            event = (const struct inotify_event *)(void *)at;
            take_event(w, event);
        }
    }
    if (w->everything || w->paths.length > 0)
        w->changed(w->ctx, w->everything, w->paths.length, w->paths.items);
    w->everything = false;
    for (size_t i = 0; i < w->paths.length; i++)
        free(w->paths.items[i]);
    vec_clear(&w->paths);
}

int dir_watch_new(uv_loop_t *loop, dir_watch_changed *changed, void *ctx, struct dir_watch **ret_watch, struct err *err)
{
    int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);

    if (fd < 0)
        return err_set_sys(err, errno, "inotify");
    struct dir_watch *w = xcalloc(1, sizeof(*w));
    w->fd = fd;
    w->changed = changed;
    w->ctx = ctx;
    w->handle.data = w;
    map_init(&w->folders, false);
    int status = uv_poll_init(loop, &w->handle, fd);
    if (status < 0) {
        close(fd);
        free(w);
        return err_set_sys(err, -status, "inotify");
    }
    (void)uv_poll_start(&w->handle, UV_READABLE, on_readable);
    *ret_watch = w;
    return 0;
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

struct dir_watch *dir_watch_free(struct dir_watch *w)
{
    struct map_slot *slot;

    if (!w)
        return NULL;
    (void)uv_poll_stop(&w->handle);
    for (size_t it = 0; (slot = map_next(&w->folders, &it));) {
        free(((struct folder *)slot->value)->path);
        free(slot->value);
    }
    map_done(&w->folders);
    vec_done(&w->paths);
    close(w->fd);
    uv_close((uv_handle_t *)&w->handle, on_closed);
    return NULL;
}

int dir_watch_add(struct dir_watch *w, const char *path, struct err *err)
{
    int wd = inotify_add_watch(w->fd, path,
                               IN_CLOSE_WRITE | IN_MOVED_FROM | IN_MOVED_TO | IN_CREATE | IN_DELETE | IN_DELETE_SELF |
                                   IN_MOVE_SELF | IN_ONLYDIR | IN_EXCL_UNLINK);

    if (wd < 0)
        return err_set_sys(err, errno, "cannot watch %s", path);
    struct folder *folder = folder_of(w, wd);
    if (folder) {
        folder->is_shared = folder->is_shared || strcmp(folder->path, path) != 0;
        return 0;
    }
    folder = xcalloc(1, sizeof(*folder));
    folder->path = xstrdup(path);
    (void)map_putn(&w->folders, (const char *)&wd, sizeof(wd), folder);
    return 0;
}
