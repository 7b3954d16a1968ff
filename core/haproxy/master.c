/* A chain of runtime_run() calls, one after another, with one deadline.
 *
 *     reload:  show proc (who runs now?) ──► reload ──Success=…──► (failed: done)
 *                                               └──hung up──► show proc, again and again, until the count of reloads has grown (2.6)
 *              then ──► show proc (who is new?) ──► is the former worker stopping? ──► done
 *
 * The last step is necessary because old and new worker share their listening sockets for a moment. Until the old
 * worker has closed them, a connection to the runtime socket may still reach it. It reports `Stopping: 1` as soon as it
 * has closed them.
 */
#include "haproxy/master.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "haproxy/runtime.h"

#define ALERTS_MAX 600
#define POLL_MS 20
#define ANSWER_BYTES ((size_t)4 << 20)
#define PROCESSES_MAX 4096

enum step { STEP_STATE, STEP_BEFORE, STEP_RELOAD, STEP_AFTER, STEP_FORMER };

struct master_call {
    uv_loop_t *loop;
    uv_timer_t pause;
    char *path;
    enum step step;
    struct runtime_call *run; /* the running call, or NULL */
    int64_t deadline_at_ns;
    bool polling; /* the result of the reload is read from show proc */
    struct master_state before, now;
    size_t former; /* index in before.workers of the worker that is asked whether it stops */
    char *log;
    master_state_cb *state_done;
    master_reload_cb *reload_done;
    void *ctx;
};

void master_state_done(struct master_state *s)
{
    vec_done(&s->workers);
    vec_done(&s->old_workers);
    memset(s, 0, sizeof(*s));
}

/* "0d00h01m02s" */
static int64_t uptime_s(const char *text)
{
    int64_t d = 0, h = 0, m = 0, s = 0;
    int length = 0;
    if (sscanf(text, "%5" SCNd64 "d%2" SCNd64 "h%2" SCNd64 "m%2" SCNd64 "s%n", &d, &h, &m, &s, &length) != 4 ||
        length == 0 || d < 0)
        return 0;
    return ((d * 24 + h) * 60 + m) * 60 + s;
}

int master_state_parse(const char *show_proc, struct master_state *ret_state, struct err *err)
{
    struct master_state state = {0};
    bool old = false;
    for (const char *line = show_proc; *line;) {
        size_t length = strcspn(line, "\n");
        char copy[256], type[32] = "", rest[128] = "";
        snprintf(copy, sizeof(copy), "%.*s", (int)(length < sizeof(copy) ? length : sizeof(copy) - 1), line);
        line += length + (line[length] == '\n');
        if (copy[0] == '#') {
            old = strncmp(copy, "# old workers", 13) == 0;
            continue;
        }
        struct master_process process = {0};
        if (sscanf(copy, "%9d %31s %9u %127[^\n]", &process.pid, type, &process.reloads, rest) < 3 || process.pid <= 0)
            continue;
        unsigned failed = 0;
        const char *p = rest;
        const char *bracket = strchr(p, ']');
        if (bracket && sscanf(p, "[failed: %9u]", &failed) == 1)
            p = bracket + 1;
        p += strspn(p, " ");
        process.uptime_s = uptime_s(p);
        p += strcspn(p, " ");
        p += strspn(p, " ");
        snprintf(process.version, sizeof(process.version), "%.*s", (int)strcspn(p, " "), p);
        if (strcmp(type, "master") == 0) {
            state.master = process;
            state.last_reload_failed = failed > 0;
        } else if (strcmp(type, "worker") == 0 && state.workers.length + state.old_workers.length < PROCESSES_MAX) {
            if (old)
                vec_push(&state.old_workers, process);
            else
                vec_push(&state.workers, process);
        }
    }
    if (state.master.pid == 0) {
        master_state_done(&state);
        return err_set(err, ERR_IO, "no master in the answer to \"show proc\": \"%.80s\"", show_proc);
    }
    /* After a failed reload, newer masters list the remaining worker among the old ones. */
    if (state.workers.length == 0 && state.old_workers.length > 0) {
        size_t newest = 0;
        for (size_t i = 1; i < state.old_workers.length; i++)
            if (state.old_workers.items[i].reloads < state.old_workers.items[newest].reloads)
                newest = i;
        vec_push(&state.workers, state.old_workers.items[newest]);
        vec_swap_remove(&state.old_workers, newest);
    }
    *ret_state = state;
    return 0;
}

