/* haptic repl: a Lua prompt inside the renderer's jail. This process has the terminal and the history only; a chunk is
 * evaluated where templates run, with their limits. When a chunk ends the renderer, a new one gets the chunks before it
 * again. */
#include <errno.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "cmd/cluster.h"
#include "cmd/cmd.h"
#include "cmd/workbench_options.h"
#include "controller/config_paths.h"
#include "controller/dump.h"
#include "data/json.h"
#include "offline/change.h"
#include "offline/line_editor.h"
#include "offline/prompt_complete.h"
#include "offline/prompt_diff.h"
#include "offline/prompt_explain.h"
#include "offline/prompt_request.h"
#include "offline/rehearsal.h"
#include "offline/saved_test.h"

#define SESSION_MAX 1000
#define CHUNK_MAX ((size_t)1 << 20)

enum { REPL_EXECUTE = WORKBENCH_OWN, REPL_DUMP, REPL_FROM };

static const struct option_row rows[] = {
    WORKBENCH_ROW_CONFIG,
    {REPL_EXECUTE, 'e', "execute", "LUA", NULL, NULL, "run this chunk and end; may be repeated"},
    {REPL_FROM, 0, "from", "URL", NULL, NULL,
     "templates and objects of a running controller, from its debug port: http://127.0.0.1:9091 through kubectl "
     "port-forward. Nothing is changed there"},
    {REPL_DUMP, 0, "dump", NULL, NULL, NULL,
     "print the templates and the objects, with handles in place of Secrets, for luajit -l haptic, and end"},
    WORKBENCH_ROW_SET,
    {WORKBENCH_HAPROXY, 0, "haproxy-binary", "FILE", "HAPROXY_BINARY", NULL,
     "the HAProxy to render for (haproxy in PATH); may be repeated: verdicts are for each, the first one renders"},
    WORKBENCH_ROW_VERSION,
    WORKBENCH_ROW_HELP,
};

static const struct option_table table = {
    .command = "repl",
    .arguments = "[SOURCE…]",
    .text = "A Lua prompt with a loaded configuration and its objects, and everything that templates see. It runs in "
            "the renderer's sandbox:\n"
            "no files, no network, the templates' limits. SOURCE: a folder or a file.\n\n"
            "  haptic repl examples/manifests\n"
            "  echo 'resources.services:get(\"default\", \"web\").spec.ports' | haptic repl examples/manifests\n\n"
            "Exit status: 0, or 1 after an error; on a terminal that of the last chunk; 2 wrong usage or unreadable "
            "input.",
    .rows = rows,
    .count = ARRAY_LEN(rows),
};

struct repl {
    struct workbench_command common;
    VEC(const char *) chunks_given; /* --execute */
    const char *from;               /* --from; NULL: files */
    struct buf dump;                /* what it gave */
    struct line_editor *editor;
    VEC(char *) session; /* chunks that were evaluated without an error, in order */
    struct buf pending;  /* lines of an unfinished chunk */
    struct buf changes;
    struct saved_test saved; /* the requests of this session */
    struct rehearsal *rehearsal;
    struct versions versions; /* each --haproxy-binary; the first one renders */
    struct stage *stage;      /* of what was rendered last; NULL: none was needed */
    uv_signal_t interrupt;
    struct timespec config_time;
    bool dumps, evaluating, ended;
    bool failed;     /* the last chunk or command */
    bool has_failed; /* any of them */
};

static int set(void *ctx, int id, const char *value, struct err *err)
{
    struct repl *r = ctx;

    if (id == REPL_FROM) {
        r->from = value;
        return 0;
    }
    if (id == REPL_DUMP) {
        r->dumps = true;
        return 0;
    }
    if (id != REPL_EXECUTE)
        return workbench_command_set(&r->common, id, value, err);
    vec_push(&r->chunks_given, value);
    return 0;
}

/* ---- rendering ---- */

static void on_change(void *ctx, const struct fragment *before, const struct fragment *now)
{
    struct repl *r = ctx;

    change_write(before, now, &r->changes);
    rehearsal_note(r->rehearsal, before, now);
}

/* Findings are of one rendering: print those, and begin anew. */
static void print_findings(struct repl *r)
{
    (void)workbench_command_report(&r->common, stdout);
    findings_done(&r->common.findings);
    r->common.findings = (struct findings){0};
}

