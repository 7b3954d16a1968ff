/* haptic version */
#include "cmd/version.h"

#include <stdbool.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "cmd/cmd.h"
#include "cmd/given_config.h"
#include "cmd/workbench_options.h"

enum { VERSION_OUTPUT, VERSION_HELP };

static const struct option_row rows[] = {
    ROW_TEXT_OR_JSON(VERSION_OUTPUT, "text or json"),
    {VERSION_HELP, 'h', "help", NULL, NULL, NULL, "this text"},
};

static const struct option_table table = {
    .command = "version",
    .text = "Prints the program's version.\n\n"
            "  haptic version -o json\n\n"
            "Exit status: 0 printed, 2 wrong usage.",
    .rows = rows,
    .count = ARRAY_LEN(rows),
};

struct version {
    enum finding_format format;
    bool help;
};

static int set(void *ctx, int id, const char *value, struct err *err)
{
    struct version *v = ctx;

    if (id == VERSION_OUTPUT)
        return text_or_json(value, &v->format, err);
    v->help = true;
    return 0;
}

int cmd_version(int argc, char **argv)
{
    struct option_arguments arguments = {0};
    struct version v = {0};
    struct err err;

    int result = options_parse(&table, argc, argv, set, &v, &arguments, &err);
    vec_done(&arguments.items);
    if (result < 0) {
        fprintf(stderr, "haptic version: %s\n", err.text);
        return EXIT_USAGE;
    }
    if (v.help)
        options_print_help(&table);
    else
        printf(v.format == FINDING_JSON ? "{\"version\":\"%s\"}\n" : "haptic %s\n", HAPTIC_VERSION);
    return EXIT_CLEAN;
}

const struct option_table *cmd_version_options(void)
{
    return &table;
}
