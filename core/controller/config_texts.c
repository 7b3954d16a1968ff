/* Named templates, the rules for their lines, and the templates that come from a library. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "controller/config_read.h"
#include "controller/config_template.h"
#include "data/pattern.h"

#define RULES_MAX 16
#define RULE_MAX 4096

struct template_raw {
    char *text, *file, *base_revision;
    struct config_rewrites rewrites;
    struct config_strings requires;
};

static void text_done(struct config_text *t)
{
    free(t->name);
    free(t->text);
    free(t->file);
    free(t->library);
    free(t->base_revision);
    config_rewrites_done(&t->rewrites);
    for (size_t i = 0; i < t->requires.length; i++)
        free(t->requires.items[i]);
    vec_done(&t->requires);
}

void config_texts_done(struct config_texts *t)
{
    for (size_t i = 0; i < t->items.length; i++)
        text_done(&t->items.items[i]);
    vec_done(&t->items);
}

/* Replaces a library's text of that name, or adds the text at the end. */
static void put_text(struct reader *r, struct config_texts *out, struct config_text text)
{
    struct config *c = r->config;

    for (size_t i = 0; i < out->items.length; i++) {
        struct config_text *before = &out->items.items[i];
        if (strcmp(before->name, text.name) != 0)
            continue;
        const char *revision = before->library != NULL ? config_revision_of(c, before->library) : "";
        if (before->library != NULL && text.base_revision == NULL)
            vec_push(r->warnings,
                     xasprintf("%s: %s%s: takes the place of that of library %s; write baseRevision: \"%s\""
                               ", so that you are told when that one changes",
                               r->file, r->path, text.name, before->library, revision));
        else if (before->library != NULL && strcmp(text.base_revision, revision) != 0)
            buf_printf(&c->moved, "%s%s%s was made against revision %s of library %s, which has revision %s now",
                       c->moved.length > 0 ? "; " : "", r->path, text.name, text.base_revision, before->library,
                       revision);
        text_done(before);
        *before = text;
        return;
    }
    if (text.base_revision != NULL)
        vec_push(r->warnings, xasprintf("%s: %s%s: baseRevision has no effect: no library in libraryRefs has this name",
                                        r->file, r->path, text.name));
    vec_push(&out->items, text);
}

/* ---- postProcessing ---- */

void config_rewrites_done(struct config_rewrites *rewrites)
{
    for (size_t i = 0; i < rewrites->length; i++) {
        free(rewrites->items[i].pattern);
        free(rewrites->items[i].replacement);
    }
    vec_done(rewrites);
}

struct rule_raw {
    char *type;
    struct config_rewrite rewrite;
};

static int check_rule(struct reader *r, yyjson_val *at, const struct rule_raw *rule)
{
    struct pattern *pattern = NULL;
    struct err why;

    if (strcmp(rule->type, "template") == 0)
        return reader_fail(r, at, "type",
                           "\"template\" is not available: it would make one text of lines that have owners. "
                           "Write it in the template itself, or as a snippet that the template includes");
    if (strcmp(rule->type, "regex_replace") != 0)
        return reader_fail(r, at, "type", "must be \"regex_replace\"");
    if (rule->rewrite.pattern == NULL || rule->rewrite.replacement == NULL)
        return reader_fail(r, at, "params", "must have \"pattern\" and \"replace\"");
    if (strlen(rule->rewrite.pattern) > RULE_MAX || strlen(rule->rewrite.replacement) > RULE_MAX)
        return reader_fail(r, at, "params", "has a text of more than 4096 bytes");
    if (strpbrk(rule->rewrite.replacement, "\n\r") != NULL)
        return reader_fail(r, at, "params.replace",
                           "has a line end: a line stays one line, so that it keeps its owner and "
                           "its place. Write further lines in the template");
    if (pattern_new(rule->rewrite.pattern, &pattern, &why) < 0)
        return reader_fail(r, at, "params.pattern", why.text);
    pattern_free(pattern);
    return 0;
}

