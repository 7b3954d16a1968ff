/* Three steps. In a thread of libuv's pool: create a directory, write the files, start the child. On the loop: read its
 * output, wait for its end through a pidfd, watch the deadline. In a thread again: remove the directory. On the end of
 * the child, deadline, output limit or cancellation, whichever comes first, the child is killed and awaited before the
 * directory is removed. The caller gets the result as soon as it is known. When a handle cannot be replaced, no child
 * is started, and the timer reports the complaints.
 */
#include "haproxy/check.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"
#include "haproxy/account_key.h"
#include "haproxy/confine.h"
#include "haproxy/expand.h"
#include "haproxy/scratch.h"

#define DEFAULT_DEADLINE_NS (30 * NS_PER_S)
#define DEFAULT_MEMORY_BYTES ((size_t)4 << 30)
#define DEFAULT_OUTPUT_BYTES ((size_t)1 << 20)
#define DESCRIPTORS 4096
#define READ_BYTES ((size_t)65536)
#define COMPLAINTS_MAX 1000

/* Read before haproxy.cfg. HAProxy would free all proxies and servers one by one before it exits, which takes a sixth
 * of a check and changes no verdict. 2.6 does not have the keyword. */
#define HASTE_FILE "check.cfg"
static const char haste[] = ".if version_atleast(3.0)\n"
                            "global\n"
                            "  quick-exit\n"
                            ".endif\n";

struct check {
    uv_loop_t *loop;
    uv_work_t work;
    uv_timer_t timer;
    uv_poll_t exit_poll; /* on pidfd */
    uv_pipe_t pipe;
    /* input */
    char *binary, *temporary, *readable;
    VEC(char *) environment; /* ended by NULL when the child starts */
    struct disk_files files;
    disk_compose *compose; /* makes the files in the thread; NULL: they are complete */
    void *compose_ctx;
    struct vault *vault;
    VEC(struct check_message) complaints; /* about handles; owns text and file */
    int64_t start_ns, deadline_ns;
    size_t memory_bytes;
    bool idle, tells_all;
    int niceness;
    check_done *done; /* NULL: the result was reported, or the check was cancelled */
    void *ctx;
    /* state */
    struct scratch scratch;
    pid_t pid; /* 0: no child */
    int pidfd, output_fd;
    struct err err; /* why the check could not be made */
    struct buf output;
    bool started, exited, ended /* output */, over_output;
    int status;
    unsigned open_handles;
};

static void check_free(struct check *c)
{
    free(c->binary);
    free(c->temporary);
    free(c->readable);
    for (size_t i = 0; i < c->environment.length; i++)
        free(c->environment.items[i]);
    vec_done(&c->environment);
    for (size_t i = 0; i < c->complaints.length; i++) {
        free((char *)(uintptr_t)c->complaints.items[i].text);
        free((char *)(uintptr_t)c->complaints.items[i].file);
    }
    vec_done(&c->complaints);
    disk_files_done(&c->files);
    expand_wipe(&c->output);
    free(c);
}

/* --- handles --- */

static unsigned line_of(const char *text, size_t at)
{
    unsigned line = 1;
    for (const char *c = text; (c = memchr(c, '\n', at - (size_t)(c - text))); c++)
        line++;
    return line;
}

static void complain(struct check *c, const struct disk_file *file, unsigned line, const char *text)
{
    bool config = strcmp(file->path, DISK_CONFIG) == 0;
    struct check_message m = {.severity = CHECK_ALERT, .text = xstrdup(text)};
    if (config) {
        m.line = line;
    } else {
        m.file = xstrdup(file->path);
        m.file_line = strncmp(file->path, "maps/", 5) == 0 ? line : 0;
    }
    vec_push(&c->complaints, m);
}

/* The names of sections and files are visible to everybody, so they must not contain values. */
static void names_check(struct check *c, const struct disk_file *file)
{
    static const char why[] = "the value of a Secret cannot be part of a name";
    const char *end = file->bytes + file->length;
    bool whole;
    if (vault_is_in(file->path, strlen(file->path)))
        complain(c, file, 0, why);
    if (strcmp(file->path, DISK_CONFIG) != 0)
        return;
    for (const char *at = file->bytes; (at = vault_find(at, (size_t)(end - at), &whole)); at++) {
        const char *line = memrchr(file->bytes, '\n', (size_t)(at - file->bytes));
        line = line ? line + 1 : file->bytes;
        if (*line != ' ' && *line != '\t' && *line != '#' && c->complaints.length < COMPLAINTS_MAX)
            complain(c, file, line_of(file->bytes, (size_t)(at - file->bytes)), why);
    }
}

