/* backoff.h — how long to wait before the next attempt.
 * Units:   *_ns nanoseconds.
 *
 * Exponential with a cap. Each delay is drawn from the upper half of its step, so that many clients of a server that
 * came back do not call at the same moment.
 */
#ifndef HAPTIC_NET_BACKOFF_H
#define HAPTIC_NET_BACKOFF_H

#include <stdint.h>

struct net_backoff {
    int64_t base_ns; /* the first step */
    int64_t cap_ns;
    unsigned failures; /* since the last reset */
};

/* Count a failure and return the delay after it, at least retry_after_ns (what the server asked for; 0: nothing). */
int64_t net_backoff_next(struct net_backoff *b, int64_t retry_after_ns);
void net_backoff_reset(struct net_backoff *b);
/* Before a failure is counted: what fails now was well for well_ns. As long as the longest delay ends the row of
 * failures, whatever came or did not come meanwhile. */
void net_backoff_lasted(struct net_backoff *b, int64_t well_ns);

/* base_ns, doubled once for each of so many failures, and at most cap_ns. For those who have to be the same in each run
 * (a simulation), or who keep nothing but the number of failures. */
int64_t net_backoff_step(int64_t base_ns, int64_t cap_ns, unsigned failures);

/* An evenly drawn number in [low, high]. */
int64_t net_random_between(int64_t low, int64_t high);

#endif
