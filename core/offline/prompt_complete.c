#include "offline/prompt_complete.h"

#include <glob.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

#define SHOWN_MAX 500

static const char *const commands[] = {":diff", ":help", ":load", ":quit", ":reload", ":save", ":save!"};

struct candidates {
    VEC(char *) items;
    const char *typed;
    struct workbench *workbench;
    bool paths; /* only what stands behind the host */
};

static void add(struct candidates *c, const char *text, size_t length)
{
    if (c->items.length < SHOWN_MAX && length >= strlen(c->typed) && strncmp(text, c->typed, strlen(c->typed)) == 0)
        vec_push(&c->items, xmemdup0(text, length));
}

static int compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Sorted, each once. */
static char *finish(struct candidates *c)
{
    struct buf out = {0};

    if (c->items.length > 0)
        qsort(c->items.items, c->items.length, sizeof(c->items.items[0]), compare);
    for (size_t i = 0; i < c->items.length; i++)
        if (i == 0 || strcmp(c->items.items[i], c->items.items[i - 1]) != 0)
            buf_printf(&out, "%s%s", out.length > 0 ? "\n" : "", c->items.items[i]);
    for (size_t i = 0; i < c->items.length; i++)
        free(c->items.items[i]);
    vec_done(&c->items);
    return buf_steal(&out);
}

static char *complete_command(const char *line)
{
    struct candidates c = {.typed = line};
    const char *blank = strchr(line, ' ');

    if (blank == NULL) {
        for (size_t i = 0; i < ARRAY_LEN(commands); i++)
            add(&c, commands[i], strlen(commands[i]));
        return finish(&c);
    }
    if (strncmp(line, ":load ", 6) != 0 && strncmp(line, ":save ", 6) != 0 && strncmp(line, ":save! ", 7) != 0)
        return finish(&c);
    c.typed = blank + 1;
    CLEANUP(free_ptr) char *pattern = xasprintf("%s*", c.typed);
    glob_t found;
    if (glob(pattern, GLOB_MARK, NULL, &found) == 0) {
        for (size_t i = 0; i < found.gl_pathc; i++)
            add(&c, found.gl_pathv[i], strlen(found.gl_pathv[i]));
        globfree(&found);
    }
    return finish(&c);
}

/* A key of a map of routes is the host and the path. */
static void add_key(void *ctx, const char *key, const char *value)
{
    struct candidates *c = ctx;
    size_t host = strcspn(key, "/");

    (void)value;
    if (c->paths)
        add(c, key + host, strlen(key + host));
    else if (strchr(c->typed, '/') != NULL)
        add(c, key, strlen(key));
    else
        add(c, key, host);
}

static void add_map(void *ctx, const char *name)
{
    struct candidates *c = ctx;

    if (strncmp(name, "path-", 5) == 0)
        model_each_map_entry(workbench_model(c->workbench), MODEL_RENDERED, name, add_key, c);
}

/* The text behind the quotation mark that is open at the end of the line; NULL: none is. */
static const char *open_string(const char *line)
{
    const char *open = NULL;

    for (const char *at = line; *at != '\0'; at++)
        if (*at == '"')
            open = open == NULL ? at + 1 : NULL;
    return open;
}

/* Does the text before a string end in these words, but for blanks? */
static bool ends_in(const char *begin, const char *end, const char *name, char sign)
{
    size_t length = strlen(name);

    while (end > begin && end[-1] == ' ')
        end--;
    if (end == begin || end[-1] != sign)
        return false;
    for (end--; end > begin && end[-1] == ' ';)
        end--;
    return (size_t)(end - begin) >= length && strncmp(end - length, name, length) == 0;
}

char *prompt_complete(struct workbench *w, const char *line)
{
    const char *open = open_string(line);
    struct candidates c = {.typed = open, .workbench = w};

    if (*line == ':')
        return complete_command(line);
    if (open != NULL) {
        c.paths = ends_in(line, open - 1, "path", '=');
        if (c.paths || ends_in(line, open - 1, "host", '=') || ends_in(line, open - 1, "explain", '(')) {
            model_each_map(workbench_model(w), add_map, &c);
            return finish(&c);
        }
    }
    return workbench_ask(w, "complete", line);
}
