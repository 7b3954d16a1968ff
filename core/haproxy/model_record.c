/* The versions of a fragment: which one is active, and which one is good. */
#include <string.h>

#include "base/alloc.h"
#include "haproxy/model_state.h"

/* Fragments that emit equal texts share one text. */
static void contribution_share_text(struct contribution *c, struct text *same)
{
    if (same && c->text != same && text_equal(c->text, same)) {
        text_unref(c->text);
        c->text = text_ref(same);
    }
}

static void contribution_replace(struct model *m, struct item *item, struct fragment *now, struct contribution *c)
{
    struct contribution *old = item->replacing;
    struct fragment *before = item->candidates[old->slot].fragment;
    bool same = text_equal(c->text, old->text) && c->rank == old->rank && c->order == old->order;
    /* The class of a "from" is that of its fragment's pieces, of which some are replaced already. */
    bool is_from_of_refused = item->kind == CONTRIBUTION_SECTION_FROM && item->section->refused_pieces;
    bool same_place = fragment_compare(before, now) == 0 && !is_from_of_refused &&
                      candidate_class(item, before, old) == candidate_class(item, now, c);

    item->replacing = NULL;
    old->item = NULL;
    contribution_share_text(c, old->text);
    if (!same && item->candidate_count > 1)
        item_mark_contested(m, item);
    candidate_place(item, old->slot, (struct candidate){now, c});
    if (!same_place)
        candidate_sift(item, c->slot);
    if (item->accepted_by == before && text_equal(item->accepted, c->text)) {
        fragment_ref(now);
        fragment_unref(item->accepted_by);
        item->accepted_by = now;
    }
    if (same && same_place) {
        if (item->winner == before)
            item->winner = now;
    } else {
        item_settle(m, item);
    }
}

void record_activate(struct model *m, struct record *r, struct fragment *now)
{
    struct fragment *before = r->active;
    if (before == now)
        return;
    record_settle(m, r);
    for (size_t i = 0; before && i < before->count; i++)
        if (before->items[i].item)
            before->items[i].item->replacing = &before->items[i];
    r->active = fragment_ref(now);
    for (size_t i = 0; now && i < now->count; i++) {
        struct contribution *c = &now->items[i];
        if (!kind_is_output(c->kind))
            continue;
        struct item *item = item_get(m, c->kind, c->scope, c->key);
        c->item = item;
        if (item->replacing) {
            contribution_replace(m, item, now, c);
            continue;
        }
        contribution_share_text(c, item->rendered);
        contribution_share_text(c, item->accepted);
        candidate_add(m, item, now, c);
        if (item->candidates[0].contribution == c)
            item_settle(m, item);
    }
    for (size_t i = 0; before && i < before->count; i++) {
        struct contribution *c = &before->items[i];
        struct item *item = c->item;
        if (!item)
            continue;
        if (item->replacing == c)
            item->replacing = NULL;
        candidate_remove(m, item, c);
        if (item->winner == before)
            item_settle(m, item);
    }
    record_settle(m, r);
    if (before)
        before->stale = false; /* in case it becomes active again */
    fragment_unref(before);
}

void record_set_good(struct model *m, struct record *r, struct fragment *good)
{
    if (r->good != good) {
        fragment_ref(good);
        fragment_unref(r->good);
        r->good = good;
        record_note_kept(m, r);
    }
    if (r->active == r->good)
        list_remove(&m->unsettled, r, unsettled_slot);
    else
        list_add(&m->unsettled, r, unsettled_slot);
}

static bool is_accepted(const struct contribution *c)
{
    const struct item *item = c->item;
    return !item ||
           (text_equal(c->text, item->accepted) && c->rank == item->accepted_rank && c->order == item->accepted_order);
}

/* True when each contribution of the active version is accepted. */
static bool record_is_accepted(const struct record *r)
{
    for (size_t i = 0; r->active && i < r->active->count; i++)
        if (!is_accepted(&r->active->items[i]))
            return false;
    return r->active != NULL;
}

/* True when each contribution of the active version is accepted, or another fragment's in its place. good alone is not
 * enough: a version that shares items with others becomes good only in this function. */
static bool is_decided(const struct record *r)
{
    for (size_t i = 0; r->active && i < r->active->count; i++) {
        const struct contribution *c = &r->active->items[i];
        if (c->item && c->item->pending && !is_accepted(c))
            return false;
    }
    return r->active != NULL;
}

bool model_is_settled(const struct model *m, const char *fragment_id)
{
    const struct record *r = map_get(&m->records, fragment_id);
    return r && ((r->good && (r->good == r->newest || r->reason)) || (r->active == r->newest && is_decided(r)));
}

void record_settle(struct model *m, struct record *r)
{
    bool accepted = r->active != r->good && !r->pending && record_is_accepted(r);
    record_set_good(m, r, accepted ? r->active : r->good);
}

void record_free(struct record *r)
{
    fragment_unref(r->newest);
    fragment_unref(r->active);
    fragment_unref(r->good);
    fragment_unref(r->checking);
    fragment_unref(r->kept);
    free(r->reason);
    free(r);
}

void record_pardon(struct model *m, struct record *r)
{
    struct item *item = STEAL(r->refused);
    if (item && item->refused_by == r)
        item_refuse(m, item, NULL, NULL);
}

void record_end_quarantine(struct model *m, struct record *r)
{
    if (!r->reason)
        return;
    record_pardon(m, r);
    free(STEAL(r->reason));
    m->quarantined--;
}

void fragment_yield(struct model *m, struct fragment *f)
{
    if (f->stale)
        return;
    f->stale = true;
    for (size_t i = 0; i < f->count; i++) {
        struct item *item = f->items[i].item;
        if (!item)
            continue;
        candidate_sift(item, f->items[i].slot);
        item_settle(m, item);
    }
}