/* Replaces the file's handles, and complains about each line in which this fails. */
static void file_expand(struct check *c, struct disk_file *file)
{
    enum expand_as as = strcmp(file->path, DISK_CONFIG) == 0   ? EXPAND_CONFIG
                        : strncmp(file->path, "maps/", 5) == 0 ? EXPAND_MAP
                                                               : EXPAND_FILE;
    struct buf out = {0};
    struct err err;
    names_check(c, file);
    if (!vault_is_in(file->bytes, file->length))
        return;
    for (size_t from = 0, at; from < file->length;) {
        if (expand(c->vault, as, file->bytes + from, file->length - from, &out, &at, &err) == 0)
            break;
        at += from;
        if (c->complaints.length < COMPLAINTS_MAX)
            complain(c, file, line_of(file->bytes, at), err.text);
        const char *end = as == EXPAND_FILE ? NULL : memchr(file->bytes + at, '\n', file->length - at);
        from = end ? (size_t)(end - file->bytes) : file->length;
    }
    explicit_bzero(file->bytes, file->length);
    free(file->bytes);
    file->length = out.length;
    file->bytes = buf_steal(&out);
}

static const char *text_redacted(struct check *c, const char *text)
{
    struct buf clean = {0};
    vault_redact(c->vault, text, strlen(text), &clean);
    return buf_steal(&clean);
}

/* --- in the thread: prepare and start --- */

/* The user that HAProxy runs as during the check; it can read the files from now on. A namespace without that user, or
 * a file system without owners, allows only the present user. */
static uid_t user_prepare(struct check *c)
{
    struct err ignored;
    uid_t user = confine_user();
    return user && scratch_share(&c->scratch, user, &ignored) == 0 ? user : 0;
}

static int child_start(struct check *c, struct err *err)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return err_set_sys(err, errno, "pipe");
    c->output_fd = ends[0];
    CLEANUP(close_fd) int write_end = ends[1];
    vec_push(&c->environment, xasprintf("HAPTIC_DIR=%s", c->scratch.path));
    vec_push(&c->environment, (char *)NULL);
    /* -dr: a name that cannot be resolved here may be resolvable where HAProxy runs, and does not make the
     * configuration wrong. */
    const char *const arguments[] = {c->binary, "-c", "-dr", "-f", HASTE_FILE, "-f", DISK_CONFIG, NULL};
    int64_t cpu_s = c->deadline_ns / NS_PER_S + 2;
    struct confine_spec spec = {.arguments = arguments,
                                .environment = (const char *const *)c->environment.items,
                                .cwd = c->scratch.path,
                                .readable = c->readable,
                                .user = user_prepare(c),
                                .output_fd = write_end,
                                .memory_bytes = c->memory_bytes,
                                .cpu_s = cpu_s < 3600 ? (unsigned)cpu_s : 3600,
                                .descriptors = DESCRIPTORS,
                                .idle = c->idle,
                                .niceness = c->niceness};
    if (confine_spawn(&spec, &c->pid, err) < 0)
        return -1;
    c->pidfd = (int)syscall(SYS_pidfd_open, c->pid, 0);
    if (c->pidfd < 0)
        return err_set_sys(err, errno, "pidfd_open");
    return 0;
}

static void start_work(uv_work_t *work)
{
    struct check *c = work->data;
    if (c->compose)
        c->compose(c->compose_ctx, &c->files);
    if (scratch_make(c->temporary, &c->scratch, &c->err) == 0 && disk_prepare(c->scratch.path, &c->err) == 0 &&
        account_keys_complete(&c->files, &c->err) == 0 && disk_dump(c->scratch.path, &c->files, &c->err) == 0)
        (void)child_start(c, &c->err);
    disk_files_done(&c->files);
}

/* --- on the loop --- */

static void cleanup_work(uv_work_t *work)
{
    struct check *c = work->data;
    scratch_remove(&c->scratch);
}

static void cleanup_after(uv_work_t *work, int status UNUSED)
{
    check_free(work->data);
}

static void handle_closed(uv_handle_t *handle)
{
    struct check *c = handle->data;
    if (--c->open_handles == 0)
        (void)uv_queue_work(c->loop, &c->work, cleanup_work, cleanup_after);
}

/* Closes everything; the last step. The child has ended. */
static void check_release(struct check *c)
{
    uv_close((uv_handle_t *)&c->timer, handle_closed);
    if (!c->started)
        return;
    uv_close((uv_handle_t *)&c->pipe, handle_closed);
    uv_close((uv_handle_t *)&c->exit_poll, handle_closed);
    close(c->pidfd);
}

static void tell(struct check *c, const struct check_result *result)
{
    check_done *done = c->done;
    c->done = NULL;
    if (done)
        done(c->ctx, result);
}

