/* haptic config view: a configuration as it is taken. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "cmd/cmd.h"
#include "cmd/options.h"
#include "cmd/workbench_options.h"
#include "controller/config_paths.h"
#include "controller/config_view.h"

enum { CONFIG_FILE, CONFIG_HELP };

static const struct option_row rows[] = {
    {CONFIG_FILE, 'c', "config", "FILE|DIR", "CONFIG", NULL,
     "the configuration: an HAProxyTemplateConfig or its spec, followed by libraries; a folder of them; may be "
     "repeated: later values replace earlier ones. Without it, the built-in one"},
    {CONFIG_HELP, 'h', "help", NULL, NULL, NULL, "this text"},
};

static const struct option_table table = {
    .command = "config",
    .arguments = "view",
    .text = "Prints the complete configuration: with libraries, the texts of files, and all defaults. The output is "
            "JSON, which is also YAML. It can be used as a configuration again, except for the rules of httpFetch.\n\n"
            "  haptic config view -c haptic.yaml\n\n"
            "Exit status: 0 printed, 1 the configuration is wrong, 2 wrong usage or unreadable input.",
    .rows = rows,
    .count = ARRAY_LEN(rows),
};

struct view_options {
    const char *variable; /* used where the option is not given */
    char *files;
    bool help;
};

static int set(void *ctx, int id, const char *value, struct err *err)
{
    struct view_options *o = ctx;

    (void)err;
    if (id != CONFIG_FILE) {
        o->help = true;
    } else if (value == getenv("CONFIG")) {
        o->variable = value;
    } else {
        char *before = o->files;
        o->files = config_paths_with(before, value);
        free(before);
    }
    return 0;
}

static int complain(const struct err *err, int status)
{
    fprintf(stderr, "haptic config: %s\n", err->text);
    return status;
}

int cmd_config(int argc, char **argv)
{
    CLEANUP(config_cleanup) struct config *config = NULL;
    CLEANUP(buf_done) struct buf text = {0};
    struct option_arguments arguments = {0};
    struct view_options o = {0};
    struct err err;

    int result = options_parse(&table, argc, argv, set, &o, &arguments, &err);
    bool is_view = arguments.items.length == 1 && strcmp(arguments.items.items[0], "view") == 0;
    vec_done(&arguments.items);
    CLEANUP(free_ptr) char *files = o.files;
    if (result < 0)
        return complain(&err, EXIT_USAGE);
    if (o.help) {
        options_print_help(&table);
        return EXIT_CLEAN;
    }
    if (!is_view) {
        fprintf(stderr, "haptic config: write haptic config view; see haptic config --help\n");
        return EXIT_USAGE;
    }
    const char *from = files ? files : o.variable;
    if (from == NULL)
        config = config_new_default();
    else if (config_load(from, &config, &err) < 0)
        return complain(&err, err.kind == ERR_SYS ? EXIT_USAGE : EXIT_FINDINGS);
    for (size_t i = 0; i < config->warnings.length; i++)
        fprintf(stderr, "haptic config: %s\n", config->warnings.items[i]);
    if (config_view(config, &text, &err) < 0)
        return complain(&err, EXIT_FINDINGS);
    fwrite(buf_str(&text), 1, text.length, stdout);
    return EXIT_CLEAN;
}

const struct option_table *cmd_config_options(void)
{
    return &table;
}
