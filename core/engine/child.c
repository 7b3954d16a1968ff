/* The socket is polled and read and written directly: a frame goes out in the call that queues it, and an answer is
 * parsed in the callback that finds it. Nothing here waits: what the socket does not take stays queued and the poll
 * asks for writability.
 *
 * Life:  running ──(SIGKILL by us, or its own end)──► exited event ──► handles close ──► freed
 */
#include "engine/child.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "engine/processor_time.h"
#include "engine/worker.h"

#define READ_BYTES ((size_t)256 << 10)
/* Per callback, so that other work gets its turn. */
#define READ_ROUNDS 16
/* What was written is cut off the front of the queue when it is this much. */
#define WRITTEN_BYTES ((size_t)256 << 10)
/* Room in the socket: more than all templates. */
#define SEND_BYTES (1 << 20)
/* A fragment frame has a little more than the fragment. */
#define FRAME_SLACK_BYTES ((size_t)4096)
#define INPUT_KEEP_BYTES ((size_t)1 << 20)
#define REASON_SIZE 300
/* A deadline may begin with a look at the process that is older by this part of the limit. */
#define LATELY_PART 100

struct child {
    const struct child_events *events; /* NULL: discarded */
    void *ctx;
    uv_process_t process;
    uv_poll_t poll;
    uv_timer_t timer;
    int fd, time_fd, open_handles;
    bool running, hung_up, unwritable, killed, wants_writable, asked_drained;
    char reason[REASON_SIZE]; /* why we killed it */
    struct shared_page *page;
    struct buf in, out;
    size_t written, frame_max;
    /* The answer that is awaited: since when, and its limit (0: none is awaited). */
    struct processor_time begun;
    int64_t limit_ns;
    /* The same of the fragment that runs. */
    struct processor_time seen;
    int64_t fragment_limit_ns;
    /* While nothing is owed: processor time at the last look, and by how much it was more than its share since. */
    int64_t idle_cpu_ns, idle_excess_ns;
    uint64_t seen_sequence;
    struct processor_time looked; /* the last look at it */
};

static void on_closed(uv_handle_t *handle)
{
    struct child *c = handle->data;

    if (--c->open_handles)
        return;
    if (c->fd >= 0)
        close(c->fd);
    if (c->time_fd >= 0)
        close(c->time_fd);
    shared_page_unmap(c->page);
    buf_done(&c->in);
    buf_done(&c->out);
    free(c);
}

static void close_handle(uv_handle_t *handle)
{
    if (!uv_is_closing(handle))
        uv_close(handle, on_closed);
}

static void signal_kill(struct child *c)
{
    if (c->running && !c->killed)
        uv_process_kill(&c->process, SIGKILL);
    c->killed = true;
    uv_timer_stop(&c->timer);
    uv_poll_stop(&c->poll);
}

void child_kill(struct child *c, const char *reason)
{
    if (c->killed)
        return;
    snprintf(c->reason, sizeof(c->reason), "%s", reason);
    signal_kill(c);
}

struct child *child_discard(struct child *c)
{
    if (c) {
        c->events = NULL;
        signal_kill(c);
    }
    return NULL;
}

static void break_protocol(struct child *c, const char *text)
{
    char reason[REASON_SIZE];

    snprintf(reason, sizeof(reason), "protocol: %.250s", text);
    child_kill(c, reason);
}

/* Handle the complete frames in the input. An event may kill or discard the child. */
static void parse(struct child *c)
{
    size_t done = 0;

    while (!c->killed && c->events) {
        struct frame frame;
        struct err err;
        size_t size;
        int found = frame_read(buf_str(&c->in) + done, c->in.length - done, c->frame_max, &frame, &size, &err);
        if (found < 0 || (found && c->events->frame(c->ctx, &frame, &err) < 0)) {
            break_protocol(c, err.text);
            return;
        }
        if (!found)
            break;
        done += size;
    }
    buf_consume(&c->in, done);
    if (c->in.length == 0 && c->in.capacity > INPUT_KEEP_BYTES)
        buf_done(&c->in);
}

