/* The step doubles with each failure; shifting stops before it can overflow. Randomness comes from the kernel, so that
 * two replicas started in the same instant differ. */
#include "net/backoff.h"

#include <sys/random.h>

int64_t net_random_between(int64_t low, int64_t high)
{
    uint64_t bits = 0;
    if (high <= low || getrandom(&bits, sizeof(bits), GRND_NONBLOCK) != (ssize_t)sizeof(bits))
        return low;
    return low + (int64_t)(bits % ((uint64_t)(high - low) + 1));
}

int64_t net_backoff_step(int64_t base_ns, int64_t cap_ns, unsigned failures)
{
    int64_t step = base_ns;
    for (unsigned i = 0; i < failures && step < cap_ns; i++)
        step *= 2;
    return step < cap_ns ? step : cap_ns;
}

int64_t net_backoff_next(struct net_backoff *b, int64_t retry_after_ns)
{
    int64_t step = net_backoff_step(b->base_ns, b->cap_ns, b->failures);
    if (b->failures < UINT32_MAX)
        b->failures++;
    int64_t delay = net_random_between(step / 2, step);
    return delay > retry_after_ns ? delay : retry_after_ns;
}

void net_backoff_lasted(struct net_backoff *b, int64_t well_ns)
{
    if (well_ns >= b->cap_ns)
        b->failures = 0;
}

void net_backoff_reset(struct net_backoff *b)
{
    b->failures = 0;
}
