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
    size_t line;
    char *text; /* the message without the place */
};

static void place_done(struct place *p)
{
    free(p->file);
    free(p->text);
}

/* Does the text begin with "NAME:LINE:"? Then the lengths of NAME and of all of it with the blanks after it. */
static bool has_place(const char *text, size_t *ret_name, size_t *ret_whole)
{
    size_t end = strcspn(text, " \n"); /* a name has no blanks */

    for (size_t i = 1; i < end; i++) {
        size_t digits = text[i] == ':' ? strspn(text + i + 1, "0123456789") : 0;
        if (digits == 0 || digits > 9 || text[i + 1 + digits] != ':')
            continue;
        *ret_name = i;
        *ret_whole = i + 1 + digits + strspn(text + i + 1 + digits, ": ");
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
        ret_place->line = strtoul(at + name + 1, NULL, 10);
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

/* Messages of Lua and of HAProxy name in quotes what they stumble over: its place in the line is the column. */
static size_t column_of(const char *line, const char *message)
{
    size_t column = 0;

    for (const char *at = message; line != NULL && column == 0 && (at = strpbrk(at, "'\"")) != NULL;) {
        size_t length = strcspn(at + 1, at[0] == '"' ? "\"" : "'");
        if (at[1 + length] == '\0')
            break;
        CLEANUP(free_ptr) char *word = xmemdup0(at + 1, length);
        column = column_of_word(line, word, length);
        at += length + 2;
    }
    return column;
}

void template_finding(const struct config *config, struct findings *findings, enum finding_code code,
                      const char *object, const char *with, const char *message)
{
    CLEANUP(place_done) struct place place;

    place_parse(message, &place);
    CLEANUP(free_ptr) char *excerpt = place.file ? line_of(source_of(config, place.file), place.line) : NULL;
    findings_add(findings, &(struct finding){.code = code,
                                             .file = place.file,
                                             .line = place.line,
                                             .column = column_of(excerpt, place.text),
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

void file_finding(struct findings *findings, enum finding_code code, const char *shown, const char *path, size_t line,
                  const char *object, const char *message)
{
    CLEANUP(free_ptr) char *excerpt = path ? line_of_file(path, line) : NULL;
    CLEANUP(free_ptr) char *field = field_of(message);
    size_t column = column_of(excerpt, message);

    findings_add(findings, &(struct finding){.code = code,
                                             .file = shown,
                                             .line = line,
                                             .column = column > 0 ? column : column_of_field(excerpt, field),
                                             .object = object,
                                             .field = field,
                                             .message = message,
                                             .excerpt = code != FINDING_MANIFEST ? excerpt : NULL});
}

void place_finding(struct findings *findings, enum finding_code code, const char *message)
{
    CLEANUP(place_done) struct place place;

    place_parse(message, &place);
    file_finding(findings, code, place.file, place.file, place.line, NULL, place.text);
}