static void call_closed(uv_handle_t *handle)
{
    struct master_call *call = handle->data;
    master_state_done(&call->before);
    master_state_done(&call->now);
    free(call->path);
    free(call->log);
    free(call);
}

static void call_end(struct master_call *call, const struct err *err)
{
    if (call->state_done) {
        call->state_done(call->ctx, err, err ? NULL : &call->now);
    } else {
        struct master_reload_result result = {.err = err, .log = call->log ? call->log : ""};
        if (!err && call->now.workers.length > 0) {
            result.worker_pid = call->now.workers.items[0].pid;
            result.old_workers = (unsigned)call->now.old_workers.length;
        }
        call->reload_done(call->ctx, &result);
    }
    uv_close((uv_handle_t *)&call->pause, call_closed);
}

static void on_answer(void *ctx, const struct err *err, const struct runtime_answer *answers, size_t count);

/* Runs the command of the current step. */
static void call_step(struct master_call *call)
{
    char command[64];
    snprintf(command, sizeof(command), "show proc");
    if (call->step == STEP_RELOAD)
        snprintf(command, sizeof(command), "reload");
    if (call->step == STEP_FORMER)
        snprintf(command, sizeof(command), "@!%d show info", call->before.workers.items[call->former].pid);
    const char *commands[] = {command};
    int64_t left = call->deadline_at_ns - clock_now_ns();
    /* A lost answer to a question that can be repeated must not use up the whole time. */
    if (call->polling && left > NS_PER_S)
        left = NS_PER_S;
    call->run = runtime_run(call->loop, call->path, commands, 1, left, ANSWER_BYTES, on_answer, call);
}

static void on_pause(uv_timer_t *timer)
{
    call_step(timer->data);
}

/* Repeats the step a little later, or ends when the time is over. */
static void call_poll(struct master_call *call, const struct err *last)
{
    if (clock_now_ns() >= call->deadline_at_ns) {
        struct err err;
        err_set(&err, ERR_TIMEOUT, "HAProxy at %s: the reload was neither done nor refused in time%s%s", call->path,
                last ? ": " : "", last ? last->text : "");
        call_end(call, &err);
        return;
    }
    uv_timer_start(&call->pause, on_pause, POLL_MS, 0);
}

/* True for a worker that ran before the reload. */
static bool was_there(const struct master_call *call, int pid)
{
    for (size_t i = 0; i < call->before.workers.length; i++)
        if (call->before.workers.items[i].pid == pid)
            return true;
    for (size_t i = 0; i < call->before.old_workers.length; i++)
        if (call->before.old_workers.items[i].pid == pid)
            return true;
    return false;
}

static bool is_listed(const struct master_state *s, int pid)
{
    for (size_t i = 0; i < s->old_workers.length; i++)
        if (s->old_workers.items[i].pid == pid)
            return true;
    return false;
}

/* Continues with the next former worker that still exists, or ends with success. */
static void ask_former(struct master_call *call)
{
    while (call->former < call->before.workers.length &&
           !is_listed(&call->now, call->before.workers.items[call->former].pid))
        call->former++;
    if (call->former == call->before.workers.length) {
        call_end(call, NULL);
        return;
    }
    call->step = STEP_FORMER;
    call_step(call);
}

/* The first alerts, which contain the error and its place. */
static void add_alerts(const char *log, struct buf *out)
{
    for (const char *line = log; *line && out->length < ALERTS_MAX;) {
        size_t length = strcspn(line, "\n");
        const char *text = memmem(line, length, "[ALERT]", 7);
        const char *words = text ? memmem(text, length - (size_t)(text - line), ": ", 2) : NULL;
        if (words)
            buf_printf(out, ": %.*s", (int)(length - (size_t)(words + 2 - line)), words + 2);
        line += length + (line[length] == '\n');
    }
    if (out->length > ALERTS_MAX)
        out->length = ALERTS_MAX;
}

