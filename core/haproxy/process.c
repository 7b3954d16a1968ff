/* One timer drives the states (polls while adopting and starting, back-off while waiting, escalation while stopping).
 * The end of a child comes from libuv, the end of an adopted process from a pidfd. A function calls the owner as its
 * last action, so that the owner may stop or free the supervision in the call. process_ask.c finds out whether an
 * HAProxy exists and answers.
 */
#include "haproxy/process.h"

#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/alloc.h"
#include "haproxy/disk.h"
#include "haproxy/process_internal.h"

#define START_DEADLINE_NS (30 * NS_PER_S)
#define BACKOFF_MIN_NS (250 * NS_PER_MS)
#define BACKOFF_MAX_NS (30 * NS_PER_S)
#define STABLE_NS (60 * NS_PER_S) /* after this time, the next failure counts as the first */
#define KILL_AFTER_MS 1000        /* SIGTERM → SIGKILL */
#define SOFT_AGAIN_NS NS_PER_S    /* SIGUSR1 again: a master that loads itself anew loses signals */
#define LOG_MS 200
#define POLL_NS (25 * NS_PER_MS)
#define SOCKET_PATH_MAX 90

static void prepare(struct process *p);
static void stop_begin(struct process *p);
static void on_timer(uv_timer_t *timer);

static void timer_set(struct process *p, int64_t ns)
{
    uv_timer_start(&p->timer, on_timer, (uint64_t)((ns + NS_PER_MS - 1) / NS_PER_MS), 0);
}

static void state_set(struct process *p, enum process_state state)
{
    p->state = state;
    p->since_ns = clock_now_ns();
    uv_timer_stop(&p->timer);
}

static void on_log_timer(uv_timer_t *timer)
{
    struct process *p = timer->data;
    output_follow(&p->log, p->events.output, p->ctx);
}

/* --- end of a process --- */

static void free_handle(uv_handle_t *handle)
{
    free(handle);
}

static void close_poll(uv_handle_t *handle)
{
    int fd = (int)(intptr_t)handle->data;
    close(fd);
    free(handle);
}

/* Forgets the process, which has ended or is released. */
static void process_forget(struct process *p)
{
    process_ask_cancel(p);
    if (p->child)
        uv_close((uv_handle_t *)p->child, free_handle);
    if (p->exit_poll) {
        int fd = -1;
        (void)uv_fileno((uv_handle_t *)p->exit_poll, &fd);
        p->exit_poll->data = (void *)(intptr_t)fd;
        uv_close((uv_handle_t *)p->exit_poll, close_poll);
    }
    p->child = NULL;
    p->exit_poll = NULL;
    p->pid = 0;
}

static void stopped_tell(struct process *p)
{
    state_set(p, PROCESS_STOPPED);
    void (*stopped)(void *ctx) = p->stopped;
    p->stopped = NULL;
    p->stop_wanted = false;
    if (stopped)
        stopped(p->stopped_ctx);
}

static void wait_begin(struct process *p)
{
    state_set(p, PROCESS_WAITING);
    timer_set(p, net_backoff_next(&p->backoff, 0));
}

static void process_ended(struct process *p, const char *reason)
{
    enum process_state was = p->state;
    if (was == PROCESS_RUNNING && clock_now_ns() - p->since_ns >= STABLE_NS)
        net_backoff_reset(&p->backoff);
    output_follow(&p->log, p->events.output, p->ctx);
    process_forget(p);
    switch (was) {
    case PROCESS_STOPPING:
        stopped_tell(p);
        return;
    case PROCESS_STARTING: {
        CLEANUP(free_ptr) char *output = output_since_mark(&p->log);
        CLEANUP(free_ptr) char *why = p->start_overdue ? xasprintf("no answer in time (%s)", reason) : xstrdup(reason);
        wait_begin(p);
        p->events.start_failed(p->ctx, why, output);
        return;
    }
    case PROCESS_RUNNING:
        wait_begin(p);
        p->events.died(p->ctx, reason);
        return;
    case PROCESS_ADOPTING:
        prepare(p);
        return;
    case PROCESS_STOPPED:
    case PROCESS_PREPARING:
    case PROCESS_WAITING:
        return;
    }
}

