/* Templates have the names that messages use: "ingress.lua" is a built-in library or a snippet of the configuration,
 * "maps/x", "files/x" and "haproxyConfig" are the text templates of those fields. */
#include "offline/template_place.h"

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

void template_finding(const struct config *config, struct findings *findings, enum finding_code code,
                      const char *object, const char *with, const char *message)
{
    CLEANUP(place_done) struct place place;

    place_parse(message, &place);
    CLEANUP(free_ptr) char *excerpt = place.file ? line_of(source_of(config, place.file), place.line) : NULL;
    findings_add(findings, &(struct finding){.code = code,
                                             .file = place.file,
                                             .line = place.line,
                                             .object = object,
                                             .context = with,
                                             .message = place.text,
                                             .excerpt = excerpt});
}

void place_finding(struct findings *findings, enum finding_code code, const char *message)
{
    CLEANUP(place_done) struct place place;

    place_parse(message, &place);
    findings_add(findings,
                 &(struct finding){.code = code, .file = place.file, .line = place.line, .message = place.text});
}
