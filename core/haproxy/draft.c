/* A new draft takes pointers to all sections and items without looking at them. Then each of them is drawn: its text is
 * copied with the values of Secrets. Sorting and joining use only names and copies, which do not change any more.
 *
 * A part is the copy of one section or item. When one was drawn twice, the later part counts.
 */
#include "haproxy/draft.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "haproxy/crt_list.h"
#include "haproxy/expand.h"
#include "haproxy/model_state.h"

#define DRAWN_AT_ONCE 16 /* parts between two looks at the clock */

struct part {
    const struct section *section; /* NULL: an item's */
    const struct item *item;       /* NULL: a section's */
    int32_t rank, order;
    bool is_there;     /* exists in the accepted state */
    uint32_t turn;     /* the part with the highest turn counts */
    size_t at, length; /* in draft.texts, followed by a NUL */
};

struct draft {
    struct model *model;
    struct vault *vault;
    VEC(struct section *) sections;
    VEC(struct item *) items;
    size_t sections_drawn, items_drawn;
    VEC(struct item *) changed; /* accepted since the beginning; may contain duplicates */
    VEC(struct part) parts;
    struct buf texts, scratch;
    bool is_ended;
};

char *draft_path(enum contribution_kind kind, const char *name)
{
    const char *folder = kind == CONTRIBUTION_MAP_ENTRY ? "maps" : kind == CONTRIBUTION_FILE ? "files" : "certs";
    return xasprintf("%s/%s", folder, name);
}

static void on_accepted(void *ctx, struct item *item)
{
    struct draft *d = ctx;

    if (!d->is_ended)
        vec_push(&d->changed, item);
}

struct draft *draft_begin(struct model *m, struct vault *vault)
{
    struct draft *d = xcalloc(1, sizeof(*d));
    struct map_slot *slot;

    d->model = m;
    d->vault = vault;
    vec_reserve(&d->sections, m->sections.count);
    for (size_t it = 0; (slot = map_next(&m->sections, &it));)
        vec_push(&d->sections, slot->value);
    for (size_t it = 0; (slot = map_next(&m->groups, &it));) {
        const struct group *g = slot->value;
        for (size_t i = 0; i < g->items.length; i++)
            vec_push(&d->items, g->items.items[i]);
    }
    model_hold_parts(m, on_accepted, d);
    return d;
}

struct draft *draft_free(struct draft *d)
{
    if (!d)
        return NULL;
    model_release_parts(d->model);
    vec_done(&d->sections);
    vec_done(&d->items);
    vec_done(&d->changed);
    vec_done(&d->parts);
    expand_wipe(&d->texts);
    expand_wipe(&d->scratch);
    free(d);
    return NULL;
}

/* Moves the text in d->scratch into a new part. */
static int part_add(struct draft *d, struct part part, enum expand_as as, struct err *err)
{
    int rc = part.is_there ? expand_buf(d->vault, as, &d->scratch, NULL, err) : 0;

    if (rc == 0) {
        part.turn = (uint32_t)d->parts.length;
        part.at = d->texts.length;
        part.length = part.is_there ? d->scratch.length : 0;
        buf_add(&d->texts, buf_str(&d->scratch), part.length);
        buf_putc(&d->texts, '\0');
        vec_push(&d->parts, part);
    }
    buf_clear(&d->scratch);
    return rc;
}

static int section_draw(struct draft *d, const struct section *s, struct err *err)
{
    struct part part = {.section = s};

    part.is_there = section_rank(s, MODEL_ACCEPTED, &part.rank);
    if (part.is_there)
        section_write(s, MODEL_ACCEPTED, &d->scratch, NULL);
    return part_add(d, part, EXPAND_CONFIG, err);
}

static int item_draw(struct draft *d, const struct item *item, struct err *err)
{
    struct part part = {.item = item, .order = item->accepted_order, .is_there = item->accepted};
    bool is_entry = item->kind == CONTRIBUTION_MAP_ENTRY;

    if (is_entry && item->accepted && item->key[0])
        map_entry_write(&d->scratch, item->key, item->accepted->bytes);
    else if (!is_entry && item->accepted)
        buf_add(&d->scratch, item->accepted->bytes, item->accepted->length);
    if (part_add(d, part, is_entry ? EXPAND_MAP : EXPAND_FILE, err) == 0)
        return 0;
    CLEANUP(free_ptr) char *path = draft_path(item->kind, item->scope);
    return err_wrap(err, "%s", path);
}

static bool is_all_drawn(const struct draft *d)
{
    return d->sections_drawn == d->sections.length && d->items_drawn == d->items.length;
}

static int next_draw(struct draft *d, struct err *err)
{
    if (d->sections_drawn < d->sections.length)
        return section_draw(d, d->sections.items[d->sections_drawn++], err);
    return item_draw(d, d->items.items[d->items_drawn++], err);
}

int draft_step(struct draft *d, int64_t budget_ns, bool *ret_is_done, struct err *err)
{
    int64_t end_ns = clock_now_ns() + budget_ns;

    do {
        for (int i = 0; i < DRAWN_AT_ONCE && !is_all_drawn(d); i++)
            if (next_draw(d, err) < 0)
                return -1;
    } while (!is_all_drawn(d) && clock_now_ns() < end_ns);
    *ret_is_done = is_all_drawn(d);
    return 0;
}

