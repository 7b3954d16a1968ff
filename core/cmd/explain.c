/* haptic explain: what a finding's code means, where a line comes from, what an object gives. docs/errors.md is what it
 * prints for all codes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "cmd/cmd.h"
#include "cmd/workbench_options.h"
#include "data/json.h"
#include "haproxy/disk.h"
#include "offline/origin.h"
#include "offline/origin_route.h"
#include "offline/outline.h"

enum { EXPLAIN_MARKDOWN = WORKBENCH_OWN, EXPLAIN_SOURCE };

static const struct option_row rows[] = {
    WORKBENCH_ROW_CONFIG,
    {EXPLAIN_SOURCE, 's', "source", "SOURCE", NULL, NULL,
     "objects: a folder, a file, or - for standard input; may be repeated"},
    WORKBENCH_ROW_SET,
    {WORKBENCH_HAPROXY, 0, "haproxy-binary", "FILE", "HAPROXY_BINARY", NULL,
     "the HAProxy to render for (haproxy in PATH)"},
    WORKBENCH_ROW_VERSION,
    {WORKBENCH_OUTPUT, 'o', "output", "FORMAT", NULL, "text", "text or json"},
    {EXPLAIN_MARKDOWN, 0, "markdown", NULL, NULL, NULL, "all codes as a page of the manual"},
    WORKBENCH_ROW_HELP,
};

static const struct option_table table = {
    .command = "explain",
    .arguments = "[CODE… | haproxy.cfg:LINE | KIND NAMESPACE/NAME | HOST/PATH]",
    .text =
        "Explains the code of a finding: its meaning, what a running controller does, and the remedy. Or shows "
        "where a line of "
        "the rendered\nhaproxy.cfg comes from; what an object gives to the output; or where a request goes. Without an "
        "argument: all codes.\n\n"
        "  haptic explain HT0301\n"
        "  haptic explain -s examples/manifests haproxy.cfg:42\n"
        "  haptic explain -s examples/manifests ingress default/shop\n"
        "  haptic explain -s examples/manifests shop.localhost/cart\n\n"
        "Exit status: 0 explained, 1 the templates do not load, 2 no such thing or unreadable input.",
    .rows = rows,
    .count = ARRAY_LEN(rows),
};

struct explain {
    struct workbench_command common;
    struct option_arguments what;
    bool markdown;
};

static int set(void *ctx, int id, const char *value, struct err *err)
{
    struct explain *e = ctx;

    switch (id) {
    case EXPLAIN_MARKDOWN:
        e->markdown = true;
        return 0;
    case WORKBENCH_OUTPUT:
        if (strcmp(value, "text") != 0 && strcmp(value, "json") != 0)
            return err_set(err, ERR_INVALID, "there is no format \"%.32s\": text or json", value);
        return finding_format_parse(value, &e->common.format, err);
    case EXPLAIN_SOURCE:
        vec_push(&e->common.sources.items, value);
        return 0;
    default:
        return workbench_command_set(&e->common, id, value, err);
    }
}

/* ---- codes ---- */

static void put_pair(const char *name, const char *value)
{
    CLEANUP(buf_done) struct buf text = {0};
    struct err err;

    if (json_write_string(&text, value, strlen(value), &err) == 0)
        printf("\"%s\":%s", name, buf_str(&text));
    else
        printf("\"%s\":null", name);
}

static void print_json(const struct finding_code_row *row, bool first)
{
    fputs(first ? "[\n{" : ",\n{", stdout);
    put_pair("code", row->code);
    printf(",\"level\":\"%s\",", row->level == FINDING_ERROR ? "error" : "warning");
    put_pair("title", row->title);
    putchar(',');
    put_pair("meaning", row->meaning);
    putchar(',');
    put_pair("remedy", row->remedy);
    putchar(',');
    put_pair("example", row->example);
    putchar('}');
}

static void print_row(const struct finding_code_row *row)
{
    CLEANUP(buf_done) struct buf text = {0};

    finding_code_write(row, &text);
    fputs(buf_str(&text), stdout);
}

static void print_markdown(void)
{
    printf("# Findings\n\nEvery finding of the offline commands has a code. `haptic explain CODE` prints its meaning, "
           "its remedy and the beginning of an example.\nThis page is generated: `haptic explain --markdown`.\n");
    for (size_t i = 0; i < finding_code_count(); i++) {
        const struct finding_code_row *row = finding_code_row((enum finding_code)i);
        printf("\n## %s\n\n**%s** (%s)\n\n%s\n\n*Remedy:* %s\n\n```text\n%s\n```\n", row->code, row->title,
               row->level == FINDING_ERROR ? "error" : "warning", row->meaning, row->remedy, row->example);
    }
}

