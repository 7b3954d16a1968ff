/* haptic explain: the page of a finding's code. docs/errors.md is what it prints for all of them. */
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "cmd/cmd.h"
#include "cmd/workbench_options.h"

enum { EXPLAIN_MARKDOWN = 1, EXPLAIN_HELP };

static const struct option_row rows[] = {
    {EXPLAIN_MARKDOWN, 0, "markdown", NULL, NULL, NULL, "all codes as a page of the manual"},
    {EXPLAIN_HELP, 'h', "help", NULL, NULL, NULL, "this text"},
};

static const struct option_table table = {
    .command = "explain",
    .arguments = "[CODE…]",
    .text = "Says what the code of a finding means, what a running controller does then, and what to do. Without a "
            "code: all of them.\n\n  haptic explain HT0301",
    .rows = rows,
    .count = ARRAY_LEN(rows),
};

struct explain {
    struct option_arguments codes;
    bool markdown, help;
};

static int set(void *ctx, int id, const char *value, struct err *err)
{
    struct explain *e = ctx;

    (void)value;
    (void)err;
    if (id == EXPLAIN_MARKDOWN)
        e->markdown = true;
    else
        e->help = true;
    return 0;
}

static void print_row(const struct finding_code_row *row)
{
    printf("%s: %s\n    %s\n    Remedy: %s\n", row->code, row->title, row->meaning, row->remedy);
}

static void print_markdown(void)
{
    printf("# Findings\n\nEvery finding of the offline commands has a code. `haptic explain CODE` prints its row. This "
           "page is printed by\n`haptic explain --markdown`.\n\n| code | level | what | meaning | remedy |\n"
           "| --- | --- | --- | --- | --- |\n");
    for (size_t i = 0; i < finding_code_count(); i++) {
        const struct finding_code_row *row = finding_code_row((enum finding_code)i);
        printf("| %s | %s | %s | %s | %s |\n", row->code, row->level == FINDING_ERROR ? "error" : "warning", row->title,
               row->meaning, row->remedy);
    }
}

static int explain(const struct explain *e)
{
    if (e->markdown)
        print_markdown();
    else if (e->codes.items.length == 0)
        for (size_t i = 0; i < finding_code_count(); i++)
            print_row(finding_code_row((enum finding_code)i));
    for (size_t i = 0; i < e->codes.items.length; i++) {
        const struct finding_code_row *row = finding_code_find(e->codes.items.items[i]);
        if (row == NULL) {
            fprintf(stderr, "haptic explain: no finding has the code %s; haptic explain lists them\n",
                    e->codes.items.items[i]);
            return EXIT_USAGE;
        }
        print_row(row);
    }
    return EXIT_CLEAN;
}

int cmd_explain(int argc, char **argv)
{
    struct explain e = {0};
    struct err err;
    int status = EXIT_CLEAN;

    if (options_parse(&table, argc, argv, set, &e, &e.codes, &err) < 0) {
        fprintf(stderr, "haptic explain: %s\n", err.text);
        status = EXIT_USAGE;
    } else if (e.help) {
        options_print_help(&table);
    } else {
        status = explain(&e);
    }
    vec_done(&e.codes.items);
    return status;
}
