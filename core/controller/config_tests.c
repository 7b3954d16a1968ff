/* The text is written into a directory of its own, the only place where the process may write. Its report is JSON on a
 * pipe.
 *
 * Life:  running ──(its end, or SIGKILL at the deadline or the output's limit)──► told ──► handles close ──► freed
 */
#include "controller/config_tests.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "data/json.h"
#include "haproxy/scratch.h"

#define DEADLINE_NS (60 * NS_PER_S)
#define OUTPUT_BYTES ((size_t)4 << 20)
#define COMPLAINT_BYTES ((size_t)4096)
#define FILE_NAME "configuration.yaml"
#define FAILURES_SHOWN 3
#define FAILURE_BYTES 600
/* Exit statuses of `haptic test`. */
#define STATUS_CLEAN 0
#define STATUS_FINDINGS 1

struct config_tests {
    config_tests_done *done; /* NULL: done was called, or the run was cancelled */
    void *ctx;
    char *name, *file;
    bool has_lines;
    int64_t deadline_ns;
    struct scratch scratch;
    uv_process_t process;
    uv_pipe_t output, complaint;
    uv_timer_t timer;
    struct buf report, words; /* of standard output, and of standard error */
    char chunk[65536];
    const char *killed; /* the reason; NULL: it was not killed */
    int64_t status;
    int signal;
    unsigned open_handles, waits_for; /* waits_for: the exit and the ends of both pipes */
    bool runs;
};

/* ---- the report ---- */

/* The text, without the name of the temporary file. */
static void put_message(const struct config_tests *t, struct buf *out, const char *text)
{
    size_t length = strlen(t->file);
    struct buf plain = {0};

    for (const char *found; (found = strstr(text, t->file)) != NULL; text = found + length) {
        buf_add(&plain, text, (size_t)(found - text));
        buf_puts(&plain, t->name);
    }
    buf_puts(&plain, text);
    size_t cut = plain.length;
    if (cut > FAILURE_BYTES)
        for (cut = FAILURE_BYTES; cut > 0 && ((unsigned char)plain.data[cut] & 0xc0) == 0x80;)
            cut--;
    buf_add(out, buf_str(&plain), cut);
    if (cut < plain.length)
        buf_puts(out, "…");
    buf_done(&plain);
}

static void put_failure(const struct config_tests *t, struct buf *out, const char *test, yyjson_val *failure)
{
    const char *message = json_str(failure, "message");

    if (out->length > 0)
        buf_puts(out, "; ");
    if (t->has_lines)
        buf_printf(out, "%s:%lld: ", t->name, (long long)json_int_or(0, failure, "line"));
    if (test != NULL)
        buf_printf(out, "validationTests.%.64s: ", test);
    put_message(t, out, message != NULL ? message : "failed");
}

/* The first failures of the tests; if there are none, the findings of a configuration that could not be tested. */
static size_t put_failures(const struct config_tests *t, struct buf *out, yyjson_val *root)
{
    yyjson_val *tests = yyjson_obj_get(root, "tests"), *test, *failure;
    yyjson_val *findings = yyjson_is_arr(root) ? root : yyjson_obj_get(root, "findings");
    size_t i, max, j, count, failed = 0;

    yyjson_arr_foreach(tests, i, max, test)
    {
        const char *verdict = json_str(test, "verdict");
        if (verdict == NULL || strcmp(verdict, "failed") != 0)
            continue;
        yyjson_val *failures = yyjson_obj_get(test, "failures");
        yyjson_arr_foreach(failures, j, count, failure)
        {
            if (j == 0 && failed < FAILURES_SHOWN)
                put_failure(t, out, json_str(test, "name"), failure);
        }
        failed++;
    }
    yyjson_arr_foreach(findings, i, max, failure)
    {
        if (failed++ < FAILURES_SHOWN)
            put_failure(t, out, NULL, failure);
    }
    return failed;
}

static enum config_tests_outcome judge(struct config_tests *t, struct buf *message)
{
    CLEANUP(json_doc_done) struct yyjson_doc *doc = NULL;
    struct err err;