static void on_child_exit(uv_process_t *child, int64_t status, int sig)
{
    struct process *p = child->data;
    if (child != p->child)
        return;
    char reason[96];
    if (sig)
        snprintf(reason, sizeof(reason), "signal %d (%s)", sig, strsignal(sig));
    else
        snprintf(reason, sizeof(reason), "exit %d", (int)status);
    process_ended(p, reason);
}

static void on_adopted_exit(uv_poll_t *poll, int status UNUSED, int events UNUSED)
{
    struct process *p = poll->data;
    uv_poll_stop(poll);
    process_ended(p, "gone");
}

static bool adopt(struct process *p, pid_t pid)
{
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (fd < 0)
        return false;
    uv_poll_t *poll = xcalloc(1, sizeof(*poll));
    if (uv_poll_init(p->loop, poll, fd) < 0) {
        close(fd);
        free(poll);
        return false;
    }
    poll->data = p;
    uv_poll_start(poll, UV_READABLE, on_adopted_exit);
    p->exit_poll = poll;
    p->pid = pid;
    return true;
}

static void kill_all(struct process *p, int sig)
{
    if (p->pid <= 0)
        return;
    if (sig == SIGKILL && getpgid(p->pid) == p->pid)
        (void)kill(-p->pid, sig);
    else
        (void)kill(p->pid, sig);
}

/* --- adopting and starting --- */

static void prepare(struct process *p)
{
    if (p->stop_wanted) { /* requested while it was unknown whether a process exists */
        stopped_tell(p);
        return;
    }
    state_set(p, PROCESS_PREPARING);
    p->events.prepare(p->ctx);
}

static void became_running(struct process *p)
{
    bool adopted = p->child == NULL;
    if (p->stop_wanted) {
        stop_begin(p);
        return;
    }
    state_set(p, PROCESS_RUNNING);
    struct master_state state = p->answer;
    memset(&p->answer, 0, sizeof(p->answer));
    p->events.running(p->ctx, &state, adopted);
    master_state_done(&state);
}

/* A process whose master socket accepts connections and does not answer until the start deadline hangs. It is killed,
 * and a new one is started. The workers of a dead master end by themselves. */
static void ask_again(struct process *p)
{
    if (clock_now_ns() - p->since_ns < p->start_deadline_ns) {
        timer_set(p, POLL_NS);
        return;
    }
    if (p->state == PROCESS_STARTING) {
        p->start_overdue = true;
        kill_all(p, SIGKILL); /* its end is reported */
        return;
    }
    /* Its end continues the start. If the process cannot be found, the new one takes over its sockets. */
    pid_t pid = process_find(p);
    if (pid > 1 && pid != getpid() && adopt(p, pid))
        kill_all(p, SIGKILL);
    else
        prepare(p);
}

static void on_told(struct process *p, enum process_told told)
{
    switch (told) {
    case PROCESS_TOLD_NOBODY:
        prepare(p);
        break;
    case PROCESS_TOLD_NOTHING:
        ask_again(p);
        break;
    case PROCESS_TOLD_MASTER:
        if (p->state == PROCESS_ADOPTING && !p->exit_poll && !adopt(p, p->answer.master.pid))
            ask_again(p);
        else
            process_ask_worker(p);
        break;
    case PROCESS_TOLD_WORKER:
        became_running(p);
        break;
    }
}

/* A core dump would be written to the working directory and fill it. A handler that the kernel pipes core dumps to
 * still gets them, and an administrator can raise the soft limit again (set-dumpable). */
static void forbid_core(pid_t pid)
{
    struct rlimit limit;
    if (prlimit(pid, RLIMIT_CORE, NULL, &limit) == 0) {
        limit.rlim_cur = 0;
        (void)prlimit(pid, RLIMIT_CORE, &limit, NULL);
    }
}

