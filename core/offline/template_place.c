/* Templates have the names that messages use: "ingress.lua" is a built-in library or a snippet of the configuration,
 * "maps/x", "files/x" and "haproxyConfig" are the text templates of those fields. */
#include "offline/template_place.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "engine/embedded.h"

#define EXCERPT_MAX 160

struct place {
    char *file;
    size_t line, column; /* from 1; 0: not told */
    char *text;          /* the message without the place */
};

static void place_done(struct place *p)
{
    free(p->file);
    free(p->text);
}

/* Digits and a colon: how many bytes; 0: there are none. */
static size_t number_length(const char *text)
{
    size_t digits = strspn(text, "0123456789");

    return digits > 0 && digits <= 9 && text[digits] == ':' ? digits + 1 : 0;
}

/* Does the text begin with "NAME:LINE:" or "NAME:LINE:COLUMN:"? Then the lengths of NAME and of all of it with the
 * blanks after it. */
static bool has_place(const char *text, size_t *ret_name, size_t *ret_whole)
{
    size_t end = strcspn(text, " \n"); /* a name has no blanks */

    for (size_t i = 1; i < end; i++) {
        size_t line = text[i] == ':' ? number_length(text + i + 1) : 0;
        if (line == 0)
            continue;
        *ret_name = i;
        *ret_whole = i + 1 + line + number_length(text + i + 1 + line);
        *ret_whole += strspn(text + *ret_whole, ": ");
        return true;
    }
    return false;
}

/* "a.lua:3: b:2: why": a included b, and the fault is in b. */
static void place_parse(const char *message, struct place *ret_place)
{
    const char *at = message, *outer = NULL;
    size_t name, whole, outer_length = 0;

    *ret_place = (struct place){0};
    while (has_place(at, &name, &whole)) {
        if (ret_place->file != NULL && outer == NULL) {
            outer = message;
            outer_length = strlen(ret_place->file);
            outer_length += 1 + strspn(message + outer_length + 1, "0123456789");
        }
        free(ret_place->file);
        ret_place->file = xmemdup0(at, name);
        char *end;
        ret_place->line = strtoul(at + name + 1, &end, 10);
        ret_place->column = number_length(end + 1) > 0 ? strtoul(end + 1, NULL, 10) : 0;
        at += whole;
    }
    ret_place->text = outer ? xasprintf("%s (included by %.*s)", at, (int)outer_length, outer) : xstrdup(at);
}

static const char *find_text(const struct config_texts *texts, const char *name)
{
    for (size_t i = 0; i < texts->items.length; i++)
        if (strcmp(texts->items.items[i].name, name) == 0)
            return texts->items.items[i].text;
    return NULL;
}

static const char *source_of(const struct config *c, const char *name)
{
    CLEANUP(free_ptr) char *path = xasprintf("templates/%s", name);
    struct embedded_file file;
    const char *text = find_text(&c->snippets, name);

    if (text == NULL && strncmp(name, "maps/", 5) == 0)
        text = find_text(&c->maps, name + 5);
    if (text == NULL && strncmp(name, "files/", 6) == 0)
        text = find_text(&c->files, name + 6);
    if (text == NULL && strncmp(name, "certs/", 6) == 0)
        text = find_text(&c->certificates, name + 6);
    if (text == NULL && strncmp(name, "certs/", 6) == 0)
        text = find_text(&c->crt_lists, name + 6);
    if (text == NULL && strcmp(name, "haproxyConfig") == 0)
        text = c->haproxy_config;
    if (text == NULL && embedded_find(path, &file))
        text = file.bytes;
    return text;
}

static char *line_of(const char *text, size_t line)
{
    for (; text != NULL && line > 1; line--) {
        text = strchr(text, '\n');
        text = text ? text + 1 : NULL;
    }
    if (text == NULL)
        return NULL;
    size_t length = strcspn(text, "\r\n");
    return length > 0 ? xmemdup0(text, length < EXCERPT_MAX ? length : EXCERPT_MAX) : NULL;
}

/* ---- columns ---- */

static bool is_word_byte(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == '-';
}

/* Where a word stands by itself in a line, from 1; 0: nowhere. */
static size_t column_of_word(const char *line, const char *word, size_t length)
{
    for (const char *at = line; length > 0 && (at = strstr(at, word)) != NULL; at++)
        if ((at == line || !is_word_byte(at[-1]) || !is_word_byte(*word)) &&
            (!is_word_byte(at[length]) || !is_word_byte(word[length - 1])))
            return (size_t)(at - line) + 1;
    return 0;
}

/* A text of a message in a line: the whole, or its first word. */
static size_t column_of_text(const char *line, const char *text, size_t length)
{
    CLEANUP(free_ptr) char *word = xmemdup0(text, length);
    size_t column = column_of_word(line, word, length), first = strcspn(word, " ");

    if (column > 0 || first == length)
        return column;
    word[first] = '\0';
    return column_of_word(line, word, first);
}

/* Messages of Lua and of HAProxy name in quotes what they stumble over: its place in the line is the column. Else they
 * begin with its name ("map_entry: …", "balance only supports …"). 0: neither is in the line. */