static void read_socket(struct child *c)
{
    for (int round = 0; round < READ_ROUNDS && !c->killed && c->events && !c->hung_up; round++) {
        char *room = buf_room(&c->in, READ_BYTES, NULL);
        if (!room) {
            break_protocol(c, "a frame that is too long");
            return;
        }
        ssize_t n = read(c->fd, room, READ_BYTES);
        if (n > 0) {
            buf_grew(&c->in, (size_t)n);
            parse(c);
            if ((size_t)n < READ_BYTES)
                return; /* most likely nothing is left; if something is, the poll says so */
        } else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
            c->hung_up = true;
        } else {
            return;
        }
    }
}

static void on_poll(uv_poll_t *poll, int status, int events);

static void update_poll(struct child *c)
{
    bool wanted = (c->out.length > c->written || c->asked_drained) && !c->unwritable;

    if (c->killed || wanted == c->wants_writable)
        return;
    c->wants_writable = wanted;
    uv_poll_start(&c->poll, wanted ? UV_READABLE | UV_WRITABLE : UV_READABLE, on_poll);
}

void child_flush(struct child *c)
{
    while (!c->killed && !c->unwritable && c->written < c->out.length) {
        ssize_t n = send(c->fd, c->out.data + c->written, c->out.length - c->written, MSG_NOSIGNAL);
        if (n > 0)
            c->written += (size_t)n;
        else if (n < 0 && errno == EAGAIN)
            break;
        else if (n < 0 && errno != EINTR)
            c->unwritable = true; /* it is gone; reading finds its last words and the end */
    }
    if (c->written == c->out.length || c->written >= WRITTEN_BYTES) {
        buf_consume(&c->out, c->written);
        c->written = 0;
    }
    update_poll(c);
}

void child_ask_drained(struct child *c)
{
    c->asked_drained = true;
    update_poll(c);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct child *c = poll->data;

    if (status < 0)
        c->hung_up = true;
    if (events & UV_READABLE)
        read_socket(c);
    if (!c->killed && (events & UV_WRITABLE)) {
        c->asked_drained = false;
        child_flush(c);
        if (!c->killed && c->events && c->out.length == 0)
            c->events->drained(c->ctx);
    }
    if (c->hung_up)
        signal_kill(c); /* it may be ending already; its own exit status is then what counts */
}

static void on_process_exit(uv_process_t *process, int64_t status, int signal_number)
{
    struct child *c = process->data;
    char reason[REASON_SIZE];

    c->running = false;
    if (!c->killed)
        read_socket(c); /* its last words, such as why it gave up */
    signal_kill(c);
    if (c->reason[0])
        snprintf(reason, sizeof(reason), "%s", c->reason);
    else if (signal_number == SIGSYS)
        snprintf(reason, sizeof(reason), "seccomp: SIGSYS");
    else if (signal_number)
        snprintf(reason, sizeof(reason), "crash: SIG%s", sigabbrev_np(signal_number));
    else if (status == WORKER_EXIT_MEMORY)
        snprintf(reason, sizeof(reason), "memory");
    else if (status == WORKER_EXIT_SETUP)
        snprintf(reason, sizeof(reason), "setup: the sandbox could not be set up");
    else if (status == WORKER_EXIT_ENGINE)
        snprintf(reason, sizeof(reason), "engine: an error of its own");
    else if (status == WORKER_EXIT_PROTOCOL)
        snprintf(reason, sizeof(reason), "protocol: the renderer did not understand the core");
    else
        snprintf(reason, sizeof(reason), "exit %d", (int)status);
    if (c->events)
        c->events->exited(c->ctx, reason);
    close_handle((uv_handle_t *)&c->process);
    close_handle((uv_handle_t *)&c->poll);
    close_handle((uv_handle_t *)&c->timer);
}

