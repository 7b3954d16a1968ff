/* notices.h — messages about objects: those that last are told, a few of them are logged, the rest is counted.
 * Thread:  loop thread only.
 * Owns:    copies of what waits.
 * Units:   *_ns clock_now_ns() nanoseconds.
 *
 * Objects that belong together arrive and go one after the other, each by its own watch: for some milliseconds an
 * Ingress has no Service. So a message waits, and is told only if its reason has not gone meanwhile. What waits is
 * bounded by what has changed within that time; ten thousand objects may have the same trouble at once, so telling is
 * not always logging.
 */
#ifndef HAPTIC_CONTROLLER_NOTICES_H
#define HAPTIC_CONTROLLER_NOTICES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/map.h"
#include "base/vec.h"

#define NOTICES_WAIT_NS NS_PER_S

enum notice_kind {
    NOTICE_EVENT,
    NOTICE_WARNING,
    NOTICE_FAILURE,
    NOTICE_CONFLICT, /* an older object has the key */
    NOTICE_GAIN,     /* it had, and is gone */
    NOTICE_OVER,     /* what was told is no longer so */
};

struct notice {
    enum notice_kind kind;
    const char *fragment_id, *owner_kind, *owner_id, *reason, *message;
};
typedef bool notice_holds(void *ctx, const struct notice *n);
typedef void notice_tell(void *ctx, const struct notice *n);

/* A zeroed struct is ready for use. */
struct notices {
    double tokens;
    int64_t refilled_ns, summed_up_ns;
    uint64_t held_back;
    struct map waiting;            /* fragment id → its first struct waiting */
    VEC(struct waiting *) in_turn; /* in the order of arrival, which is that of their ends; owns them */
};
void notices_done(struct notices *n);

/* Tell this when it has lasted; strings are copied. Once for each time that it begins to hold. */
void notices_wait(struct notices *n, const struct notice *what, int64_t now_ns);
/* The fragment is not what it was: forget what does not hold any more. holds NULL: nothing does. */
void notices_review(struct notices *n, const char *fragment_id, notice_holds *holds, void *ctx);
/* Tell what has waited long enough, oldest first. tell must not change what waits. True while something waits. */
bool notices_take(struct notices *n, int64_t now_ns, notice_tell *tell, void *ctx);

/* May one more be logged now? 20 at once, then one a second. */
bool notices_pass(struct notices *n);
/* Log how many were held back, if any were; at most once in ten seconds. */
void notices_sum_up(struct notices *n);

#endif
