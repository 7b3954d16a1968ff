/* The shared options of the offline commands, their start and their report. */
#include "cmd/workbench_options.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/terminal.h"
#include "cmd/version.h"
#include "controller/config_paths.h"

/* The variable is used where the option is not given. */
static void add_config(struct workbench_command *c, const char *value)
{
    const char *variable = getenv("CONFIG");
    bool first = c->options.config_file == NULL ||
                 (c->configs.length == 0 && variable != NULL && c->options.config_file == variable);

    if (!first) {
        vec_push(&c->configs, config_paths_with(c->options.config_file, value));
        value = c->configs.items[c->configs.length - 1];
    }
    c->options.config_file = value;
}

int workbench_command_set(struct workbench_command *c, int id, const char *value, struct err *err)
{
    switch (id) {
    case WORKBENCH_CONFIG:
        add_config(c, value);
        return 0;
    case WORKBENCH_SET:
        if (strchr(value, '=') == NULL || *value == '=')
            return err_set(err, ERR_INVALID, "\"%.64s\": write KEY=VALUE", value);
        vec_push(&c->sets, value);
        return 0;
    case WORKBENCH_HAPROXY:
        vec_push(&c->binaries, value);
        return 0;
    case WORKBENCH_VERSION:
        c->options.haproxy_version = value;
        return 0;
    case WORKBENCH_OUTPUT:
        return finding_format_parse(value, &c->format, err);
    case WORKBENCH_STRICT:
        c->strict = true;
        return 0;
    case WORKBENCH_HELP:
        c->help = true;
        return 0;
    default:
        return err_set(err, ERR_INVALID, "unknown option");
    }
}

void workbench_command_prepare(struct workbench_command *c)
{
    size_t size = sizeof(c->executable);

    log_set_fd(STDERR_FILENO); /* standard output is for what was asked for */
    log_set_level(LOG_ERROR);
    uv_loop_init(&c->loop);
    if (uv_exepath(c->executable, &size) != 0)
        snprintf(c->executable, sizeof(c->executable), "%s", "/proc/self/exe");
    /* as `haptic run --source` does: who writes the files runs this program */
    vec_push(&c->sets, "local_endpoints=true");
    vec_push(&c->sets, NULL);
    c->options.executable = c->executable;
    c->options.sources = c->sources.items.items;
    c->options.extra_context = c->sets.items;
    c->options.haproxy_binary = c->binaries.length > 0 ? c->binaries.items[0] : "haproxy";
    c->options.progress = isatty(STDERR_FILENO);
}

bool workbench_command_begin(struct workbench_command *c, const char *name, int *ret_status)
{
    struct err err;

    workbench_command_prepare(c);
    if (workbench_new(&c->loop, &c->options, &c->findings, &c->workbench, &err) < 0) {
        fprintf(stderr, "haptic %s: %s\n", name, err.text);
        *ret_status = EXIT_USAGE;
        return false;
    }
    return true;
}

int workbench_command_report(struct workbench_command *c, FILE *to)
{
    CLEANUP(buf_done) struct buf text = {0};
    bool colour = terminal_has_colour(to);
    size_t count = findings_count(&c->findings, c->strict ? FINDING_WARNING : FINDING_ERROR);

    findings_write(&c->findings, c->format, colour, HAPTIC_VERSION, &text);
    fwrite(buf_str(&text), 1, text.length, to);
    return count > 0 ? EXIT_FINDINGS : EXIT_CLEAN;
}

int workbench_command_refuse(struct workbench_command *c)
{
    (void)workbench_command_report(c, c->format == FINDING_TEXT ? stderr : stdout);
    return EXIT_FINDINGS;
}

static int watch_texts(struct file_watch *watch, const struct config_texts *texts, struct err *err)
{
    for (size_t i = 0; i < texts->items.length; i++)
        if (texts->items.items[i].file != NULL && file_watch_add(watch, texts->items.items[i].file, err) < 0)
            return -1;
    return 0;
}

int workbench_command_watch(const struct workbench_command *c, struct file_watch *watch, struct err *err)
{
    const struct config *config = c->workbench != NULL ? workbench_config(c->workbench) : NULL;
    struct config_strings paths = {0};
    int result = c->options.config_file != NULL ? config_paths(c->options.config_file, &paths, err) : 0;

    for (size_t i = 0; i < paths.length && result == 0; i++)
        result = file_watch_add(watch, paths.items[i], err);
    config_paths_done(&paths);
    if (result < 0 || config == NULL)
        return result;
    if (config->haproxy_config_file != NULL && file_watch_add(watch, config->haproxy_config_file, err) < 0)
        return -1;
    const struct config_texts *const texts[] = {&config->snippets, &config->maps, &config->files, &config->certificates,
                                                &config->crt_lists};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        if (watch_texts(watch, texts[i], err) < 0)
            return -1;
    return 0;
}

int workbench_command_again(struct workbench_command *c, struct err *err)
{
    c->workbench = workbench_free(c->workbench);
    findings_done(&c->findings);
    c->findings = (struct findings){0};
    return workbench_new(&c->loop, &c->options, &c->findings, &c->workbench, err);
}

void workbench_command_done(struct workbench_command *c)
{
    c->workbench = workbench_leave(c->workbench);
    if (c->options.executable != NULL) { /* the loop was begun */
        uv_run(&c->loop, UV_RUN_DEFAULT);
        uv_loop_close(&c->loop);
    }
    findings_done(&c->findings);
    vec_done(&c->sources.items);
    for (size_t i = 0; i < c->configs.length; i++)
        free(c->configs.items[i]);
    vec_done(&c->configs);
    vec_done(&c->sets);
    vec_done(&c->binaries);
}
