/* Everything that needs a file or a library is done first. Then the jail is closed, and only then the first byte from
 * the core is read. The loop reads the available input, handles all complete frames, writes their output, and collects
 * garbage while there is no input.
 */
#include "engine/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/digest.h"
#include "base/log.h"
#include "base/map.h"
#include "engine/contribution.h"
#include "engine/jail.h"

#define READ_BYTES ((size_t)256 << 10)
/* The input buffer is freed after a frame larger than this. */
#define INPUT_KEEP_BYTES ((size_t)1 << 20)
#define COLLECT_SLICE_NS (200 * NS_PER_MS / 1000)
/* The part of the address space that is reserved for other uses than Lua's heap: stacks, machine code, buffers, one
 * large frame. */
#define RESERVE_BYTES ((size_t)64 << 20)
#define HEAP_MIN_BYTES ((size_t)16 << 20)
#define PUT_FIELDS_MAX 12

struct worker {
    struct vm *vm;
    struct buf in, out;
    size_t unread; /* of in, after the present frame */
    struct shared_page *page;
};

static _Noreturn void die(enum worker_exit status)
{
    _exit((int)status); /* no atexit handlers: they would need calls that the jail forbids */
}

static void wait_for(short events)
{
    struct pollfd fd = {.fd = WORKER_SOCKET_FD, .events = events};

    if (poll(&fd, 1, -1) < 0 && errno != EINTR)
        die(WORKER_EXIT_PROTOCOL);
}

static void flush(void *ctx)
{
    struct worker *w = ctx;
    size_t done = 0;

    while (done < w->out.length) {
        ssize_t n = write(WORKER_SOCKET_FD, w->out.data + done, w->out.length - done);
        if (n > 0)
            done += (size_t)n;
        else if (n < 0 && errno == EAGAIN)
            wait_for(POLLOUT);
        else if (n < 0 && errno != EINTR)
            die(WORKER_EXIT_OK);
    }
    buf_clear(&w->out);
}

static bool has_input(void *ctx)
{
    const struct worker *w = ctx;
    struct pollfd fd = {.fd = WORKER_SOCKET_FD, .events = POLLIN};

    return w->unread > 0 || poll(&fd, 1, 0) > 0;
}

/* Reads the available input; false when there is none. */
static bool fill(struct worker *w)
{
    char *room = buf_room(&w->in, READ_BYTES, NULL);

    if (!room)
        die(WORKER_EXIT_PROTOCOL);
    ssize_t n = read(WORKER_SOCKET_FD, room, READ_BYTES);
    if (n == 0)
        die(WORKER_EXIT_OK);
    if (n < 0) {
        if (errno != EAGAIN && errno != EINTR)
            die(WORKER_EXIT_OK);
        return false;
    }
    buf_grew(&w->in, (size_t)n);
    return true;
}

static void send_log(struct worker *w, enum log_level level, const char *message)
{
    size_t mark = frame_begin(&w->out, FRAME_LOG);

    frame_add_number(&w->out, level);
    frame_add_string(&w->out, message);
    frame_end(&w->out, mark);
}

/* The engine raised an error of its own: reports it and ends, since its tables may be inconsistent. */
static _Noreturn void fail(struct worker *w, const struct err *err)
{
    send_log(w, LOG_ERROR, err->text);
    flush(w);
    die(err->kind == ERR_LIMIT     ? WORKER_EXIT_MEMORY
        : err->kind == ERR_INVALID ? WORKER_EXIT_PROTOCOL
                                   : WORKER_EXIT_ENGINE);
}

static int do_configure(struct worker *w, struct frame *frame, struct err *err)
{
    CLEANUP(buf_done) struct buf problem = {0};
    struct field program;

    if (frame_field(frame, &program, err) < 0 || vm_configure(w->vm, program, &problem, err) < 0)
        return -1;
    size_t mark = frame_begin(&w->out, FRAME_CONFIGURED);
    frame_add(&w->out, problem.data, problem.length);
    frame_end(&w->out, mark);
    return 0;
}

/* kind, id, namespace, name, created, json, parts: created becomes a Lua number and is passed separately. */
static int do_put(struct worker *w, struct frame *frame, struct err *err)
{
    struct field fields[PUT_FIELDS_MAX];
    size_t count = 0;
    int64_t created;

    while (count < 4)
        if (frame_field(frame, &fields[count++], err) < 0)
            return -1;
    if (frame_number(frame, INT64_MIN + 1, INT64_MAX, &created, err) < 0)
        return -1;
    while (frame->at < frame->end) {
        if (count == PUT_FIELDS_MAX)
            return err_set(err, ERR_INVALID, "an object with more than %d fields", PUT_FIELDS_MAX);
        if (frame_field(frame, &fields[count++], err) < 0)
            return -1;
    }
    return vm_put(w->vm, fields, count, created, err);
}

