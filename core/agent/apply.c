/* An apply is a chain of steps, each of which ends by starting something on the loop or by apply_finish():
 *
 *   begin ─► fence ─► (read everything) ─► plan ─► batches ─► verify, commit ─► finish
 *                                            └──► reload: write ─► master reload ─► read everything ─► plan …
 *
 * An unexpected answer in a batch or in what is read back leads to one more round from "read everything". The next one
 * leads to a reload, and one after that is an error. Nothing is assumed about HAProxy after an unexpected answer.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "agent/agent_state.h"
#include "base/alloc.h"
#include "base/log.h"

#define REREADS_MAX 9            /* at once, then after 1 + 2 + 4 … ms: a quarter of a second in all */
#define SLICE_NS (2 * NS_PER_MS) /* of a full comparison, between two turns of the loop */
#define SURPRISE_WARN_NS (30 * NS_PER_S)
#define SURPRISE_WARN_MAX_NS (3600 * NS_PER_S)
#define RESTS_MAX 8 /* comparisons without what cannot be done at runtime, when no reload can be made */

static void step_compare(struct agent *a);
static void step_batch(struct agent *a);
static void step_reread(struct agent *a);
static void step_rest(struct agent *a);
static void apply_read(struct agent *a);

static void apply_release(struct apply *p)
{
    reading_done(&p->reading);
    touched_done(&p->touched);
    walk_done(&p->walk);
    plan_done(&p->plan);
    batch_done(&p->batch);
    free(p->reload_reason);
    map_done(&p->avoid);
}

/* This apply ended well. Takes over what an earlier apply could not finish. */
static void reload_note_owed(struct agent *a, struct apply *p)
{
    if (p->reloaded || p->all) {
        a->owed = (struct err){0};
        a->reload_waits = p->reload_after_ns > 0;
    }
    if (p->reloaded || p->reload_after_ns)
        return;
    if (a->owed.kind != ERR_NONE) {
        p->err = a->owed;
    } else if (!p->all && a->reload_waits) {
        p->reload_after_ns = a->reload_due_ns - clock_now_ns() > 1 ? a->reload_due_ns - clock_now_ns() : 1;
        p->reload_reason = a->owed_reason ? xstrdup(a->owed_reason) : NULL;
    }
}

static struct metric *apply_durations(struct agent *a)
{
    if (a->apply_durations == NULL)
        a->apply_durations = metric_histogram(
            a->metrics, "haptic_deployment_duration_seconds",
            "Time from the start of a deployment until it is read back from HAProxy.");
    return a->apply_durations;
}

void apply_finish(struct agent *a)
{
    /* The callback may begin the next apply. */
    struct apply p = a->apply;
    memset(&a->apply, 0, sizeof(a->apply));
    reading_done(&p.reading); /* of the view that the next apply changes */

    if (p.gave_way) {
        p.done(p.ctx, &(struct agent_result){.gave_way = true});
        apply_release(&p);
        return;
    }
    if (p.all)
        a->ways_given = 0;
    bool rest = p.round == ROUND_REST && p.err.kind != ERR_NONE && a->known;
    if (rest) {
        a->owed = p.err;
        free(a->owed_reason);
        a->owed_reason = p.reload_reason ? xstrdup(p.reload_reason) : NULL;
    } else if (p.err.kind == ERR_NONE) {
        reload_note_owed(a, &p);
        rest = p.err.kind != ERR_NONE;
    }
    bool failed = p.err.kind != ERR_NONE;
    if (failed)
        vault_redact_err(a->config.vault, &p.err);
    const struct agent_result result = {.err = failed ? &p.err : NULL,
                                        .operations = p.operations,
                                        .reloaded = p.reloaded,
                                        .reload_reason = p.reload_reason,
                                        .rest_is_live = rest,
                                        .reload_after_ns = failed ? 0 : p.reload_after_ns,
                                        .duration_ns = clock_now_ns() - p.start_ns,
                                        .haproxy_ns = p.haproxy_ns,
                                        .highest = {p.highest.transitions, p.highest.generation, p.highest.holder}};
    a->live_ok = !failed && !p.reload_after_ns;
    a->serves = !failed || rest;
    if (a->reload_wait == NULL)
        a->reload_wait = metric_gauge(
            a->metrics, "haptic_reload_wait_seconds",
            "How long the waiting reload has to wait, as of the last deployment; 0: none waits.");
    metric_set(a->reload_wait, result.reload_after_ns ? (double)result.reload_after_ns / (double)NS_PER_S : 0);
    if (failed)
        metric_add(metric_counter(a->metrics, "haptic_deployment_errors_total", "Deployments that failed.", "reason",
                                  err_kind_name(p.err.kind)),
                   1);
    else
        metric_observe_ns(apply_durations(a), result.duration_ns);
    if (a->live_ok) {
        a->live_digest = p.digest;
        a->level = a->level && digest_equal(a->disk_digest, a->live_digest);
        level_schedule(a);
        if (p.all)
            audit_begin(a);
    }
    p.done(p.ctx, &result);
    apply_release(&p);
}

