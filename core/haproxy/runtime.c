/* One connection is put into prompt mode, and all commands are written at once. libuv reads and writes independently,
 * so neither side waits for the other. HAProxy first sends its prompt ("> ", "master> ", "master[ReloadFailed]> "). An
 * answer ends where a line begins with this prompt. No answer to a command used here has such a line: HAProxy indents
 * values of a configuration or a map, or puts an address or a name before them. The only exception is the log in a
 * reload's answer. It is the last answer on its connection, because the master then closes it. So the answer to the
 * last command is also complete when the connection ends after an empty line.
 *
 * A call with a gate sends two lines first: "prompt" and its idle time. The answer to the second one is not the
 * caller's. Then parts_write() writes one part each time that everything before is answered. An expected call stops
 * after these two lines; runtime_run_expected() adds its commands. A call whose connection is kept becomes an expected
 * call again, as after the answer to its idle time.
 *
 * While HAProxy reads a payload, it sends the prompt "+ " for each of its lines, for some of them, or (3.2, when the
 * payload comes in pieces) for some of them more than once.
 */
#include "haproxy/runtime.h"

#include <assert.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/vec.h"
#include "haproxy/expand.h"
#include "haproxy/socket_path.h"

#define DEFAULT_MAX_ANSWER_BYTES ((size_t)256 << 20)
#define READ_BYTES ((size_t)65536)
#define PROMPT_MAX 64
#define PART_BYTES ((size_t)65536) /* fits at once into an empty socket buffer */

struct span {
    size_t offset, length;
};

struct runtime_call {
    uv_pipe_t pipe;
    uv_timer_t timer;
    uv_connect_t connect;
    uv_write_t write;
    struct buf out, in;
    VEC(struct span) answers;
    VEC(bool) has_payload; /* per command */
    VEC(char *) names;     /* per command: its first words, for messages */
    size_t expected;
    runtime_gate *gate;         /* NULL: everything is written at once */
    struct runtime_call **slot; /* of an expected call without commands; else NULL */
    struct runtime_held *held;  /* gets the answers; NULL: they end with the call */
    struct runtime_call **keep; /* the slot for the call after its commands are answered; NULL: the call ends */
    int64_t made_ns, keep_ns;
    bool idle_told, is_writing; /* the first answer is that to the idle time; a write is under way */
    VEC(size_t) ends;           /* in out, per command */
    size_t written, written_commands;
    size_t scanned; /* bytes of in that hold no end of the current answer */
    size_t begin;   /* where the current answer begins */
    size_t max_answer_bytes;
    char prompt[PROMPT_MAX]; /* "" before the first one has come; then with the preceding newline */
    char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
    struct err err;
    bool failed_early; /* err is set; the timer reports it */
    unsigned open_handles;
    runtime_done *done; /* NULL: the result was reported, or the call was cancelled */
    void *ctx;
};

static void on_timer(uv_timer_t *timer);

/* Copies only the used part, because most of the allocated space is empty. */
static void answer_wipe(struct buf *in)
{
    if (in->data)
        explicit_bzero(in->data, in->length);
    buf_done(in);
}

static void call_free(uv_handle_t *handle)
{
    struct runtime_call *call = handle->data;
    if (--call->open_handles > 0)
        return;
    /* Commands and answers may have private keys in them. */
    expand_wipe(&call->out);
    answer_wipe(&call->in);
    vec_done(&call->answers);
    vec_done(&call->has_payload);
    vec_done(&call->ends);
    for (size_t i = 0; i < call->names.length; i++)
        free(call->names.items[i]);
    vec_done(&call->names);
    free(call);
}

static void call_close(struct runtime_call *call)
{
    uv_close((uv_handle_t *)&call->pipe, call_free);
    uv_close((uv_handle_t *)&call->timer, call_free);
}

/* No caller waits for an expected call. */
static void on_unclaimed(void *ctx UNUSED, const struct err *err UNUSED, const struct runtime_answer *answers UNUSED,
                         size_t count UNUSED)
{
}

static bool may_rest(const struct runtime_call *call)
{
    return call->keep && !*call->keep && call->gate && !call->is_writing && call->begin == call->in.length &&
           clock_now_ns() - call->made_ns < call->keep_ns;
}

