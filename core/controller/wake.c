/* Something has changed: run a step, now or after the loop has read all available input. */
#include "controller/reconcile_state.h"

void reconcile_stage_move(int64_t *from, int64_t *to)
{
    if (*from != 0 && (*to == 0 || *from < *to))
        *to = *from;
    *from = 0;
}

static void on_after_poll(uv_check_t *handle)
{
    struct reconcile *r = handle->data;

    uv_check_stop(&r->after_poll);
    uv_idle_stop(&r->no_wait);
    reconcile_step(r);
}

static void on_no_wait(uv_idle_t *handle)
{
    (void)handle;
}

void reconcile_soon(struct reconcile *r)
{
    if (r->stopped)
        return;
    uv_check_start(&r->after_poll, on_after_poll);
    uv_idle_start(&r->no_wait, on_no_wait);
}

void reconcile_step(struct reconcile *r)
{
    r->step(r);
}

static void on_drift(uv_timer_t *timer)
{
    struct reconcile *r = timer->data;

    r->compare_all = true;
    r->compare_why = "drift interval";
    reconcile_step(r);
}

void reconcile_start_drift(struct reconcile *r, int64_t first_ns)
{
    uv_timer_start(&r->drift, on_drift, (uint64_t)(first_ns / NS_PER_MS), (uint64_t)(r->drift_ns / NS_PER_MS));
}