    if (t->killed != NULL) {
        buf_puts(message, t->killed);
        return CONFIG_TESTS_NOT_RUN;
    }
    if (t->signal != 0 || (t->status != STATUS_CLEAN && t->status != STATUS_FINDINGS) ||
        json_parse(buf_str(&t->report), t->report.length, OUTPUT_BYTES, &doc, &err) < 0) {
        buf_puts(message, "the validationTests could not be run: ");
        if (t->words.length > 0)
            put_message(t, message, buf_str(&t->words));
        else if (t->signal != 0)
            buf_printf(message, "their process was ended by SIG%s", sigabbrev_np(t->signal));
        else
            buf_printf(message, "their process ended with status %lld", (long long)t->status);
        while (message->length > 0 && message->data[message->length - 1] == '\n')
            message->data[--message->length] = '\0';
        return CONFIG_TESTS_NOT_RUN;
    }
    yyjson_val *root = yyjson_doc_get_root(doc);
    if (t->status == STATUS_CLEAN) {
        buf_printf(message, "%lld passed, %lld skipped", (long long)json_int_or(0, root, "passed"),
                   (long long)json_int_or(0, root, "skipped"));
        return CONFIG_TESTS_PASSED;
    }
    size_t failed = put_failures(t, message, root);
    if (failed > FAILURES_SHOWN)
        buf_printf(message, "; and %zu more", failed - FAILURES_SHOWN);
    if (failed == 0 && json_int_or(0, root, "skipped") > 0) {
        buf_printf(message, "all %lld tests are skipped here", (long long)json_int_or(0, root, "skipped"));
        return CONFIG_TESTS_PASSED;
    }
    return CONFIG_TESTS_FAILED;
}

/* ---- the process ---- */

static void on_closed(uv_handle_t *handle)
{
    struct config_tests *t = handle->data;

    if (--t->open_handles > 0)
        return;
    scratch_remove(&t->scratch);
    free(t->name);
    free(t->file);
    buf_done(&t->report);
    buf_done(&t->words);
    free(t);
}

static void close_all(struct config_tests *t)
{
    uv_handle_t *handles[] = {(uv_handle_t *)&t->process, (uv_handle_t *)&t->output, (uv_handle_t *)&t->complaint,
                              (uv_handle_t *)&t->timer};

    for (size_t i = 0; i < ARRAY_LEN(handles); i++)
        if (!uv_is_closing(handles[i]))
            uv_close(handles[i], on_closed);
}

/* One of the three events that end the process. */
static void on_part_ended(struct config_tests *t)
{
    if (--t->waits_for > 0)
        return;
    config_tests_done *done = t->done;
    t->done = NULL;
    if (done != NULL) {
        CLEANUP(buf_done) struct buf message = {0};
        enum config_tests_outcome outcome = judge(t, &message);
        done(t->ctx, outcome, buf_str(&message));
    }
    close_all(t);
}

/* The child processes end with it: each of them has asked the kernel to be killed with its parent. */
static void end(struct config_tests *t, const char *why)
{
    if (t->killed == NULL)
        t->killed = why;
    if (t->runs)
        uv_process_kill(&t->process, SIGKILL);
}

static void on_exit_status(uv_process_t *process, int64_t status, int signal)
{
    struct config_tests *t = process->data;

    t->runs = false;
    t->status = status;
    t->signal = signal;
    uv_timer_stop(&t->timer);
    on_part_ended(t);
}

static void on_room(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
    struct config_tests *t = handle->data;

    (void)suggested;
    *buffer = uv_buf_init(t->chunk, sizeof(t->chunk));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buffer)
{
    struct config_tests *t = stream->data;
    bool is_report = stream == (uv_stream_t *)&t->output;
    struct err err;

    if (n < 0) {
        uv_read_stop(stream);
        on_part_ended(t);
    } else if (is_report && buf_try_add(&t->report, buffer->base, (size_t)n, &err) < 0) {
        end(t, "the report of the validationTests is too long");
    } else if (!is_report && t->words.length + (size_t)n <= COMPLAINT_BYTES) {
        buf_add(&t->words, buffer->base, (size_t)n);
    }
}

static void on_deadline(uv_timer_t *timer)
{
    end(timer->data, "the validationTests did not end in time");
}