/* The call becomes an expected one again: only its first answered command is left. */
static void call_rest(struct runtime_call *call)
{
    for (size_t i = 1; i < call->names.length; i++)
        free(call->names.items[i]);
    call->names.length = call->answers.length = call->has_payload.length = call->ends.length = 1;
    call->answers.items[0] = (struct span){0};
    call->ends.items[0] = 0;
    expand_wipe(&call->out);
    call->written = call->begin = call->scanned = 0;
    call->expected = call->written_commands = 1;
    call->gate = NULL;
    call->done = on_unclaimed;
    call->slot = STEAL(call->keep);
    *call->slot = call;
    int64_t left_ms = (call->made_ns + call->keep_ns - clock_now_ns()) / NS_PER_MS;
    uv_timer_start(&call->timer, on_timer, left_ms > 0 ? (uint64_t)left_ms : 1, 0);
}

/* Reports to the caller and releases the call, which the caller must not use afterwards. */
static void call_finish(struct runtime_call *call, bool ok)
{
    runtime_done *done = call->done;
    void *ctx = call->ctx;
    struct err err = call->err;
    assert(done);
    call->done = NULL;
    if (call->slot)
        *STEAL(call->slot) = NULL;
    VEC(struct runtime_answer) answers = {0};
    for (size_t i = call->idle_told ? 1 : 0; i < call->answers.length; i++) {
        const struct span *s = &call->answers.items[i];
        call->in.data[s->offset + s->length] = '\0'; /* a newline or the prompt stands there */
        struct runtime_answer answer = {.text = call->in.data + s->offset, .length = s->length};
        vec_push(&answers, answer);
    }
    bool rests = ok && may_rest(call);
    struct runtime_held own = {0}, *held = call->held ? STEAL(call->held) : &own;
    *held = (struct runtime_held){.bytes = call->in, .answers = answers.items};
    buf_init(&call->in, held->bytes.max);
    if (rests)
        call_rest(call);
    done(ctx, ok ? NULL : &err, answers.items, answers.length);
    runtime_held_done(&own);
    if (!rests)
        call_close(call);
}

/* The command that is being answered, for messages. */
static const char *current_name(const struct runtime_call *call)
{
    return call->answers.length < call->names.length ? call->names.items[call->answers.length] : "prompt";
}

static void on_timer(uv_timer_t *timer)
{
    struct runtime_call *call = timer->data;
    if (!call->done)
        return;
    if (!call->failed_early && call->expected > 0)
        err_set(&call->err, ERR_TIMEOUT, "HAProxy at %s: no answer to \"%s\" in time (command %zu of %zu)", call->path,
                current_name(call), call->answers.length + 1, call->expected);
    call_finish(call, call->err.kind == ERR_NONE);
}

static void on_alloc(uv_handle_t *handle, size_t suggested UNUSED, uv_buf_t *ret_buf)
{
    struct runtime_call *call = handle->data;
    char *room = buf_room(&call->in, READ_BYTES, NULL);
    *ret_buf = uv_buf_init(room, room ? (unsigned)READ_BYTES : 0);
}

/* Parses HAProxy's prompt at the beginning: an optional newline, an optional word, "> ". 1: found, 0: incomplete, -1:
 * something else. */
static int read_prompt(struct runtime_call *call)
{
    const char *p = buf_str(&call->in);
    size_t length = call->in.length, i = length > 0 && p[0] == '\n' ? 1 : 0, word = i;
    while (i < length && i - word < PROMPT_MAX - 4 && p[i] != '>' && p[i] > ' ')
        i++;
    if (i + 1 >= length && (i >= length || p[i] == '>'))
        return i - word < PROMPT_MAX - 4 ? 0 : -1;
    if (p[i] != '>' || p[i + 1] != ' ')
        return -1;
    call->prompt[0] = '\n';
    memcpy(call->prompt + 1, p + word, i + 2 - word);
    call->prompt[1 + i + 2 - word] = '\0';
    call->begin = call->scanned = i + 2;
    return 1;
}

