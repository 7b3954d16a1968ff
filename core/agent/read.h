/* read.h — everything that HAProxy tells is read and becomes what is live, for the files of core/agent only.
 * Thread:  loop thread only.
 * Owns:    the answers, while they are merged.
 */
#ifndef HAPTIC_AGENT_READ_H
#define HAPTIC_AGENT_READ_H

#include <stddef.h>

#include "base/vec.h"
#include "haproxy/runtime.h"

struct agent;
struct live_map;
struct live_merge;

#define AGENT_READ_MAX_BYTES ((size_t)512 << 20) /* of the answers to one group of commands */

enum read_outcome {
    READ_EVERYTHING,    /* what is live is what HAProxy tells */
    READ_UNKNOWN,       /* HAProxy was not started with what the directory has */
    READ_OTHER_VERSION, /* another version runs than the one that checks, which is worth a reload */
    READ_FAILED         /* nothing was read, or not everything */
};

struct reading {
    struct runtime_held held;
    struct live_merge *merge;    /* under way; NULL: none */
    VEC(struct live_map *) maps; /* that were read, in the order of the answers */
    size_t next;                 /* of maps */
    size_t others;               /* answers after those */
    unsigned locked;             /* how often HAProxy was replacing certificates */
};

/* For the apply of a. Ends in its after_read(), also within this call. */
void read_begin(struct agent *a);
void reading_done(struct reading *r); /* also before its end; again is fine */

#endif