static void on_reload(struct master_call *call, const struct err *err, const char *answer)
{
    if (err && err->kind != ERR_IO) {
        call_end(call, err);
        return;
    }
    call->step = STEP_AFTER;
    if (err) { /* the connection ended without an answer: 2.6, or a dead master */
        call->polling = true;
        call_poll(call, err);
        return;
    }
    const char *log = strstr(answer, "\n--\n");
    call->log = xstrdup(log ? log + 4 : "");
    if (strncmp(answer, "Success=1", 9) == 0) {
        call_step(call);
        return;
    }
    struct err refused;
    CLEANUP(buf_done) struct buf alerts = {0};
    add_alerts(call->log, &alerts);
    if (strncmp(answer, "Success=0", 9) == 0)
        err_set(&refused, ERR_HAPROXY, "HAProxy at %s refused the configuration at the reload%.*s", call->path,
                (int)alerts.length, buf_str(&alerts));
    else
        err_set(&refused, ERR_HAPROXY, "HAProxy at %s: reload: %.200s", call->path, answer);
    call_end(call, &refused);
}

static void on_after(struct master_call *call, const struct err *err)
{
    if (!call->polling) { /* the reload has succeeded; the new pid is only additional information */
        if (err)
            call_end(call, NULL);
        else
            ask_former(call);
        return;
    }
    bool reloaded = !err && call->now.master.reloads > call->before.master.reloads;
    if (reloaded && call->now.last_reload_failed) {
        struct err refused;
        err_set(&refused, ERR_HAPROXY, "HAProxy at %s refused the configuration at the reload", call->path);
        call_end(call, &refused);
    } else if (reloaded && call->now.workers.length > 0 && !was_there(call, call->now.workers.items[0].pid)) {
        ask_former(call);
    } else {
        call_poll(call, err);
    }
}

static void on_answer(void *ctx, const struct err *err, const struct runtime_answer *answers, size_t count)
{
    struct master_call *call = ctx;
    struct err bad = {0};
    call->run = NULL;
    const char *answer = count > 0 ? answers[0].text : "";
    if (!err && (call->step == STEP_STATE || call->step == STEP_BEFORE || call->step == STEP_AFTER)) {
        master_state_done(&call->now);
        if (master_state_parse(answer, &call->now, &bad) < 0)
            err = &bad;
    }
    switch (call->step) {
    case STEP_STATE:
        call_end(call, err);
        break;
    case STEP_BEFORE:
        if (err) {
            call_end(call, err);
            break;
        }
        call->before = call->now;
        memset(&call->now, 0, sizeof(call->now));
        call->step = STEP_RELOAD;
        call_step(call);
        break;
    case STEP_RELOAD:
        on_reload(call, err, answer);
        break;
    case STEP_AFTER:
        on_after(call, err);
        break;
    case STEP_FORMER:
        /* The former worker has ended or does not listen any more: both end the wait. */
        if (!err && strstr(answer, "\nStopping: 0\n") && clock_now_ns() < call->deadline_at_ns) {
            uv_timer_start(&call->pause, on_pause, 1, 0);
        } else {
            call->former++;
            ask_former(call);
        }
        break;
    }
}

static struct master_call *call_new(uv_loop_t *loop, const char *path, int64_t deadline_ns, enum step step, void *ctx)
{
    struct master_call *call = xcalloc(1, sizeof(*call));
    call->loop = loop;
    call->path = xstrdup(path);
    call->deadline_at_ns = clock_now_ns() + deadline_ns;
    call->step = step;
    call->ctx = ctx;
    uv_timer_init(loop, &call->pause);
    call->pause.data = call;
    return call;
}

struct master_call *master_show_proc(uv_loop_t *loop, const char *master_socket, int64_t deadline_ns,
                                     master_state_cb *done, void *ctx)
{
    struct master_call *call = call_new(loop, master_socket, deadline_ns, STEP_STATE, ctx);
    call->state_done = done;
    call_step(call);
    return call;
}

struct master_call *master_reload(uv_loop_t *loop, const char *master_socket, int64_t deadline_ns,
                                  master_reload_cb *done, void *ctx)
{
    struct master_call *call = call_new(loop, master_socket, deadline_ns, STEP_BEFORE, ctx);
    call->reload_done = done;
    call_step(call);
    return call;
}

void master_cancel(struct master_call *call)
{
    assert(!uv_is_closing((uv_handle_t *)&call->pause));
    if (call->run)
        runtime_cancel(call->run);
    uv_close((uv_handle_t *)&call->pause, call_closed);
}