/* HAProxy's output without values of Secrets, or "" unless the caller asked for all of it. malloc'ed. */
static char *output_told(struct check *c)
{
    return c->tells_all ? (char *)(uintptr_t)text_redacted(c, buf_str(&c->output)) : xstrdup("");
}

static void tell_error(struct check *c, enum err_kind kind, const char *what)
{
    struct err err;
    err_set(&err, kind, "checking the configuration with %s: %s", c->binary, what);
    CLEANUP(free_ptr) char *output = output_told(c);
    struct check_result result = {.err = &err, .output = output, .duration_ns = clock_now_ns() - c->start_ns};
    tell(c, &result);
}

/* The child has ended and its output is read: evaluates the result. */
static void tell_result(struct check *c)
{
    if (c->over_output) {
        tell_error(c, ERR_LIMIT, "more output than is sensible");
        return;
    }
    if (WIFSIGNALED(c->status)) {
        char what[128];
        int sig = WTERMSIG(c->status);
        snprintf(what, sizeof(what), "killed by signal %d (%s)", sig, strsignal(sig));
        tell_error(c, sig == SIGXCPU || sig == SIGXFSZ || sig == SIGKILL ? ERR_LIMIT : ERR_HAPROXY, what);
        return;
    }
    int code = WEXITSTATUS(c->status);
    if (code == 0 && !c->tells_all) {
        struct check_result good = {.ok = true, .output = "", .duration_ns = clock_now_ns() - c->start_ns};
        tell(c, &good);
        return;
    }
    struct check_messages messages;
    check_messages_parse(buf_str(&c->output), c->scratch.path, &messages);
    VEC(const char *) texts = {0}; /* with values of Secrets redacted */
    for (size_t i = 0; i < messages.alerts.length; i++) {
        messages.alerts.items[i].text = text_redacted(c, messages.alerts.items[i].text);
        vec_push(&texts, messages.alerts.items[i].text);
    }
    if (!c->tells_all)
        messages.warnings.length = 0;
    for (size_t i = 0; i < messages.warnings.length; i++) {
        messages.warnings.items[i].text = text_redacted(c, messages.warnings.items[i].text);
        vec_push(&texts, messages.warnings.items[i].text);
    }
    CLEANUP(free_ptr) char *output = output_told(c);
    /* "Configuration file has no error but will not start (no listener) => exit(2)." has no tag. */
    const char *no_listener = strstr(buf_str(&c->output), "Configuration file has no error but will not start");
    struct check_message untagged = {.severity = CHECK_ALERT,
                                     .text = "the configuration has no error but will not start: no listener"};
    if (code != 0 && messages.alerts.length == 0 && no_listener)
        vec_push(&messages.alerts, untagged);
    if (code != 0 && messages.alerts.length == 0) {
        char what[64];
        snprintf(what, sizeof(what), "exit code %d without a message", code);
        tell_error(c, ERR_HAPROXY, what);
    } else {
        struct check_result result = {.ok = code == 0,
                                      .messages = messages.alerts.items,
                                      .count = code == 0 ? 0 : messages.alerts.length,
                                      .warnings = messages.warnings.items,
                                      .warning_count = messages.warnings.length,
                                      .output = output,
                                      .duration_ns = clock_now_ns() - c->start_ns};
        tell(c, &result);
    }
    for (size_t i = 0; i < texts.length; i++)
        free((char *)(uintptr_t)texts.items[i]);
    vec_done(&texts);
    check_messages_done(&messages);
}

static void check_advance(struct check *c)
{
    if (!c->exited || !c->ended)
        return;
    if (c->done)
        tell_result(c);
    check_release(c);
}

static void on_exit_poll(uv_poll_t *poll, int status UNUSED, int events UNUSED)
{
    struct check *c = poll->data;
    if (waitpid(c->pid, &c->status, WNOHANG) != c->pid)
        return;
    uv_poll_stop(poll);
    c->pid = 0;
    c->exited = true;
    check_advance(c);
}

static void on_alloc(uv_handle_t *handle, size_t suggested UNUSED, uv_buf_t *ret_buf)
{
    struct check *c = handle->data;
    char *room = buf_room(&c->output, READ_BYTES, NULL);
    *ret_buf = uv_buf_init(room, room ? (unsigned)READ_BYTES : 0);
}

static void on_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *chunk UNUSED)
{
    struct check *c = stream->data;
    if (count == 0)
        return;
    if (count > 0) {
        buf_grew(&c->output, (size_t)count);
        if (c->output.length + READ_BYTES <= c->output.max)
            return;
        c->over_output = true;
        if (c->pid)
            kill(c->pid, SIGKILL);
    }
    uv_read_stop(stream);
    c->ended = true;
    check_advance(c);
}

