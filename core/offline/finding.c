/* A list of findings, and its printed forms: one function per format. */
#include "offline/finding.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "data/encoding.h"
#include "data/json.h"

static const char *const level_names[] = {
    [FINDING_INFO] = "info", [FINDING_WARNING] = "warning", [FINDING_ERROR] = "error"};

/* Names and lines of files may be no UTF-8, which JSON has to be; and nothing of them is for the terminal. */
static char *copy(const char *text)
{
    char *copied = text ? xstrdup(text) : NULL;

    if (copied != NULL)
        encoding_repair(copied);
    return copied;
}

static const char *or_empty(const char *text)
{
    return text ? text : "";
}

void findings_done(struct findings *f)
{
    for (size_t i = 0; i < f->items.length; i++) {
        const struct finding *x = &f->items.items[i];
        const char *const owned[] = {x->file, x->object, x->field, x->context, x->message, x->excerpt};
        for (size_t j = 0; j < ARRAY_LEN(owned); j++)
            free((char *)(uintptr_t)owned[j]);
    }
    vec_done(&f->items);
    map_done(&f->seen);
}

void findings_add(struct findings *f, const struct finding *x)
{
    CLEANUP(free_ptr)
    char *key = xasprintf("%d %s:%zu:%zu %s %s %s", (int)x->code, or_empty(x->file), x->line, x->column,
                          or_empty(x->object), or_empty(x->context), or_empty(x->message));

    if (map_put(&f->seen, key, f) != NULL)
        return;
    vec_push(&f->items, ((struct finding){.code = x->code,
                                          .file = copy(x->file),
                                          .line = x->line,
                                          .column = x->column,
                                          .object = copy(x->object),
                                          .field = copy(x->field),
                                          .context = copy(x->context),
                                          .message = copy(or_empty(x->message)),
                                          .excerpt = copy(x->excerpt)}));
}

static enum finding_level level_of(const struct finding *x)
{
    return finding_code_row(x->code)->level;
}

size_t findings_count(const struct findings *f, enum finding_level at_least)
{
    size_t count = 0;

    for (size_t i = 0; i < f->items.length; i++)
        count += level_of(&f->items.items[i]) >= at_least;
    return count;
}

/* Renderings report objects in no order of their own; a printed list must be the same each time. */
static int compare(const void *left, const void *right)
{
    const struct finding *a = left, *b = right;
    int order = strcmp(or_empty(a->file), or_empty(b->file));

    if (order == 0 && a->line != b->line)
        order = a->line < b->line ? -1 : 1;
    if (order == 0)
        order = strcmp(or_empty(a->object), or_empty(b->object));
    if (order == 0)
        order = strcmp(or_empty(a->context), or_empty(b->context));
    if (order == 0 && a->code != b->code)
        order = a->code < b->code ? -1 : 1;
    return order != 0 ? order : strcmp(a->message, b->message);
}

/* ---- places ---- */

static void put_place(const struct finding *x, struct buf *out)
{
    if (x->file == NULL)
        return;
    buf_puts(out, x->file);
    if (x->line > 0)
        buf_printf(out, ":%zu", x->line);
    if (x->column > 0)
        buf_printf(out, ":%zu", x->column);
    buf_puts(out, ": ");
}

/* ---- text ---- */

#define RED "\033[31m"
#define YELLOW "\033[33m"
#define BOLD "\033[1m"
#define PLAIN "\033[0m"

static void put_excerpt(const struct finding *x, struct buf *out)
{
    size_t indent = x->column > 0 ? x->column - 1 : strspn(x->excerpt, " \t");

    buf_printf(out, "%6zu | %s\n       | ", x->line, x->excerpt);
    for (size_t i = 0; i < indent && x->excerpt[i] != '\0'; i++)
        buf_putc(out, x->excerpt[i] == '\t' ? '\t' : ' ');
    buf_puts(out, "^\n");
}

static void write_text(const struct findings *f, bool colour, struct buf *out)
{
    for (size_t i = 0; i < f->items.length; i++) {
        const struct finding *x = &f->items.items[i];
        const struct finding_code_row *row = finding_code_row(x->code);
        const char *begin = !colour ? "" : row->level == FINDING_ERROR ? RED : YELLOW;

        buf_puts(out, colour ? BOLD : "");
        put_place(x, out);
        buf_puts(out, colour ? PLAIN : "");
        buf_printf(out, "%s%s%s %s: %s\n", begin, level_names[row->level], colour ? PLAIN : "", row->code, x->message);
        if (x->excerpt != NULL && x->line > 0)
            put_excerpt(x, out);
        if (x->object != NULL)
            buf_printf(out, "    object: %s\n", x->object);
        if (x->field != NULL)
            buf_printf(out, "    field:  %s\n", x->field);
        if (x->context != NULL)
            buf_printf(out, "    with:   %s\n", x->context);
        buf_printf(out, "    remedy: %s\n", row->remedy);
    }
}

