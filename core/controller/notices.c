/* A bucket of tokens. */
#include "controller/notices.h"

#include "base/clock.h"
#include "base/log.h"

#define BURST 20
#define SUM_UP_NS (10 * NS_PER_S)

bool notices_pass(struct notices *n)
{
    int64_t now = clock_now_ns();

    n->tokens = n->refilled_ns == 0 ? BURST : n->tokens + (double)(now - n->refilled_ns) / (double)NS_PER_S;
    if (n->tokens > BURST)
        n->tokens = BURST;
    n->refilled_ns = now;
    if (n->tokens < 1) {
        n->held_back++;
        return false;
    }
    n->tokens--;
    return true;
}

void notices_sum_up(struct notices *n)
{
    int64_t now = clock_now_ns();

    if (n->held_back == 0 || (n->summed_up_ns != 0 && now - n->summed_up_ns < SUM_UP_NS))
        return;
    log_warn("More messages about objects were not logged; /debug/state lists what is wrong now", "count",
             log_int((int64_t)n->held_back));
    n->held_back = 0;
    n->summed_up_ns = now;
}
