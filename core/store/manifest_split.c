/* Only the beginnings of lines are looked at. "---" without indentation ends everything that is open. "- " without
 * indentation begins the next item of a list, as kubectl writes it. */
#include "store/manifest_split.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"

static bool begins(const char *line, const char *end, const char *with)
{
    size_t length = strlen(with);

    return (size_t)(end - line) >= length && memcmp(line, with, length) == 0;
}

static bool is_blank(const char *line, const char *end, size_t at)
{
    return line + at == end || strchr(" \t\r\n", line[at]) != NULL;
}

static bool is_divider(const char *line, const char *end)
{
    return begins(line, end, "---") && is_blank(line, end, 3);
}

static bool is_item(const char *line, const char *end)
{
    return *line == '-' && is_blank(line, end, 1);
}

static const char *next_line(const char *line, const char *end)
{
    const char *newline = memchr(line, '\n', (size_t)(end - line));

    return newline ? newline + 1 : end;
}

static void part_add(struct manifest_parts *parts, const char *from, const char *to, size_t lines_before)
{
    if (from < to)
        vec_push(&parts->items, ((struct manifest_part){from, (size_t)(to - from), lines_before}));
}

/* Splits at lines of one kind, between from and to. */
static void cut(struct manifest_parts *parts, const char *from, const char *to, size_t line_number, size_t part_bytes,
                bool (*may_cut)(const char *line, const char *end))
{
    const char *start = from;
    size_t start_line = line_number;

    for (const char *line = from; line < to; line = next_line(line, to), line_number++)
        if ((size_t)(line - start) >= part_bytes && may_cut(line, to)) {
            part_add(parts, start, line, start_line);
            start = line;
            start_line = line_number;
        }
    part_add(parts, start, to, start_line);
}

struct shape {
    size_t documents;
    const char *items_from, *items_to; /* of the only list without indentation below "items:" */
    size_t items_line;
    bool has_other_lists;
    bool is_odd; /* it has directives, or documents that end with "..." */
};

static void shape_find(const char *text, const char *end, struct shape *ret_shape)
{
    struct shape s = {.documents = 1};
    bool in_items = false;
    size_t number = 0;

    for (const char *line = text; line < end; line = next_line(line, end), number++) {
        if (*line == ' ' || *line == '\n' || *line == '#' || *line == '\r')
            continue;
        if (is_divider(line, end)) {
            s.documents += line > text;
            in_items = false;
        } else if (is_item(line, end)) {
            s.has_other_lists = s.has_other_lists || !in_items;
        } else if (in_items) {
            s.items_to = line;
            in_items = false;
        }
        s.is_odd = s.is_odd || *line == '%' || *line == '\t' || begins(line, end, "...");
        if (begins(line, end, "items:") && line + 6 < end && (line[6] == '\n' || line[6] == '\r')) {
            s.has_other_lists = s.has_other_lists || s.items_from;
            s.items_from = next_line(line, end);
            s.items_to = end;
            s.items_line = number + 1;
            in_items = true;
        }
    }
    *ret_shape = s;
}

static bool has_mark(const char *text, size_t length)
{
    return length > 0 && (unsigned char)*text >= 0x80;
}

bool manifest_split(const char *text, size_t length, size_t part_bytes, struct manifest_parts *ret_parts)
{
    const char *end = text + length;
    struct shape s;

    *ret_parts = (struct manifest_parts){0};
    if (length < 2 * part_bytes || has_mark(text, length) || memchr(text, '\0', length))
        return false;
    shape_find(text, end, &s);
    if (s.documents > 1 && !s.is_odd) {
        cut(ret_parts, text, end, 0, part_bytes, is_divider);
    } else if (s.items_from != NULL && !s.has_other_lists && !s.is_odd) {
        struct buf list = {.max = length + 1};
        buf_add(&list, text, (size_t)(s.items_from - text));
        buf_add(&list, s.items_to, (size_t)(end - s.items_to));
        ret_parts->list_length = list.length;
        ret_parts->list = buf_steal(&list);
        cut(ret_parts, s.items_from, s.items_to, s.items_line, part_bytes, is_item);
    }
    if (ret_parts->items.length > 1)
        return true;
    manifest_parts_done(ret_parts);
    return false;
}

void manifest_parts_done(struct manifest_parts *parts)
{
    vec_done(&parts->items);
    free(parts->list);
    *parts = (struct manifest_parts){0};
}
