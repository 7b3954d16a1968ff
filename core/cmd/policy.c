/* haptic policy, haptic annotations: what is declared of annotations, for an API server, for editors and for shells. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "cmd/cmd.h"
#include "cmd/given_config.h"
#include "cmd/workbench_options.h"
#include "data/json.h"

#define MODE "declared" /* lua/haptic/engine.lua */
#define TEXT_MAX ((size_t)16 << 20)

enum { POLICY_FAMILY = WORKBENCH_OWN, POLICY_NAME, POLICY_ACTION, POLICY_FORM };

#define ROW_FAMILY \
    { \
        POLICY_FAMILY, 0, "family", "PREFIX", NULL, NULL, \
            "only keys with that prefix, such as haproxy.org; may be repeated (all that are declared)" \
    }

static const struct option_row policy_rows[] = {
    WORKBENCH_ROW_CONFIG,
    ROW_FAMILY,
    {POLICY_NAME, 0, "name", "NAME", NULL, "haptic-annotations", "beginning of the policies' names"},
    {POLICY_ACTION, 0, "action", "ACTION", NULL, "deny",
     "for an object with a wrong value: deny, warn (kubectl shows it), audit"},
    ROW_TEXT_OR_JSON(WORKBENCH_OUTPUT, "text: YAML; json: a List"),
    WORKBENCH_ROW_SET,
    WORKBENCH_ROW_HELP,
};

static const struct option_table policy_table = {
    .command = "policy",
    .text =
        "Prints a ValidatingAdmissionPolicy for Ingresses and one for Services, with their bindings: the API server "
        "then refuses annotations\nwhose values are wrong, with the same message as HAPTIC's Event. The policies "
        "are made from the declarations of the libraries and\nof your own templates. Kubernetes 1.30 or newer.\n\n"
        "  haptic policy | kubectl apply -f -\n"
        "  haptic policy -c my.yaml --family haproxy.org --action warn\n\n"
        "Exit status: 0 done, 1 the templates do not load, 2 wrong usage.",
    .rows = policy_rows,
    .count = ARRAY_LEN(policy_rows),
};

static const struct option_row key_rows[] = {
    WORKBENCH_ROW_CONFIG,
    ROW_FAMILY,
    {POLICY_FORM, 'o', "output", "FORMAT", NULL, "text",
     "text: key, kinds of objects and what a value must be, with tabs between; json: everything that is declared, one "
     "key in each line"},
    WORKBENCH_ROW_SET,
    WORKBENCH_ROW_HELP,
};

static const struct option_table key_table = {
    .command = "annotations",
    .text = "Prints the keys of annotations that are declared, by the libraries and by your own templates.\n\n"
            "  haptic annotations --family haproxy.org\n"
            "  haptic annotations -o json | jq -r '.annotations[] | select(.protects) | .key'\n\n"
            "Exit status: 0 done, 1 the templates do not load, 2 wrong usage.",
    .rows = key_rows,
    .count = ARRAY_LEN(key_rows),
};

struct policy {
    struct workbench_command common;
    VEC(const char *) families;
    const char *what, *name, *action;
};

static int set(void *ctx, int id, const char *value, struct err *err)
{
    struct policy *p = ctx;

    switch (id) {
    case POLICY_FAMILY:
        vec_push(&p->families, value);
        return 0;
    case POLICY_NAME:
        p->name = value;
        return 0;
    case POLICY_ACTION:
        if (strcmp(value, "deny") != 0 && strcmp(value, "warn") != 0 && strcmp(value, "audit") != 0)
            return err_set(err, ERR_INVALID, "there is no action \"%.32s\": deny, warn or audit", value);
        p->action = value;
        return 0;
    case POLICY_FORM:
        p->what = value;
        return text_or_json(value, &p->common.format, err);
    case WORKBENCH_OUTPUT:
        return text_or_json(value, &p->common.format, err);
    default:
        return workbench_command_set(&p->common, id, value, err);
    }
}

static void add_word(struct buf *out, const char *name, const char *value)
{
    if (value == NULL)
        return;
    buf_printf(out, ",\"%s\":", name);
    if (json_write_string(out, value, strlen(value), NULL) < 0)
        buf_puts(out, "\"\"");
}

/* The question as lua/haptic/policy.lua reads it. */
static void write_question(const struct policy *p, size_t from, struct buf *out)
{
    buf_printf(out, "{\"what\":\"%s\",\"from\":%zu,\"prefixes\":[", p->what, from);
    for (size_t i = 0; i < p->families.length; i++) {
        const char *family = p->families.items[i];
        if (i > 0)
            buf_putc(out, ',');
        if (json_write_string(out, family, strlen(family), NULL) < 0)
            buf_puts(out, "\"\"");
    }
    buf_putc(out, ']');
    add_word(out, "name", p->name);
    add_word(out, "action", p->action);
    buf_putc(out, '}');
}

/* The whole text, in as many answers as it takes. False: what is wrong stands there instead. */
static bool ask(const struct policy *p, struct buf *text)
{
    for (;;) {
        CLEANUP(buf_done) struct buf question = {0};
        write_question(p, text->length, &question);
        CLEANUP(free_ptr) char *answer = workbench_ask(p->common.workbench, MODE, buf_str(&question));
        const char *rest = strchr(answer, '\n');
        bool more = strncmp(answer, "more\n", 5) == 0 && text->length < TEXT_MAX;
        if (!more && strncmp(answer, "ok\n", 3) != 0) {
            buf_clear(text);
            buf_puts(text, rest != NULL ? rest + 1 : "the renderer ended");
            return false;
        }
        buf_puts(text, rest + 1);
        if (!more)
            return true;
    }
}

static int finish(const struct policy *p, struct workbench_command *common, const char *command)
{
    CLEANUP(buf_done) struct buf text = {0};

    if (common->workbench == NULL || !workbench_render(common->workbench))
        return workbench_command_refuse(common);
    if (!ask(p, &text)) {
        fprintf(stderr, "haptic %s: %s\n", command, buf_str(&text));
        return EXIT_USAGE;
    }
    if (strcmp(p->what, "policy") == 0)
        return print_manifests(command, buf_str(&text), text.length, common->format);
    fwrite(buf_str(&text), 1, text.length, stdout);
    return EXIT_CLEAN;
}

static int run(const struct option_table *table, const char *what, int argc, char **argv)
{
    struct policy p = {.what = what};
    struct err err;
    int status = EXIT_CLEAN;

    /* Nothing is rendered for it, so none has to be there. */
    p.common.options.haproxy_version = "3.4";
    if (options_parse(table, argc, argv, set, &p, &p.common.sources, &err) < 0) {
        fprintf(stderr, "haptic %s: %s\n", table->command, err.text);
        status = EXIT_USAGE;
    } else if (p.common.help) {
        options_print_help(table);
    } else if (workbench_command_begin(&p.common, table->command, &status)) {
        status = finish(&p, &p.common, table->command);
    }
    vec_done(&p.families);
    workbench_command_done(&p.common);
    return status;
}

int cmd_policy(int argc, char **argv)
{
    return run(&policy_table, "policy", argc, argv);
}

int cmd_annotations(int argc, char **argv)
{
    return run(&key_table, "text", argc, argv);
}

const struct option_table *cmd_policy_options(void)
{
    return &policy_table;
}

const struct option_table *cmd_annotations_options(void)
{
    return &key_table;
}