/* Of a process that has ended: nothing changes any more. */
static struct processor_time time_now(struct child *c)
{
    if (c->running)
        c->looked = processor_time_now(uv_process_get_pid(&c->process), c->time_fd);
    return c->looked;
}

/* When a deadline begins, of which every change has three. A look takes three system calls, so one that is hardly older
 * does: the deadline has then begun by so much earlier. */
static struct processor_time time_lately(struct child *c)
{
    int64_t age_ns = clock_now_ns() - c->looked.wall_ns;

    return c->looked.wall_ns && age_ns < c->fragment_limit_ns / LATELY_PART ? c->looked : time_now(c);
}

static void on_timer(uv_timer_t *timer);

static void arm(struct child *c)
{
    int64_t next = c->begun.wall_ns + c->limit_ns - clock_now_ns(), most = c->fragment_limit_ns / 4;

    if (next <= 0 || next > most) /* past its limit without the processor: looked at again and again */
        next = most;
    uv_update_time(c->timer.loop);
    uv_timer_start(&c->timer, on_timer, (uint64_t)(next / NS_PER_MS) + 1, 0);
}

/* True when the fragment that is at hand was so a whole limit ago. */
static bool fragment_is_late(struct child *c, const struct processor_time *now)
{
    uint64_t sequence = atomic_load_explicit(&c->page->sequence, memory_order_relaxed);

    if (sequence != c->seen_sequence || !atomic_load_explicit(&c->page->active, memory_order_relaxed)) {
        c->seen_sequence = sequence;
        c->seen = *now;
    }
    return processor_time_is_over(&c->seen, now, c->fragment_limit_ns, child_pid(c));
}

/* A process that owes nothing takes in objects and collects garbage, and then rests: a fiftieth of the time is more
 * than it needs. One that works on is found out in two looks, or a few more where others want the processors too. */
static bool is_restless(struct child *c)
{
    int64_t now = time_now(c).used_ns;

    c->idle_excess_ns += now - c->idle_cpu_ns - c->fragment_limit_ns / 50;
    c->idle_cpu_ns = now;
    if (c->idle_excess_ns < 0)
        c->idle_excess_ns = 0;
    return c->idle_excess_ns >= c->fragment_limit_ns;
}

static void arm_idle(struct child *c)
{
    uv_update_time(c->timer.loop);
    uv_timer_start(&c->timer, on_timer, (uint64_t)(c->fragment_limit_ns / NS_PER_MS) + 1, 0);
}

static void on_timer(uv_timer_t *timer)
{
    struct child *c = timer->data;

    /* If it was this loop that took long, the answer is here already. */
    read_socket(c);
    if (c->killed || !c->events)
        return;
    if (!c->limit_ns) {
        if (is_restless(c))
            child_kill(c, "deadline: it worked on though nothing was asked");
        else
            arm_idle(c);
        return;
    }
    struct processor_time now = time_now(c);
    if (processor_time_is_over(&c->begun, &now, c->limit_ns, child_pid(c)) || fragment_is_late(c, &now))
        child_kill(c, "deadline");
    else
        arm(c);
}

void child_set_deadline(struct child *c, int64_t total_ns, int64_t fragment_ns)
{
    if (c->killed)
        return;
    c->fragment_limit_ns = fragment_ns;
    c->limit_ns = total_ns;
    c->begun = c->seen = time_lately(c);
    if (total_ns == 0) {
        c->idle_cpu_ns = c->begun.used_ns;
        c->idle_excess_ns = 0;
        arm_idle(c);
        return;
    }
    c->seen_sequence = atomic_load_explicit(&c->page->sequence, memory_order_relaxed);
    arm(c);
}

