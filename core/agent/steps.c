/* An apply continues in a later turn of the loop, so that no callback runs within the call that began the apply. At
 * most one step waits. */
#include "agent/agent_state.h"

#include "base/cleanup.h"

static void on_step(uv_timer_t *timer)
{
    struct agent *a = timer->data;
    void (*step)(struct agent *) = STEAL(a->step);
    if (step)
        step(a);
}

void apply_step_later(struct agent *a, void (*step)(struct agent *a), int64_t delay_ns)
{
    a->step = step;
    uv_timer_start(&a->step_timer, on_step, (uint64_t)(delay_ns / NS_PER_MS), 0);
}