/* For handles that could not be replaced: nothing was started. */
static void on_complaints(uv_timer_t *timer)
{
    struct check *c = timer->data;
    struct check_result result = {.messages = c->complaints.items,
                                  .count = c->complaints.length,
                                  .output = "",
                                  .duration_ns = clock_now_ns() - c->start_ns};
    tell(c, &result);
    check_release(c);
}

static void on_deadline(uv_timer_t *timer)
{
    struct check *c = timer->data;
    tell_error(c, ERR_TIMEOUT, "killed at the deadline");
    if (c->pid)
        kill(c->pid, SIGKILL);
}

static void start_after(uv_work_t *work, int status UNUSED)
{
    struct check *c = work->data;
    if (c->err.kind != ERR_NONE) {
        if (c->pid) {
            kill(c->pid, SIGKILL);
            (void)waitpid(c->pid, NULL, 0);
        }
        if (c->output_fd >= 0)
            close(c->output_fd);
        struct check_result result = {.err = &c->err, .output = "", .duration_ns = clock_now_ns() - c->start_ns};
        err_wrap(&c->err, "checking the configuration with %s", c->binary);
        tell(c, &result);
        check_release(c);
        return;
    }
    c->started = true;
    uv_pipe_init(c->loop, &c->pipe, 0);
    c->pipe.data = c;
    uv_poll_init(c->loop, &c->exit_poll, c->pidfd);
    c->exit_poll.data = c;
    c->open_handles += 2;
    if (uv_pipe_open(&c->pipe, c->output_fd) < 0 || uv_read_start((uv_stream_t *)&c->pipe, on_alloc, on_read) < 0)
        c->ended = true;
    (void)uv_poll_start(&c->exit_poll, UV_READABLE, on_exit_poll);
    if (!c->done) /* cancelled, or past the deadline */
        kill(c->pid, SIGKILL);
}

static struct check *check_new(uv_loop_t *loop, const struct check_config *config, check_done *done, void *ctx)
{
    struct check *c = xcalloc(1, sizeof(*c));
    c->loop = loop;
    c->binary = xstrdup(config->binary);
    c->temporary = xstrdup(config->temporary ? config->temporary : scratch_place());
    c->readable = config->readable ? xstrdup(config->readable) : NULL;
    c->deadline_ns = config->deadline_ns ? config->deadline_ns : DEFAULT_DEADLINE_NS;
    c->idle = config->idle;
    c->niceness = config->niceness;
    c->tells_all = config->tells_all;
    c->memory_bytes = config->memory_bytes ? config->memory_bytes : DEFAULT_MEMORY_BYTES;
    buf_init(&c->output, (config->output_bytes ? config->output_bytes : DEFAULT_OUTPUT_BYTES) + READ_BYTES);
    vec_push(&c->environment, xstrdup("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"));
    for (size_t i = 0; config->environment && config->environment[i]; i++)
        vec_push(&c->environment, xstrdup(config->environment[i]));
    c->start_ns = clock_now_ns();
    c->done = done;
    c->ctx = ctx;
    c->pidfd = c->output_fd = -1;
    uv_timer_init(loop, &c->timer);
    c->timer.data = c->work.data = c;
    c->open_handles = 1;
    c->vault = config->vault;
    return c;
}

static void check_queue(struct check *c)
{
    disk_files_add(&c->files, HASTE_FILE, haste, strlen(haste));
    uv_timer_start(&c->timer, on_deadline, (uint64_t)(c->deadline_ns / NS_PER_MS + 1), 0);
    (void)uv_queue_work(c->loop, &c->work, start_work, start_after);
}

struct check *check_start(uv_loop_t *loop, const struct check_config *config, struct disk_files *files,
                          check_done *done, void *ctx)
{
    struct check *c = check_new(loop, config, done, ctx);
    c->files = *files;
    memset(files, 0, sizeof(*files));
    for (size_t i = 0; i < c->files.items.length; i++)
        file_expand(c, &c->files.items.items[i]);
    if (c->complaints.length)
        uv_timer_start(&c->timer, on_complaints, 0, 0);
    else
        check_queue(c);
    return c;
}

struct check *check_start_composed(uv_loop_t *loop, const struct check_config *config, disk_compose *compose,
                                   void *compose_ctx, check_done *done, void *ctx)
{
    struct check *c = check_new(loop, config, done, ctx);
    c->compose = compose;
    c->compose_ctx = compose_ctx;
    check_queue(c);
    return c;
}

void check_cancel(struct check *c)
{
    assert(c->done);
    c->done = NULL;
    uv_timer_stop(&c->timer);
    if (c->complaints.length)
        check_release(c);
    if (c->pid && c->started)
        kill(c->pid, SIGKILL);
}