static int read_params(struct reader *r, yyjson_val *value, void *object)
{
    static const struct field fields[] = {
        {.name = "pattern", .type = FIELD_STRING, .offset = offsetof(struct rule_raw, rewrite.pattern)},
        {.name = "replace", .type = FIELD_STRING, .offset = offsetof(struct rule_raw, rewrite.replacement)},
        {0},
    };
    struct rule_raw *rule = object;

    /* Types differ in their parameters. */
    return rule->type != NULL && strcmp(rule->type, "regex_replace") != 0 ? 0 : reader_object(r, value, fields, object);
}

static int read_rewrites(struct reader *r, yyjson_val *value, void *object)
{
    static const struct field fields[] = {
        {.name = "type", .type = FIELD_STRING, .required = true, .offset = offsetof(struct rule_raw, type)},
        {.name = "params", .type = FIELD_OBJECT, .read = read_params},
        {0},
    };
    struct template_raw *raw = object;
    yyjson_val *item;
    size_t i, n, prefix = strlen(r->path);

    if (!yyjson_is_arr(value))
        return reader_fail(r, value, "postProcessing", "must be a list of rules with \"type\" and \"params\"");
    if (yyjson_arr_size(value) > RULES_MAX)
        return reader_fail(r, value, "postProcessing", "has more than 16 rules");
    yyjson_arr_foreach(value, i, n, item)
    {
        struct rule_raw rule = {0};
        snprintf(r->path + prefix, sizeof(r->path) - prefix, "postProcessing[%zu].", i);
        int result = yyjson_is_obj(item) ? reader_object(r, item, fields, &rule)
                                         : reader_fail(r, item, "type", "is missing");
        if (result == 0)
            result = check_rule(r, item, &rule);
        r->path[prefix] = '\0';
        free(rule.type);
        if (result < 0) {
            free(rule.rewrite.pattern);
            free(rule.rewrite.replacement);
            return -1;
        }
        vec_push(&raw->rewrites, rule.rewrite);
    }
    return 0;
}

static int no_rewrites(struct reader *r, yyjson_val *value, void *object)
{
    (void)object;
    return reader_fail(r, value, "postProcessing", "belongs to haproxyConfig, maps and files: write it there");
}

static int no_rewrites_of_handles(struct reader *r, yyjson_val *value, void *object)
{
    (void)object;
    return reader_fail(
        r, value, "postProcessing",
        "is not available here: a certificate is made of handles, whose values the templates do not have. "
        "Write what the text is to be in the template");
}

/* ---- named templates ---- */

#define TEMPLATE_FIELDS \
    {.name = "template", .type = FIELD_STRING, .offset = offsetof(struct template_raw, text)}, \
        {.name = "file", .type = FIELD_STRING, .offset = offsetof(struct template_raw, file)}, \
    { \
        .name = "baseRevision", .type = FIELD_STRING, .offset = offsetof(struct template_raw, base_revision) \
    }

static const struct field text_fields[] = {
    TEMPLATE_FIELDS,
    {.name = "postProcessing", .type = FIELD_ANY, .read = read_rewrites},
    {0},
};

static const struct field map_fields[] = {
    TEMPLATE_FIELDS,
    {.name = "postProcessing", .type = FIELD_ANY, .read = read_rewrites},
    {.name = "ordered",
     .type = FIELD_WITHOUT_EFFECT,
     .harmless = "false",
     .note = "entries of maps go live one by one, in the order of their keys"},
    {0},
};

static const struct field file_fields[] = {
    TEMPLATE_FIELDS,
    {.name = "postProcessing", .type = FIELD_ANY, .read = read_rewrites},
    {.name = "reloadOnPush",
     .type = FIELD_WITHOUT_EFFECT,
     .harmless = "true",
     .note = "HAProxy reads its files at a reload only, so a changed one reloads it"},
    {0},
};

static const struct field snippet_fields[] = {
    TEMPLATE_FIELDS,
    {.name = "postProcessing", .type = FIELD_ANY, .read = no_rewrites},
    {.name = "requires", .type = FIELD_STRINGS, .offset = offsetof(struct template_raw, requires)},
    {.name = "incremental",
     .type = FIELD_WITHOUT_EFFECT,
     .note = "each fragment runs again when something that it has read has changed, without being told so"},
    {0},
};

