/* haptic config view: a configuration as it is taken. */
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "cmd/cmd.h"
#include "cmd/given_config.h"
#include "cmd/workbench_options.h"
#include "controller/config_view.h"
#include "data/json.h"

enum { CONFIG_FILE, CONFIG_OUTPUT, CONFIG_HELP };

static const struct option_row rows[] = {
    {CONFIG_FILE, 'c', "config", "FILE|DIR", "CONFIG", NULL,
     "the configuration: an HAProxyTemplateConfig or its spec, followed by libraries; a folder of them; may be "
     "repeated: later values replace earlier ones. Without it, the built-in one"},
    ROW_TEXT_OR_JSON(CONFIG_OUTPUT, "text: JSON on several lines; json: on one line, and findings as JSON"),
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

struct view {
    struct given_config config;
    enum finding_format format;
    bool help;
};

static int set(void *ctx, int id, const char *value, struct err *err)
{
    struct view *v = ctx;

    if (id == CONFIG_OUTPUT)
        return text_or_json(value, &v->format, err);
    if (id == CONFIG_FILE)
        given_config_set(&v->config, value);
    else
        v->help = true;
    return 0;
}

static int put(const struct config *config, enum finding_format format, struct buf *text, struct err *err)
{
    CLEANUP(buf_done) struct buf lines = {0};
    CLEANUP(json_doc_done) struct yyjson_doc *doc = NULL;

    if (format == FINDING_TEXT)
        return config_view(config, text, err);
    if (config_view(config, &lines, err) < 0 ||
        json_parse(buf_str(&lines), lines.length, lines.length + 1, &doc, err) < 0 ||
        json_write(text, yyjson_doc_get_root(doc), NULL, err) < 0)
        return -1;
    buf_putc(text, '\n');
    return 0;
}

static int print(const struct view *v)
{
    CLEANUP(buf_done) struct buf text = {0};
    struct err err;
    int status;
    CLEANUP(config_cleanup) struct config *config = given_config_load(&v->config, "config", v->format, &status);

    if (config == NULL)
        return status;
    if (put(config, v->format, &text, &err) < 0) {
        fprintf(stderr, "haptic config: %s\n", err.text);
        return EXIT_FINDINGS;
    }
    fwrite(buf_str(&text), 1, text.length, stdout);
    return EXIT_CLEAN;
}

int cmd_config(int argc, char **argv)
{
    struct option_arguments arguments = {0};
    struct view v = {0};
    struct err err;
    int status = EXIT_CLEAN;

    int result = options_parse(&table, argc, argv, set, &v, &arguments, &err);
    bool is_view = arguments.items.length == 1 && strcmp(arguments.items.items[0], "view") == 0;
    if (result < 0) {
        fprintf(stderr, "haptic config: %s\n", err.text);
        status = EXIT_USAGE;
    } else if (v.help) {
        options_print_help(&table);
    } else if (!is_view) {
        fprintf(stderr, "haptic config: write haptic config view; see haptic config --help\n");
        status = EXIT_USAGE;
    } else {
        status = print(&v);
    }
    given_config_done(&v.config);
    vec_done(&arguments.items);
    return status;
}

const struct option_table *cmd_config_options(void)
{
    return &table;
}
