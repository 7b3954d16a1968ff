/* dir_watch.h — what changed in a set of folders, by inotify on the loop.
 * Thread:  loop thread only.
 * Owns:    its descriptor and handle; after dir_watch_free() the loop has to run once more to let go of the handle.
 * Errors:  0, or -1 with *err set (ERR_SYS).
 * Source:  inotify(7).
 *
 * inotify itself and not uv_fs_event, because only it tells that a writer has closed a file: a file is read when it is
 * whole.
 */
#ifndef HAPTIC_STORE_DIR_WATCH_H
#define HAPTIC_STORE_DIR_WATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

#include "base/err.h"

struct dir_watch;

/* One batch: count paths of files that were written, moved or removed, or (everything) that all folders should be
 * looked at again. */
typedef void dir_watch_changed(void *ctx, bool everything, size_t count, char *const *paths);

int dir_watch_new(uv_loop_t *loop, dir_watch_changed *changed, void *ctx, struct dir_watch **ret_watch, struct err *err)
    MUST_CHECK;
struct dir_watch *dir_watch_free(struct dir_watch *w); /* NULL is fine; always returns NULL */
/* Watch a folder; again is fine. */
int dir_watch_add(struct dir_watch *w, const char *path, struct err *err) MUST_CHECK;

#endif
