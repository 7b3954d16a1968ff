/* notices.h — lets a few messages about objects through and counts the rest: ten thousand objects may have the same
 * trouble at once.
 * Thread:  loop thread only.
 * Units:   *_ns nanoseconds.
 */
#ifndef HAPTIC_CONTROLLER_NOTICES_H
#define HAPTIC_CONTROLLER_NOTICES_H

#include <stdbool.h>
#include <stdint.h>

/* A zeroed struct is ready for use. */
struct notices {
    double tokens;
    int64_t refilled_ns, summed_up_ns;
    uint64_t held_back;
};

/* May one more be logged now? 20 at once, then one a second. */
bool notices_pass(struct notices *n);
/* Log how many were held back, if any were; at most once in ten seconds. */
void notices_sum_up(struct notices *n);

#endif
