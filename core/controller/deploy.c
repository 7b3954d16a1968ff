/* From accepted to live: one deployment at a time, while this replica may write. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "controller/reconcile_state.h"

#define FAILED_WARN_NS DEPLOY_RETRY_MAX_NS /* less than the longest pause would begin anew each time */
#define OTHER_WARN_NS NS_PER_S
#define FAILED_WARN_MAX_NS (3600 * NS_PER_S)

static void on_retry(uv_timer_t *timer)
{
    reconcile_step(timer->data);
}

static void on_applied(void *ctx, const struct agent_result *result)
{
    struct reconcile *r = ctx;
    uint64_t suppressed;
    struct generation_sum sum;

    if (result->gave_way) {
        reconcile_stage_move(&r->applying_ns, &r->settled_ns);
        if (!r->stopped) {
            reconcile_start_drift(r, NS_PER_S);
            reconcile_step(r);
        }
        return;
    }
    r->reload_owed = result->rest_is_live;
    if (result->err == NULL) {
        net_backoff_reset(&r->retry_backoff);
        r->failed_repeat = (struct log_repeat){0};
        r->deployed_problem[0] = '\0';
        bool waited = r->reload_waits;
        r->live = true;
        r->reload_waits = result->reload_after_ns > 0;
        generation_log_sum(&r->generations, r->deploying_generation, &sum);
        if (!r->reload_waits) {
            r->live_generation = r->deploying_generation + 1;
            generation_log_live(&r->generations, r->deploying_generation, result->reloaded, result->operations,
                                result->duration_ns);
        }
        if (r->applying_ns != 0 && !r->reload_waits) {
            int64_t whole_ns = clock_now_ns() - r->applying_ns;
            metric_observe_ns(r->reconcile_duration, whole_ns);
            metric_observe_ns(r->reconcile_own_duration, whole_ns - result->haproxy_ns);
        }
        if (!r->reload_waits)
            r->applying_ns = 0;
        else
            reconcile_stage_move(&r->applying_ns, &r->settled_ns);
        if (r->reload_waits && !waited)
            log_info("A reload waits", "reason", result->reload_reason ? result->reload_reason : "", "wait",
                     log_duration(result->reload_after_ns));
        if (result->reloaded)
            log_info("Deployed with a reload", "reason", result->reload_reason ? result->reload_reason : "",
                     "generation", log_int((int64_t)r->generation), "duration", log_duration(result->duration_ns),
                     "trigger", sum.trigger, "changes", log_int((int64_t)sum.changes), "render",
                     log_duration(sum.render_ns), "validate", log_duration(sum.check_ns));
        else if (result->operations > 0 && log_limit_pass(&r->deployed_limit, NS_PER_S, &suppressed))
            log_info("Deployed without a reload", "operations", log_int(result->operations), "generation",
                     log_int((int64_t)r->generation), "duration", log_duration(result->duration_ns), "trigger",
                     sum.trigger, "changes", log_int((int64_t)sum.changes), "render", log_duration(sum.render_ns),
                     "validate", log_duration(sum.check_ns), "similar", log_int((int64_t)suppressed));
    } else if (result->err->kind == ERR_STALE) {
        r->live = false;
        reconcile_stage_move(&r->applying_ns, &r->settled_ns);
        r->compare_all = true;
        r->compare_why = "refused as stale";
        /* Not again before the cause was handled, or some time has passed. */
        if (!r->stopped)
            uv_timer_start(&r->retry, on_retry, (uint64_t)(DEPLOY_RETRY_MIN_NS / NS_PER_MS), 0);
        if (log_limit_pass(&r->stale_limit, NS_PER_S, &suppressed))
            log_warn("Deployment refused: a newer leader has written", "error", result->err->text,
                     "highest_transitions", log_int(result->highest.transitions), "holder",
                     result->highest.holder ? result->highest.holder : "");
        r->ops.refused_stale(r->ctx, result->highest.transitions);
    } else {
        r->live = false;
        reconcile_stage_move(&r->applying_ns, &r->settled_ns);
        r->compare_all = true;
        r->compare_why = "the last deployment failed";
        bool waits = uv_is_active((uv_handle_t *)&r->retry); /* the timer was already set when this deployment began */
        int64_t retry_ns = waits ? (int64_t)uv_timer_get_due_in(&r->retry) * NS_PER_MS
                                 : net_backoff_next(&r->retry_backoff, 0);
        bool is_other = strcmp(r->deployed_problem, result->err->text) != 0;
        if (is_other && clock_now_ns() - r->failed_repeat.limit.last_ns > OTHER_WARN_NS)
            r->failed_repeat.seen_ns = 0;
        if (log_repeat_pass(&r->failed_repeat, FAILED_WARN_NS, FAILED_WARN_MAX_NS, &suppressed))
            log_warn("Deployment failed; it is tried again", "error", result->err->text, "live",
                     result->rest_is_live ? "all that needs no reload" : "not known", "retry_in",
                     log_duration(retry_ns), "similar", log_int((int64_t)suppressed));
        generation_log_failed(&r->generations, r->deploying_generation, result->err->text);
        snprintf(r->deployed_problem, sizeof(r->deployed_problem), "%s", result->err->text);
        if (!r->stopped && !waits)
            uv_timer_start(&r->retry, on_retry, (uint64_t)(retry_ns / NS_PER_MS), 0);
    }
    if (!r->stopped)
        reconcile_step(r);
}

/* ---- a fleet ---- */

