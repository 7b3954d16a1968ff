/* Reading a model: whole files in canonical order, single sections, maps. Small sets (pieces of a section) are sorted
 * in place, large ones (sections, map entries) as an array of pointers. Nothing is kept between calls.
 */
#include <string.h>

#include "base/alloc.h"
#include "haproxy/crt_list.h"
#include "haproxy/model_state.h"

struct ranked {
    const struct section *section;
    int32_t rank;
};

static int ranked_compare(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    if (x->rank != y->rank)
        return x->rank < y->rank ? -1 : 1;
    return strcmp(x->section->name, y->section->name);
}

/* A piece and its place in the section. */
struct ordered {
    struct item *item;
    int32_t order;
};

static int ordered_compare(const void *a, const void *b)
{
    const struct ordered *x = a, *y = b;
    if (x->order != y->order)
        return x->order < y->order ? -1 : 1;
    return strcmp(x->item->key, y->item->key);
}

/* The items that have a text in this state, sorted by order, or with by_key by key alone. The caller frees the array.
 */
static struct ordered *items_sorted(struct item *const *items, size_t count, enum model_state state, bool by_key,
                                    size_t *ret_count)
{
    struct ordered *sorted = xreallocarray(NULL, count ? count : 1, sizeof(*sorted));
    size_t n = 0;
    for (size_t i = 0; i < count; i++)
        if (item_text(items[i], state))
            sorted[n++] = (struct ordered){items[i], by_key ? 0 : item_order(items[i], state)};
    if (n > 1)
        qsort(sorted, n, sizeof(*sorted), ordered_compare);
    *ret_count = n;
    return sorted;
}

void model_lines_done(struct model_lines *lines)
{
    vec_done(&lines->lines);
}

static void lines_add(struct model_lines *lines, struct item *item, uint32_t line, bool header)
{
    if (lines)
        vec_push(&lines->lines, ((struct model_origin){item, line, header}));
}

static void write_piece(struct item *item, const struct text *text, struct buf *out, struct model_lines *lines)
{
    const char *at = text->bytes, *end = at + text->length;
    for (uint32_t line = 0; at < end; line++) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        size_t length = (size_t)((stop ? stop : end) - at);
        if (length) {
            buf_puts(out, "    ");
            buf_add(out, at, length);
        }
        buf_putc(out, '\n');
        lines_add(lines, item, line, false);
        at += length + 1;
    }
}

static const char *section_from(const struct section *s, enum model_state state)
{
    const struct text *from = s->from ? item_text(s->from, state) : NULL;
    return from && from->length ? from->bytes : NULL;
}

void section_write(const struct section *s, enum model_state state, struct buf *out, struct model_lines *lines)
{
    size_t count;
    struct ordered *pieces = items_sorted(s->pieces.items, s->pieces.length, state, false, &count);
    const char *from = section_from(s, state);
    if (out->length) {
        buf_putc(out, '\n');
        lines_add(lines, NULL, 0, false);
    }
    buf_puts(out, s->name);
    if (from) {
        buf_puts(out, " from ");
        buf_puts(out, from);
    }
    buf_putc(out, '\n');
    lines_add(lines, pieces[0].item, 0, true);
    for (size_t i = 0; i < count; i++)
        write_piece(pieces[i].item, item_text(pieces[i].item, state), out, lines);
    free(pieces);
}

/* The smallest rank of the pieces; false when none has a text. */
bool section_rank(const struct section *s, enum model_state state, int32_t *ret_rank)
{
    bool any = false;
    for (size_t i = 0; i < s->pieces.length; i++) {
        const struct item *item = s->pieces.items[i];
        if (!item_text(item, state))
            continue;
        int32_t rank = item_rank(item, state);
        if (!any || rank < *ret_rank)
            *ret_rank = rank;
        any = true;
    }
    return any;
}

void model_write_config(const struct model *m, enum model_state state, struct buf *out, struct model_lines *lines)
{
    struct map_slot *slot;
    size_t count = 0;
    struct ranked *ranked = xreallocarray(NULL, m->sections.count + 1, sizeof(*ranked));
    for (size_t it = 0; (slot = map_next(&m->sections, &it));) {
        int32_t rank = 0;
        if (section_rank(slot->value, state, &rank))
            ranked[count++] = (struct ranked){slot->value, rank};
    }
    qsort(ranked, count, sizeof(*ranked), ranked_compare);
    for (size_t i = 0; i < count; i++)
        section_write(ranked[i].section, state, out, lines);
    free(ranked);
}

bool model_section_text(const struct model *m, const struct section *section, enum model_state state, struct buf *out,
                        const char **ret_from)
{
    (void)m;
    size_t count;
    struct ordered *pieces = items_sorted(section->pieces.items, section->pieces.length, state, false, &count);
    for (size_t i = 0; i < count; i++) {
        const struct text *text = item_text(pieces[i].item, state);
        buf_add(out, text->bytes, text->length);
        if (text->length && text->bytes[text->length - 1] != '\n')
            buf_putc(out, '\n');
    }
    free(pieces);
    if (ret_from)
        *ret_from = count ? section_from(section, state) : NULL;
    return count > 0;
}

static int group_compare(const void *a, const void *b)
{
    const struct group *x = *(struct group *const *)a, *y = *(struct group *const *)b;
    if (x->kind != y->kind)
        return x->kind < y->kind ? -1 : 1;
    return strcmp(x->name + 1, y->name + 1);
}

/* Groups in the order of kind and name. The caller frees the array. */
static struct group **groups_sorted(const struct model *m, size_t *ret_count)
{
    struct map_slot *slot;
    size_t count = 0;
    struct group **groups = xreallocarray(NULL, m->groups.count + 1, sizeof(*groups));
    for (size_t it = 0; (slot = map_next(&m->groups, &it));)
        groups[count++] = slot->value;
    qsort(groups, count, sizeof(*groups), group_compare);
    *ret_count = count;
    return groups;
}