/* Would the change reload a HAProxy that runs what was there before? */
static void print_verdict(struct repl *r)
{
    CLEANUP(buf_done) struct buf text = {0};
    CLEANUP(verdicts_done) struct verdicts verdicts = {0};
    struct err err;

    if (rehearsal_judge(r->rehearsal, &r->versions, &verdicts, &err) < 0)
        buf_printf(&text, "Whether HAProxy would reload is not known: %s\n", err.text);
    else
        verdicts_put(&verdicts, &text);
    fwrite(buf_str(&text), 1, text.length, stdout);
}

static void render(struct repl *r, bool show)
{
    r->stage = stage_free(r->stage);
    buf_clear(&r->changes);
    workbench_listen(r->common.workbench, show ? on_change : NULL, r);
    bool rendered = workbench_render(r->common.workbench);
    workbench_listen(r->common.workbench, NULL, NULL);
    r->failed = findings_count(&r->common.findings, FINDING_ERROR) > 0;
    if (rendered && show) {
        const struct render_stats *stats = workbench_stats(r->common.workbench);
        fwrite(buf_str(&r->changes), 1, r->changes.length, stdout);
        printf("%llu of %llu fragments ran, %s%s\n", (unsigned long long)stats->fragments_run,
               (unsigned long long)stats->fragments_total, log_duration(stats->duration_ns),
               r->changes.length == 0 ? "; nothing changed" : "");
        fflush(stdout);
    }
    print_findings(r);
    if (rendered && show && r->changes.length > 0)
        print_verdict(r);
    if (!show)
        rehearsal_forget(r->rehearsal);
}

/* ---- commands that a chunk returns ---- */

static void change_object(struct repl *r, struct yyjson_val *command)
{
    struct store_kind *kind = store_kind_by_name(workbench_store(r->common.workbench), json_str(command, "kind"));
    const char *json = json_str(command, "json"), *id = json_str(command, "id");
    struct err err;

    if (kind == NULL)
        return;
    if (json != NULL) {
        if (store_put_json(kind, json, strlen(json), NULL, &err) < 0) {
            printf("error: %s\n", err.text);
            r->failed = true;
            return;
        }
    } else if (id != NULL) {
        const char *slash = strchr(id, '/');
        CLEANUP(free_ptr) char *namespace = slash ? xmemdup0(id, (size_t)(slash - id)) : xstrdup("");
        store_delete(kind, namespace, slash ? slash + 1 : id, NULL);
    }
    saved_test_done(&r->saved); /* its requests were about other objects */
    render(r, true);
}

static void make_request(struct repl *r, struct yyjson_val *request)
{
    CLEANUP(buf_done) struct buf text = {.max = CHUNK_MAX}, answer = {0}, noted = {0};
    bool as_expected;
    struct err err;

    if (json_write(&text, request, NULL, &err) < 0 ||
        prompt_request(r->common.workbench, r->common.options.haproxy_binary, buf_str(&text), &r->stage, &answer,
                       &noted, &as_expected, &err) < 0) {
        printf("error: %s\n", err.text);
        r->failed = true;
        return;
    }
    printf("%s\n", buf_str(&answer));
    saved_test_note(&r->saved, buf_str(&noted));
    r->failed = !as_expected;
}

static void explain(struct repl *r, struct yyjson_val *command)
{
    CLEANUP(buf_done) struct buf text = {0};
    const struct workbench_options *o = &r->common.options;
    const char *binary = o->haproxy_version == NULL && o->dump == NULL ? o->haproxy_binary : NULL;
    struct err err;

    r->failed = prompt_explain(r->common.workbench, binary, command, &text, &err) < 0;
    if (r->failed)
        printf("error: %s\n", err.text);
    fwrite(buf_str(&text), 1, text.length, stdout);
}

static void carry_out(struct repl *r, const char *json)
{
    CLEANUP(json_doc_done) struct yyjson_doc *doc = NULL;
    struct err err;

    if (json_parse(json, strlen(json), CHUNK_MAX, &doc, &err) < 0) {
        printf("error: the object is too large for the prompt: %s\n", err.text);
        r->failed = true;
        return;
    }
    struct yyjson_val *root = yyjson_doc_get_root(doc);
    const char *name = json_str(root, "command");
    if (strcmp(name ? name : "", "render") == 0)
        render(r, true);
    else if (strcmp(name ? name : "", "request") == 0)
        make_request(r, json_at(root, "request"));
    else if (strcmp(name ? name : "", "explain") == 0)
        explain(r, root);
    else
        change_object(r, root);
}