static int spawn(struct child *c, uv_loop_t *loop, const char *executable, int socket_fd, int page_fd, struct err *err)
{
    char *const args[] = {(char[]){"haptic"}, (char[]){"renderer"}, NULL};
    char *const environment[] = {NULL};
    uv_stdio_container_t stdio[] = {
        {.flags = UV_IGNORE},
        {.flags = UV_IGNORE},
        {.flags = UV_INHERIT_FD, .data.fd = STDERR_FILENO}, /* until the jail: why it could not start */
        {.flags = UV_INHERIT_FD, .data.fd = socket_fd},
        {.flags = UV_INHERIT_FD, .data.fd = page_fd},
    };
    uv_process_options_t options = {
        .exit_cb = on_process_exit,
        .file = executable,
        .args = (char **)(uintptr_t)args,
        .env = (char **)(uintptr_t)environment,
        .cwd = "/",
        .stdio_count = ARRAY_LEN(stdio),
        .stdio = stdio,
    };
    int status = uv_spawn(loop, &c->process, &options);

    return status < 0 ? err_set(err, ERR_SYS, "start %s renderer: %s", executable, uv_strerror(status)) : 0;
}

/* Nothing is running: let go of what child_start() has made. */
static int give_up(struct child *c)
{
    c->events = NULL;
    close_handle((uv_handle_t *)&c->process);
    close_handle((uv_handle_t *)&c->poll);
    close_handle((uv_handle_t *)&c->timer);
    return -1;
}

int child_start(uv_loop_t *loop, const char *executable, const struct renderer_limits *limits,
                const struct child_events *events, void *ctx, struct child **ret_child, struct err *err)
{
    CLEANUP(close_fd) int page_fd = -1;
    struct shared_page *page;
    int sockets[2];

    if (shared_page_new(&page, &page_fd, err) < 0)
        return -1;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sockets) < 0) {
        int failed = errno;
        shared_page_unmap(page);
        return err_set_sys(err, failed, "make a socket for the renderer");
    }
    CLEANUP(close_fd) int theirs = sockets[1];
    /* Best effort: the templates are on their way at once, also when the loop does something else meanwhile. */
    (void)setsockopt(sockets[0], SOL_SOCKET, SO_SNDBUF, &(int){SEND_BYTES}, sizeof(int));
    page->memory_bytes = limits->memory_bytes;
    page->output_bytes = limits->output_bytes;
    page->fragment_bytes = limits->fragment_bytes;
    page->garbage_bytes = limits->garbage_bytes;
    page->deadline_ns = limits->deadline_ns;
    struct child *c = xcalloc(1, sizeof(*c));
    *c = (struct child){.events = events, .ctx = ctx, .fd = sockets[0], .time_fd = -1, .page = page, .open_handles = 3};
    c->frame_max = limits->fragment_bytes + FRAME_SLACK_BYTES;
    if (c->frame_max < FRAME_MESSAGE_MAX)
        c->frame_max = FRAME_MESSAGE_MAX;
    buf_init(&c->in, c->frame_max + 2 * READ_BYTES);
    buf_init(&c->out, 4 * FRAME_TO_RENDERER_MAX);
    c->process.data = c->poll.data = c->timer.data = c;
    uv_timer_init(loop, &c->timer);
    uv_poll_init(loop, &c->poll, c->fd);
    if (spawn(c, loop, executable, theirs, page_fd, err) < 0)
        return give_up(c);
    c->running = true;
    c->time_fd = processor_time_open(child_pid(c));
    if (limits->niceness > 0)
        (void)setpriority(PRIO_PROCESS, (id_t)child_pid(c), getpriority(PRIO_PROCESS, 0) + limits->niceness);
    uv_poll_start(&c->poll, UV_READABLE, on_poll);
    *ret_child = c;
    return 0;
}

struct buf *child_out(struct child *c)
{
    return &c->out;
}

size_t child_backlog_bytes(const struct child *c)
{
    return c->out.length - c->written;
}

bool child_at_hand(const struct child *c, struct at_hand *ret_at_hand)
{
    return shared_page_read(c->page, ret_at_hand);
}

int child_pid(const struct child *c)
{
    return c->running ? uv_process_get_pid(&c->process) : 0;
}
