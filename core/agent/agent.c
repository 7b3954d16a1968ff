/* Life of an agent: its handles, and its HAProxy's process. apply.c has the steps of an apply. Changes are turned into
 * a plan within agent_apply(), before the model can change again. All later steps work on copies.
 */
#include "agent/agent.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/agent_state.h"
#include "base/alloc.h"
#include "base/log.h"

#define GIVES_WAY_MAX 9 /* comparisons in a row that end for a change */

static void on_predecessor_ended(uv_timer_t *timer)
{
    agent_tell(timer->data, "the last commands of the writer before have ended");
}

/* ---- the process ---- */

static void on_prepare(void *ctx)
{
    apply_prepare(ctx);
}

static void on_running(void *ctx, const struct master_state *state, bool adopted)
{
    struct agent *a = ctx;
    bool waited = a->apply.state >= APPLY_AWAITS;
    a->running = true;
    a->master_pid = state->master.pid;
    a->worker_pid = state->workers.length ? state->workers.items[0].pid : 0;
    watch_reset(a);
    agent_forget_live(a, adopted ? "adopted" : "started");
    apply_process_ready(a);
    if (!waited)
        agent_tell(a, adopted ? "HAProxy was found running" : "HAProxy was started");
}

static void on_died(void *ctx, const char *reason)
{
    struct agent *a = ctx;
    a->running = false;
    a->restarts++;
    a->worker_pid = a->master_pid = 0;
    log_error("HAProxy died; it is started again", "reason", reason);
    agent_forget_live(a, "HAProxy died");
    apply_abort(a, "HAProxy died");
    agent_count_death(a);
    agent_tell(a, "HAProxy died");
}

static void on_start_failed(void *ctx, const char *reason, const char *output)
{
    struct agent *a = ctx;
    CLEANUP(free_ptr) char *clean = agent_redacted(a, output);
    log_error("HAProxy did not start", "reason", reason, "output", clean);
    a->next = live_free(a->next);
    apply_process_failed(a, reason);
}

/* HAProxy's alerts are repeated in our log. Its warnings and notices are not: at each reload it writes one for each
 * proxy, and for each server that comes or goes, which would be ten thousand useless lines. Everything else that it
 * writes is its access log, which stays where HAProxy writes it. */
static enum log_level output_level(const char *line)
{
    static const struct {
        const char *tag;
        enum log_level level;
    } tags[] = {{"[EMERG]", LOG_WARN},
                {"[ALERT]", LOG_WARN},
                {"[CRIT]", LOG_WARN},
                {"[WARNING]", LOG_DEBUG},
                {"[NOTICE]", LOG_DEBUG}};
    for (size_t i = 0; i < ARRAY_LEN(tags); i++)
        if (strncmp(line, tags[i].tag, strlen(tags[i].tag)) == 0)
            return strstr(line, "has no server available") ? LOG_DEBUG : tags[i].level;
    return LOG_TRACE;
}

static void on_output(void *ctx, const char *line)
{
    enum log_level level = output_level(line);
    if (!log_enabled(level))
        return;
    CLEANUP(free_ptr) char *clean = agent_redacted(ctx, line);
    log_write(level, "haproxy", "line", clean, (char *)NULL);
}

static void on_poll_timer(uv_timer_t *timer)
{
    struct agent *a = timer->data;
    watch_begin(a);
    leave_begin(a);
    list_proof_begin(a);
    acme_begin(a);
}

/* ---- public functions ---- */

static void config_copy(struct agent *a, const struct agent_config *config)
{
    struct agent_config *c = &a->config;
    *c = *config;
    c->directory = xstrdup(config->directory);
    c->binary = xstrdup(config->binary ? config->binary : "haproxy");
    c->version = config->version ? xstrdup(config->version) : NULL;
    c->master_socket = config->master_socket ? xstrdup(config->master_socket)
                                             : xasprintf("%s/master.sock", config->directory);
    c->runtime_socket = config->runtime_socket ? xstrdup(config->runtime_socket)
                                               : xasprintf("%s/runtime.sock", config->directory);
    if (!c->command_deadline_ns)
        c->command_deadline_ns = 5 * NS_PER_S;
    if (!c->reload_deadline_ns)
        c->reload_deadline_ns = 30 * NS_PER_S;
    if (!c->min_reload_interval_ns)
        c->min_reload_interval_ns = 2 * NS_PER_S;
    if (!c->disk_delay_ns)
        c->disk_delay_ns = NS_PER_S;
    if (!c->hung_attempts)
        c->hung_attempts = 3;
    if (!c->poll_interval_ns)
        c->poll_interval_ns = NS_PER_S;
    if (!c->predecessor_ns)
        c->predecessor_ns = 12 * NS_PER_S;
    if (!c->drain_ns)
        c->drain_ns = 300 * NS_PER_S;
    if (!c->order_retry_ns)
        c->order_retry_ns = 300 * NS_PER_S;
}