/* ---- evaluation ---- */

static void on_interrupt(uv_signal_t *handle, int number)
{
    struct repl *r = handle->data;
    int pid = renderer_pid(workbench_renderer(r->common.workbench));

    (void)number;
    if (pid > 0 && r->evaluating)
        kill(pid, SIGKILL);
}

static char *ask(struct repl *r, const char *mode, const char *text)
{
    r->evaluating = true;
    char *answer = workbench_ask(r->common.workbench, mode, text);
    r->evaluating = false;
    return answer;
}

/* The renderer is another one: its globals are made again. */
static void replay(struct repl *r)
{
    render(r, false);
    for (size_t i = 0; i < r->session.length; i++)
        free(ask(r, "evaluate", r->session.items[i]));
}

static void remember(struct repl *r, const char *chunk)
{
    if (r->session.length < SESSION_MAX)
        vec_push(&r->session, xstrdup(chunk));
}

static bool begins(const char *text, const char *status, const char **ret_rest)
{
    size_t length = strlen(status);

    if (strncmp(text, status, length) != 0 || text[length] != '\n')
        return false;
    *ret_rest = text + length + 1;
    return true;
}

/* False: the chunk is not finished. */
static bool evaluate(struct repl *r, const char *chunk)
{
    CLEANUP(free_ptr) char *answer = ask(r, "evaluate", chunk);
    const char *rest = "";

    r->failed = false;
    if (begins(answer, "incomplete", &rest))
        return false;
    if (begins(answer, "ok", &rest)) {
        if (*rest != '\0')
            printf("%s%s", rest, rest[strlen(rest) - 1] == '\n' ? "" : "\n");
        remember(r, chunk);
    } else if (begins(answer, "command", &rest)) {
        carry_out(r, rest);
    } else if (begins(answer, "error", &rest)) {
        printf("error: %s\n", rest);
        r->failed = true;
    } else {
        printf("error: the chunk was ended: it took too long, too much memory, or was interrupted\n");
        findings_done(&r->common.findings);
        r->common.findings = (struct findings){0};
        replay(r);
        r->failed = true;
    }
    fflush(stdout);
    return true;
}

/* Templates are loaded again when their file has changed. */
static void follow_config(struct repl *r, bool even_if_same)
{
    const char *file = r->common.options.config_file;
    struct err err;

    if (file == NULL)
        return;
    struct timespec now = config_paths_time(file);
    bool same = now.tv_sec == r->config_time.tv_sec && now.tv_nsec == r->config_time.tv_nsec;
    r->config_time = now;
    if (now.tv_sec == 0 || (same && !even_if_same))
        return;
    if (workbench_reload(r->common.workbench, &err) < 0) {
        printf("error: %s; the templates before it stay\n", err.text);
        return;
    }
    printf("%s: templates loaded again\n", file);
    saved_test_done(&r->saved);
    replay(r);
}

/* ---- commands of the prompt ---- */

static void help(void)
{
    puts(":help          this list; help() says what Lua has\n"
         ":load FILE     evaluate a file\n"
         ":save FILE     write the objects, and the requests since they changed, as a test; :save! replaces a file\n"
         ":diff          what the changes of this session would do to a HAProxy that runs what the files say\n"
         ":reload        load the configuration again, and what it has read\n"
         ":quit          end, as Ctrl-D does");
}

static void load_file(struct repl *r, const char *path)
{
    CLEANUP(buf_done) struct buf text = {.max = CHUNK_MAX};
    struct err err;
    FILE *file = fopen(path, "re");
    char chunk[4096];
    size_t n;

    if (file == NULL) {
        printf("error: %s: %s\n", path, strerror(errno));
        r->failed = true;
        return;
    }
    int result = 0;
    while (result == 0 && (n = fread(chunk, 1, sizeof(chunk), file)) > 0)
        result = buf_try_add(&text, chunk, n, &err);
    fclose(file);
    if (result < 0) {
        printf("error: %s: %s\n", path, err.text);
        r->failed = true;
    } else if (!evaluate(r, buf_str(&text))) {
        printf("error: %s ends within a statement\n", path);
        r->failed = true;
    }
}