static int do_delete(struct worker *w, struct frame *frame, struct err *err)
{
    struct field kind, id;

    if (frame_field(frame, &kind, err) < 0 || frame_field(frame, &id, err) < 0)
        return -1;
    return vm_delete(w->vm, kind, id, err);
}

static int do_answer(struct worker *w, struct frame *frame, struct err *err)
{
    struct field kind, id, refusal;
    int64_t is_known;

    if (frame_field(frame, &kind, err) < 0 || frame_field(frame, &id, err) < 0 ||
        frame_number(frame, 0, 1, &is_known, err) < 0 || frame_field(frame, &refusal, err) < 0)
        return -1;
    return vm_answer(w->vm, kind, id, is_known == 1, refusal, err);
}

static int do_skip(struct worker *w, struct frame *frame, struct err *err)
{
    struct field fragment;

    return frame_field(frame, &fragment, err) < 0 ? -1 : vm_skip(w->vm, fragment, err);
}

static int do_rest(struct worker *w, struct frame *frame, struct err *err)
{
    struct field namespace_name;
    int64_t ms;

    if (frame_field(frame, &namespace_name, err) < 0 || frame_number(frame, 0, INT32_MAX, &ms, err) < 0)
        return -1;
    return vm_rest(w->vm, namespace_name, ms, err);
}

static int do_render(struct worker *w, struct frame *frame, struct err *err)
{
    struct vm_rendering rendering = {0};
    int64_t request, begin = clock_now_ns();

    if (frame_number(frame, 0, INT64_MAX, &request, err) < 0 || vm_render(w->vm, &rendering, err) < 0)
        return -1;
    size_t mark = frame_begin(&w->out, FRAME_RENDERED);
    frame_add_number(&w->out, request);
    frame_add_number(&w->out, rendering.complete);
    frame_add_number(&w->out, rendering.run);
    frame_add_number(&w->out, rendering.total);
    frame_add_number(&w->out, clock_now_ns() - begin);
    frame_add_number(&w->out, (int64_t)vm_heap_bytes(w->vm));
    frame_add_number(&w->out, rendering.unfinished);
    frame_add_number(&w->out, rendering.wait_ms);
    frame_end(&w->out, mark);
    return 0;
}

static int do_explain(struct worker *w, struct frame *frame, struct err *err)
{
    CLEANUP(buf_done) struct buf where = {0};
    struct field fragment, scope, key;
    int64_t request, kind, line;

    if (frame_number(frame, 0, INT64_MAX, &request, err) < 0 || frame_field(frame, &fragment, err) < 0 ||
        frame_number(frame, 0, CONTRIBUTION_LAST, &kind, err) < 0 || frame_field(frame, &scope, err) < 0 ||
        frame_field(frame, &key, err) < 0 || frame_number(frame, 0, UINT32_MAX, &line, err) < 0 ||
        vm_explain(w->vm, fragment, kind, scope, key, line, &where, err) < 0)
        return -1;
    size_t mark = frame_begin(&w->out, FRAME_EXPLAINED);
    frame_add_number(&w->out, request);
    frame_add(&w->out, where.data, where.length);
    frame_end(&w->out, mark);
    return 0;
}

static int do_ask(struct worker *w, struct frame *frame, struct err *err)
{
    CLEANUP(buf_done) struct buf answer = {0};
    struct field mode, question;
    int64_t request;

    if (frame_number(frame, 0, INT64_MAX, &request, err) < 0 || frame_field(frame, &mode, err) < 0 ||
        frame_field(frame, &question, err) < 0 || vm_ask(w->vm, mode, question, &answer, err) < 0)
        return -1;
    size_t mark = frame_begin(&w->out, FRAME_EXPLAINED);
    frame_add_number(&w->out, request);
    frame_add(&w->out, answer.data, answer.length);
    frame_end(&w->out, mark);
    return 0;
}

