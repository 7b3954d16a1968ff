/* Fragments and their accepted output. Each fragment id has a record of its versions: newest, active (its contributions
 * are candidates), good (the version to return to), checking (part of the running check).
 */
#include "haproxy/model.h"

#include <string.h>

#include "base/alloc.h"
#include "haproxy/model_state.h"

static bool fragments_equal(const struct fragment *a, const struct fragment *b)
{
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++) {
        const struct contribution *x = &a->items[i], *y = &b->items[i];
        if (x->kind != y->kind || x->rank != y->rank || x->order != y->order || strcmp(x->scope, y->scope) != 0 ||
            strcmp(x->key, y->key) != 0 || !text_equal(x->text, y->text))
            return false;
    }
    return true;
}

void model_fragment_put(struct model *m, struct fragment *f)
{
    model_reap(m);
    struct record *r = map_get(&m->records, f->id);
    if (!r) {
        r = xcalloc(1, sizeof(*r));
        r->unsettled_slot = r->unkept_slot = NOWHERE;
        map_put(&m->records, f->id, r);
    }
    r->epoch = m->epoch;
    if (r->newest == f && !r->gone)
        return;
    gone_end(m, r);
    f = model_resolve_kept(m, r, f);
    if (r->reason && !fragments_equal(r->newest, f))
        record_end_quarantine(m, r);
    fragment_unref(r->newest);
    r->newest = f;
    guard_note(m, r);
    if (!r->reason)
        record_activate(m, r, f);
    guard_review(m, r);
}

void model_fragment_drop(struct model *m, const char *fragment_id)
{
    model_reap(m);
    struct record *r = map_get(&m->records, fragment_id);
    if (!r)
        return;
    record_end_quarantine(m, r);
    if (!gone_begin(m, r))
        record_drop(m, r);
}

void model_replace_begin(struct model *m)
{
    m->epoch++;
}

void model_replace_end(struct model *m)
{
    VEC(char *) gone = {0};
    struct map_slot *slot;
    for (size_t it = 0; (slot = map_next(&m->records, &it));)
        if (((struct record *)slot->value)->epoch != m->epoch)
            vec_push(&gone, xmemdup0(slot->key, slot->key_length));
    for (size_t i = 0; i < gone.length; i++) {
        model_fragment_drop(m, gone.items[i]);
        free(gone.items[i]);
    }
    vec_done(&gone);
}

/* Marks the record of a fragment as existing, perhaps again. NULL when there is no record. */
static struct record *record_exists(struct model *m, const char *fragment_id)
{
    struct record *r = map_get(&m->records, fragment_id);
    if (!r)
        return NULL;
    r->epoch = m->epoch;
    if (r->gone) {
        gone_end(m, r);
        if (!r->reason)
            record_activate(m, r, r->newest);
    }
    return r;
}

void model_fragment_keep(struct model *m, const char *fragment_id)
{
    model_reap(m);
    struct record *r = record_exists(m, fragment_id);
    if (!r)
        return;
    if (r->active)
        fragment_yield(m, r->active);
    guard_review(m, r);
}

void model_fragment_await(struct model *m, const char *fragment_id)
{
    model_reap(m);
    (void)record_exists(m, fragment_id);
}

struct fragment *model_fragment(const struct model *m, const char *fragment_id)
{
    struct record *r = map_get(&m->records, fragment_id);
    return r && (!r->gone || r->active) ? r->newest : NULL;
}

bool model_quarantine(struct model *m, const char *fragment_id, const char *reason)
{
    struct record *r = map_get(&m->records, fragment_id);
    if (!r || (r->reason && !r->active))
        return false;
    model_reap(m);
    record_pardon(m, r);
    record_settle(m, r);
    /* When the fragment is blamed again while only its earlier accepted output is in use, or is blamed at once for
     * accepted output, nothing of it stays in use. */
    bool again = r->reason != NULL || r->active == r->good;
    if (!r->reason)
        m->quarantined++;
    free(r->reason);
    r->reason = xstrdup(reason);
    record_activate(m, r, again ? NULL : r->good);
    if (again)
        record_set_good(m, r, NULL);
    guard_review(m, r);
    return true;
}