static void save(struct repl *r, const char *path, bool replaces)
{
    size_t left_out = 0;
    struct err err;

    if (r->saved.requests.length == 0) {
        printf("error: nothing was asked: request{host = …} first\n");
        r->failed = true;
    } else if (saved_test_write(&r->saved, r->common.workbench, path, replaces, &left_out, &err) < 0) {
        printf("error: %s\n", err.text);
        r->failed = true;
    } else {
        printf("%s: %zu request%s", path, r->saved.requests.length, r->saved.requests.length == 1 ? "" : "s");
        if (left_out > 0)
            printf("; %zu Secret%s left out, write them by hand", left_out, left_out == 1 ? " is" : "s are");
        putchar('\n');
        r->failed = false;
    }
}

static void diff(struct repl *r)
{
    struct findings findings = {0};
    struct err err;

    if (r->from != NULL) {
        printf("error: :diff needs files: take a snapshot of the cluster\n");
        r->failed = true;
        return;
    }
    CLEANUP(buf_done) struct buf answer = {0};
    r->failed = prompt_diff(&r->common.loop, &r->common.options, &r->versions, r->common.workbench, &findings, &answer,
                            &err) < 0;
    workbench_set_findings(r->common.workbench, &r->common.findings);
    if (r->failed)
        printf("error: %s\n", err.text);
    fwrite(buf_str(&answer), 1, answer.length, stdout);
    if (findings_count(&findings, FINDING_ERROR) > 0) {
        CLEANUP(buf_done) struct buf text = {0};
        findings_write(&findings, FINDING_TEXT, false, "", &text);
        fwrite(buf_str(&text), 1, text.length, stdout);
        r->failed = true;
    }
    findings_done(&findings);
}

static void command(struct repl *r, const char *line)
{
    if (strcmp(line, ":quit") == 0 || strcmp(line, ":q") == 0) {
        r->ended = true;
    } else if (strcmp(line, ":help") == 0) {
        help();
    } else if (strcmp(line, ":reload") == 0) {
        follow_config(r, true);
    } else if (strcmp(line, ":diff") == 0) {
        diff(r);
    } else if (strncmp(line, ":save ", 6) == 0 || strncmp(line, ":save! ", 7) == 0) {
        save(r, line + 6 + strspn(line + 6, " "), line[5] == '!');
    } else if (strncmp(line, ":load ", 6) == 0) {
        load_file(r, line + 6 + strspn(line + 6, " "));
    } else {
        printf("error: there is no command %s; :help lists them\n", line);
        r->failed = true;
    }
}

/* While a line is read, the editor has Ctrl-C. */
static char *complete(void *ctx, const char *line)
{
    return prompt_complete(((struct repl *)ctx)->common.workbench, line);
}

static void take_line(struct repl *r, const char *line)
{
    if (r->pending.length == 0 && *line == ':') {
        line_editor_remember(r->editor, line);
        r->failed = false;
        command(r, line);
        r->has_failed = r->has_failed || r->failed;
        return;
    }
    if (r->pending.length == 0 && line[strspn(line, " \t")] == '\0')
        return;
    if (r->pending.length + strlen(line) > CHUNK_MAX) {
        printf("error: a chunk has at most %zu bytes\n", CHUNK_MAX);
        buf_clear(&r->pending);
        return;
    }
    if (r->pending.length > 0)
        buf_putc(&r->pending, '\n');
    buf_puts(&r->pending, line);
    follow_config(r, false);
    if (!evaluate(r, buf_str(&r->pending)))
        return;
    r->has_failed = r->has_failed || r->failed;
    line_editor_remember(r->editor, buf_str(&r->pending));
    buf_clear(&r->pending);
}

static void read_lines(struct repl *r)
{
    const char *line;

    while (!r->ended) {
        switch (line_editor_read(r->editor, r->pending.length > 0 ? "     >> " : "haptic> ", &line)) {
        case LINE_READ:
            take_line(r, line);
            break;
        case LINE_INTERRUPTED:
            buf_clear(&r->pending);
            break;
        case LINE_END:
            if (r->pending.length > 0) {
                printf("error: the input ends within a statement\n");
                r->failed = r->has_failed = true;
            } else if (line_editor_is_terminal(r->editor)) {
                putchar('\n');
            }
            r->ended = true;
        }
        fflush(stdout);
    }
}

