/* held.h — namespaces whose fragments wait, told to the operator.
 * Thread:  loop thread only.
 * Owns:    copies of the names.
 * Units:   *_ns nanoseconds.
 *
 * A namespace is logged when it begins to wait for room, or has waited for time for a while, then at growing distances
 * as long as that lasts, and when it is over. These lines do not go through the limit of messages about objects: they
 * are few, and what they say explains why there are many of those.
 */
#ifndef HAPTIC_CONTROLLER_HELD_H
#define HAPTIC_CONTROLLER_HELD_H

#include "base/buf.h"
#include "base/map.h"
#include "base/metric.h"
#include "engine/renderer.h"

struct held {
    struct map by_namespace;
    uint64_t by_size, by_time; /* fragments */
    unsigned round;
    int64_t named_ns; /* when a name was logged last */
    struct metric *fragments_by_size, *fragments_by_time, *namespaces;
};

void held_init(struct held *h, struct metrics *metrics);
void held_done(struct held *h);
/* What a rendering said. */
void held_update(struct held *h, const struct render_stats *stats, int64_t now_ns);
/* Is it too early to be ready, so long after the start, while so many fragments wait? What waits is waited for, but
 * nobody can hold up a roll-out by it. */
bool held_delays_start(uint64_t fragments, int64_t age_ns);
/* [{"namespace":…,"for":"room","fragments":…}, …] */
void held_describe(const struct held *h, struct buf *out);

#endif