void agent_set_times(struct agent *a, int64_t reload_deadline_ns, int64_t min_reload_interval_ns)
{
    a->config.reload_deadline_ns = reload_deadline_ns ? reload_deadline_ns : 30 * NS_PER_S;
    a->config.min_reload_interval_ns = min_reload_interval_ns ? min_reload_interval_ns : 2 * NS_PER_S;
}

void agent_reload_at_once(struct agent *a)
{
    a->last_reload_ns = 0;
}

static void timer_open(struct agent *a, uv_timer_t *timer)
{
    uv_timer_init(a->loop, timer);
    timer->data = a;
    a->open_handles++;
}

struct agent *agent_new(uv_loop_t *loop, const struct agent_config *config, struct model *model,
                        struct metrics *metrics, void (*changed)(void *ctx, const char *what), void *ctx,
                        struct err *err)
{
    struct agent *a = xcalloc(1, sizeof(*a));
    a->loop = loop;
    a->model = model;
    a->metrics = metrics;
    a->changed = changed;
    a->ctx = ctx;
    a->live = live_new();
    pace_learn(a, "");
    a->journal_fd = -1;
    config_copy(a, config);
    acme_init(a);
    a->disk = disk_open(loop, a->config.directory, err);
    if (!a->disk) {
        agent_free(a);
        return NULL;
    }
    if (a->config.supervise) {
        const struct process_config process = {
            .binary = a->config.binary, .directory = a->config.directory, .master_socket = a->config.master_socket};
        static const struct process_events events = {.prepare = on_prepare,
                                                     .running = on_running,
                                                     .died = on_died,
                                                     .start_failed = on_start_failed,
                                                     .output = on_output};
        a->process = process_new(loop, &process, &events, a, err);
        if (!a->process) {
            agent_free(a);
            return NULL;
        }
    }
    timer_open(a, &a->step_timer);
    uv_idle_init(loop, &a->step_idle);
    a->step_idle.data = a;
    a->open_handles++;
    timer_open(a, &a->poll_timer);
    timer_open(a, &a->disk_timer);
    timer_open(a, &a->reload_timer);
    timer_open(a, &a->predecessor_timer);
    uint64_t poll_ms = (uint64_t)(a->config.poll_interval_ns / NS_PER_MS);
    uv_timer_start(&a->poll_timer, on_poll_timer, poll_ms, poll_ms);
    if (a->process)
        process_start(a->process);
    return a;
}

/* A writer that was stopped between its check of the fence and its write may still write for a while. */
static void await_predecessor(struct agent *a, const struct fence *fence)
{
    const struct fence_record *before = &a->apply.highest;
    const char *holder = fence->holder ? fence->holder : "";
    if (before->transitions == INT64_MIN ||
        (before->transitions == fence->transitions && strcmp(before->holder, holder) == 0))
        return;
    uv_timer_start(&a->predecessor_timer, on_predecessor_ended, (uint64_t)(a->config.predecessor_ns / NS_PER_MS), 0);
}

static int fence_take(struct agent *a, const struct fence *fence, struct err *err)
{
    struct apply *p = &a->apply;
    int result = fence_raise(a->config.directory, fence, &p->highest, err);
    if (p->highest.is_damaged)
        log_warn("The fence file was damaged and counts as empty; it is written anew", "file", "fence", "directory",
                 a->config.directory);
    if (result == 0)
        await_predecessor(a, fence);
    /* The directory, or a part of it, may have been removed. */
    if ((result && (err->kind == ERR_SYS || err->kind == ERR_NOTFOUND)) || (result == 0 && p->all))
        result = disk_ensure(a->config.directory, err) || fence_raise(a->config.directory, fence, &p->highest, err);
    return result ? -1 : 0;
}

/* Since this writer's last check, another one may have written: words of servers and files are read again. */
static void term_begin(struct agent *a, const struct fence *fence)
{
    if (a->fenced && fence->transitions == a->last_fence.transitions)
        return;
    a->files_foreign = true;
    if (!a->fenced)
        return;
    bool serves = a->serves;
    agent_forget_live(a, "a new term");
    a->serves = serves; /* HAProxy itself has not changed */
}

bool agent_apply(struct agent *a, struct model_changes *changes, const struct fence *fence, agent_done *done, void *ctx)
{
    struct apply *p = &a->apply;
    struct err err;
    if (p->state || a->stopping)
        return false;
    p->state = APPLY_RUNS;
    p->done = done;
    p->ctx = ctx;
    p->start_ns = clock_now_ns();
    p->all = changes == NULL;
    p->digest = model_digest(a->model, MODEL_ACCEPTED);
    if (fence_take(a, fence, &err)) {
        agent_forget_live(a, err.text);
        if (changes)
            vec_clear(&changes->items);
        p->err = err;
        apply_step_later(a, apply_finish, 0);
        return true;
    }
    term_begin(a, fence);
    a->fenced = p->just_raised = true;
    a->last_fence = (struct fence_record){.transitions = fence->transitions, .generation = fence->generation};
    snprintf(a->last_fence.holder, sizeof(a->last_fence.holder), "%s", fence->holder ? fence->holder : "");
    if (changes) {
        if (a->known)
            touch_changes(a, &p->touched, changes, &p->plan);
        p->all = p->all || leave_meets(a, &p->touched);
        vec_clear(&changes->items);
    }
    apply_begin(a);
    p->just_raised = false;
    return true;
}