static int write_text(const struct config_tests *t, const char *text, size_t length, struct err *err)
{
    CLEANUP(close_fd) int fd = open(t->file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    if (fd < 0)
        return err_set_sys(err, errno, "%s", t->file);
    for (size_t done = 0; done < length;) {
        ssize_t n = write(fd, text + done, length - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set_sys(err, errno, "%s", t->file);
        done += (size_t)n;
    }
    return 0;
}

static int spawn(struct config_tests *t, uv_loop_t *loop, const struct config_tests_spec *spec, struct err *err)
{
    const char *path = getenv("PATH");
    CLEANUP(free_ptr) char *path_variable = xasprintf("PATH=%s", path != NULL ? path : "/usr/sbin:/usr/bin:/sbin:/bin");
    CLEANUP(free_ptr) char *place_variable = xasprintf(SCRATCH_VARIABLE "=%s", t->scratch.path);
    const char *environment[] = {path_variable, place_variable, NULL};
    VEC(const char *) arguments = {0};

    vec_push(&arguments, "haptic");
    vec_push(&arguments, "trial");
    vec_push(&arguments, "--config");
    vec_push(&arguments, t->file);
    vec_push(&arguments, "--output");
    vec_push(&arguments, "json");
    vec_push(&arguments, "--haproxy-binary");
    vec_push(&arguments, spec->haproxy_binary);
    for (const char *const *set = spec->extra_context; set != NULL && *set != NULL; set++) {
        vec_push(&arguments, "--set");
        vec_push(&arguments, *set);
    }
    vec_push(&arguments, NULL);
    uv_stdio_container_t stdio[] = {
        {.flags = UV_IGNORE},
        {.flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE, .data.stream = (uv_stream_t *)&t->output},
        {.flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE, .data.stream = (uv_stream_t *)&t->complaint},
    };
    uv_process_options_t options = {
        .exit_cb = on_exit_status,
        .file = spec->executable,
        .args = (char **)(uintptr_t)arguments.items,
        .env = (char **)(uintptr_t)environment,
        .stdio_count = ARRAY_LEN(stdio),
        .stdio = stdio,
    };
    int status = uv_spawn(loop, &t->process, &options);
    vec_done(&arguments);
    return status < 0 ? err_set(err, ERR_SYS, "start %s trial: %s", spec->executable, uv_strerror(status)) : 0;
}

struct config_tests *config_tests_start(uv_loop_t *loop, const struct config_tests_spec *spec, config_tests_done *done,
                                        void *ctx, struct err *err)
{
    struct config_tests *t = xcalloc(1, sizeof(*t));

    t->done = done;
    t->ctx = ctx;
    t->name = xstrdup(spec->name);
    t->has_lines = spec->has_lines;
    t->deadline_ns = spec->deadline_ns > 0 ? spec->deadline_ns : DEADLINE_NS;
    buf_init(&t->report, OUTPUT_BYTES);
    t->open_handles = 4;
    t->waits_for = 3;
    uv_pipe_init(loop, &t->output, 0);
    uv_pipe_init(loop, &t->complaint, 0);
    uv_timer_init(loop, &t->timer);
    t->output.data = t->complaint.data = t->timer.data = t->process.data = t;
    bool is_ready = scratch_make(scratch_place(), &t->scratch, err) == 0;
    t->file = spec->path != NULL ? xstrdup(spec->path) : xasprintf("%s/" FILE_NAME, is_ready ? t->scratch.path : "");
    if (!is_ready || (spec->path == NULL && write_text(t, spec->text, spec->length, err) < 0)) {
        t->open_handles--; /* the process was never started */
        uv_close((uv_handle_t *)&t->output, on_closed);
        uv_close((uv_handle_t *)&t->complaint, on_closed);
        uv_close((uv_handle_t *)&t->timer, on_closed);
        return NULL;
    }
    if (spawn(t, loop, spec, err) < 0) {
        close_all(t);
        return NULL;
    }
    t->runs = true;
    uv_read_start((uv_stream_t *)&t->output, on_room, on_read);
    uv_read_start((uv_stream_t *)&t->complaint, on_room, on_read);
    uv_update_time(loop);
    uv_timer_start(&t->timer, on_deadline, (uint64_t)(t->deadline_ns / NS_PER_MS), 0);
    return t;
}

struct config_tests *config_tests_cancel(struct config_tests *t)
{
    if (t == NULL)
        return NULL;
    t->done = NULL;
    end(t, "cancelled");
    return NULL;
}
