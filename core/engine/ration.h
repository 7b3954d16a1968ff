/* ration.h — how much one renderer process may say.
 * Thread:  loop thread only.
 * Owns:    a table of the fragments that it has told of: 16 bytes each.
 * Units:   bytes of the core's memory, estimated: what is said costs more than its own length.
 * Errors:  -1 with ERR_LIMIT: it said more than it may, and is to be ended.
 *
 * Two sums are kept: what came in one rendering, and what is alive, which is each fragment's (or failure's) newest
 * version. The renderer counts the same way (ration_cost()) and refuses a fragment before it comes to that.
 */
#ifndef HAPTIC_ENGINE_RATION_H
#define HAPTIC_ENGINE_RATION_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* Of the core's memory, beside its text: a fragment with what is kept about it, and a contribution. */
#define RATION_FRAGMENT_BYTES ((size_t)512)
#define RATION_ITEM_BYTES ((size_t)128)
/* Messages for the log: so many at once, and so many a second in the long run. */
#define RATION_LOG_BURST 200
#define RATION_LOG_PER_S 20

struct ration_entry {
    uint64_t hash; /* 0: free */
    size_t cost;   /* 0: gone */
};

/* Zeroed: nothing said yet. */
struct ration {
    size_t max_bytes; /* of each of the two sums; set by ration_begin() */
    size_t rendering_bytes, alive_bytes;
    struct ration_entry *entries;
    size_t used, capacity; /* a power of two, or 0 */
    int64_t log_ns;        /* when the log's allowance would be whole again */
};

/* A new process begins. */
void ration_begin(struct ration *r, size_t max_bytes);
void ration_done(struct ration *r);

/* What a fragment with so many contributions costs. */
static inline size_t ration_cost(size_t bytes, size_t items)
{
    return RATION_FRAGMENT_BYTES + bytes + items * RATION_ITEM_BYTES;
}

void ration_rendering(struct ration *r); /* a rendering begins */
/* It told of a fragment, or of its failure. */
int ration_fragment(struct ration *r, const char *id, size_t cost, struct err *err) MUST_CHECK;
int ration_gone(struct ration *r, const char *id, struct err *err) MUST_CHECK;
/* It had a message for the log. */
int ration_log(struct ration *r, int64_t now_ns, struct err *err) MUST_CHECK;

#endif
