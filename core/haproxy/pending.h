/* pending.h — a file that is written beside its place, and put into it in one step.
 * Thread:  any; one at a time.
 * Owns:    two descriptors, until it is placed or dropped. Borrows the file.
 * Errors:  a system call that failed, with the file's path; nothing is left then.
 *
 * Many are written before the first is placed: the file system has one commit for many of them.
 */
#ifndef HAPTIC_HAPROXY_PENDING_H
#define HAPTIC_HAPROXY_PENDING_H

#include "base/digest.h"
#include "base/err.h"
#include "haproxy/disk.h"

struct pending {
    const struct disk_file *file;
    struct digest digest;
    int folder, fd;
};

/* Write it as ".NAME.tmp" in its folder below the directory at; it is not synced yet. */
int pending_write(int at, const struct disk_file *file, struct pending *ret_pending, struct err *err) MUST_CHECK;
/* Sync it and give it its name; the folder is not synced yet. */
int pending_place(struct pending *p, struct err *err) MUST_CHECK;
void pending_drop(struct pending *p);

/* Write a file at its place, for now: it is not synced. */
int pending_create(int at, const struct disk_file *file, struct err *err) MUST_CHECK;

#endif