/* ---- JSON, and SARIF in it ---- */

static void put_json(struct buf *out, const char *text)
{
    struct err err;

    if (json_write_string(out, text, strlen(text), &err) < 0)
        buf_puts(out, "\"\"");
}

static void put_pair(struct buf *out, const char *name, const char *value)
{
    if (value == NULL)
        return;
    buf_printf(out, ",\"%s\":", name);
    put_json(out, value);
}

static void write_json(const struct findings *f, struct buf *out)
{
    buf_printf(out, "{\"errors\":%zu,\"warnings\":%zu,\"findings\":[", findings_count(f, FINDING_ERROR),
               findings_count(f, FINDING_WARNING) - findings_count(f, FINDING_ERROR));
    for (size_t i = 0; i < f->items.length; i++) {
        const struct finding *x = &f->items.items[i];
        const struct finding_code_row *row = finding_code_row(x->code);
        buf_printf(out, "%s\n{\"code\":\"%s\",\"level\":\"%s\"", i ? "," : "", row->code, level_names[row->level]);
        put_pair(out, "file", x->file);
        if (x->line > 0)
            buf_printf(out, ",\"line\":%zu", x->line);
        if (x->column > 0)
            buf_printf(out, ",\"column\":%zu", x->column);
        put_pair(out, "object", x->object);
        put_pair(out, "field", x->field);
        put_pair(out, "with", x->context);
        put_pair(out, "message", x->message);
        put_pair(out, "remedy", row->remedy);
        buf_putc(out, '}');
    }
    buf_puts(out, "]}\n");
}

static void write_sarif_rules(struct buf *out)
{
    for (size_t i = 0; i < finding_code_count(); i++) {
        const struct finding_code_row *row = finding_code_row((enum finding_code)i);
        buf_printf(out, "%s{\"id\":\"%s\",\"shortDescription\":{\"text\":", i ? "," : "", row->code);
        put_json(out, row->title);
        buf_puts(out, "},\"fullDescription\":{\"text\":");
        put_json(out, row->meaning);
        buf_puts(out, "},\"help\":{\"text\":");
        put_json(out, row->remedy);
        buf_puts(out, "}}");
    }
}

char *finding_text(const struct finding *f)
{
    CLEANUP(free_ptr) char *object = f->object ? xasprintf("(%s)", f->object) : NULL;
    return object && !strstr(f->message, object) ? xasprintf("%s %s", f->message, object) : xstrdup(f->message);
}

static void put_region(const struct finding *x, struct buf *out)
{
    buf_printf(out, ",\"region\":{\"startLine\":%zu,\"startColumn\":%zu", x->line, x->column > 0 ? x->column : 1);
    if (x->excerpt != NULL) {
        buf_puts(out, ",\"snippet\":{\"text\":");
        put_json(out, x->excerpt);
        buf_putc(out, '}');
    }
    buf_putc(out, '}');
}

static void write_sarif(const struct findings *f, const char *version, struct buf *out)
{
    static const char *const sarif_levels[] = {
        [FINDING_INFO] = "note", [FINDING_WARNING] = "warning", [FINDING_ERROR] = "error"};

    buf_puts(out, "{\"version\":\"2.1.0\",\"$schema\":\"https://json.schemastore.org/sarif-2.1.0.json\","
                  "\"runs\":[{\"tool\":{\"driver\":{\"name\":\"haptic\",\"version\":");
    put_json(out, version);
    buf_puts(out, ",\"rules\":[");
    write_sarif_rules(out);
    buf_puts(out, "]}},\"results\":[");
    for (size_t i = 0; i < f->items.length; i++) {
        const struct finding *x = &f->items.items[i];
        const struct finding_code_row *row = finding_code_row(x->code);
        CLEANUP(free_ptr)
        char *text = finding_text(x);
        buf_printf(out, "%s\n{\"ruleId\":\"%s\",\"level\":\"%s\",\"message\":{\"text\":", i ? "," : "", row->code,
                   sarif_levels[row->level]);
        put_json(out, text);
        buf_putc(out, '}');
        if (x->file != NULL) {
            buf_puts(out, ",\"locations\":[{\"physicalLocation\":{\"artifactLocation\":{\"uri\":");
            put_json(out, x->file);
            buf_putc(out, '}');
            if (x->line > 0)
                put_region(x, out);
            buf_puts(out, "}");
            if (x->object != NULL) {
                buf_puts(out, ",\"logicalLocations\":[{\"fullyQualifiedName\":");
                put_json(out, x->object);
                buf_puts(out, ",\"kind\":\"resource\"}]");
            }
            buf_puts(out, "}]");
        }
        buf_putc(out, '}');
    }
    buf_puts(out, "]}]}\n");
}

/* ---- JUnit ---- */

