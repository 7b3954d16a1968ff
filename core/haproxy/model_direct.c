/* The digest of the new state is a sum, so it can be computed before anything is changed. Texts are set by the same
 * function as in any model, which updates digests, references of sections and the list of changes.
 */
#include "haproxy/model_direct.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "haproxy/model_state.h"

void direct_init(struct direct_changes *d)
{
    memset(d, 0, sizeof(*d));
    map_init(&d->places, false);
}

void direct_done(struct direct_changes *d)
{
    for (size_t i = 0; i < d->items.length; i++) {
        struct direct_change *c = &d->items.items[i];
        free(c->scope);
        free(c->key);
        text_unref(c->text);
        fragment_unref(c->owner);
    }
    vec_done(&d->items);
    map_done(&d->places);
}

static void place_name(struct buf *b, enum contribution_kind kind, const char *scope, const char *key)
{
    buf_putc(b, (char)kind);
    buf_add(b, scope, strlen(scope) + 1);
    buf_puts(b, key);
}

static size_t place_of(const struct direct_changes *d, enum contribution_kind kind, const char *scope, const char *key)
{
    CLEANUP(buf_done) struct buf name = {0};
    place_name(&name, kind, scope, key);
    return (size_t)(uintptr_t)map_getn(&d->places, name.data, name.length);
}

struct direct_change *direct_find(const struct direct_changes *d, enum contribution_kind kind, const char *scope,
                                  const char *key)
{
    size_t place = place_of(d, kind, scope, key);
    return place ? &d->items.items[place - 1] : NULL;
}

int direct_put(struct direct_changes *d, const struct direct_change *change, struct err *err)
{
    CLEANUP(buf_done) struct buf name = {0};
    place_name(&name, change->kind, change->scope, change->key);
    if (map_getn(&d->places, name.data, name.length))
        return err_set(err, ERR_INVALID, "the item \"%.100s\" \"%.100s\" comes twice", change->scope, change->key);
    struct direct_change own = *change;
    own.scope = xstrdup(change->scope);
    own.key = xstrdup(change->key);
    text_ref(own.text);
    if (own.owner)
        fragment_ref(own.owner);
    vec_push(&d->items, own);
    map_putn(&d->places, name.data, name.length, (void *)(uintptr_t)d->items.length);
    return 0;
}

struct item *model_item(const struct model *m, enum contribution_kind kind, const char *scope, const char *key)
{
    return item_find(m, kind, scope, key);
}

void model_each_accepted(const struct model *m, void (*fn)(void *ctx, const struct item *item), void *ctx)
{
    const struct map_slot *slot;
    for (size_t it = 0; (slot = map_next(&m->items, &it));) {
        const struct item *item = slot->value;
        if (item->accepted)
            fn(ctx, item);
    }
}

void model_some_accepted(const struct model *m, size_t place, size_t max,
                         void (*fn)(void *ctx, const struct item *item), void *ctx)
{
    size_t begin = m->items.capacity > 0 ? place % m->items.capacity : 0, at = begin, found = 0;
    bool again = false; /* from the beginning of the table up to the place */
    while (found < max) {
        const struct map_slot *slot = map_next(&m->items, &at);
        if (!slot && again)
            return;
        if (!slot) {
            again = true;
            at = 0;
            continue;
        }
        if (again && at > begin)
            return;
        const struct item *item = slot->value;
        if (item->accepted) {
            found++;
            fn(ctx, item);
        }
    }
}

static void count_item(void *ctx, const struct item *item)
{
    (void)item;
    (*(size_t *)ctx)++;
}

size_t model_accepted_count(const struct model *m)
{
    size_t count = 0;
    model_each_accepted(m, count_item, &count);
    return count;
}

/* ---- the digest of the new state ---- */

/* An item of this name, used for its digest only. */
static struct digest change_digest(const struct direct_change *c)
{
    const struct item item = {.kind = c->kind, .scope = c->scope, .key = c->key};
    return item_digest(&item, c->text, c->rank, c->order);
}

struct digest direct_digest(const struct direct_changes *d)
{
    struct digest sum = {0, 0};
    for (size_t i = 0; i < d->items.length; i++)
        if (d->items.items[i].text)
            sum = digest_add(sum, change_digest(&d->items.items[i]));
    return sum;
}

static struct digest accepted_digest(const struct item *item)
{
    return item_digest(item, item->accepted, item->accepted_rank, item->accepted_order);
}