bool model_convict(struct model *m, const char *fragment_id, enum contribution_kind kind, const char *scope,
                   const char *key, const char *reason)
{
    struct item *item = item_find(m, kind, scope, key);
    bool is_its = item && item->rendered && item->winner && strcmp(item->winner->id, fragment_id) == 0;
    struct text *refused = text_ref(is_its ? item->rendered : NULL);
    bool changed = model_quarantine(m, fragment_id, reason);
    struct record *r = map_get(&m->records, fragment_id);
    if (changed && r->active) {
        if (refused && item->candidate_count && item_is_shareable(item)) {
            r->refused = item;
            item_refuse(m, item, refused, r);
        }
        fragment_yield(m, r->active);
    }
    text_unref(refused);
    return changed;
}

enum model_hold model_hold(struct model *m, const char *fragment_id)
{
    struct record *r = map_get(&m->records, fragment_id);
    if (!r || !r->active || r->reason)
        return MODEL_HOLD_NOTHING;
    record_settle(m, r);
    if (r->active == r->good)
        return MODEL_HOLD_NOTHING;
    return r->good ? MODEL_HOLD_GOOD : MODEL_HOLD_NEW;
}

void model_release(struct model *m, const char *fragment_id)
{
    struct record *r = map_get(&m->records, fragment_id);
    if (!r || !r->reason)
        return;
    model_reap(m);
    record_end_quarantine(m, r);
    record_activate(m, r, r->newest);
    guard_review(m, r);
}

const char *model_quarantine_reason(const struct model *m, const char *fragment_id)
{
    struct record *r = map_get(&m->records, fragment_id);
    return r ? r->reason : NULL;
}

size_t model_quarantined(const struct model *m)
{
    return m->quarantined;
}

void model_each_quarantined(const struct model *m, void (*fn)(void *ctx, const struct fragment *f, const char *reason),
                            void *ctx)
{
    struct map_slot *slot;
    for (size_t it = 0; m->quarantined && (slot = map_next(&m->records, &it));) {
        struct record *r = slot->value;
        if (r->reason)
            fn(ctx, r->newest, r->reason);
    }
}

/* ---- accepting ---- */

size_t model_pending(const struct model *m)
{
    return m->pending.length;
}

void model_each_pending(const struct model *m, void (*fn)(void *ctx, struct item *item), void *ctx)
{
    /* fn may accept items, which changes the list. */
    size_t count = m->pending.length;
    if (!count)
        return;
    struct item **copy = xreallocarray(NULL, count, sizeof(struct item *));
    memcpy(copy, m->pending.items, count * sizeof(struct item *));
    for (size_t i = 0; i < count; i++)
        if (copy[i]->pending)
            fn(ctx, copy[i]);
    free(copy);
}

void model_check_begin(struct model *m)
{
    if (m->check_running)
        model_check_end(m, false);
    model_review_gone(m);
    model_reap(m);
    m->check_running = true;
    m->checking_digest = m->rendered_digest;
    for (size_t i = 0; i < m->pending.length; i++) {
        struct item *item = m->pending.items[i];
        item->in_check = true;
        item->checking = text_ref(item->rendered);
        item->checking_by = fragment_ref(item->winner);
        item->checking_rank = item->rank;
        item->checking_order = item->order;
        vec_push(&m->checking, item);
    }
    for (size_t i = 0; i < m->unsettled.length; i++)
        m->unsettled.items[i]->checking = fragment_ref(m->unsettled.items[i]->active);
}

void model_check_end(struct model *m, bool accepted)
{
    if (!m->check_running)
        return;
    if (accepted)
        check_accept(m);
    for (size_t i = 0; i < m->disturbed.length; i++)
        m->disturbed.items[i]->disturbed = false;
    vec_clear(&m->disturbed);
    m->check_running = false;
    for (size_t i = 0; i < m->checking.length; i++) {
        struct item *item = m->checking.items[i];
        item->in_check = false;
        item->checking = text_unref(item->checking);
        item->checking_by = fragment_unref(item->checking_by);
        item_update_pending(m, item);
    }
    vec_clear(&m->checking);

    VEC(struct record *) records = {0};
    struct map_slot *slot;
    for (size_t it = 0; (slot = map_next(&m->records, &it));)
        if (((struct record *)slot->value)->checking)
            vec_push(&records, slot->value);
    for (size_t i = 0; i < records.length; i++) {
        struct record *r = records.items[i];
        struct fragment *seen = STEAL(r->checking);
        if (accepted && !r->reason) {
            record_set_good(m, r, seen);
            record_settle(m, r); /* a newer version may have the same output, or was accepted during the check */
        }
        fragment_unref(seen);
    }
    vec_done(&records);
}