static void spawn(struct process *p)
{
    CLEANUP(free_ptr) char *master = xasprintf("%s,mode,600,level,admin", p->master_socket);
    /* -dr: a server whose name cannot be resolved now must not prevent the start. */
    char *program = (char *)(uintptr_t)process_program(p);
    char *arguments[] = {program, (char *)(uintptr_t) "-W", (char *)(uintptr_t) "-dr",      (char *)(uintptr_t) "-S",
                         master,  (char *)(uintptr_t) "-f", (char *)(uintptr_t)DISK_CONFIG, NULL};
    uv_stdio_container_t stdio[3] = {{.flags = UV_IGNORE},
                                     {.flags = UV_INHERIT_FD, .data.fd = p->log.fd},
                                     {.flags = UV_INHERIT_FD, .data.fd = p->log.fd}};
    uv_process_options_t options = {.exit_cb = on_child_exit,
                                    .file = program,
                                    .args = arguments,
                                    .env = p->environment.items,
                                    .flags = UV_PROCESS_DETACHED,
                                    .stdio_count = 3,
                                    .stdio = stdio};
    /* The child enters the directory by its descriptor, because the path may lead to another directory by then. */
    CLEANUP(close_fd) int at = -1;
    struct err err;
    if (disk_directory_open(p->directory, &at, &err) < 0) {
        wait_begin(p);
        p->events.start_failed(p->ctx, err.text, "");
        return;
    }
    CLEANUP(free_ptr) char *cwd = xasprintf("/proc/self/fd/%d", at);
    options.cwd = cwd;
    output_follow(&p->log, p->events.output, p->ctx);
    output_mark(&p->log);
    p->start_overdue = false;
    state_set(p, PROCESS_STARTING);
    uv_process_t *child = xcalloc(1, sizeof(*child));
    child->data = p;
    int rc = uv_spawn(p->loop, child, &options);
    if (rc < 0) {
        uv_close((uv_handle_t *)child, free_handle);
        CLEANUP(free_ptr) char *reason = xasprintf("cannot start %s: %s", p->binary, uv_strerror(rc));
        wait_begin(p);
        p->events.start_failed(p->ctx, reason, "");
        return;
    }
    p->child = child;
    p->pid = child->pid;
    forbid_core(p->pid);
    process_pid_keep(p);
    timer_set(p, POLL_NS);
}

/* --- stopping --- */

/* Sends the next signal. The last one cannot be ignored. */
static void stop_step(struct process *p)
{
    int64_t left_ns = p->since_ns + p->grace_ns - clock_now_ns();
    if (p->stop_step < 2)
        p->stop_step = left_ns > 0 ? 1 : 2;
    else
        p->stop_step++;
    static const int signals[] = {0, SIGUSR1, SIGTERM, SIGKILL};
    if (p->stop_step > 3)
        return;
    kill_all(p, signals[p->stop_step]);
    if (p->stop_step < 3)
        timer_set(p, p->stop_step > 1 ? KILL_AFTER_MS * NS_PER_MS : left_ns < SOFT_AGAIN_NS ? left_ns : SOFT_AGAIN_NS);
}

static void stop_begin(struct process *p)
{
    process_ask_cancel(p);
    state_set(p, PROCESS_STOPPING);
    p->stop_step = 0;
    stop_step(p);
}

static void on_timer(uv_timer_t *timer)
{
    struct process *p = timer->data;
    switch (p->state) {
    case PROCESS_ADOPTING:
    case PROCESS_STARTING:
        process_ask(p, on_told);
        break;
    case PROCESS_WAITING:
        prepare(p);
        break;
    case PROCESS_STOPPING:
        if (p->pid)
            stop_step(p);
        else
            stopped_tell(p);
        break;
    case PROCESS_STOPPED:
    case PROCESS_PREPARING:
    case PROCESS_RUNNING:
        break;
    }
}

/* --- public --- */

