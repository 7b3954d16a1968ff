/* file_watch.h — wait until one of some files has changed.
 * Thread:  any; blocks.
 * Owns:    the descriptor of inotify.
 * Errors:  ERR_SYS.
 * Source:  inotify(7). Folders are watched, since editors write another file and rename it.
 */
#ifndef HAPTIC_OFFLINE_FILE_WATCH_H
#define HAPTIC_OFFLINE_FILE_WATCH_H

#include "base/err.h"

struct file_watch;

struct file_watch *file_watch_new(struct err *err) MUST_CHECK; /* NULL: *err */
struct file_watch *file_watch_free(struct file_watch *w);      /* NULL is fine */
/* Hear of this file from now on; saying it twice is fine. */
int file_watch_add(struct file_watch *w, const char *path, struct err *err) MUST_CHECK;
/* Block until a file of the list was written, renamed or removed, and for 20 ms more: editors make several steps. */
int file_watch_await(struct file_watch *w, struct err *err) MUST_CHECK;

#endif
