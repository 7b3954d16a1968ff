/* expanded.h — a rendered file with the values of Secrets, for a HAProxy.
 * Thread:  loop thread only.
 * Owns:    nothing; whoever has the file wipes it.
 * Errors:  of expand.h, with the path of the file.
 */
#ifndef HAPTIC_OFFLINE_EXPANDED_H
#define HAPTIC_OFFLINE_EXPANDED_H

#include "haproxy/disk.h"
#include "store/vault.h"

/* Replaces the handles in the file's content by their values. */
int expanded_file(struct vault *v, struct disk_file *file, struct err *err) MUST_CHECK;

#endif