static size_t column_of(const char *line, const char *message)
{
    size_t column = 0, head = strcspn(message, ": ");

    for (const char *at = message; line != NULL && column == 0 && (at = strpbrk(at, "'\"")) != NULL;) {
        size_t length = strcspn(at + 1, at[0] == '"' ? "\"" : "'");
        if (at[1 + length] == '\0')
            break;
        column = column_of_text(line, at + 1, length);
        at += length + 2;
    }
    while (message[head] == ':' && message[head + 1] != ' ' && message[head + 1] != '\0') /* "services:get: …" */
        head += 1 + strcspn(message + head + 1, ": ");
    return column > 0 || line == NULL ? column : column_of_text(line, message, head);
}

/* Where the caret stands when nothing is known of the column: the first word. 0: there is no line. */
static size_t column_of_start(const char *line)
{
    return line != NULL ? strspn(line, " \t") + 1 : 0;
}

/* Lua says where it has missed an 'end', which may be behind the last line: the place is where it was opened. */
static bool find_opening(struct place *p, char word[16])
{
    const char *at = strstr(p->text, "(to close '");
    size_t line;

    if (at == NULL || sscanf(at, "(to close '%15[^']' at line %9zu)", word, &line) != 2)
        return false;
    p->line = line;
    return true;
}

/* "end)" closes a function within which another block is still open: Lua stumbles over the bracket only. */
static void explain_bracket(struct place *p, const char *line)
{
    size_t column = line != NULL ? column_of(line, p->text) : 0;

    if (column < 4 || strncmp(line + column - 4, "end)", 4) != 0 || strcmp(p->text, "unexpected symbol near ')'") != 0)
        return;
    free(p->text);
    p->text = xstrdup("unexpected symbol near ')'; a block above it has no 'end'");
}

void template_finding(const struct config *config, struct findings *findings, enum finding_code code,
                      const char *object, const char *with, const char *message)
{
    CLEANUP(place_done) struct place place;

    char opening[16] = "";

    place_parse(message, &place);
    bool is_open = find_opening(&place, opening);
    CLEANUP(free_ptr) char *excerpt = place.file ? line_of(source_of(config, place.file), place.line) : NULL;
    explain_bracket(&place, excerpt);
    size_t column = place.column > 0 ? place.column : column_of(excerpt, is_open ? opening : place.text);
    findings_add(findings, &(struct finding){.code = code,
                                             .file = place.file,
                                             .line = place.line,
                                             .column = column > 0 ? column : column_of_start(excerpt),
                                             .object = object,
                                             .context = with,
                                             .message = place.text,
                                             .excerpt = excerpt});
}

/* A line of a file, without its end; NULL: there is none. */
static char *line_of_file(const char *path, size_t line)
{
    FILE *stream = line > 0 ? fopen(path, "re") : NULL;
    char *text = NULL;
    size_t size = 0;
    ssize_t length = -1;

    if (stream == NULL)
        return NULL;
    for (size_t i = 0; i < line && (length = getline(&text, &size, stream)) >= 0; i++)
        continue;
    fclose(stream);
    char *found = length > 0 ? line_of(text, 1) : NULL;
    free(text);
    return found;
}

/* "spec.rules[0].host: why": the path of a field in front of a message; NULL: there is none. */
static char *field_of(const char *message)
{
    size_t length = strcspn(message, " :");

    while (length > 0 && message[length] == ':' && message[length + 1] != ' ')
        length += 1 + strcspn(message + length + 1, " :"); /* a key with a colon in it */
    return length > 0 && message[length] == ':' && strpbrk(message, ".") != NULL &&
                   strpbrk(message, ".") < message + length
               ? xmemdup0(message, length)
               : NULL;
}

/* The last key of a path: "host" of "spec.rules[0].host". Keys with dots in them are found by their ends. */
static size_t column_of_field(const char *line, const char *field)
{
    const char *last = field ? strrchr(field, '.') : NULL;
    size_t length = last ? strcspn(last + 1, "[") : 0;
    CLEANUP(free_ptr) char *key = xmemdup0(last ? last + 1 : "", length);

    return line != NULL ? column_of_word(line, key, length) : 0;
}

static void add_file_finding(struct findings *findings, enum finding_code code, const char *shown, const char *path,
                             size_t line, size_t column, const char *object, const char *message)
{
    CLEANUP(free_ptr) char *excerpt = path ? line_of_file(path, line) : NULL;
    CLEANUP(free_ptr) char *field = field_of(message);
    /* A line of a manifest could have a value of a Secret. */
    bool is_manifest = code == FINDING_MANIFEST || code == FINDING_MANIFEST_WARNING;

    column = column > 0 ? column : column_of(excerpt, message);
    column = column > 0 ? column : column_of_field(excerpt, field);
    findings_add(findings, &(struct finding){.code = code,
                                             .file = shown,
                                             .line = line,
                                             .column = column > 0 ? column : column_of_start(excerpt),
                                             .object = object,
                                             .field = field,
                                             .message = message,
                                             .excerpt = is_manifest ? NULL : excerpt});
}

void file_finding(struct findings *findings, enum finding_code code, const char *shown, const char *path, size_t line,
                  const char *object, const char *message)
{
    add_file_finding(findings, code, shown, path, line, 0, object, message);
}

void place_finding(struct findings *findings, enum finding_code code, const char *message)
{
    CLEANUP(place_done) struct place place;

    place_parse(message, &place);
    add_file_finding(findings, code, place.file, place.file, place.line, place.column, NULL, place.text);
}