static void answer_add(struct runtime_call *call, size_t begin, size_t end)
{
    const char *p = call->in.data;
    while (call->has_payload.items[call->answers.length] && end - begin >= 2 && p[begin] == '+' && p[begin + 1] == ' ')
        begin += 2;
    while (begin < end && p[begin] == '\n')
        begin++;
    while (end > begin && p[end - 1] == '\n')
        end--;
    struct span span = {.offset = begin, .length = end - begin};
    vec_push(&call->answers, span);
}

/* Splits the input into answers. True when an error occurred or all answers are complete. */
static bool call_scan(struct runtime_call *call)
{
    if (!call->prompt[0]) {
        int found = read_prompt(call);
        if (found < 0) {
            err_set(&call->err, ERR_IO, "HAProxy at %s: not a prompt but \"%.100s\"", call->path, buf_str(&call->in));
            return true;
        }
        if (found == 0)
            return false;
    }
    size_t prompt_length = strlen(call->prompt);
    while (call->answers.length < call->expected) {
        const char *from = call->in.data + call->scanned;
        size_t length = call->in.length - call->scanned;
        /* The master's prompt follows the former one directly when the answer is empty; a worker's prompt always begins
         * with a newline. */
        if (call->scanned == call->begin && prompt_length > 3 && length >= prompt_length - 1 &&
            memcmp(from, call->prompt + 1, prompt_length - 1) == 0) {
            answer_add(call, call->begin, call->begin);
            call->begin = call->scanned += prompt_length - 1;
            continue;
        }
        const char *end = length ? memmem(from, length, call->prompt, prompt_length) : NULL;
        if (!end) {
            /* Keeps scanned at begin until a directly following prompt can be told from text. */
            size_t keep = prompt_length - 1;
            if (length > keep)
                call->scanned += length - keep;
            return false;
        }
        size_t end_offset = (size_t)(end - call->in.data);
        answer_add(call, call->begin, end_offset);
        call->begin = call->scanned = end_offset + prompt_length;
    }
    return true;
}

static void on_end(struct runtime_call *call, ssize_t status)
{
    const char *rest = buf_str(&call->in) + call->begin;
    size_t length = call->in.length - call->begin;
    if (call->prompt[0] && call->answers.length + 1 == call->expected && length > 2 &&
        strncmp(rest + length - 2, "\n\n", 2) == 0) {
        answer_add(call, call->begin, call->in.length - 1);
        call->keep = NULL;
        call_finish(call, true);
        return;
    }
    const char *why = status == UV_EOF ? "hung up" : uv_strerror((int)status);
    err_set(&call->err, ERR_IO, "HAProxy at %s: %s at \"%s\" (command %zu of %zu)%s%.200s", call->path, why,
            current_name(call), call->answers.length + 1, call->expected, length ? ": " : "", rest);
    call_finish(call, false);
}

/* A failed write needs no handling: the reading side ends too, after HAProxy's last bytes. */
static void on_write(uv_write_t *request, int status UNUSED)
{
    struct runtime_call *call = request->data;
    call->is_writing = false;
}

static bool part_write(struct runtime_call *call, size_t end)
{
    uv_buf_t bytes = uv_buf_init(call->out.data + call->written, (unsigned)(end - call->written));
    call->written = end;
    call->is_writing = true;
    if (uv_write(&call->write, (uv_stream_t *)&call->pipe, &bytes, 1, on_write) == 0)
        return true;
    err_set(&call->err, ERR_IO, "HAProxy at %s: cannot write", call->path);
    return false;
}

/* Writes the next part when everything before is answered. False: the call ends with its error. */
static bool parts_write(struct runtime_call *call)
{
    size_t last = call->written_commands;
    if (!call->gate || call->answers.length < last || last == call->expected)
        return true;
    if (call->gate(call->ctx, &call->err) < 0)
        return false;
    do
        last++;
    while (last < call->expected && call->ends.items[last] - call->written <= PART_BYTES);
    call->written_commands = last;
    return part_write(call, call->ends.items[last - 1]);
}

