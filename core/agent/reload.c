/* Everything that gives HAProxy a new process: a reload, and a start. Both write the directory under a new lineage
 * mark, and both end in an outcome. Then the apply reads the new state. A reload that fails leaves the old worker
 * running, so haproxy.cfg is restored to the text that this worker has.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/agent_state.h"
#include "base/alloc.h"
#include "base/log.h"

static void end(struct agent *a, enum reload_outcome outcome, const struct err *err)
{
    a->apply.after_reload(a, outcome, err);
}

static void count_reload(struct agent *a)
{
    struct apply *p = &a->apply;
    a->reloads++;
    p->reloaded = true;
    pace_reloaded(a);
    metric_add(metric_counter(a->metrics, "haptic_reloads_total", "Reloads and starts of HAProxy.", "reason",
                              p->reload_class ? p->reload_class : "start"),
               1);
}

/* The new process runs the written configuration: its view becomes the live one. */
static void take_next(struct agent *a)
{
    live_free(a->live);
    a->live = STEAL(a->next);
    a->shapes_due = true;
    memcpy(a->lineage, a->next_lineage, sizeof(a->lineage));
    a->disk_digest = a->writing_digest;
    a->level = true;
    a->known = true;
    journal_clear(a, UINT64_MAX);
}

static void after_restore(struct agent *a, const struct err *err)
{
    if (err)
        log_warn("Cannot restore haproxy.cfg after a failed reload", "error", err->text);
    expand_wipe(&a->previous_config);
    end(a, RELOAD_FAILED, &a->apply.err);
}

/* The old worker continues: the files on disk have to be those that it runs. */
static void reload_failed(struct agent *a, const struct err *err)
{
    struct disk_files files = {0};
    a->next = live_free(a->next);
    a->level = false;
    a->apply.err = *err;
    if (!a->previous_config.length || a->writing || a->prepare_pending) {
        /* There was no earlier text, or HAProxy has ended and is started with the accepted state. */
        expand_wipe(&a->previous_config);
        end(a, RELOAD_FAILED, &a->apply.err);
        return;
    }
    disk_files_add(&files, DISK_CONFIG, a->previous_config.data, a->previous_config.length);
    image_write(a, &files, false, after_restore);
    disk_files_done(&files);
}

static void on_reloaded(void *ctx, const struct master_reload_result *result)
{
    struct agent *a = ctx;
    a->reload_call = NULL;
    a->last_reload_ns = clock_now_ns();
    if (result->err) {
        struct err err = *result->err; /* HAProxy quotes the text that it refuses */
        vault_redact_err(a->config.vault, &err);
        if (err.kind != ERR_HAPROXY)
            a->worker_pid = 0; /* the reload may still happen, and is ours then */
        agent_forget_live(a, err.text);
        reload_failed(a, &err);
        return;
    }
    expand_wipe(&a->previous_config);
    take_next(a);
    a->worker_pid = result->worker_pid;
    a->workers_old = result->old_workers;
    count_reload(a);
    a->apply.round = ROUND_AFTER_RELOAD;
    end(a, RELOAD_RUNS, NULL);
}

static void after_reload_write(struct agent *a, const struct err *err)
{
    struct err refused;
    int64_t deadline_ns;
    if (err) {
        /* haproxy.cfg is written last, in one step, so it is still the text that HAProxy runs. Changes that need no
         * disk continue. */
        a->next = live_free(a->next);
        a->level = false;
        expand_wipe(&a->previous_config);
        end(a, RELOAD_UNWRITTEN, err);
        return;
    }
    if (agent_may_run(a, a->config.reload_deadline_ns, &deadline_ns, &refused)) {
        reload_failed(a, &refused);
        return;
    }
    expect_end(a);
    a->reload_call = master_reload(a->loop, a->config.master_socket, deadline_ns, on_reloaded, a);
}

static void step_reload_write(struct agent *a)
{
    struct disk_files files = {0};
    struct err err;
    if (a->writing) {
        a->step_after_write = step_reload_write;
        return;
    }
    if (agent_check_fence(a, &err)) {
        end(a, RELOAD_FAILED, &err);
        return;
    }
    buf_clear(&a->previous_config);
    (void)!disk_read(a->disk, DISK_CONFIG, 0x40000000, &a->previous_config, NULL);
    a->apply.digest = model_digest(a->model, MODEL_ACCEPTED);
    if (image_build(a, &files, true, &err) < 0) {
        expand_wipe(&a->previous_config);
        end(a, RELOAD_UNWRITTEN, &err);
        return;
    }
    image_write(a, &files, false, after_reload_write);
    disk_files_done(&files);
}

/* Without an answer, the former addresses are used. */
static void on_addresses(void *ctx, const struct err *err, const struct runtime_answer *answers, size_t count)
{
    struct agent *a = ctx;
    a->call = NULL;
    if (!err && count == 1)
        addresses_take(a, answers[0].text);
    step_reload_write(a);
}