void apply_fail(struct agent *a, const struct err *err)
{
    a->apply.err = *err;
    apply_finish(a);
}

/* For an apply that must not end within the call that began it. */
void apply_fail_later(struct agent *a, const struct err *err)
{
    a->apply.err = *err;
    apply_step_later(a, apply_finish, 0);
}

static void apply_break_off(struct agent *a)
{
    if (a->call)
        runtime_cancel(STEAL(a->call));
    if (a->reload_call)
        master_cancel(STEAL(a->reload_call));
    acme_cancel(a);
    apply_step_drop(a);
}

void apply_abort(struct agent *a, const char *why)
{
    struct err err;
    /* A running write to the directory continues, and at its end the apply must still exist. */
    if (a->apply.state != APPLY_RUNS || a->writing)
        return;
    apply_break_off(a);
    err_set(&err, ERR_HAPROXY, "%s", why);
    apply_fail_later(a, &err);
}

void apply_cancel(struct agent *a)
{
    struct err err;
    if (!a->apply.state)
        return;
    apply_break_off(a);
    a->step_after_write = NULL;
    a->after_write = NULL;
    err_set(&err, ERR_TIMEOUT, "the agent stops");
    agent_forget_live(a, err.text);
    apply_fail(a, &err);
}

/* The state of HAProxy is uncertain: reads everything first, then reloads, then gives up. */
static void apply_surprise(struct agent *a, struct err *err, const char *kind)
{
    struct apply *p = &a->apply;
    uint64_t similar;
    vault_redact_err(a->config.vault, err);
    agent_forget_live(a, err->text);
    metric_add(metric_counter(a->metrics, "haptic_deployment_surprises_total",
                              "Answers and read-backs of HAProxy that were not as expected.", "kind", kind),
               1);
    switch (p->round) {
    case ROUND_FIRST:
        if (log_repeat_pass(&a->surprise_repeat, SURPRISE_WARN_NS, SURPRISE_WARN_MAX_NS, &similar))
            log_warn("HAProxy is not as expected; comparing everything", "error", err->text, "similar",
                     log_int((int64_t)similar));
        p->round = ROUND_REPAIR;
        apply_read(a);
        return;
    case ROUND_REPAIR:
        log_debug("HAProxy is still not as expected; reloading", "error", err->text);
        plan_done(&p->plan);
        plan_reload(&p->plan, "surprise", "%s", err->text);
        p->dropped = true;
        p->round = ROUND_RELOAD;
        reload_begin(a);
        return;
    case ROUND_RELOAD:
    case ROUND_AFTER_RELOAD:
    case ROUND_REST:
        apply_fail(a, p->round == ROUND_REST ? &p->err : err);
        return;
    }
}

/* The time limit for a group of commands grows with their number. Ends the apply when no time is left. */
static bool may_run(struct agent *a, size_t count, int64_t *ret_deadline_ns)
{
    struct err err;
    if (agent_may_run_batch(a, count, ret_deadline_ns, &err) == 0)
        return true;
    agent_forget_live(a, err.text);
    apply_fail_later(a, &err);
    return false;
}