static int pointer_compare(const void *a, const void *b)
{
    uintptr_t x = (uintptr_t) * (void *const *)a, y = (uintptr_t) * (void *const *)b;
    return x < y ? -1 : x > y;
}

int draft_end(struct draft *d, struct err *err)
{
    assert(is_all_drawn(d) && !d->is_ended);
    if (d->changed.length)
        qsort(d->changed.items, d->changed.length, sizeof(d->changed.items[0]), pointer_compare);
    for (size_t i = 0; i < d->changed.length; i++) {
        const struct item *item = d->changed.items[i];
        if (i && item == d->changed.items[i - 1])
            continue;
        if ((item->section ? section_draw(d, item->section, err) : item_draw(d, item, err)) < 0)
            return -1;
    }
    d->is_ended = true;
    return 0;
}

/* ---- functions for the thread ---- */

/* Sections before items; the parts of one section, file or item are adjacent, the latest one last. */
static int part_compare(const void *a, const void *b)
{
    const struct part *x = a, *y = b;
    int names;

    if (!x->section != !y->section)
        return x->section ? -1 : 1;
    if (x->section) {
        names = strcmp(x->section->name, y->section->name);
    } else {
        if (x->item->kind != y->item->kind)
            return x->item->kind < y->item->kind ? -1 : 1;
        names = strcmp(x->item->scope, y->item->scope);
        names = names ? names : strcmp(x->item->key, y->item->key);
    }
    return names ? names : x->turn < y->turn ? -1 : 1;
}

static int section_part_compare(const void *a, const void *b)
{
    const struct part *x = a, *y = b;

    if (x->rank != y->rank)
        return x->rank < y->rank ? -1 : 1;
    return strcmp(x->section->name, y->section->name);
}

/* Pieces of one file. */
static int piece_compare(const void *a, const void *b)
{
    const struct part *x = a, *y = b;

    if (x->order != y->order)
        return x->order < y->order ? -1 : 1;
    return strcmp(x->item->key, y->item->key);
}

static bool is_same(const struct part *a, const struct part *b)
{
    return a->section || b->section ? a->section == b->section
                                    : a->item->kind == b->item->kind && strcmp(a->item->scope, b->item->scope) == 0 &&
                                          strcmp(a->item->key, b->item->key) == 0;
}

/* Keeps the latest part of each section or item, if it exists. */
static void parts_settle(struct draft *d)
{
    size_t kept = 0, count = d->parts.length;
    struct part *parts = d->parts.items;

    if (count)
        qsort(parts, count, sizeof(*parts), part_compare);
    for (size_t i = 0; i < count; i++)
        if (parts[i].is_there && (i + 1 == count || !is_same(&parts[i], &parts[i + 1])))
            parts[kept++] = parts[i];
    d->parts.length = kept;
}

static void list_compose(const struct draft *d, const struct part *parts, size_t count, struct buf *out)
{
    struct crt_list_name *names = xreallocarray(NULL, count, sizeof(*names));

    for (size_t i = 0; i < count; i++)
        names[i] = (struct crt_list_name){parts[i].item->key, d->texts.data + parts[i].at, parts[i].order};
    crt_list_write_all(out, names, count);
    free(names);
}

/* All parts of one file. Those of a map are sorted by key already. */
static void file_compose(const struct draft *d, struct part *parts, size_t count, struct disk_files *files)
{
    CLEANUP(free_ptr) char *path = draft_path(parts->item->kind, parts->item->scope);
    struct buf out = {0};

    if (parts->item->kind == CONTRIBUTION_CRT_LIST) {
        list_compose(d, parts, count, &out);
    } else {
        if (parts->item->kind != CONTRIBUTION_MAP_ENTRY)
            qsort(parts, count, sizeof(*parts), piece_compare);
        for (size_t i = 0; i < count; i++)
            buf_add(&out, d->texts.data + parts[i].at, parts[i].length);
    }
    size_t length = out.length;
    disk_files_take(files, path, buf_steal(&out), length);
}

void draft_compose(struct draft *d, struct buf *config, struct disk_files *files)
{
    struct part *parts;
    size_t sections = 0, count, next;

    assert(d->is_ended);
    parts_settle(d);
    parts = d->parts.items;
    count = d->parts.length;
    while (sections < count && parts[sections].section)
        sections++;
    if (sections)
        qsort(parts, sections, sizeof(*parts), section_part_compare);
    for (size_t i = 0; i < sections; i++) {
        if (i)
            buf_putc(config, '\n');
        buf_add(config, d->texts.data + parts[i].at, parts[i].length);
    }
    for (size_t i = sections; i < count; i = next) {
        for (next = i + 1; next < count && parts[next].item->kind == parts[i].item->kind &&
                           strcmp(parts[next].item->scope, parts[i].item->scope) == 0;)
            next++;
        file_compose(d, parts + i, next - i, files);
    }
}
