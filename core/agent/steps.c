/* An apply continues in a later turn of the loop, so that no callback runs within the call that began the apply. At
 * most one step waits. A step that is due at once waits with an idle handle: libuv before 1.45 runs a timer of 0 ms
 * that is started in a timer's callback within the same turn, so the slices of a long comparison would all be one.
 */
#include "agent/agent_state.h"

static void step_run(struct agent *a)
{
    void (*step)(struct agent *) = a->step;
    apply_step_drop(a);
    if (step)
        step(a);
}

static void on_timer(uv_timer_t *timer)
{
    step_run(timer->data);
}

static void on_idle(uv_idle_t *idle)
{
    step_run(idle->data);
}

void apply_step_drop(struct agent *a)
{
    uv_timer_stop(&a->step_timer);
    uv_idle_stop(&a->step_idle);
    a->step = NULL;
}

void apply_step_later(struct agent *a, void (*step)(struct agent *a), int64_t delay_ns)
{
    apply_step_drop(a);
    a->step = step;
    if (delay_ns >= NS_PER_MS)
        uv_timer_start(&a->step_timer, on_timer, (uint64_t)(delay_ns / NS_PER_MS), 0);
    else
        uv_idle_start(&a->step_idle, on_idle);
}