/* Nothing is planned or written yet. The live view keeps the answers of HAProxy, because they are right. */
void agent_give_way(struct agent *a)
{
    struct apply *p = &a->apply;
    if (p->state != APPLY_RUNS || !p->gives_way || !a->known || p->after_leave || a->ways_given >= GIVES_WAY_MAX)
        return;
    if (a->call)
        runtime_cancel(STEAL(a->call));
    a->ways_given++;
    p->gives_way = false;
    p->gave_way = true;
    apply_step_later(a, apply_finish, 0);
}

bool agent_busy(const struct agent *a)
{
    return a->apply.state != APPLY_NONE;
}

void agent_status(const struct agent *a, struct agent_status *ret_status)
{
    *ret_status = (struct agent_status){.running = a->running,
                                        .live = a->live_ok && a->known && !watch_is_silent(a),
                                        .serves = a->serves && !watch_is_silent(a),
                                        .known = a->known,
                                        .haproxy_pid = a->process ? process_pid(a->process) : a->master_pid,
                                        .workers_old = a->workers_old,
                                        .reloads = a->reloads,
                                        .restarts = a->restarts,
                                        .operations = a->operations,
                                        .drift_repairs = a->drift_repairs,
                                        .caps = a->caps};
}

/* ---- the end ---- */

static void on_closed(uv_handle_t *handle)
{
    struct agent *a = handle->data;
    if (--a->open_handles == 0) {
        a->closed = true;
        if (a->stopped)
            a->stopped(a->stopped_ctx);
    }
}

static void stop_handles(struct agent *a)
{
    uv_close((uv_handle_t *)&a->step_timer, on_closed);
    uv_close((uv_handle_t *)&a->step_idle, on_closed);
    uv_close((uv_handle_t *)&a->poll_timer, on_closed);
    uv_close((uv_handle_t *)&a->disk_timer, on_closed);
    uv_close((uv_handle_t *)&a->reload_timer, on_closed);
    uv_close((uv_handle_t *)&a->predecessor_timer, on_closed);
}

static void on_process_stopped(void *ctx)
{
    stop_handles(ctx);
}

static void stop_process(struct agent *a)
{
    if (a->process && a->stop_haproxy)
        process_stop(a->process, a->grace_ns, on_process_stopped, a);
    else
        stop_handles(a);
}

/* Saves the certificates that HAProxy has obtained, writes the directory if it is behind, and stops the process. */
static void stop_step(struct agent *a)
{
    if (a->writing) {
        a->step_after_write = stop_step;
        return;
    }
    if (!a->stop_looked) {
        a->stop_looked = true;
        acme_look(a, stop_step);
        return;
    }
    acme_save(a);
    if (a->writing) {
        a->step_after_write = stop_step;
        return;
    }
    if (!a->stop_wrote) {
        a->stop_wrote = true;
        if (level_now(a)) {
            a->step_after_write = stop_step;
            return;
        }
    }
    level_done(a);
    stop_process(a);
}

void agent_stop(struct agent *a, bool stop_haproxy, int64_t grace_ns, void (*stopped)(void *ctx), void *ctx)
{
    if (a->stopping)
        return;
    a->stopping = true;
    a->stopped = stopped;
    a->stopped_ctx = ctx;
    a->stop_haproxy = stop_haproxy;
    a->grace_ns = grace_ns;
    bool was_known = a->known;
    bool was_busy = agent_busy(a);
    apply_cancel(a);
    expect_end(a);
    a->known = was_known && !was_busy;
    watch_cancel(a);
    if (a->leave_call)
        runtime_cancel(STEAL(a->leave_call));
    list_proof_cancel(a);
    uv_timer_stop(&a->poll_timer);
    uv_timer_stop(&a->disk_timer);
    uv_timer_stop(&a->reload_timer);
    uv_timer_stop(&a->predecessor_timer);
    apply_step_later(a, stop_step, 0);
}

struct agent *agent_free(struct agent *a)
{
    if (!a)
        return NULL;
    process_free(a->process);
    disk_free(a->disk);
    live_free(a->live);
    live_free(a->next);
    map_done(&a->shapes);
    map_done(&a->contested_maps);
    touched_done(&a->apply.touched);
    plan_done(&a->apply.plan);
    batch_done(&a->apply.batch);
    plan_done(&a->leave_plan);
    expand_wipe(&a->previous_config);
    close_fd(&a->journal_fd);
    free(a->first_altered);
    free(a->owed_reason);
    pace_done(a);
    addresses_done(a);
    acme_done(a);
    free((char *)(uintptr_t)a->config.version);
    free((char *)(uintptr_t)a->config.directory);
    free((char *)(uintptr_t)a->config.binary);
    free((char *)(uintptr_t)a->config.master_socket);
    free((char *)(uintptr_t)a->config.runtime_socket);
    free(a);
    return NULL;
}