static const struct field certificate_fields[] = {
    TEMPLATE_FIELDS,
    {.name = "postProcessing", .type = FIELD_ANY, .read = no_rewrites_of_handles},
    {0},
};

static void raw_done(struct template_raw *raw)
{
    free(raw->text);
    free(raw->file);
    free(raw->base_revision);
    config_rewrites_done(&raw->rewrites);
    for (size_t i = 0; i < raw->requires.length; i++)
        free(raw->requires.items[i]);
    vec_done(&raw->requires);
}

static int read_texts(struct reader *r, yyjson_val *value, const struct field *fields, struct config_texts *out)
{
    yyjson_val *key, *item;
    size_t i, n, prefix = strlen(r->path);

    yyjson_obj_foreach(value, i, n, key, item)
    {
        struct template_raw raw = {0};
        if (!yyjson_is_obj(item))
            return reader_fail(r, item, yyjson_get_str(key), "must be an object with the field \"template\"");
        snprintf(r->path + prefix, sizeof(r->path) - prefix, "%s.", yyjson_get_str(key));
        int result = reader_object(r, item, fields, &raw);
        r->path[prefix] = '\0';
        if (result == 0)
            result = config_template_read(r, item, yyjson_get_str(key), &raw.text, &raw.file);
        if (result < 0) {
            raw_done(&raw);
            return -1;
        }
        put_text(r, out,
                 (struct config_text){.name = xstrdup(yyjson_get_str(key)),
                                      .text = raw.text,
                                      .file = raw.file,
                                      .library = r->library != NULL ? xstrdup(r->library) : NULL,
                                      .base_revision = raw.base_revision,
                                      .rewrites = raw.rewrites,
                                      .requires = raw.requires});
    }
    return 0;
}

int config_read_snippets(struct reader *r, yyjson_val *value, void *object)
{
    return read_texts(r, value, snippet_fields, &((struct config *)object)->snippets);
}

int config_read_maps(struct reader *r, yyjson_val *value, void *object)
{
    return read_texts(r, value, map_fields, &((struct config *)object)->maps);
}

int config_read_files(struct reader *r, yyjson_val *value, void *object)
{
    return read_texts(r, value, file_fields, &((struct config *)object)->files);
}

int config_read_certificates(struct reader *r, yyjson_val *value, void *object)
{
    return read_texts(r, value, certificate_fields, &((struct config *)object)->certificates);
}

int config_read_crt_lists(struct reader *r, yyjson_val *value, void *object)
{
    return read_texts(r, value, certificate_fields, &((struct config *)object)->crt_lists);
}

int config_read_haproxy_config(struct reader *r, yyjson_val *value, void *object)
{
    struct template_raw raw = {0};
    struct config *c = object;

    if (reader_object(r, value, text_fields, &raw) < 0 ||
        config_template_read(r, value, "", &raw.text, &raw.file) < 0) {
        raw_done(&raw);
        return -1;
    }
    free(c->haproxy_config);
    free(c->haproxy_config_file);
    config_rewrites_done(&c->rewrites);
    c->haproxy_config = STEAL(raw.text);
    c->haproxy_config_file = STEAL(raw.file);
    c->rewrites = raw.rewrites;
    raw.rewrites = (struct config_rewrites){0};
    raw_done(&raw);
    return 0;
}

static bool has_kind(const struct config *c, const char *name)
{
    for (size_t i = 0; i < c->kinds.length; i++)
        if (strcmp(c->kinds.items[i].name, name) == 0)
            return true;
    return false;
}

void config_strip_snippets(struct config *c)
{
    size_t kept = 0;

    for (size_t i = 0; i < c->snippets.items.length; i++) {
        struct config_text *t = &c->snippets.items.items[i];
        const char *missing = NULL;
        for (size_t j = 0; missing == NULL && j < t->requires.length; j++)
            if (!has_kind(c, t->requires.items[j]))
        missing = t->requires.items[j];
        if (missing == NULL) {
            c->snippets.items.items[kept++] = *t;
            continue;
        }
        vec_push(&c->warnings,
                 xasprintf("templateSnippets.%s: left out: it requires \"%s\", and watchedResources has no such "
                           "kind",
                           t->name, missing));
        text_done(t);
    }
    c->snippets.items.length = kept;
}