static int dispatch(struct worker *w, struct frame *frame, struct err *err)
{
    switch (frame->type) {
    case FRAME_CONFIGURE:
        return do_configure(w, frame, err);
    case FRAME_PUT:
        return do_put(w, frame, err);
    case FRAME_DELETE:
        return do_delete(w, frame, err);
    case FRAME_ANSWER:
        return do_answer(w, frame, err);
    case FRAME_SKIP:
        return do_skip(w, frame, err);
    case FRAME_REST:
        return do_rest(w, frame, err);
    case FRAME_RENDER:
        return do_render(w, frame, err);
    case FRAME_EXPLAIN:
        return do_explain(w, frame, err);
    case FRAME_ASK:
        return do_ask(w, frame, err);
    default:
        return err_set(err, ERR_INVALID, "a frame of unknown type %d", frame->type);
    }
}

/* Handle the complete frames in the input. */
static void handle(struct worker *w)
{
    size_t done = 0;

    for (;;) {
        struct frame frame;
        struct err err;
        size_t size;
        int found = frame_read(w->in.data + done, w->in.length - done, FRAME_TO_RENDERER_MAX, &frame, &size, &err);
        w->unread = found > 0 ? w->in.length - done - size : 0;
        if (found < 0 || (found && dispatch(w, &frame, &err) < 0))
            fail(w, &err);
        if (!found)
            break;
        done += size;
    }
    buf_consume(&w->in, done);
    if (w->in.length == 0 && w->in.capacity > INPUT_KEEP_BYTES)
        buf_done(&w->in);
    flush(w);
}

static _Noreturn void serve(struct worker *w)
{
    for (;;) {
        bool has_come = fill(w);

        if (has_come)
            handle(w);
        /* Without garbage to collect, waiting also tells whether more has come. */
        if (has_come ? !vm_has_garbage(w->vm) : !vm_collect(w->vm, COLLECT_SLICE_NS))
            wait_for(POLLIN);
    }
}

static _Noreturn void refuse(enum worker_exit status, const struct err *err)
{
    fprintf(stderr, "haptic renderer: %s\n", err->text);
    die(status);
}

/* The heap's maximum: the address space without the mapped memory and the reserve. */
static size_t heap_maximum(size_t memory_bytes)
{
    unsigned long pages = 0;
    FILE *statm = fopen("/proc/self/statm", "re");
    size_t taken = RESERVE_BYTES;

    if (statm && fscanf(statm, "%lu", &pages) == 1 && !JAIL_SANITIZED)
        taken += pages * (size_t)sysconf(_SC_PAGESIZE);
    if (statm)
        fclose(statm);
    return memory_bytes > taken + HEAP_MIN_BYTES ? memory_bytes - taken : HEAP_MIN_BYTES;
}

_Noreturn void worker_run(const struct vm_options *options)
{
    struct worker w = {0};
    struct vm_options adjusted = *options;
    struct vm_output output = {.out = &w.out, .flush = flush, .input = has_input, .ctx = &w};
    struct stat st;
    struct err err;

    /* a terminal's signals go to the core, which ends this process */
    signal(SIGINT, SIG_IGN), signal(SIGTERM, SIG_IGN);
    if (fstat(WORKER_SOCKET_FD, &st) < 0 || !S_ISSOCK(st.st_mode)) {
        err_set(&err, ERR_INVALID, "this command is started by other haptic commands, with a socket as descriptor %d",
                WORKER_SOCKET_FD);
        refuse(WORKER_EXIT_USAGE, &err);
    }
    if (shared_page_map(WORKER_PAGE_FD, &w.page, &err) < 0)
        refuse(WORKER_EXIT_USAGE, &err);
    size_t memory_bytes = w.page->memory_bytes;
    int flags = fcntl(WORKER_SOCKET_FD, F_GETFL);
    if (flags < 0 || fcntl(WORKER_SOCKET_FD, F_SETFL, flags | O_NONBLOCK) < 0) {
        err_set_sys(&err, errno, "descriptor %d", WORKER_SOCKET_FD);
        refuse(WORKER_EXIT_SETUP, &err);
    }
    buf_init(&w.in, FRAME_TO_RENDERER_MAX + 2 * READ_BYTES);
    output.page = w.page;
    adjusted.heap_bytes = heap_maximum(memory_bytes);
    digest_of("", 0);      /* OpenSSL reads its configuration at the first use */
    (void)map_hash("", 0); /* and maps create their key */
    if (vm_new(&adjusted, &output, &w.vm, &err) < 0)
        refuse(WORKER_EXIT_SETUP, &err);
    vm_sample(w.vm);
    if (jail_enter(WORKER_SOCKET_FD, memory_bytes, &err) < 0)
        refuse(WORKER_EXIT_SETUP, &err);
    serve(&w);
}