static void apply_read(struct agent *a)
{
    a->apply.all = true;
    read_begin(a);
}

static void reload_for(struct agent *a, const char *class, const char *reason)
{
    struct apply *p = &a->apply;
    plan_done(&p->plan);
    plan_reload(&p->plan, class, "%s", reason);
    p->round = ROUND_RELOAD;
    reload_begin(a);
}

/* HAProxy runs something else than what is in the directory. */
static void on_unknown(struct agent *a)
{
    struct err err;
    if (a->apply.round == ROUND_AFTER_RELOAD) {
        err_set(&err, ERR_HAPROXY, "the process behind %s did not load %s/" DISK_CONFIG " at the reload",
                a->config.runtime_socket, a->config.directory);
        apply_fail_later(a, &err);
        return;
    }
    a->apply.dropped = true;
    reload_for(a, "unknown", "what HAProxy runs was not loaded from this directory as it is");
}

static void on_read_ended(struct agent *a, enum read_outcome outcome, const struct err *err)
{
    switch (outcome) {
    case READ_EVERYTHING:
        a->known = true;
        apply_step_later(a, step_compare, 0);
        return;
    case READ_UNKNOWN:
        on_unknown(a);
        return;
    case READ_OTHER_VERSION: {
        CLEANUP(free_ptr) char *reason = xasprintf("HAProxy %s runs, and %s checks", a->caps.text, a->config.version);
        reload_for(a, "version", reason);
        return;
    }
    case READ_FAILED:
        a->apply.gives_way = false;
        apply_fail_later(a, err);
        return;
    }
}

/* ---- planning and running ---- */

static void plan_begin(struct agent *a)
{
    struct apply *p = &a->apply;
    touched_done(&p->touched);
    plan_done(&p->plan);
    batch_done(&p->batch);
    p->stage = 0;
    p->rereads = 0;
}

/* Runs the finished plan. */
static void plan_run(struct agent *a)
{
    struct apply *p = &a->apply;
    p->gives_way = false;
    if (!p->plan.reload) {
        if (p->all)
            pace_clear(a);
        step_batch(a);
        return;
    }
    agent_redact(a, &p->plan.reload);
    if (p->round == ROUND_AFTER_RELOAD) {
        struct err err;
        err_set(&err, ERR_HAPROXY, "after a reload still: %s", p->plan.reload);
        agent_forget_live(a, err.text);
        apply_fail(a, &err);
        return;
    }
    if (p->round == ROUND_REST) {
        step_batch(a);
        return;
    }
    int64_t wait = pace_wait_ns(a);
    if (wait > 0) {
        p->reload_after_ns = wait;
        free(p->reload_reason);
        p->reload_reason = xstrdup(p->plan.reload);
        free(a->owed_reason);
        a->owed_reason = xstrdup(p->plan.reload);
        a->reload_due_ns = clock_now_ns() + wait;
        a->reload_waits = true;
        uv_timer_start(&a->reload_timer, agent_on_reload_due, (uint64_t)(wait / NS_PER_MS) + 1, 0);
        step_batch(a);
        return;
    }
    p->round = ROUND_RELOAD;
    reload_begin(a);
}

static void step_walk(struct agent *a)
{
    struct apply *p = &a->apply;
    if (!walk_step(&p->walk, SLICE_NS)) {
        apply_step_later(a, step_walk, 0);
        return;
    }
    walk_done(&p->walk);
    walk_note_drift(a);
    p->drift = false;
    plan_run(a);
}

static void step_compare(struct agent *a)
{
    if (a->shapes_due)
        shapes_learn_all(a);
    a->shapes_due = false;
    plan_begin(a);
    walk_begin(a, &a->apply.walk);
    apply_step_later(a, step_walk, 0);
}