struct process *process_new(uv_loop_t *loop, const struct process_config *config, const struct process_events *events,
                            void *ctx, struct err *err)
{
    if (config->directory[0] != '/' || config->master_socket[0] != '/' ||
        strlen(config->master_socket) > SOCKET_PATH_MAX) {
        err_set(err, ERR_INVALID, "HAProxy's master socket %s: an absolute path of at most %d bytes is needed",
                config->master_socket, SOCKET_PATH_MAX);
        return NULL;
    }
    struct process *p = xcalloc(1, sizeof(*p));
    p->loop = loop;
    p->events = *events;
    p->ctx = ctx;
    p->binary = xstrdup(config->binary);
    p->directory = xstrdup(config->directory);
    p->master_socket = xstrdup(config->master_socket);
    p->start_deadline_ns = config->start_deadline_ns ? config->start_deadline_ns : START_DEADLINE_NS;
    p->backoff = (struct net_backoff){.base_ns = config->backoff_min_ns ? config->backoff_min_ns : BACKOFF_MIN_NS,
                                      .cap_ns = config->backoff_max_ns ? config->backoff_max_ns : BACKOFF_MAX_NS};
    vec_push(&p->environment, xstrdup("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"));
    vec_push(&p->environment, xasprintf("HAPTIC_DIR=%s", p->directory));
    for (size_t i = 0; config->environment && config->environment[i]; i++)
        vec_push(&p->environment, xstrdup(config->environment[i]));
    vec_push(&p->environment, (char *)NULL);
    uv_timer_init(loop, &p->timer);
    uv_timer_init(loop, &p->log_timer);
    p->timer.data = p->log_timer.data = p;
    p->open_handles = 2;
    CLEANUP(free_ptr) char *log_path = xasprintf("%s/haproxy.log", p->directory);
    if (output_open(&p->log, log_path, err) < 0)
        return process_free(p);
    uv_timer_start(&p->log_timer, on_log_timer, LOG_MS, LOG_MS);
    uv_unref((uv_handle_t *)&p->log_timer);
    return p;
}

void process_start(struct process *p)
{
    assert(p->state == PROCESS_STOPPED);
    (void)process_program(p); /* for one that runs already */
    state_set(p, PROCESS_ADOPTING);
    process_ask(p, on_told);
}

void process_continue(struct process *p)
{
    if (p->state == PROCESS_PREPARING)
        spawn(p);
}

void process_retry_now(struct process *p)
{
    if (p->state == PROCESS_WAITING)
        timer_set(p, 0);
}

void process_restart(struct process *p, int worker_pid)
{
    if (p->state != PROCESS_RUNNING)
        return;
    /* A worker that is stopped does not notice the end of its master. */
    if (worker_pid > 1 && getpgid(worker_pid) == getpgid(p->pid))
        (void)kill(worker_pid, SIGKILL);
    kill_all(p, SIGKILL);
}

void process_stop(struct process *p, int64_t grace_ns, void (*stopped)(void *ctx), void *ctx)
{
    p->stopped = stopped;
    p->stopped_ctx = ctx;
    p->grace_ns = grace_ns;
    switch (p->state) {
    case PROCESS_STARTING:
    case PROCESS_RUNNING:
        stop_begin(p);
        break;
    case PROCESS_ADOPTING:
        p->stop_wanted = true; /* an existing process is found first, then stopped */
        break;
    case PROCESS_STOPPED:
    case PROCESS_PREPARING:
    case PROCESS_WAITING:
        state_set(p, PROCESS_STOPPING);
        timer_set(p, 0);
        break;
    case PROCESS_STOPPING:
        break;
    }
}

static void timer_closed(uv_handle_t *handle)
{
    struct process *p = handle->data;
    if (--p->open_handles > 0)
        return;
    for (size_t i = 0; i < p->environment.length; i++)
        free(p->environment.items[i]);
    vec_done(&p->environment);
    master_state_done(&p->answer);
    free(p->binary);
    free(p->directory);
    free(p->master_socket);
    free(p);
}

struct process *process_free(struct process *p)
{
    if (!p)
        return NULL;
    process_forget(p);
    output_done(&p->log);
    uv_close((uv_handle_t *)&p->timer, timer_closed);
    uv_close((uv_handle_t *)&p->log_timer, timer_closed);
    return NULL;
}

enum process_state process_state(const struct process *p)
{
    return p->state;
}

int process_pid(const struct process *p)
{
    return p->state == PROCESS_ADOPTING ? 0 : p->pid;
}

const char *process_state_name(enum process_state state)
{
    switch (state) {
    case PROCESS_STOPPED:
        return "stopped";
    case PROCESS_ADOPTING:
        return "adopting";
    case PROCESS_PREPARING:
        return "preparing";
    case PROCESS_STARTING:
        return "starting";
    case PROCESS_RUNNING:
        return "running";
    case PROCESS_WAITING:
        return "waiting";
    case PROCESS_STOPPING:
        return "stopping";
    }
    return "unknown";
}
