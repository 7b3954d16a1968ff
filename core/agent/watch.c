/* Each second (poll_interval_ns) the master is asked for its processes, and every other time the worker for any answer.
 * A worker that closes the connection, answers nonsense or does not answer within the deadline is reported at once. A
 * worker that cannot be reached is reported after the second time, because a master that re-executes itself is away for
 * a moment. An HAProxy that does not answer for long counts as not live, whatever the last apply has found.
 *
 * A worker that is stopped or in an endless loop still accepts connections (in the kernel), and serves none of them.
 * HAProxy's own watchdog ends a thread in an endless loop. Other cases (a stopped process, sockets that were removed
 * from the directory) are ended here, when HAProxy is our child and has answered before. Master and workers are killed
 * together, because a master ends its other workers in any case when one has died. A master that hangs while its worker
 * answers is left alone: requests are served, and only a reload needs the master.
 */
#include "agent/agent_state.h"

#define PROBE_EACH 2
#define WARN_NS (30 * NS_PER_S)

static void watched_answers(struct watched *w, const char *who)
{
    if (w->warned)
        log_info("HAProxy answers again", "process", who, "silent", log_duration(clock_now_ns() - w->silent_since_ns));
    w->unanswered = 0;
    w->silent_since_ns = 0;
    w->has_answered = true;
    w->warned = false;
}

static void watched_fails(struct agent *a, struct watched *w, const char *who, const struct err *err, int64_t asked_ns)
{
    uint64_t similar;
    if (!w->unanswered++)
        w->silent_since_ns = asked_ns;
    metric_add(metric_counter(a->metrics, "haptic_haproxy_unanswered_total",
                              "Health checks of HAProxy without a valid answer.", "process", who),
               1);
    if ((err->kind == ERR_SYS && w->unanswered < 2) || !log_limit_pass(&w->limit, WARN_NS, &similar))
        return;
    w->warned = true;
    CLEANUP(free_ptr) char *clean = agent_redacted(a, err->text);
    log_warn("HAProxy does not answer correctly", "process", who, "error", clean, "unanswered",
             log_int((int64_t)w->unanswered), "similar", log_int((int64_t)similar));
}

static int64_t patience_ns(const struct agent *a)
{
    return (int64_t)a->config.hung_attempts * a->config.command_deadline_ns;
}

static bool watched_is_silent(const struct agent *a, const struct watched *w)
{
    return w->unanswered >= a->config.hung_attempts && clock_now_ns() - w->silent_since_ns >= patience_ns(a);
}

bool watch_is_silent(const struct agent *a)
{
    return watched_is_silent(a, &a->master_watched) || watched_is_silent(a, &a->worker_watched);
}

void watch_reset(struct agent *a)
{
    watch_cancel(a);
    a->master_watched = a->worker_watched = (struct watched){0};
}

void watch_cancel(struct agent *a)
{
    if (a->poll_call)
        master_cancel(STEAL(a->poll_call));
    if (a->probe_call)
        runtime_cancel(STEAL(a->probe_call));
}

/* ---- the worker ---- */

static void restart_hung(struct agent *a)
{
    struct watched *w = &a->worker_watched;
    if (!a->process || !w->has_answered || !watched_is_silent(a, w) || process_state(a->process) != PROCESS_RUNNING)
        return;
    log_error("HAProxy hangs; it is killed and started again", "worker", log_int(a->worker_pid), "silent",
              log_duration(clock_now_ns() - w->silent_since_ns), "unanswered", log_int((int64_t)w->unanswered));
    metric_add(metric_counter(a->metrics, "haptic_haproxy_hung_total",
                              "HAProxy processes that were killed because they did not answer."),
               1);
    w->has_answered = false; /* act once: answers may be missing until its death is seen */
    process_restart(a->process, a->worker_pid);
}

static void on_probe_answer(void *ctx, const struct err *err, const struct runtime_answer *answers, size_t count)
{
    struct agent *a = ctx;
    struct haproxy_caps caps;
    struct err none;
    int64_t asked_ns = a->probe_ns;
    a->probe_call = NULL;
    if (!err && (count != 1 || haproxy_version_parse(answers[0].text, &caps, NULL))) {
        err_set(&none, ERR_IO, "%s: '%.100s' is no answer to 'show version'", a->config.runtime_socket,
                count ? answers[0].text : "");
        err = &none;
    }
    if (!err) {
        watched_answers(&a->worker_watched, "worker");
        return;
    }
    watched_fails(a, &a->worker_watched, "worker", err, asked_ns);
    restart_hung(a);
}

