/* Checks before HAProxy or the directory is changed: is this writer's fence still the highest, and is time left? Also
 * records when the state of HAProxy has become uncertain.
 */
#include "agent/agent_state.h"

#include <stdlib.h>

#include "base/log.h"
#include "base/metric.h"

#define DEADLINE_COMMANDS 200    /* for which the deadline of a command is enough */
#define FENCE_FRESH_NS NS_PER_MS /* a fence that was raised less long ago is not read again */
#define NO_TIME "no time to write is left: the leadership was not renewed in time"

void agent_tell(struct agent *a, const char *what)
{
    if (!a->stopping && a->changed)
        a->changed(a->ctx, what);
}

void agent_count_death(struct agent *a)
{
    metric_add(metric_counter(a->metrics, "haptic_haproxy_deaths_total", "HAProxy processes that ended by themselves."),
               1);
}

void agent_on_reload_due(uv_timer_t *timer)
{
    agent_tell(timer->data, "a reload is due");
}

void agent_forget_live(struct agent *a, const char *why)
{
    if (a->known) {
        CLEANUP(free_ptr) char *clean = agent_redacted(a, why);
        log_debug("What HAProxy runs has to be compared from scratch", "why", clean);
    }
    a->known = false;
    a->live_ok = a->serves = false;
    expect_end(a);
}

static int fence_is_highest(struct agent *a, struct err *err)
{
    if (!a->fenced)
        return 0;
    struct fence fence = {.transitions = a->last_fence.transitions,
                          .generation = a->last_fence.generation,
                          .holder = a->last_fence.holder};
    return fence_check(a->config.directory, &fence, &a->apply.highest, err);
}

int agent_check_fence(struct agent *a, struct err *err)
{
    if (a->apply.state && clock_now_ns() - a->apply.start_ns < FENCE_FRESH_NS)
        return 0;
    return fence_is_highest(a, err);
}

int agent_gate(void *ctx, struct err *err)
{
    struct agent *a = ctx;
    /* On an expected connection the commands of a change go out in the call that raised the fence. HAProxy's last
     * answer came before that, so what runtime.h says of late writes holds from the raise on. */
    if (!a->apply.just_raised && fence_is_highest(a, err))
        return -1;
    if (a->config.write_end_ns && clock_now_ns() >= a->config.write_end_ns(a->ctx))
        return err_set(err, ERR_TIMEOUT, NO_TIME);
    return 0;
}

int agent_may_run(struct agent *a, int64_t limit_ns, int64_t *ret_ns, struct err *err)
{
    int64_t now_ns = clock_now_ns();
    int64_t end_ns = a->config.write_end_ns ? a->config.write_end_ns(a->ctx) : INT64_MAX;
    if (agent_check_fence(a, err))
        return -1;
    if (now_ns >= end_ns)
        return err_set(err, ERR_TIMEOUT, NO_TIME);
    *ret_ns = end_ns - limit_ns < now_ns ? end_ns - now_ns : limit_ns;
    return 0;
}

int agent_may_run_batch(struct agent *a, size_t count, int64_t *ret_ns, struct err *err)
{
    return agent_may_run(a, a->config.command_deadline_ns * (int64_t)(1 + count / DEADLINE_COMMANDS), ret_ns, err);
}