void finding_put_xml(struct buf *out, const char *text)
{
    for (const char *c = text; *c != '\0'; c++) {
        switch (*c) {
        case '<':
            buf_puts(out, "&lt;");
            break;
        case '>':
            buf_puts(out, "&gt;");
            break;
        case '&':
            buf_puts(out, "&amp;");
            break;
        case '"':
            buf_puts(out, "&quot;");
            break;
        case '\n':
            buf_puts(out, "&#10;");
            break;
        default: /* XML 1.0 has no other control characters */
            buf_putc(out, (unsigned char)*c < ' ' && *c != '\t' ? '?' : *c);
        }
    }
}

/* Each finding is a test case; a configuration without findings is one that passed. */
static void write_junit(const struct findings *f, struct buf *out)
{
    size_t count = f->items.length;

    buf_printf(out,
               "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"haptic\" tests=\"%zu\" "
               "failures=\"%zu\">\n",
               count ? count : 1, findings_count(f, FINDING_ERROR));
    if (count == 0)
        buf_puts(out, "<testcase classname=\"haptic\" name=\"no findings\"/>\n");
    for (size_t i = 0; i < count; i++) {
        const struct finding *x = &f->items.items[i];
        const struct finding_code_row *row = finding_code_row(x->code);
        bool failed = row->level == FINDING_ERROR;
        CLEANUP(buf_done) struct buf text = {0};
        put_place(x, &text);
        buf_puts(&text, x->message);
        buf_printf(out, "<testcase classname=\"%s\" name=\"", row->code);
        finding_put_xml(out, buf_str(&text));
        if (x->object != NULL) {
            buf_puts(out, " (");
            finding_put_xml(out, x->object);
            buf_putc(out, ')');
        }
        if (failed) {
            buf_puts(out, "\"><failure message=\"");
            finding_put_xml(out, row->title);
            buf_puts(out, "\">");
        } else {
            buf_puts(out, "\"><system-out>");
        }
        finding_put_xml(out, buf_str(&text));
        buf_printf(out, "</%s></testcase>\n", failed ? "failure" : "system-out");
    }
    buf_puts(out, "</testsuite>\n");
}

/* ---- GitHub ---- */

/* Source: GitHub, "Workflow commands": data escapes % CR LF, properties also : and , */
static void put_github(struct buf *out, const char *text, bool is_property)
{
    for (const char *c = text; *c != '\0'; c++)
        if (*c == '%' || *c == '\r' || *c == '\n' || (is_property && (*c == ':' || *c == ',')))
            buf_printf(out, "%%%02X", (unsigned)(unsigned char)*c);
        else
            buf_putc(out, *c);
}

static void write_github(const struct findings *f, struct buf *out)
{
    static const char *const commands[] = {
        [FINDING_INFO] = "notice", [FINDING_WARNING] = "warning", [FINDING_ERROR] = "error"};

    for (size_t i = 0; i < f->items.length; i++) {
        const struct finding *x = &f->items.items[i];
        const struct finding_code_row *row = finding_code_row(x->code);
        buf_printf(out, "::%s title=%s", commands[row->level], row->code);
        if (x->file != NULL) {
            buf_puts(out, ",file=");
            put_github(out, x->file, true);
        }
        if (x->line > 0)
            buf_printf(out, ",line=%zu", x->line);
        if (x->column > 0)
            buf_printf(out, ",col=%zu", x->column);
        buf_puts(out, "::");
        put_github(out, x->message, false);
        if (x->object != NULL) {
            buf_puts(out, " (");
            put_github(out, x->object, false);
            buf_putc(out, ')');
        }
        buf_putc(out, '\n');
    }
}

static const char *const format_names[] = {[FINDING_TEXT] = "text",
                                           [FINDING_JSON] = "json",
                                           [FINDING_JUNIT] = "junit",
                                           [FINDING_SARIF] = "sarif",
                                           [FINDING_GITHUB] = "github"};

int finding_format_parse(const char *text, enum finding_format *ret_format, struct err *err)
{
    for (size_t i = 0; i < ARRAY_LEN(format_names); i++)
        if (strcmp(text, format_names[i]) == 0) {
            *ret_format = (enum finding_format)i;
            return 0;
        }
    return err_set(err, ERR_INVALID, "there is no format \"%.32s\": text, json, junit, sarif or github", text);
}

void findings_write(struct findings *f, enum finding_format format, bool colour, const char *version, struct buf *out)
{
    if (f->items.length > 1)
        qsort(f->items.items, f->items.length, sizeof(*f->items.items), compare);
    switch (format) {
    case FINDING_TEXT:
        write_text(f, colour, out);
        break;
    case FINDING_JSON:
        write_json(f, out);
        break;
    case FINDING_JUNIT:
        write_junit(f, out);
        break;
    case FINDING_SARIF:
        write_sarif(f, version, out);
        break;
    case FINDING_GITHUB:
        write_github(f, out);
        break;
    }
}
