/* Lines are sorted by their numbers, as HAProxy prints them, so a proof can go through both in parallel. Each line is
 * in two indexes: by name, and by certificate with options.
 */
#include "agent/live_list.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"

/* ---- the indexes ---- */

static void link_add(struct map *index, const char *name, struct live_line *line)
{
    struct live_link *first = map_get(index, name), *added = xmalloc(sizeof(*added));
    *added = (struct live_link){.line = line};
    if (!first) {
        map_put(index, name, added);
        return;
    }
    /* Added after the first one, which the index points to. */
    added->next = first->next;
    first->next = added;
}

static void link_remove(struct map *index, const char *name, const struct live_line *line)
{
    struct live_link *first = map_get(index, name), *before = NULL, *at = first;
    while (at && at->line != line)
        before = at, at = at->next;
    if (!at)
        return;
    if (before)
        before->next = at->next;
    else if (at->next)
        map_put(index, name, at->next);
    else
        map_del(index, name);
    free(at);
}

static void indexes_done(struct live_list *list)
{
    struct map_slot *slot;
    for (size_t it = 0; (slot = map_next(&list->names, &it));)
        for (struct live_link *at = slot->value, *next; at; at = next) {
            next = at->next;
            free(at);
        }
    for (size_t it = 0; (slot = map_next(&list->shapes, &it));)
        free(slot->value);
    map_done(&list->names);
    map_init(&list->names, false);
    map_done(&list->shapes);
    map_init(&list->shapes, false);
}

static void shape_of(struct buf *key, const char *certificate, size_t length, const char *options)
{
    buf_add(key, certificate, length);
    buf_putc(key, '\n');
    buf_puts(key, options);
}

/* Counts the lines with the same certificate and options. Many names can come with a line each. */
static void shape_count(struct live_list *list, const struct crt_list_line *line, bool more)
{
    CLEANUP(buf_done) struct buf shape = {0};
    shape_of(&shape, line->certificate, strlen(line->certificate), line->options);
    size_t *count = map_getn(&list->shapes, shape.data, shape.length);
    if (!count) {
        count = xcalloc(1, sizeof(*count));
        map_putn(&list->shapes, shape.data, shape.length, count);
    }
    *count += more ? 1 : SIZE_MAX;
    if (*count == 0)
        free(map_deln(&list->shapes, shape.data, shape.length));
}

/* ---- lines ---- */

static void line_free(struct live_line *line)
{
    crt_list_line_done(&line->line);
    free(line);
}

static struct live_line *line_push(struct live_list *list, struct crt_list_line *line)
{
    struct live_line *added = xcalloc(1, sizeof(*added));
    added->line = *line;
    memset(line, 0, sizeof(*line));
    vec_push(&list->lines, added);
    shape_count(list, &added->line, true);
    for (size_t i = 0; i < added->line.names.length; i++)
        link_add(&list->names, added->line.names.items[i], added);
    return added;
}

static void lines_done(struct live_list *list)
{
    indexes_done(list);
    for (size_t i = 0; i < list->lines.length; i++)
        line_free(list->lines.items[i]);
    vec_done(&list->lines);
}

struct live_list *live_list_new(const char *path)
{
    struct live_list *list = xcalloc(1, sizeof(*list));
    list->path = xstrdup(path);
    return list;
}

void live_list_free(struct live_list *list)
{
    if (!list)
        return;
    lines_done(list);
    free(list->path);
    free(list);
}

/* The hash of a line's text; never 0. */
static uint64_t hash_of(const char *text, size_t length)
{
    uint64_t hash = map_hash(text, length);
    return hash ? hash : 1;
}

/* The next line of a text that is neither empty nor a comment; NULL at its end. */
static const char *line_next(const char **at, const char *end, size_t *ret_length)
{
    while (*at < end) {
        const char *line = *at, *stop = memchr(line, '\n', (size_t)(end - line));
        if (!stop)
            stop = end;
        *at = stop + (stop < end);
        *ret_length = (size_t)(stop - line);
        if (*ret_length > 0 && *line != '#' && *line != '\r')
            return line;
    }
    return NULL;
}

/* As HAProxy counts: comments and empty lines too. */
static unsigned lines_of(const char *text, size_t length)
{
    unsigned count = length > 0 && text[length - 1] != '\n';
    for (const char *at = text, *end = text + length; (at = memchr(at, '\n', (size_t)(end - at))); at++)
        count++;
    return count;
}