/* Each member reports when it is live: reconcile_fleet_settled() is called then. */
static void deploy_to_fleet(struct reconcile *r, int64_t transitions)
{
    struct model_changes changes = {0};

    if (model_is_empty(r->model, MODEL_ACCEPTED))
        return;
    judge_see(r->judge);
    model_take_changes(r->model, &changes);
    if (changes.items.length > 0 || r->compare_all) {
        bool all = r->compare_all;
        const struct fence fence = {.transitions = transitions,
                                    .generation = r->generation,
                                    .holder = r->ops.fence_holder ? r->ops.fence_holder(r->ctx) : r->config.identity};
        r->compare_all = false;
        r->live = true;
        reconcile_stage_move(&r->settled_ns, &r->applying_ns);
        r->deploying_generation = r->generation;
        if (all)
            log_debug("Comparing everything with the fleet", "why", r->compare_why);
        fleet_offer(r->fleet, &changes, r->checked_since, &fence);
        r->checked_since = false;
        if (all)
            fleet_verify(r->fleet);
    } else {
        r->settled_ns = 0; /* the change had no effect on the output */
    }
    model_changes_done(&changes);
}

static void tell_fleet_deployment(struct reconcile *r, const struct fleet_deployment *d)
{
    struct generation_sum sum;
    uint64_t suppressed;

    if (d->reloads == 0 && (d->bytes == 0 || !log_limit_pass(&r->deployed_limit, NS_PER_S, &suppressed)))
        return;
    generation_log_sum(&r->generations, r->deploying_generation, &sum);
    log_info("Deployed to the fleet", "generation", log_int((int64_t)d->generation), "verified", log_int(d->verified),
             "members", log_int(d->members), "operations", log_int(d->operations), "reloads", log_int(d->reloads),
             "bytes", log_int((int64_t)d->bytes), "duration", log_duration(d->duration_ns), "trigger", sum.trigger,
             "changes", log_int((int64_t)sum.changes), "render", log_duration(sum.render_ns), "validate",
             log_duration(sum.check_ns));
}

void reconcile_fleet_settled(struct reconcile *r, const struct fleet_deployment *deployment)
{
    struct fleet_status status;

    if (deployment != NULL)
        tell_fleet_deployment(r, deployment);
    fleet_status(r->fleet, &status);
    if (status.verified > 0) {
        r->live_generation = r->deploying_generation + 1;
        generation_log_live(&r->generations, r->deploying_generation, deployment != NULL && deployment->reloads > 0,
                            deployment != NULL ? deployment->operations : 0,
                            r->applying_ns != 0 ? clock_now_ns() - r->applying_ns : 0);
    }
    if (r->applying_ns != 0)
        metric_observe_ns(r->reconcile_duration, clock_now_ns() - r->applying_ns);
    r->applying_ns = 0;
    if (!r->stopped && r->ops.stepped != NULL)
        r->ops.stepped(r->ctx);
}

/* ---- both ---- */

void reconcile_deploy(struct reconcile *r)
{
    bool writer = (r->rendered || r->stands_in) && !r->check_due && r->ops.may_write(r->ctx);

    if (writer && !r->was_writer) {
        r->compare_all = true;
        r->compare_why = "this replica may write now";
        log_info("Started Deployer", "identity", r->config.identity, "generation", log_int((int64_t)r->generation));
        log_info("Started DeploymentScheduler", "drift_prevention_interval", log_duration(r->drift_ns));
    }
    if (!writer && r->was_writer)
        log_info("Stopped Deployer and DeploymentScheduler: this replica does not lead", "identity",
                 r->config.identity);
    r->was_writer = writer;
    int64_t transitions = r->ops.fence_transitions(r->ctx);
    if (writer && transitions != r->transitions) {
        /* Also true when a term was lost and won again between two calls. */
        r->compare_all = true;
        r->compare_why = "a new term";
    }
    r->transitions = transitions;
    if (!writer) {
        /* Changes in the meantime are found by the full comparison at the beginning of each term. */
        struct model_changes dropped = {0};
        if (r->judge != NULL)
            judge_see(r->judge);
        model_take_changes(r->model, &dropped);
        model_changes_done(&dropped);
        r->live = false;
        r->live_generation = r->deploying_generation = 0;
        if (r->fleet != NULL)
            fleet_rest(r->fleet);
        return;
    }
    if (r->fleet != NULL) {
        deploy_to_fleet(r, transitions);
        return;
    }
    bool waits = uv_is_active((uv_handle_t *)&r->retry);
    if (agent_busy(r->agent) && model_has_changes(r->model))
        agent_give_way(r->agent);
    if (agent_busy(r->agent) || (waits && !r->reload_owed) || model_is_empty(r->model, MODEL_ACCEPTED))
        return;
    bool all = r->compare_all && !waits;
    struct model_changes changes = {0};
    model_take_changes(r->model, &changes);
    if (changes.items.length == 0 && !all) {
        model_changes_done(&changes);
        if (r->live && !r->reload_waits)
            r->settled_ns = 0; /* the change had no effect on the output */
        return;
    }
    struct fence fence = {.transitions = transitions,
                          .generation = r->generation,
                          .holder = r->ops.fence_holder ? r->ops.fence_holder(r->ctx) : r->config.identity};
    reconcile_stage_move(&r->settled_ns, &r->applying_ns);
    r->compare_all = r->compare_all && !all;
    r->deploying_generation = r->generation;
    if (all)
        log_debug("Comparing everything with HAProxy", "why", r->compare_why);
    if (!agent_apply(r->agent, all ? NULL : &changes, &fence, on_applied, r))
        r->compare_all = true;
    model_changes_done(&changes);
}
