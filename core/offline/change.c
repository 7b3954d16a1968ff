/* Contributions are matched by kind, scope and key. Of two texts, the lines that both begin and end with are left
 * out. */
#include "offline/change.h"

#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "data/json.h"

static const char *const kind_names[] = {
    [CONTRIBUTION_SECTION] = "",       [CONTRIBUTION_SECTION_FROM] = "from of ", [CONTRIBUTION_MAP_ENTRY] = "map ",
    [CONTRIBUTION_FILE] = "file ",     [CONTRIBUTION_CERTIFICATE] = "cert ",     [CONTRIBUTION_CRT_LIST] = "crt-list ",
    [CONTRIBUTION_STATUS] = "status ", [CONTRIBUTION_EVENT] = "event ",          [CONTRIBUTION_WARNING] = "warning ",
    [CONTRIBUTION_GUARD] = "guard ",   [CONTRIBUTION_FETCH] = "fetch ",          [CONTRIBUTION_OBJECT] = "object ",
};

/* The lines of two texts without those that both begin and end with. */
struct lines {
    const char *removed, *removed_end, *added, *added_end;
};

static struct lines compare(const struct text *before, const struct text *now)
{
    const char *a = before ? before->bytes : "", *b = now ? now->bytes : "";
    const char *a_end = a + strlen(a), *b_end = b + strlen(b), *at = a;

    /* the whole lines at the beginning, then those at the end */
    for (const char *x = a, *y = b; x < a_end && y < b_end && *x == *y; x++, y++)
        if (*x == '\n')
            at = x + 1;
    b += at - a;
    a = at;
    const char *x = a_end, *y = b_end, *a_keep = a_end, *b_keep = b_end;
    while (x > a && y > b && x[-1] == y[-1]) {
        x--, y--;
        if ((x == a || x[-1] == '\n') && (y == b || y[-1] == '\n'))
            a_keep = x, b_keep = y;
    }
    return (struct lines){.removed = a, .removed_end = a_keep, .added = b, .added_end = b_keep};
}

typedef void put_part(const struct contribution *c, const struct lines *lines, struct buf *out);

static void each_part(const struct fragment *before, const struct fragment *now, put_part *put, struct buf *out)
{
    for (size_t i = 0; before != NULL && i < before->count; i++) {
        const struct contribution *c = &before->items[i],
                                  *other = fragment_contribution(now, c->kind, c->scope, c->key);
        if (other != NULL && text_equal(c->text, other->text))
            continue;
        const struct lines lines = compare(c->text, other ? other->text : NULL);
        put(c, &lines, out);
    }
    for (size_t i = 0; now != NULL && i < now->count; i++) {
        const struct contribution *c = &now->items[i];
        if (fragment_contribution(before, c->kind, c->scope, c->key) == NULL) {
            const struct lines lines = compare(NULL, c->text);
            put(c, &lines, out);
        }
    }
}

/* ---- text ---- */

static void put_lines(struct buf *out, char sign, const char *from, const char *to)
{
    while (from < to) {
        const char *newline = memchr(from, '\n', (size_t)(to - from));
        size_t length = newline ? (size_t)(newline - from) : (size_t)(to - from);
        buf_printf(out, "    %c %.*s\n", sign, (int)length, from);
        from += length + 1;
    }
}

static void put_change(const struct contribution *c, const struct lines *lines, struct buf *out)
{
    buf_printf(out, "  %s%s%s%s\n", kind_names[c->kind], c->scope, *c->key ? " " : "", c->key);
    put_lines(out, '-', lines->removed, lines->removed_end);
    put_lines(out, '+', lines->added, lines->added_end);
}

void change_write(const struct fragment *before, const struct fragment *now, struct buf *out)
{
    buf_printf(out, "%c %s\n", before == NULL ? '+' : now == NULL ? '-' : '~', now ? now->id : before->id);
    each_part(before, now, put_change, out);
}

/* ---- JSON ---- */

static void put_string(struct buf *out, const char *text, size_t length)
{
    struct err err;

    if (json_write_string(out, text, length, &err) < 0)
        buf_puts(out, "\"\"");
}

static void put_name(struct buf *out, const char *name, const char *text)
{
    buf_printf(out, ",\"%s\":", name);
    put_string(out, text, strlen(text));
}

static void put_list(struct buf *out, const char *name, const char *from, const char *to)
{
    buf_printf(out, ",\"%s\":[", name);
    for (const char *at = from; at < to;) {
        const char *newline = memchr(at, '\n', (size_t)(to - at));
        size_t length = newline ? (size_t)(newline - at) : (size_t)(to - at);
        if (at > from)
            buf_putc(out, ',');
        put_string(out, at, length);
        at += length + 1;
    }
    buf_putc(out, ']');
}

static void put_json_part(const struct contribution *c, const struct lines *lines, struct buf *out)
{
    const char *name = *kind_names[c->kind] ? kind_names[c->kind] : "section ";

    if (out->data[out->length - 1] != '[')
        buf_putc(out, ',');
    buf_puts(out, "{\"kind\":");
    put_string(out, name, strcspn(name, " "));
    put_name(out, "scope", c->scope);
    put_name(out, "key", c->key);
    put_list(out, "removed", lines->removed, lines->removed_end);
    put_list(out, "added", lines->added, lines->added_end);
    buf_putc(out, '}');
}

void change_write_json(const struct fragment *before, const struct fragment *now, struct buf *out)
{
    const struct fragment *f = now ? now : before;
    CLEANUP(free_ptr) char *object = *f->owner_kind ? xasprintf("%s %s", f->owner_kind, f->owner_id) : NULL;

    buf_printf(out, "{\"change\":\"%s\"", before == NULL ? "added" : now == NULL ? "removed" : "changed");
    put_name(out, "fragment", f->id);
    put_name(out, "template", f->template_name);
    if (object != NULL)
        put_name(out, "object", object);
    buf_puts(out, ",\"parts\":[");
    each_part(before, now, put_json_part, out);
    buf_puts(out, "]}");
}