static void on_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *chunk UNUSED)
{
    struct runtime_call *call = stream->data;
    if (count == 0 || !call->done)
        return;
    if (count < 0) {
        on_end(call, count);
        return;
    }
    buf_grew(&call->in, (size_t)count);
    bool over = call->in.length > call->max_answer_bytes;
    if (over)
        err_set(&call->err, ERR_LIMIT, "HAProxy at %s: the answer to \"%s\" passes the limit of %zu bytes", call->path,
                current_name(call), call->max_answer_bytes);
    bool is_over = over || call_scan(call) || !parts_write(call);
    /* An expected call has its first answer: it is ready. */
    if (is_over && !(call->slot && call->err.kind == ERR_NONE))
        call_finish(call, call->err.kind == ERR_NONE);
}

static void on_connect(uv_connect_t *request, int status)
{
    struct runtime_call *call = request->data;
    if (!call->done)
        return;
    if (status < 0) {
        err_set_sys(&call->err, -status, "HAProxy at %s: connect", call->path);
        call_finish(call, false);
        return;
    }
    if (uv_read_start((uv_stream_t *)&call->pipe, on_alloc, on_read) < 0) {
        err_set(&call->err, ERR_IO, "HAProxy at %s: cannot read", call->path);
        call_finish(call, false);
        return;
    }
    call->written_commands = call->idle_told ? 1 : call->expected;
    if (!part_write(call, call->ends.items[call->written_commands - 1]))
        call_finish(call, false);
}

/* Appends a command so that HAProxy parses it as exactly one. */
static int command_add(struct runtime_call *call, const char *command, struct err *err)
{
    size_t length = strlen(command);
    const char *newline = strchr(command, '\n');
    size_t first = newline ? (size_t)(newline - command) : length;
    if (length == 0 || first == 0)
        return err_set(err, ERR_INVALID, "an empty HAProxy command");
    if (newline &&
        (first < 3 || memcmp(newline - 2, "<<", 2) != 0 || command[length - 1] != '\n' || strstr(command, "\n\n")))
        return err_set(
            err, ERR_INVALID,
            "HAProxy command \"%.60s\": more lines than one, and not a payload of whole lines that are not empty",
            command);
    buf_add(&call->out, command, length);
    buf_putc(&call->out, '\n');
    vec_push(&call->ends, call->out.length);
    vec_push(&call->has_payload, newline != NULL);
    vec_push(&call->names, xmemdup0(command, first < 60 ? first : 60));
    return 0;
}

struct runtime_call *runtime_run(uv_loop_t *loop, const char *socket_path, const char *const *commands, size_t count,
                                 int64_t deadline_ns, size_t max_answer_bytes, runtime_done *done, void *ctx)
{
    return runtime_run_gated(loop, socket_path, commands, count, deadline_ns, max_answer_bytes, NULL, done, ctx);
}

/* A call that connects at once and has only its first lines. */
static struct runtime_call *call_new(uv_loop_t *loop, const char *socket_path, bool tells_idle, size_t max_answer_bytes,
                                     runtime_done *done, void *ctx)
{
    struct runtime_call *call = xcalloc(1, sizeof(*call));
    char idle[64];
    call->idle_told = tells_idle;
    call->done = done;
    call->ctx = ctx;
    call->made_ns = clock_now_ns();
    call->max_answer_bytes = max_answer_bytes ? max_answer_bytes : DEFAULT_MAX_ANSWER_BYTES;
    buf_init(&call->in, call->max_answer_bytes + 2 * READ_BYTES);
    uv_pipe_init(loop, &call->pipe, 0);
    uv_timer_init(loop, &call->timer);
    call->pipe.data = call->timer.data = call->connect.data = call->write.data = call;
    call->open_handles = 2;

    size_t path_length = strlen(socket_path);
    if (path_length >= sizeof(call->path)) {
        err_set(&call->err, ERR_INVALID,
                "HAProxy socket %s: the path is longer than the %zu bytes a Unix socket's may have", socket_path,
                sizeof(call->path) - 1);
        call->failed_early = true;
    } else {
        memcpy(call->path, socket_path, path_length + 1);
    }
    buf_puts(&call->out, "prompt\n");
    snprintf(idle, sizeof(idle), "set timeout cli %ds", (int)(RUNTIME_IDLE_NS / NS_PER_S));
    if (tells_idle && command_add(call, idle, &call->err) < 0)
        call->failed_early = true;
    call->expected = call->ends.length;
    return call;
}