void model_accept_all(struct model *m)
{
    model_check_begin(m);
    model_check_end(m, true);
}

bool model_checking(const struct model *m)
{
    return m->check_running;
}

void model_each_changed(const struct model *m, void (*fn)(void *ctx, struct item *item), void *ctx)
{
    for (size_t i = 0; i < m->changed.length; i++)
        fn(ctx, m->changed.items[i]);
}

bool model_has_changes(const struct model *m)
{
    return m->changed.length > 0;
}

void model_take_changes(struct model *m, struct model_changes *ret_changes)
{
    for (size_t i = 0; i < m->changed.length; i++) {
        struct item *item = m->changed.items[i];
        item->changed = false;
        item->changed_slot = NOWHERE;
        vec_push(&ret_changes->items, item);
        if (item_is_idle(item))
            list_add(&m->idle, item, idle_slot);
    }
    vec_clear(&m->changed);
}

void model_changes_done(struct model_changes *c)
{
    vec_done(&c->items);
}

struct digest model_digest(const struct model *m, enum model_state state)
{
    switch (state) {
    case MODEL_RENDERED:
        return m->rendered_digest;
    case MODEL_ACCEPTED:
        return m->accepted_digest;
    case MODEL_CHECKING:
        return m->checking_digest;
    }
    return m->rendered_digest;
}

bool model_is_empty(const struct model *m, enum model_state state)
{
    return digest_equal(model_digest(m, state), (struct digest){0, 0});
}

struct item *model_map_item(const struct model *m, const char *map_name, const char *key)
{
    return item_find(m, CONTRIBUTION_MAP_ENTRY, map_name, key);
}

struct item *model_file_item(const struct model *m, enum contribution_kind kind, const char *name)
{
    return item_find(m, kind, name, "");
}

struct section *model_section(const struct model *m, const char *name)
{
    struct section *s = map_get(&m->sections, name);
    return section_is_known(s) ? s : NULL;
}

void model_each_section(const struct model *m, void (*fn)(void *ctx, struct section *s), void *ctx)
{
    struct map_slot *slot;
    for (size_t it = 0; (slot = map_next(&m->sections, &it));)
        if (section_is_known(slot->value))
            fn(ctx, slot->value);
}

/* ---- life ---- */

struct model *model_new(void)
{
    struct model *m = xcalloc(1, sizeof(*m));
    map_init(&m->records, false);
    map_init(&m->items, true);
    map_init(&m->sections, true);
    map_init(&m->groups, true);
    return m;
}

struct model *model_free(struct model *m)
{
    struct map_slot *slot;
    if (!m)
        return NULL;
    m->check_running = false;
    m->on_accepted = NULL;
    /* Contributions point to items, and records count them: both are freed without lookups. */
    for (size_t it = 0; (slot = map_next(&m->items, &it));)
        item_free(m, slot->value);
    for (size_t it = 0; (slot = map_next(&m->records, &it));)
        record_free(slot->value);
    for (size_t it = 0; (slot = map_next(&m->sections, &it));) {
        struct section *s = slot->value;
        vec_done(&s->pieces);
        vec_done(&s->waiting);
        free(s);
    }
    map_done(&m->records);
    map_done(&m->items);
    map_done(&m->sections);
    map_done(&m->groups);
    for (size_t it = 0; (slot = map_next(&m->owners, &it));) {
        struct owner *o = slot->value;
        for (size_t i = 0; i < o->guards.length; i++) {
            free(o->guards.items[i].guardian);
            text_unref(o->guards.items[i].closed);
        }
        vec_done(&o->guards);
        vec_done(&o->records);
        free(o);
    }
    map_done(&m->owners);
    text_unref(m->closed);
    vec_done(&m->pending);
    vec_done(&m->changed);
    vec_done(&m->contested);
    vec_done(&m->idle);
    vec_done(&m->checking);
    vec_done(&m->disturbed);
    vec_done(&m->unsettled);
    vec_done(&m->settling);
    vec_done(&m->due);
    vec_done(&m->unkept);
    vec_done(&m->held);
    for (size_t i = 0; i < m->kept_gone.length; i++)
        fragment_unref(m->kept_gone.items[i]);
    vec_done(&m->kept_gone);
    buf_done(&m->scratch);
    free(m);
    return NULL;
}
