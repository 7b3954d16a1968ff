/* haptic validate: would the templates, the objects and HAProxy agree? */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "cmd/cmd.h"
#include "cmd/workbench_options.h"

enum { VALIDATE_WATCH = WORKBENCH_OWN };

static const struct option_row rows[] = {
    WORKBENCH_ROW_CONFIG,
    WORKBENCH_ROW_SET,
    {WORKBENCH_HAPROXY, 0, "haproxy-binary", "FILE", "HAPROXY_BINARY", NULL,
     "check with this HAProxy; may be repeated, templates see the first one (haproxy in PATH)"},
    WORKBENCH_ROW_VERSION,
    WORKBENCH_ROW_OUTPUT,
    WORKBENCH_ROW_STRICT,
    {VALIDATE_WATCH, 'w', "watch", NULL, NULL, NULL,
     "validate again whenever a file changes; changed objects cost only what depends on them"},
    WORKBENCH_ROW_HELP,
};

static const struct option_table table = {
    .command = "validate",
    .arguments = "[SOURCE…]",
    .text = "Compiles the templates, renders the manifests, and checks the result with HAProxy (`haproxy -c`, in a "
            "sandbox).\nSOURCE: a folder, a file, or - for standard input. A finding names template, line and "
            "object; `haptic explain CODE` says more.\n\n"
            "  haptic validate -c my.yaml examples/manifests\n"
            "  haptic validate -c my.yaml --watch manifests\n"
            "  haptic validate -o sarif --haproxy-binary /opt/haproxy-3.0/haproxy --haproxy-binary haproxy .\n\n"
            "Exit status: 0 clean, 1 findings, 2 wrong usage or unreadable input.",
    .rows = rows,
    .count = ARRAY_LEN(rows),
};

struct validate_command {
    struct workbench_command common;
    bool watches;
    /* while it watches: */
    struct file_watch *watch; /* of the configuration's files */
    uv_poll_t poll;           /* on it */
    uv_timer_t look;          /* for a source that is missing */
    bool config_changed;
};

#define LOOK_MS 500

static int set(void *ctx, int id, const char *value, struct err *err)
{
    struct validate_command *v = ctx;

    if (id != VALIDATE_WATCH)
        return workbench_command_set(&v->common, id, value, err);
    v->watches = true;
    return 0;
}

static int check_all(struct workbench_command *c, struct err *err)
{
    if (c->binaries.length == 0)
        return workbench_validate(c->workbench, "haproxy", err);
    for (size_t i = 0; i < c->binaries.length; i++)
        if (workbench_validate(c->workbench, c->binaries.items[i], err) < 0)
            return -1;
    return 0;
}

static int check(struct workbench_command *c, struct err *err)
{
    return c->workbench != NULL && workbench_render(c->workbench) ? check_all(c, err) : 0;
}

static int report(struct workbench_command *c)
{
    int status = workbench_command_report(c, stdout);
    size_t warnings = findings_count(&c->findings, FINDING_WARNING);
    size_t objects = c->workbench != NULL ? workbench_objects_read(c->workbench) : 0;

    if (status == EXIT_CLEAN && c->format == FINDING_TEXT)
        printf("valid: %zu object%s, %zu fragments, HAProxy %s%s%zu warning%s\n", objects, objects == 1 ? "" : "s",
               workbench_fragments(c->workbench),
               c->binaries.length > 1 ? "of each given version" : workbench_caps(c->workbench)->text, ", ", warnings,
               warnings == 1 ? "" : "s");
    return status;
}

static int fail(const struct err *err)
{
    fprintf(stderr, "haptic validate: %s\n", err->text);
    return EXIT_USAGE;
}

/* ---- watching ---- */

static void on_config_changed(uv_poll_t *poll, int status, int events)
{
    struct validate_command *v = poll->data;

    (void)status, (void)events;
    if (!file_watch_take(v->watch))
        return;
    v->config_changed = true;
    uv_stop(&v->common.loop);
}

static bool sources_exist(const struct workbench_command *c)
{
    for (const char *const *source = c->options.sources; *source != NULL; source++)
        if (access(*source, F_OK) < 0)
            return false;
    return true;
}

static void on_look(uv_timer_t *timer)
{
    struct validate_command *v = timer->data;

    if (!sources_exist(&v->common))
        return;
    v->config_changed = true;
    uv_stop(&v->common.loop);
}

/* Until the configuration or an object changes, or a missing source is there again. */
static void await(struct validate_command *v)
{
    struct workbench_command *c = &v->common;

    fflush(stdout);
    fprintf(stderr, "haptic validate: waiting for a change; Ctrl-C ends\n");
    if (c->workbench == NULL && !sources_exist(c))
        uv_timer_start(&v->look, on_look, LOOK_MS, LOOK_MS);
    if (c->workbench != NULL)
        workbench_await(c->workbench, &v->config_changed);
    while (c->workbench == NULL && !v->config_changed)
        uv_run(&c->loop, UV_RUN_DEFAULT);
    uv_timer_stop(&v->look);
}

/* As long as nothing was wrong, only the fragments of changed objects are rendered. After an error, everything is read
 * anew, because the verdict must not depend on former output. */
static int check_change(struct validate_command *v, struct err *err)
{
    struct workbench_command *c = &v->common;
    bool is_clean = !v->config_changed && c->workbench != NULL && workbench_is_clean(c->workbench);

    v->config_changed = false;
    if (is_clean) {
        findings_done(&c->findings);
        c->findings = (struct findings){0};
        if (check(c, err) < 0)
            return -1;
        if (workbench_is_clean(c->workbench))
            return 0;
    }
    file_watch_settle(v->watch);
    if (workbench_command_again(c, err) < 0 || workbench_command_watch(c, v->watch, err) < 0)
        return -1;
    return check(c, err);
}

/* Until somebody ends it. */
static int serve_watching(struct validate_command *v)
{
    struct workbench_command *c = &v->common;
    struct err err;

    for (const char *const *source = c->options.sources; *source != NULL; source++)
        if (strcmp(*source, "-") == 0) {
            (void)err_set(&err, ERR_INVALID, "--watch reads the files again, and standard input cannot be read twice");
            return fail(&err);
        }
    v->watch = file_watch_new(&err);
    if (v->watch == NULL || workbench_command_watch(c, v->watch, &err) < 0)
        return fail(&err);
    uv_timer_init(&c->loop, &v->look);
    uv_poll_init(&c->loop, &v->poll, file_watch_fd(v->watch));
    v->look.data = v->poll.data = v;
    uv_poll_start(&v->poll, UV_READABLE, on_config_changed);
    int result = check(c, &err);
    for (;;) {
        if (result < 0)
            (void)fail(&err);
        else
            (void)report(c);
        await(v);
        result = check_change(v, &err);
    }
}

static int serve_once(struct workbench_command *c)
{
    struct err err;

    return check(c, &err) < 0 ? fail(&err) : report(c);
}

int cmd_validate(int argc, char **argv)
{
    struct validate_command v = {0};
    struct workbench_command *c = &v.common;
    struct err err;
    int status = EXIT_CLEAN;

    if (options_parse(&table, argc, argv, set, &v, &c->sources, &err) < 0)
        status = fail(&err);
    else if (c->help)
        options_print_help(&table);
    else if (workbench_command_begin(c, "validate", &status))
        status = v.watches ? serve_watching(&v) : serve_once(c);
    file_watch_free(v.watch);
    workbench_command_done(c);
    return status;
}

const struct option_table *cmd_validate_options(void)
{
    return &table;
}
