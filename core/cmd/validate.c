/* haptic validate: would the templates, the objects and HAProxy agree? */
#include <stdio.h>

#include "base/cleanup.h"
#include "cmd/cmd.h"
#include "cmd/workbench_options.h"

static const struct option_row rows[] = {
    WORKBENCH_ROW_CONFIG,
    WORKBENCH_ROW_SET,
    {WORKBENCH_HAPROXY, 0, "haproxy-binary", "FILE", "HAPROXY_BINARY", NULL,
     "check with this HAProxy; may be repeated, templates see the first one (haproxy in PATH)"},
    WORKBENCH_ROW_VERSION,
    WORKBENCH_ROW_OUTPUT,
    WORKBENCH_ROW_STRICT,
    WORKBENCH_ROW_HELP,
};

static const struct option_table table = {
    .command = "validate",
    .arguments = "[SOURCE…]",
    .text = "Compiles the templates, renders the manifests, and checks the result with HAProxy (`haproxy -c`, in a "
            "sandbox).\nSOURCE: a folder, a file, or - for standard input. A finding names template, line and "
            "object; `haptic explain CODE` says more.\n\n"
            "  haptic validate -c my.yaml examples/manifests\n"
            "  haptic validate -o sarif --haproxy-binary /opt/haproxy-3.0/haproxy --haproxy-binary haproxy .\n\n"
            "Exit status: 0 clean, 1 findings, 2 wrong usage or unreadable input.",
    .rows = rows,
    .count = ARRAY_LEN(rows),
};

static int set(void *ctx, int id, const char *value, struct err *err)
{
    return workbench_command_set(ctx, id, value, err);
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

static int finish(struct workbench_command *c)
{
    struct err err;

    if (c->workbench != NULL && workbench_render(c->workbench) && check_all(c, &err) < 0) {
        fprintf(stderr, "haptic validate: %s\n", err.text);
        return EXIT_USAGE;
    }
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

int cmd_validate(int argc, char **argv)
{
    struct workbench_command c = {0};
    struct err err;
    int status = EXIT_CLEAN;

    if (options_parse(&table, argc, argv, set, &c, &c.sources, &err) < 0) {
        fprintf(stderr, "haptic validate: %s\n", err.text);
        status = EXIT_USAGE;
    } else if (c.help) {
        options_print_help(&table);
    } else if (workbench_command_begin(&c, "validate", &status)) {
        status = finish(&c);
    }
    workbench_command_done(&c);
    return status;
}

const struct option_table *cmd_validate_options(void)
{
    return &table;
}