void live_list_starts(struct live_list *list)
{
    list->is_counted = true;
}

void live_list_read(struct live_list *list, const char *text, size_t length, bool numbered)
{
    const char *at = text, *line;
    size_t line_length;
    lines_done(list);
    if (!numbered) {
        struct crt_list parsed = {0};
        crt_list_parse(&parsed, text, length, false);
        for (size_t i = 0; i < parsed.lines.length; i++)
            line_push(list, &parsed.lines.items[i]);
        vec_done(&parsed.lines);
        list->count = lines_of(text, length);
        list->is_counted = false;
        return;
    }
    while ((line = line_next(&at, text + length, &line_length))) {
        struct crt_list parsed = {0};
        crt_list_parse(&parsed, line, line_length, true);
        if (parsed.lines.length > 0)
            line_push(list, &parsed.lines.items[0])->seen = hash_of(line, line_length);
        vec_done(&parsed.lines);
    }
    list->unproved_ns = 0;
}

void live_list_add(struct live_list *list, struct crt_list_line *line)
{
    line->number = ++list->count;
    line_push(list, line);
}

void live_list_remove(struct live_list *list, unsigned number)
{
    size_t low = 0, high = list->lines.length;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (list->lines.items[middle]->line.number < number)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == list->lines.length || list->lines.items[low]->line.number != number)
        return;
    struct live_line *line = list->lines.items[low];
    shape_count(list, &line->line, false);
    for (size_t i = 0; i < line->line.names.length; i++)
        link_remove(&list->names, line->line.names.items[i], line);
    memmove(list->lines.items + low, list->lines.items + low + 1,
            (--list->lines.length - low) * sizeof(list->lines.items[0]));
    line_free(line);
}

/* ---- proof ---- */

static bool is_same_line(const struct crt_list_line *a, const struct crt_list_line *b)
{
    if (a->number != b->number || strcmp(a->certificate, b->certificate) != 0 || strcmp(a->options, b->options) != 0 ||
        a->names.length != b->names.length)
        return false;
    for (size_t i = 0; i < a->names.length; i++)
        if (strcmp(a->names.items[i], b->names.items[i]) != 0)
            return false;
    return true;
}

static bool is_line_as_told(const struct live_line *known, const char *text, size_t length)
{
    struct crt_list parsed = {0};
    crt_list_parse(&parsed, text, length, true);
    bool same = parsed.lines.length == 1 && is_same_line(&known->line, &parsed.lines.items[0]);
    crt_list_done(&parsed);
    return same;
}

int live_list_prove(struct live_list *list, const char *text, size_t length, struct err *err)
{
    const char *at = text, *line;
    size_t i = 0, line_length;
    while ((line = line_next(&at, text + length, &line_length))) {
        struct live_line *known = i < list->lines.length ? list->lines.items[i++] : NULL;
        uint64_t hash = hash_of(line, line_length);
        if (known && known->seen == hash)
            continue;
        if (!known || known->seen || !is_line_as_told(known, line, line_length))
            return err_set(err, ERR_HAPROXY, "%s: HAProxy has the line '%.*s', which was not expected", list->path,
                           (int)(line_length < 200 ? line_length : 200), line);
        known->seen = hash;
    }
    if (i < list->lines.length)
        return err_set(err, ERR_HAPROXY, "%s: HAProxy lacks the line of %s", list->path,
                       list->lines.items[i]->line.certificate);
    list->unproved_ns = 0;
    return 0;
}

void live_list_merge(struct live_list *list, const char *text, size_t length)
{
    struct err err;
    if (list->is_counted && live_list_prove(list, text, length, &err) == 0)
        return;
    live_list_read(list, text, length, true);
    list->is_counted = false;
}

/* ---- queries ---- */

struct live_link *live_list_named(const struct live_list *list, const char *name)
{
    return map_get(&list->names, name);
}

bool live_list_has(const struct live_list *list, const char *certificate, size_t length, const char *options)
{
    CLEANUP(buf_done) struct buf shape = {0};
    shape_of(&shape, certificate, length, options);
    return map_getn(&list->shapes, shape.data, shape.length) != NULL;
}