static void commands_add(struct runtime_call *call, const char *const *commands, size_t count)
{
    for (size_t i = 0; i < count && !call->failed_early; i++)
        if (command_add(call, commands[i], &call->err) < 0)
            call->failed_early = true;
    call->expected += count;
}

/* Connects. The timer ends the call in any case. */
static void call_begin(struct runtime_call *call, int64_t limit_ns)
{
    struct socket_path socket = {.directory = -1};
    if (!call->failed_early && call->expected > 0 && socket_path_open(call->path, &socket, &call->err) < 0)
        call->failed_early = true;
    bool at_once = call->failed_early || call->expected == 0;
    int64_t wait_ms = (limit_ns + NS_PER_MS - 1) / NS_PER_MS;
    uv_timer_start(&call->timer, on_timer, at_once ? 0 : (uint64_t)(wait_ms > 0 ? wait_ms : 1), 0);
    if (!at_once)
        uv_pipe_connect(&call->connect, &call->pipe, socket.path, on_connect); /* done when it returns */
    socket_path_close(&socket);
}

struct runtime_call *runtime_run_gated(uv_loop_t *loop, const char *socket_path, const char *const *commands,
                                       size_t count, int64_t deadline_ns, size_t max_answer_bytes, runtime_gate *gate,
                                       runtime_done *done, void *ctx)
{
    struct runtime_call *call = call_new(loop, socket_path, gate && count, max_answer_bytes, done, ctx);
    call->gate = count ? gate : NULL;
    commands_add(call, commands, count);
    call_begin(call, deadline_ns);
    return call;
}

void runtime_expect(uv_loop_t *loop, const char *socket_path, int64_t life_ns, struct runtime_call **slot)
{
    struct runtime_call *call = call_new(loop, socket_path, true, 0, on_unclaimed, NULL);
    call->slot = slot;
    *slot = call;
    call_begin(call, life_ns);
}

struct runtime_call *runtime_run_expected(struct runtime_call *expected, const char *const *commands, size_t count,
                                          int64_t deadline_ns, size_t max_answer_bytes, runtime_gate *gate,
                                          runtime_done *done, void *ctx)
{
    struct runtime_call *call = expected;
    assert(call->done == on_unclaimed && gate && count > 0);
    if (call->failed_early || call->is_writing) {
        /* It has failed, or its first lines are still in the buffer that would grow. */
        call = runtime_run_gated(expected->pipe.loop, expected->path, commands, count, deadline_ns, max_answer_bytes,
                                 gate, done, ctx);
        runtime_cancel(expected);
        return call;
    }
    call->slot = NULL;
    call->gate = gate;
    call->done = done;
    call->ctx = ctx;
    call->max_answer_bytes = max_answer_bytes ? max_answer_bytes : DEFAULT_MAX_ANSWER_BYTES;
    commands_add(call, commands, count);
    /* Before it is connected, or answered, the callbacks continue with it. */
    if (!call->failed_early && call->answers.length > 0 && !parts_write(call))
        call->failed_early = true;
    int64_t wait_ms = call->failed_early ? 0 : (deadline_ns + NS_PER_MS - 1) / NS_PER_MS;
    uv_timer_start(&call->timer, on_timer, wait_ms > 0 || call->failed_early ? (uint64_t)wait_ms : 1, 0);
    return call;
}

void runtime_keep(struct runtime_call *call, int64_t life_ns, struct runtime_call **slot)
{
    call->keep_ns = life_ns;
    call->keep = slot;
}

void runtime_hold(struct runtime_call *call, struct runtime_held *held)
{
    call->held = held;
}

void runtime_held_done(struct runtime_held *held)
{
    answer_wipe(&held->bytes);
    free(STEAL(held->answers));
}

void runtime_cancel(struct runtime_call *call)
{
    assert(call->done);
    call->done = NULL;
    if (call->slot)
        *STEAL(call->slot) = NULL;
    call_close(call);
}