static void on_batch(void *ctx, const struct err *err, const struct runtime_answer *answers, size_t count)
{
    struct agent *a = ctx;
    struct apply *p = &a->apply;
    struct err own;
    (void)count;
    a->call = NULL;
    p->haproxy_ns += clock_now_ns() - p->asked_ns;
    if (err) {
        agent_forget_live(a, err->text);
        if (p->round == ROUND_FIRST && err->kind != ERR_SYS && err->kind != ERR_STALE) {
            own = *err;
            apply_surprise(a, &own, "io");
            return;
        }
        apply_fail(a, err);
        return;
    }
    if (batch_judge(a, &p->batch, answers, &own)) {
        if (p->round == ROUND_REST) {
            step_rest(a);
            return;
        }
        apply_surprise(a, &own, "answer");
        return;
    }
    if (p->stage < PLAN_STAGES) {
        step_batch(a);
        return;
    }
    if (touched_verify(a, &p->touched, answers, &own)) {
        if (p->rereads < REREADS_MAX)
            apply_step_later(a, step_reread, p->rereads ? (INT64_C(1) << (p->rereads - 1)) * NS_PER_MS : 0);
        else
            apply_surprise(a, &own, "readback");
        return;
    }
    touched_commit(a, &p->touched, answers);
    journal_end(a, &p->touched);
    apply_finish(a);
}

/* HAProxy ≥ 3.0 confirms a change of address before its threads have applied it, so it gets some time. */
static void step_reread(struct agent *a)
{
    struct apply *p = &a->apply;
    int64_t deadline_ns;
    batch_reads(a, &p->batch);
    if (!may_run(a, p->batch.commands.length, &deadline_ns))
        return;
    p->rereads++;
    p->asked_ns = clock_now_ns();
    a->call = runtime_run(a->loop, a->config.runtime_socket, p->batch.commands.items, p->batch.commands.length,
                          deadline_ns, AGENT_READ_MAX_BYTES, on_batch, a);
}

static void step_batch(struct agent *a)
{
    struct apply *p = &a->apply;
    int64_t deadline_ns;
    if (!batch_next(a, &p->batch)) {
        apply_step_later(a, apply_finish, 0);
        return;
    }
    if (!may_run(a, p->batch.commands.length, &deadline_ns))
        return;
    journal_begin(a, &p->touched);
    a->level = false;
    p->asked_ns = clock_now_ns();
    a->call = expect_run(a, p->batch.commands.items, p->batch.commands.length, deadline_ns, AGENT_READ_MAX_BYTES,
                         agent_gate, on_batch);
}

/* Compares again without the backends that did not react as expected: they have to wait for the reload. */
static void step_rest(struct agent *a)
{
    struct apply *p = &a->apply;
    if (p->rests++ < RESTS_MAX)
        apply_read(a);
    else
        apply_finish(a);
}

/* The reload failed before it began: runs the operations of the plan, then reports the failure. */
static void apply_rest(struct agent *a, const struct err *err)
{
    struct apply *p = &a->apply;
    p->err = *err;
    p->round = ROUND_REST;
    if (p->dropped)
        step_rest(a);
    else
        step_batch(a);
}

static void on_reload_ended(struct agent *a, enum reload_outcome outcome, const struct err *err)
{
    switch (outcome) {
    case RELOAD_RUNS:
        apply_read(a);
        return;
    case RELOAD_UNWRITTEN:
        apply_rest(a, err);
        return;
    case RELOAD_FAILED:
        apply_fail_later(a, err);
        return;
    }
}

void apply_begin(struct agent *a)
{
    struct apply *p = &a->apply;
    p->after_reload = on_reload_ended;
    p->after_read = on_read_ended;
    if (a->process && process_state(a->process) != PROCESS_RUNNING) {
        reload_wait_for_process(a);
        return;
    }
    if (a->leave_call && (p->all || !a->known)) {
        p->after_leave = apply_begin;
        return;
    }
    if (p->all || !a->known) {
        p->drift = a->live_ok && digest_equal(a->live_digest, model_digest(a->model, MODEL_ACCEPTED));
        p->gives_way = p->drift && a->known;
        apply_read(a);
        return;
    }
    /* The plan contains the changes already. */
    plan_run(a);
}
