/* file_watch.h — wait until one of some files has changed.
 * Thread:  any; awaiting and settling block.
 * Owns:    the descriptor of inotify.
 * Errors:  ERR_SYS.
 * Source:  inotify(7). Folders are watched, since editors write another file and rename it.
 */
#ifndef HAPTIC_OFFLINE_FILE_WATCH_H
#define HAPTIC_OFFLINE_FILE_WATCH_H

#include <stdbool.h>

#include "base/err.h"

struct file_watch;

struct file_watch *file_watch_new(struct err *err) MUST_CHECK; /* NULL: *err */
struct file_watch *file_watch_free(struct file_watch *w);      /* NULL is fine */
/* Hear of this file from now on; saying it twice is fine. */
int file_watch_add(struct file_watch *w, const char *path, struct err *err) MUST_CHECK;
/* Block until a file of the list was written, renamed or removed, and for 20 ms more: editors make several steps. */
int file_watch_await(struct file_watch *w, struct err *err) MUST_CHECK;
/* For those who wait for other things too: readable when something may have changed. */
int file_watch_fd(const struct file_watch *w);
/* Was a file of the list written, renamed or removed since the last call? Does not block. */
bool file_watch_take(struct file_watch *w);
/* Block until nothing has changed for 20 ms. */
void file_watch_settle(struct file_watch *w);

#endif