static int explain_codes(const struct explain *e)
{
    VEC(const struct finding_code_row *) found = {0};
    bool as_json = e->common.format == FINDING_JSON;
    int status = EXIT_CLEAN;

    for (size_t i = 0; e->what.items.length == 0 && i < finding_code_count(); i++)
        vec_push(&found, finding_code_row((enum finding_code)i));
    for (size_t i = 0; i < e->what.items.length && status == EXIT_CLEAN; i++) {
        const struct finding_code_row *row = finding_code_find(e->what.items.items[i]);
        if (row == NULL) {
            fprintf(
                stderr,
                "haptic explain: no finding has the code %s; haptic explain lists them. A line is written "
                "haproxy.cfg:LINE, an object KIND NAMESPACE/NAME, a request HOST/PATH; objects are given with --source\n",
                e->what.items.items[i]);
            status = EXIT_USAGE;
        } else {
            vec_push(&found, row);
        }
    }
    for (size_t i = 0; i < found.length && status == EXIT_CLEAN; i++) {
        if (as_json)
            print_json(found.items[i], i == 0);
        else
            print_row(found.items[i]);
    }
    if (as_json && status == EXIT_CLEAN)
        puts("\n]");
    vec_done(&found);
    return status;
}

/* ---- lines and objects ---- */

/* "haproxy.cfg:42"; 0 when it is something else. */
static size_t line_number(const char *text)
{
    size_t length = strlen(DISK_CONFIG);
    char *end;

    if (strncmp(text, DISK_CONFIG ":", length + 1) != 0)
        return 0;
    unsigned long line = strtoul(text + length + 1, &end, 10);
    return *end == '\0' ? line : 0;
}

/* "shop.test/cart", "https://shop.test/" */
static bool is_route(const struct explain *e)
{
    return e->what.items.length == 1 && strchr(e->what.items.items[0], '/') != NULL;
}

static bool is_about_output(const struct explain *e)
{
    const struct option_arguments *a = &e->what;

    return is_route(e) ||
           (a->items.length == 1 && strncmp(a->items.items[0], DISK_CONFIG ":", strlen(DISK_CONFIG ":")) == 0) ||
           (a->items.length == 2 && finding_code_find(a->items.items[0]) == NULL);
}

/* A running controller quarantines objects whose output HAProxy refuses. The same check finds them here. */
static int check_object(struct explain *e, struct err *err)
{
    const struct workbench_options *options = &e->common.options;

    if (e->what.items.length != 2 || options->haproxy_version != NULL)
        return 0;
    return workbench_validate(e->common.workbench, options->haproxy_binary, err);
}

static int explain_output(struct explain *e)
{
    CLEANUP(buf_done) struct buf text = {0};
    const char *const *what = e->what.items.items;
    struct err err;

    if (e->common.workbench == NULL || !workbench_render(e->common.workbench))
        return workbench_command_refuse(&e->common);
    if (check_object(e, &err) < 0) {
        fprintf(stderr, "haptic explain: %s\n", err.text);
        return EXIT_USAGE;
    }
    const struct workbench_options *options = &e->common.options;
    const char *binary = options->haproxy_version == NULL ? options->haproxy_binary : NULL;
    int result = is_route(e)                 ? origin_of_route(e->common.workbench, binary, what[0], &text, &err)
                 : e->what.items.length == 1 ? origin_of_line(e->common.workbench, line_number(what[0]), &text, &err)
                                             : origin_of_object(e->common.workbench, what[0], what[1], &text, &err);
    if (result < 0) {
        bool no_objects = e->common.sources.items.items[0] == NULL;
        fprintf(stderr, "haptic explain: %s%s\n", err.text, no_objects ? "; no objects were given: use --source" : "");
        return EXIT_USAGE;
    }
    /* what went wrong with the object itself */
    for (size_t i = 0; e->what.items.length == 2 && i < e->common.findings.items.length; i++) {
        const struct finding *f = &e->common.findings.items.items[i];
        size_t length = strlen(what[1]), whole = f->object ? strlen(f->object) : 0;
        if (whole > length && strcmp(f->object + whole - length, what[1]) == 0)
            buf_printf(&text, "%s: %s\n", finding_code_row(f->code)->code, f->message);
    }
    if (e->common.format == FINDING_JSON) {
        CLEANUP(buf_done) struct buf json = {0};
        outline_put_json(buf_str(&text), &json);
        puts(buf_str(&json));
    } else {
        fwrite(buf_str(&text), 1, text.length, stdout);
    }
    return EXIT_CLEAN;
}

int cmd_explain(int argc, char **argv)
{
    struct explain e = {0};
    struct err err;
    int status = EXIT_CLEAN;

    if (options_parse(&table, argc, argv, set, &e, &e.what, &err) < 0) {
        fprintf(stderr, "haptic explain: %s\n", err.text);
        status = EXIT_USAGE;
    } else if (e.common.help) {
        options_print_help(&table);
    } else if (e.markdown) {
        print_markdown();
    } else if (!is_about_output(&e)) {
        status = explain_codes(&e);
    } else {
        vec_push(&e.common.sources.items, NULL);
        if (workbench_command_begin(&e.common, "explain", &status))
            status = explain_output(&e);
    }
    workbench_command_done(&e.common);
    vec_done(&e.what.items);
    return status;
}

const struct option_table *cmd_explain_options(void)
{
    return &table;
}