static int check_promise(const struct model *m, const struct direct_changes *d, bool whole, struct digest promised,
                         struct err *err)
{
    struct digest sum = whole ? (struct digest){0, 0} : m->accepted_digest;
    char is[DIGEST_HEX_SIZE], wanted[DIGEST_HEX_SIZE];
    for (size_t i = 0; i < d->items.length; i++) {
        const struct direct_change *c = &d->items.items[i];
        const struct item *before = whole ? NULL : item_find(m, c->kind, c->scope, c->key);
        if (before && before->accepted)
            sum = digest_sub(sum, accepted_digest(before));
        if (c->text)
            sum = digest_add(sum, change_digest(c));
    }
    if (digest_equal(sum, promised))
        return 0;
    return err_set(err, ERR_INVALID, "the result would have the digest %s, not %s", digest_hex(sum, is),
                   digest_hex(promised, wanted));
}

/* ---- the change ---- */

static void set_rendered(struct model *m, struct item *item, const struct direct_change *c)
{
    if (item->rendered)
        m->rendered_digest = digest_sub(m->rendered_digest, item_digest(item, item->rendered, item->rank, item->order));
    if (c->text)
        m->rendered_digest = digest_add(m->rendered_digest, item_digest(item, c->text, c->rank, c->order));
    if (item->kind == CONTRIBUTION_SECTION && !c->text != !item->rendered)
        item->section->rendered_pieces += c->text ? 1 : (uint32_t)-1;
    text_ref(c->text);
    text_unref(item->rendered);
    item->rendered = c->text;
    item->rank = c->rank;
    item->order = c->order;
}

static void set_item(struct model *m, const struct direct_change *c)
{
    struct item *item = c->text ? item_get(m, c->kind, c->scope, c->key) : item_find(m, c->kind, c->scope, c->key);
    if (!item)
        return;
    bool is_same = item->guarded == c->guarded && text_equal(item->accepted, c->text) &&
                   item->accepted_rank == c->rank && item->accepted_order == c->order;
    item->guarded = c->guarded;
    set_rendered(m, item, c);
    if (is_same) { /* only the owner may differ: HAProxy has nothing to do */
        fragment_ref(c->owner);
        fragment_unref(item->accepted_by);
        item->accepted_by = c->owner;
        item_update_pending(m, item);
        return;
    }
    item_set_accepted(m, item, c->text, c->rank, c->order, c->owner);
}

static struct direct_change former(const struct direct_change *c, const struct item *item)
{
    return (struct direct_change){.kind = c->kind,
                                  .scope = c->scope,
                                  .key = c->key,
                                  .text = item ? item->accepted : NULL,
                                  .rank = item ? item->accepted_rank : 0,
                                  .order = item ? item->accepted_order : 0,
                                  .owner = item && item->accepted ? item->accepted_by : NULL,
                                  .guarded = item && item->guarded};
}

struct leaving {
    const struct direct_changes *changes;
    struct direct_changes *all;
};

static void note_leaving(void *ctx, const struct item *item)
{
    struct leaving *l = ctx;
    if (place_of(l->changes, item->kind, item->scope, item->key))
        return;
    const struct direct_change going = {
        .kind = item->kind, .scope = (char *)(uintptr_t)item->scope, .key = (char *)(uintptr_t)item->key};
    (void)!direct_put(l->all, &going, NULL); /* the model contains each item once */
}

static void set_all(struct model *m, const struct direct_changes *d)
{
    model_reap(m);
    for (size_t i = 0; i < d->items.length; i++)
        set_item(m, &d->items.items[i]);
}

static void note_undo(const struct model *m, const struct direct_changes *d, struct direct_changes *undo)
{
    for (size_t i = 0; i < d->items.length; i++) {
        const struct direct_change *c = &d->items.items[i];
        const struct direct_change before = former(c, item_find(m, c->kind, c->scope, c->key));
        (void)!direct_put(undo, &before, NULL);
    }
}

int model_direct_apply(struct model *m, const struct direct_changes *d, bool whole, struct digest promised,
                       size_t promised_count, struct direct_changes *ret_undo, struct err *err)
{
    struct direct_changes leaving;
    struct leaving l = {.changes = d, .all = &leaving};

    if (whole && promised_count != d->items.length)
        return err_set(err, ERR_INVALID, "%zu items, not %zu", d->items.length, promised_count);
    if (check_promise(m, d, whole, promised, err) < 0)
        return -1;
    direct_init(ret_undo);
    direct_init(&leaving);
    if (whole)
        model_each_accepted(m, note_leaving, &l);
    note_undo(m, d, ret_undo);
    note_undo(m, &leaving, ret_undo);
    set_all(m, d);
    set_all(m, &leaving);
    direct_done(&leaving);
    return 0;
}

void model_direct_undo(struct model *m, const struct direct_changes *undo)
{
    set_all(m, undo);
}
