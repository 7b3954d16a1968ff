/* resident.h — the memory that this process holds, and when to give back what it no longer uses.
 * Thread:  one.
 * Units:   *_bytes bytes; *_ns clock_now_ns().
 *
 * A start, or a rendering of everything, leaves free blocks between those in use. The C library keeps their pages.
 */
#ifndef HAPTIC_BASE_RESIDENT_H
#define HAPTIC_BASE_RESIDENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Resident memory of this process, from /proc/self/statm; 0 where it cannot be read. */
size_t resident_bytes(void);

/* A zeroed struct is at its beginning. */
struct resident {
    size_t trimmed_bytes; /* what was left after the last time */
    size_t seen_bytes;    /* as it was at the last look */
    int64_t steady_ns;    /* since when it does not grow; 0: no look yet */
};

/* A look, about once a second: is it time to give memory back? The memory has grown by a fifth since the last time, and
 * then no more for ten seconds. The caller does it and tells resident_trimmed(). */
bool resident_is_trim_due(struct resident *r, size_t bytes, int64_t now_ns);
void resident_trimmed(struct resident *r, size_t bytes);

#endif