static void probe_begin(struct agent *a)
{
    static const char *const commands[] = {"show version"};
    a->probe_ns = clock_now_ns();
    a->probe_call = runtime_run(a->loop, a->config.runtime_socket, commands, 1, a->config.command_deadline_ns, 0,
                                on_probe_answer, a);
}

/* ---- the master ---- */

static void master_fails(struct agent *a, const struct err *err)
{
    watched_fails(a, &a->master_watched, "master", err, a->poll_ns);
    if (!a->process && a->running) {
        a->running = false;
        agent_forget_live(a, err->text);
        agent_tell(a, "HAProxy does not answer");
    }
}

bool watch_note_worker(struct agent *a, int pid)
{
    int before = a->worker_pid;
    a->worker_pid = pid;
    if (!before || before == pid)
        return before == pid;
    log_warn("HAProxy was reloaded by another program; comparing everything", "worker", log_int(pid), "before",
             log_int(before));
    metric_add(metric_counter(a->metrics, "haptic_haproxy_foreign_reloads_total",
                              "HAProxy workers that another program's reload has started."),
               1);
    return false;
}

/* A reload keeps the master's pid and age, and increases its count of reloads. In a container each master has the same
 * pid. A new master is younger, so it has fewer reloads or its age is below the time since the last answer. The uptime
 * has whole seconds. */
bool watch_is_another_master(const struct master_seen *before, const struct master_process *now, int64_t asked_ns)
{
    if (!before->pid || now->pid != before->pid)
        return before->pid != 0;
    if (now->uptime_s >= before->uptime_s)
        return false;
    return now->reloads < before->reloads ||
           (now->reloads == before->reloads && (now->uptime_s + 1) * NS_PER_S < asked_ns - before->answered_ns);
}

/* Nothing tells an agent that an attached HAProxy has ended. The agent sees that another process runs in its place. */
static void note_master(struct agent *a, const struct master_process *now)
{
    if (a->process)
        return;
    if (watch_is_another_master(&a->master_seen, now, a->poll_ns)) {
        log_error("HAProxy died; it was started again", "master", log_int(now->pid), "uptime",
                  log_duration(now->uptime_s * NS_PER_S));
        agent_count_death(a);
    }
    a->master_seen = (struct master_seen){
        .pid = now->pid, .reloads = now->reloads, .uptime_s = now->uptime_s, .answered_ns = clock_now_ns()};
}

static void on_poll_answer(void *ctx, const struct err *err, const struct master_state *state)
{
    struct agent *a = ctx;
    a->poll_call = NULL;
    if (err) {
        master_fails(a, err);
        return;
    }
    watched_answers(&a->master_watched, "master");
    note_master(a, &state->master);
    a->workers_old = (unsigned)state->old_workers.length;
    pace_note_workers(a, state);
    metric_set(metric_gauge(a->metrics, "haptic_haproxy_old_workers",
                            "Workers from before a reload that still have connections."),
               a->workers_old);
    int worker = state->workers.length ? state->workers.items[0].pid : 0;
    bool back = !a->process && !a->running;
    a->master_pid = state->master.pid;
    a->running = true;
    /* While an apply runs, the new worker may be that of the apply, which then sets worker_pid. */
    if (a->apply.state || !worker || worker == a->worker_pid)
        return;
    bool replaced = a->worker_pid != 0;
    if (a->running && !back)
        (void)watch_note_worker(a, worker);
    a->worker_pid = worker;
    if (!replaced && !back)
        return;
    agent_forget_live(a, "another worker");
    agent_tell(a, back ? "HAProxy answers again" : "HAProxy was reloaded by another program");
}

void watch_begin(struct agent *a)
{
    /* A process that is starting or reloading has a deadline of its own. */
    if ((a->process && process_state(a->process) != PROCESS_RUNNING) || a->reload_call)
        return;
    if (!a->poll_call) {
        a->poll_ns = clock_now_ns();
        a->poll_call = master_show_proc(a->loop, a->config.master_socket, a->config.command_deadline_ns, on_poll_answer,
                                        a);
    }
    if (a->polls++ % PROBE_EACH == 0 && !a->probe_call && a->running)
        probe_begin(a);
}