static int dump(struct repl *r)
{
    CLEANUP(buf_done) struct buf program = {0}, text = {0};
    struct workbench *w = r->common.workbench;
    struct err err;

    if (workbench_program(w, &program, &err) < 0 ||
        dump_write(workbench_config(w), workbench_store(w), &program, &text, &err) < 0) {
        fprintf(stderr, "haptic repl: %s\n", err.text);
        return EXIT_USAGE;
    }
    fwrite(buf_str(&text), 1, text.length, stdout);
    return EXIT_CLEAN;
}

static int serve(struct repl *r)
{
    CLEANUP(free_ptr) char *history = line_editor_history();
    const struct workbench_options *o = &r->common.options;
    struct err err;

    if (r->common.workbench == NULL) { /* the configuration is wrong */
        print_findings(r);
        return EXIT_FINDINGS;
    }
    if (r->dumps)
        return dump(r);
    if (versions_find(&r->versions, o->haproxy_binary, workbench_caps(r->common.workbench), r->common.binaries.items,
                      r->common.binaries.length, &err) < 0) {
        fprintf(stderr, "haptic repl: %s\n", err.text);
        return EXIT_USAGE;
    }
    if (r->common.options.config_file != NULL)
        r->config_time = config_paths_time(r->common.options.config_file);
    uv_signal_init(&r->common.loop, &r->interrupt);
    r->interrupt.data = r;
    uv_signal_start(&r->interrupt, on_interrupt, SIGINT); /* for the whole session: Ctrl-C never ends the program */
    r->rehearsal = rehearsal_new(r->common.workbench);
    render(r, false);
    r->failed = false;
    setlocale(LC_CTYPE, ""); /* for letters beyond ASCII at the prompt */
    r->editor = line_editor_new(history, complete, r);
    if (r->chunks_given.length > 0) {
        for (size_t i = 0; i < r->chunks_given.length; i++)
            take_line(r, r->chunks_given.items[i]);
    } else {
        if (line_editor_is_terminal(r->editor))
            printf("HAProxy %s, %zu fragments. help() and :help say what there is; Ctrl-D ends.\n",
                   workbench_caps(r->common.workbench)->text, workbench_fragments(r->common.workbench));
        read_lines(r);
    }
    bool is_batch = r->chunks_given.length > 0 || !line_editor_is_terminal(r->editor);
    bool failed = is_batch ? r->has_failed : r->failed;
    line_editor_free(r->editor);
    r->rehearsal = rehearsal_free(r->rehearsal);
    r->stage = stage_free(r->stage);
    uv_close((uv_handle_t *)&r->interrupt, NULL);
    return failed ? EXIT_FINDINGS : EXIT_CLEAN;
}

/* Everything is taken over once; afterwards the controller is not asked again. */
static int fetch(struct repl *r, struct err *err)
{
    struct cluster c = {0};

    if (r->common.options.config_file != NULL || r->common.sources.items.length > 0)
        return err_set(err, ERR_INVALID, "--from has configuration and objects: give neither");
    (void)cluster_open_alone(&c);
    int result = cluster_fetch(&c, r->from, "/debug/dump", &r->dump, err);
    cluster_close(&c);
    r->common.options.dump = buf_str(&r->dump);
    return result;
}

int cmd_repl(int argc, char **argv)
{
    struct repl r = {.pending = {.max = 2 * CHUNK_MAX}};
    struct err err;
    int status = EXIT_CLEAN;

    if (options_parse(&table, argc, argv, set, &r, &r.common.sources, &err) < 0) {
        fprintf(stderr, "haptic repl: %s\n", err.text);
        status = EXIT_USAGE;
    } else if (r.common.help) {
        options_print_help(&table);
    } else if (r.from != NULL && fetch(&r, &err) < 0) {
        fprintf(stderr, "haptic repl: %s\n", err.text);
        status = EXIT_USAGE;
    } else if (workbench_command_begin(&r.common, "repl", &status)) {
        status = serve(&r);
    }
    workbench_command_done(&r.common);
    for (size_t i = 0; i < r.session.length; i++)
        free(r.session.items[i]);
    vec_done(&r.session);
    saved_test_done(&r.saved);
    versions_done(&r.versions);
    vec_done(&r.chunks_given);
    buf_done(&r.pending);
    buf_done(&r.changes);
    buf_done(&r.dump);
    return status;
}

const struct option_table *cmd_repl_options(void)
{
    return &table;
}
