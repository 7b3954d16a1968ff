/* A new draft takes pointers to all sections and items without looking at them. Then each of them is drawn: its text is
 * copied with its names and with the values of Secrets. Sorting and joining use only these copies.
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
    enum contribution_kind kind; /* CONTRIBUTION_SECTION: of a whole section */
    int32_t rank, order;
    bool is_there;                  /* exists in the accepted state */
    uint32_t turn;                  /* the part with the highest turn counts */
    size_t at;                      /* in draft.texts: scope, key and text, a NUL after each of them */
    const char *scope, *key, *text; /* set when everything is drawn; a section has its name as scope, and no key */
    size_t length;                  /* of the text */
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
    if (!d->is_ended)
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

static void text_add(struct draft *d, const char *bytes, size_t length)
{
    buf_add(&d->texts, bytes, length);
    buf_putc(&d->texts, '\0');
}

/* Moves the text in d->scratch into a new part. */
static int part_add(struct draft *d, struct part part, const char *scope, const char *key, enum expand_as as,
                    struct err *err)
{
    int rc = part.is_there ? expand_buf(d->vault, as, &d->scratch, NULL, err) : 0;

    if (rc == 0) {
        part.turn = (uint32_t)d->parts.length;
        part.at = d->texts.length;
        part.length = part.is_there ? d->scratch.length : 0;
        text_add(d, scope, strlen(scope));
        text_add(d, key, strlen(key));
        text_add(d, buf_str(&d->scratch), part.length);
        vec_push(&d->parts, part);
    }
    buf_clear(&d->scratch);
    return rc;
}

static int section_draw(struct draft *d, const struct section *s, struct err *err)
{
    struct part part = {.kind = CONTRIBUTION_SECTION};

    if (vault_is_in(s->name, strlen(s->name))) /* check_start() says the same to people */
        return err_set(err, ERR_INVALID, "%s: the value of a Secret cannot be part of a name", s->name);
    part.is_there = section_rank(s, MODEL_ACCEPTED, &part.rank);
    if (part.is_there)
        section_write(s, MODEL_ACCEPTED, &d->scratch, NULL);
    return part_add(d, part, s->name, "", EXPAND_CONFIG, err);
}

static int item_draw(struct draft *d, const struct item *item, struct err *err)
{
    struct part part = {.kind = item->kind, .order = item->accepted_order, .is_there = item->accepted};
    bool is_entry = item->kind == CONTRIBUTION_MAP_ENTRY;

    if (is_entry && item->accepted && item->key[0])
        map_entry_write(&d->scratch, item->key, item->accepted->bytes);
    else if (!is_entry && item->accepted)
        buf_add(&d->scratch, item->accepted->bytes, item->accepted->length);
    if (part_add(d, part, item->scope, item->key, is_entry ? EXPAND_MAP : EXPAND_FILE, err) == 0)
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
    model_release_parts(d->model);
    return 0;
}

/* ---- functions for the thread ---- */

static bool is_section(const struct part *part)
{
    return part->kind == CONTRIBUTION_SECTION;
}

/* Sections before items; then by kind and names. */
static int names_compare(const struct part *x, const struct part *y)
{
    if (is_section(x) != is_section(y))
        return is_section(x) ? -1 : 1;
    if (x->kind != y->kind)
        return x->kind < y->kind ? -1 : 1;
    int scopes = strcmp(x->scope, y->scope);
    return scopes ? scopes : strcmp(x->key, y->key);
}

/* The parts of one section, file or item are adjacent, the latest one last. */
static int part_compare(const void *a, const void *b)
{
    const struct part *x = a, *y = b;
    int names = names_compare(x, y);

    return names ? names : x->turn < y->turn ? -1 : 1;
}

static int section_part_compare(const void *a, const void *b)
{
    const struct part *x = a, *y = b;

    if (x->rank != y->rank)
        return x->rank < y->rank ? -1 : 1;
    return strcmp(x->scope, y->scope);
}

/* Pieces of one file. */
static int piece_compare(const void *a, const void *b)
{
    const struct part *x = a, *y = b;

    if (x->order != y->order)
        return x->order < y->order ? -1 : 1;
    return strcmp(x->key, y->key);
}

static void part_locate(const struct draft *d, struct part *part)
{
    part->scope = d->texts.data + part->at;
    part->key = part->scope + strlen(part->scope) + 1;
    part->text = part->key + strlen(part->key) + 1;
}

/* Keeps the latest part of each section or item, if it exists. */
static void parts_settle(struct draft *d)
{
    size_t kept = 0, count = d->parts.length;
    struct part *parts = d->parts.items;

    for (size_t i = 0; i < count; i++)
        part_locate(d, &parts[i]);
    if (count)
        qsort(parts, count, sizeof(*parts), part_compare);
    for (size_t i = 0; i < count; i++)
        if (parts[i].is_there && (i + 1 == count || names_compare(&parts[i], &parts[i + 1]) != 0))
            parts[kept++] = parts[i];
    d->parts.length = kept;
}

static void list_compose(const struct part *parts, size_t count, struct buf *out)
{
    struct crt_list_name *names = xreallocarray(NULL, count, sizeof(*names));

    for (size_t i = 0; i < count; i++)
        names[i] = (struct crt_list_name){parts[i].key, parts[i].text, parts[i].order};
    crt_list_write_all(out, names, count);
    free(names);
}

/* All parts of one file. Those of a map are sorted by key already. */
static void file_compose(struct part *parts, size_t count, struct disk_files *files)
{
    CLEANUP(free_ptr) char *path = draft_path(parts->kind, parts->scope);
    struct buf out = {0};

    if (parts->kind == CONTRIBUTION_CRT_LIST) {
        list_compose(parts, count, &out);
    } else {
        if (parts->kind != CONTRIBUTION_MAP_ENTRY)
            qsort(parts, count, sizeof(*parts), piece_compare);
        for (size_t i = 0; i < count; i++)
            buf_add(&out, parts[i].text, parts[i].length);
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
    while (sections < count && is_section(&parts[sections]))
        sections++;
    if (sections)
        qsort(parts, sections, sizeof(*parts), section_part_compare);
    for (size_t i = 0; i < sections; i++) {
        if (i)
            buf_putc(config, '\n');
        buf_add(config, parts[i].text, parts[i].length);
    }
    for (size_t i = sections; i < count; i = next) {
        for (next = i + 1;
             next < count && parts[next].kind == parts[i].kind && strcmp(parts[next].scope, parts[i].scope) == 0;)
            next++;
        file_compose(parts + i, next - i, files);
    }
}

void draft_files(void *draft, struct disk_files *files)
{
    struct buf config = {0};

    draft_compose(draft, &config, files);
    size_t length = config.length;
    disk_files_take(files, DISK_CONFIG, buf_steal(&config), length);
    (void)draft_free(draft);
}