static void step_addresses(struct agent *a)
{
    int64_t deadline_ns;
    struct err err;
    if (!addresses_exist(a) || agent_may_run(a, a->config.command_deadline_ns, &deadline_ns, &err)) {
        step_reload_write(a);
        return;
    }
    static const char *const commands[] = {"show servers state"};
    a->call = runtime_run(a->loop, a->config.runtime_socket, commands, 1, deadline_ns, 0, on_addresses, a);
}

void reload_begin(struct agent *a)
{
    struct apply *p = &a->apply;
    p->gives_way = false;
    free(p->reload_reason);
    p->reload_reason = STEAL(p->plan.reload);
    agent_redact(a, &p->reload_reason);
    p->reload_class = p->plan.reload_class;
    p->reload_after_ns = 0;
    uv_timer_stop(&a->reload_timer);
    acme_look(a, step_addresses);
}

/* ---- starting ---- */

/* Starts HAProxy with the last known good configuration, if there is one. */
static bool start_as_is(struct agent *a)
{
    CLEANUP(close_fd) int at = -1;
    struct stat status;
    struct err err;
    if (disk_directory_open(a->config.directory, &at, &err) < 0) {
        log_error("HAProxy is not started", "error", err.text);
        return false;
    }
    if (fstatat(at, DISK_CONFIG, &status, AT_SYMLINK_NOFOLLOW) < 0 || status.st_size == 0)
        return false;
    if (a->apply.state == APPLY_STARTS)
        a->apply.state = APPLY_AWAITS;
    a->prepare_pending = false;
    process_continue(a->process);
    return true;
}

static void after_start_write(struct agent *a, const struct err *err)
{
    if (err) {
        a->next = live_free(a->next);
        a->level = false;
        log_warn("Cannot write the HAProxy directory; HAProxy is started with the files that are there", "error",
                 err->text);
        if (!start_as_is(a) && a->apply.state)
            end(a, RELOAD_FAILED, err);
        return;
    }
    a->prepare_pending = false;
    process_continue(a->process);
}

static void step_start_write(struct agent *a)
{
    struct disk_files files = {0};
    struct err err;
    if (a->writing) {
        a->step_after_write = step_start_write;
        return;
    }
    /* The directory may have been removed. */
    if (disk_ensure(a->config.directory, &err) || agent_check_fence(a, &err)) {
        if (a->apply.state)
            end(a, RELOAD_FAILED, &err);
        return;
    }
    if (a->apply.state)
        a->apply.digest = model_digest(a->model, MODEL_ACCEPTED);
    if (image_build(a, &files, true, &err) < 0) {
        if (a->apply.state)
            end(a, RELOAD_FAILED, &err);
        else
            log_error("Cannot write the HAProxy directory; HAProxy is not started", "error", err.text);
        return;
    }
    image_write(a, &files, false, after_start_write);
    disk_files_done(&files);
}

void apply_prepare(struct agent *a)
{
    a->prepare_pending = true;
    /* The state that an earlier controller accepted is written only after the fence has admitted this controller. */
    if (a->fenced && !model_is_empty(a->model, MODEL_ACCEPTED)) {
        if (a->apply.state == APPLY_AWAITS)
            a->apply.state = APPLY_STARTS;
        step_start_write(a);
        return;
    }
    start_as_is(a); /* nothing may be written yet */
}

static void on_process_deadline(struct agent *a)
{
    struct err err;
    a->apply.state = APPLY_RUNS;
    err_set(&err, ERR_TIMEOUT, "HAProxy did not come up within the deadline (its process is %s)",
            process_state_name(process_state(a->process)));
    end(a, RELOAD_FAILED, &err);
}

void apply_process_ready(struct agent *a)
{
    a->live_is_new = a->next != NULL;
    if (a->next) {
        take_next(a);
        a->last_reload_ns = clock_now_ns();
        a->known = false; /* until it is read */
        expect_end(a);
    }
    bool is_ours = a->apply.state == APPLY_STARTS;
    if (a->apply.state < APPLY_AWAITS)
        return;
    a->apply.state = APPLY_RUNS;
    apply_step_drop(a);
    if (is_ours) {
        a->apply.reload_class = "start";
        free(a->apply.reload_reason);
        a->apply.reload_reason = xstrdup(a->restarts ? "restart" : "first start");
        count_reload(a);
        a->apply.round = ROUND_AFTER_RELOAD;
    }
    end(a, RELOAD_RUNS, NULL);
}

void apply_process_failed(struct agent *a, const char *reason)
{
    struct err err;
    if (a->apply.state < APPLY_AWAITS)
        return;
    a->apply.state = APPLY_RUNS;
    apply_step_drop(a);
    err_set(&err, ERR_HAPROXY, "HAProxy did not start: %s", reason);
    end(a, RELOAD_FAILED, &err);
}

void reload_wait_for_process(struct agent *a)
{
    a->apply.state = APPLY_AWAITS;
    apply_step_later(a, on_process_deadline, a->config.reload_deadline_ns);
    if (a->prepare_pending) {
        a->apply.state = APPLY_STARTS;
        step_start_write(a);
    } else if (process_state(a->process) == PROCESS_WAITING) {
        process_retry_now(a->process);
    }
}