void model_each_map(const struct model *m, void (*fn)(void *ctx, const char *map_name), void *ctx)
{
    size_t count;
    struct group **groups = groups_sorted(m, &count);
    for (size_t i = 0; i < count; i++)
        if (groups[i]->kind == CONTRIBUTION_MAP_ENTRY)
            fn(ctx, groups[i]->name + 1);
    free(groups);
}

static const struct group *group_find(const struct model *m, enum contribution_kind kind, const char *scope)
{
    size_t length = strlen(scope);
    char *name = xmalloc(length + 2);
    name[0] = (char)kind;
    memcpy(name + 1, scope, length);
    const struct group *g = map_getn(&m->groups, name, length + 1);
    free(name);
    return g;
}

static const struct group *map_group(const struct model *m, const char *map_name)
{
    return group_find(m, CONTRIBUTION_MAP_ENTRY, map_name);
}

bool model_map_exists(const struct model *m, enum model_state state, const char *map_name)
{
    return model_file_exists(m, state, CONTRIBUTION_MAP_ENTRY, map_name);
}

bool model_file_exists(const struct model *m, enum model_state state, enum contribution_kind kind, const char *name)
{
    const struct group *g = group_find(m, kind, name);
    for (size_t i = 0; g && i < g->items.length; i++)
        if (item_text(g->items.items[i], state))
            return true;
    return false;
}

void model_each_map_entry(const struct model *m, enum model_state state, const char *map_name,
                          void (*fn)(void *ctx, const char *key, const char *value), void *ctx)
{
    const struct group *g = map_group(m, map_name);
    if (!g)
        return;
    size_t count;
    struct ordered *entries = items_sorted(g->items.items, g->items.length, state, true, &count);
    for (size_t i = 0; i < count; i++)
        if (entries[i].item->key[0])
            fn(ctx, entries[i].item->key, item_text(entries[i].item, state)->bytes);
    free(entries);
}

void map_entry_write(struct buf *out, const char *key, const char *value)
{
    buf_puts(out, key);
    buf_putc(out, ' ');
    buf_puts(out, value);
    buf_putc(out, '\n');
}

static void write_map_entry(void *ctx, const char *key, const char *value)
{
    map_entry_write(ctx, key, value);
}

void model_write_map(const struct model *m, enum model_state state, const char *map_name, struct buf *out)
{
    model_each_map_entry(m, state, map_name, write_map_entry, out);
}

static void write_crt_list(struct ordered *items, size_t count, enum model_state state, struct buf *out)
{
    struct crt_list_name *names = xreallocarray(NULL, count, sizeof(*names));
    for (size_t i = 0; i < count; i++)
        names[i] = (struct crt_list_name){items[i].item->key, item_text(items[i].item, state)->bytes, items[i].order};
    crt_list_write_all(out, names, count);
    free(names);
}

/* The content of a file; false when it has none in this state. */
static bool write_group(const struct group *g, enum model_state state, struct buf *out)
{
    size_t count;
    struct ordered *items = items_sorted(g->items.items, g->items.length, state, false, &count);
    if (count && g->kind == CONTRIBUTION_CRT_LIST)
        write_crt_list(items, count, state, out);
    for (size_t i = 0; g->kind != CONTRIBUTION_CRT_LIST && i < count; i++) {
        const struct text *t = item_text(items[i].item, state);
        buf_add(out, t->bytes, t->length);
    }
    free(items);
    return count > 0;
}

bool model_file_is_changed(const struct model *m, enum contribution_kind kind, const char *name)
{
    const struct group *g = group_find(m, kind, name);
    for (size_t i = 0; g && i < g->items.length; i++)
        if (g->items.items[i]->changed)
            return true;
    return false;
}

bool model_file_text(const struct model *m, enum model_state state, enum contribution_kind kind, const char *name,
                     struct buf *out)
{
    const struct group *g = group_find(m, kind, name);
    return g && write_group(g, state, out);
}

struct item *model_list_item(const struct model *m, const char *list, const char *name)
{
    return item_find(m, CONTRIBUTION_CRT_LIST, list, name);
}

void model_each_list_item(const struct model *m, const char *list, void (*fn)(void *ctx, struct item *item), void *ctx)
{
    const struct group *g = group_find(m, CONTRIBUTION_CRT_LIST, list);
    for (size_t i = 0; g && i < g->items.length; i++)
        fn(ctx, g->items.items[i]);
}

void model_each_file_name(const struct model *m, void (*fn)(void *ctx, enum contribution_kind kind, const char *name),
                          void *ctx)
{
    size_t count;
    struct group **groups = groups_sorted(m, &count);
    for (size_t i = 0; i < count; i++)
        if (groups[i]->kind != CONTRIBUTION_MAP_ENTRY)
            fn(ctx, groups[i]->kind, groups[i]->name + 1);
    free(groups);
}

void model_each_file(const struct model *m, enum model_state state,
                     void (*fn)(void *ctx, enum contribution_kind kind, const char *name, const char *bytes,
                                size_t length),
                     void *ctx)
{
    CLEANUP(buf_done) struct buf text = {0};
    size_t count;
    struct group **groups = groups_sorted(m, &count);
    for (size_t i = 0; i < count; i++) {
        const struct group *g = groups[i];
        if (g->kind == CONTRIBUTION_MAP_ENTRY)
            continue;
        buf_clear(&text);
        if (write_group(g, state, &text))
            fn(ctx, g->kind, g->name + 1, buf_str(&text), text.length);
    }
    free(groups);
}
