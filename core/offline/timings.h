/* timings.h — what the fragments of each definition have cost in the renderer.
 * Thread:  loop thread only; timings_take() runs the loop until the renderer has answered.
 * Owns:    copies of everything.
 * Units:   *_ns nanoseconds.
 */
#ifndef HAPTIC_OFFLINE_TIMINGS_H
#define HAPTIC_OFFLINE_TIMINGS_H

#include "base/buf.h"
#include "offline/workbench.h"

struct timing {
    char *name;      /* of the definition: "ingress.lua:routes/ingresses/" */
    char *most_name; /* the fragment that took longest */
    uint64_t runs;
    int64_t total_ns, most_ns;
    int64_t bytes; /* allocated */
};

struct timings {
    VEC(struct timing) items; /* the most expensive first */
};

/* What ran since the last call, in a workbench that was made with .timings. */
void timings_take(struct timings *t, struct workbench *w);
void timings_done(struct timings *t);
/* NULL: it did not run. */
const struct timing *timings_find(const struct timings *t, const char *name);
/* A table with a row for each, at most max; 0: all. */
void timings_put(const struct timings *t, size_t max, struct buf *out);

#endif
