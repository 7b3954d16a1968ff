/* Contributions are matched by kind, scope and key. Of two texts, the lines that both begin and end with are left
 * out. */
#include "offline/change.h"

#include <string.h>

static const char *const kind_names[] = {
    [CONTRIBUTION_SECTION] = "",       [CONTRIBUTION_SECTION_FROM] = "from of ", [CONTRIBUTION_MAP_ENTRY] = "map ",
    [CONTRIBUTION_FILE] = "file ",     [CONTRIBUTION_CERTIFICATE] = "cert ",     [CONTRIBUTION_CRT_LIST] = "crt-list ",
    [CONTRIBUTION_STATUS] = "status ", [CONTRIBUTION_EVENT] = "event ",          [CONTRIBUTION_WARNING] = "warning ",
    [CONTRIBUTION_GUARD] = "guard ",   [CONTRIBUTION_FETCH] = "fetch ",          [CONTRIBUTION_OBJECT] = "object ",
};

static const struct contribution *find(const struct fragment *f, const struct contribution *c)
{
    for (size_t i = 0; f != NULL && i < f->count; i++)
        if (f->items[i].kind == c->kind && strcmp(f->items[i].scope, c->scope) == 0 &&
            strcmp(f->items[i].key, c->key) == 0)
            return &f->items[i];
    return NULL;
}

static void put_lines(struct buf *out, char sign, const char *from, const char *to)
{
    while (from < to) {
        const char *newline = memchr(from, '\n', (size_t)(to - from));
        size_t length = newline ? (size_t)(newline - from) : (size_t)(to - from);
        buf_printf(out, "    %c %.*s\n", sign, (int)length, from);
        from += length + 1;
    }
}

static void put_texts(struct buf *out, const struct text *before, const struct text *now)
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
    put_lines(out, '-', a, a_keep);
    put_lines(out, '+', b, b_keep);
}

static void put_change(struct buf *out, const struct contribution *c, const struct text *before, const struct text *now)
{
    buf_printf(out, "  %s%s%s%s\n", kind_names[c->kind], c->scope, *c->key ? " " : "", c->key);
    put_texts(out, before, now);
}

void change_write(const struct fragment *before, const struct fragment *now, struct buf *out)
{
    buf_printf(out, "%c %s\n", before == NULL ? '+' : now == NULL ? '-' : '~', now ? now->id : before->id);
    for (size_t i = 0; before != NULL && i < before->count; i++) {
        const struct contribution *c = &before->items[i], *other = find(now, c);
        if (other == NULL || !text_equal(c->text, other->text))
            put_change(out, c, c->text, other ? other->text : NULL);
    }
    for (size_t i = 0; now != NULL && i < now->count; i++)
        if (find(before, &now->items[i]) == NULL)
            put_change(out, &now->items[i], NULL, now->items[i].text);
}
