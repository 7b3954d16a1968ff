/* Every item has its candidates in a binary heap, and each contribution knows its place there. So replacing a fragment
 * costs its own size, even where ten thousand fragments emit the same profile. item_settle() is the only place where
 * the rendered text of an item changes; it also updates the digest, the pending list and the reference counts of
 * sections. The accepted text changes in model_accept.c.
 */
#include <assert.h>
#include <string.h>

#include "base/alloc.h"
#include "haproxy/model_state.h"

void item_mark_contested(struct model *m, struct item *item)
{
    if (item->key[0] || item->kind != CONTRIBUTION_MAP_ENTRY) /* many fragments may declare a map */
        list_add(&m->contested, item, contested_slot);
}

/* Frees what became empty before the present call. */
void model_reap(struct model *m)
{
    if (m->check_running || m->on_accepted)
        return;
    for (size_t i = m->idle.length; i-- > 0;) {
        struct item *item = m->idle.items[i];
        if (item_is_idle(item))
            item_free(m, item);
        else if (item->candidate_count || item->accepted)
            list_remove(&m->idle, item, idle_slot);
    }
}

struct digest item_digest(const struct item *item, const struct text *text, int32_t rank, int32_t order)
{
    struct {
        int32_t kind, rank, order;
    } numbers = {(int32_t)item->kind, rank, order};
    const char *parts[] = {(const char *)&numbers, item->scope, item->key, (const char *)&text->digest};
    size_t lengths[] = {sizeof(numbers), strlen(item->scope), strlen(item->key), sizeof(text->digest)};
    return digest_of_parts(ARRAY_LEN(parts), parts, lengths);
}

static void item_charge(struct item *item, struct record *r)
{
    if (item->charged == r)
        return;
    if (item->charged)
        item->charged->pending--;
    item->charged = r;
    if (r)
        r->pending++;
}

void item_update_pending(struct model *m, struct item *item)
{
    item_set_pending(
        item, !text_equal(item->rendered, item->accepted) ||
                  (item->rendered && (item->rank != item->accepted_rank || item->order != item->accepted_order)));
    struct record *r = NULL;
    if (item->pending) {
        list_add(&m->pending, item, pending_slot);
        if (item->winner)
            r = map_get(&m->records, item->winner->id);
    } else {
        list_remove(&m->pending, item, pending_slot);
        item_set_wanted(item, false);
    }
    item_charge(item, r);
    if (item_is_idle(item))
        list_add(&m->idle, item, idle_slot);
}

/* Counts what the new rendered text leads to. */
static void count_references(struct model *m, const struct item *item, const struct text *text)
{
    if (!item_refers(item))
        return;
    struct section *to = section_find(m, item->kind, text, true);
    if (to && to->rendered_references++ == 0)
        gone_note(m, to);
    struct section *from = section_find(m, item->kind, item->rendered, false);
    if (from && --from->rendered_references == 0) {
        gone_note(m, from);
        section_release(m, from);
    }
}

/* Sets the rendered text from the candidates. */
void item_settle(struct model *m, struct item *item)
{
    struct contribution *c = item->candidate_count ? item->candidates[0].contribution : NULL;
    item->winner = item->candidate_count ? item->candidates[0].fragment : NULL;
    struct text *text = c ? guard_text(m, item, c->text) : NULL;
    int32_t rank = c ? c->rank : 0, order = c ? c->order : 0;

    if (item->contested || (item->candidate_count > 1 && !text_equal(text, item->rendered)))
        item_mark_contested(m, item);
    if (!text_equal(text, item->rendered) || rank != item->rank || order != item->order) {
        if (item->rendered)
            m->rendered_digest = digest_sub(m->rendered_digest,
                                            item_digest(item, item->rendered, item->rank, item->order));
        if (text)
            m->rendered_digest = digest_add(m->rendered_digest, item_digest(item, text, rank, order));
        item_set_wanted(item, false);
    }
    if (item->kind == CONTRIBUTION_SECTION && !text != !item->rendered)
        item->section->rendered_pieces += text ? 1 : (uint32_t)-1;
    if (!text_equal(text, item->rendered))
        count_references(m, item, text);
    text_ref(text);
    text_unref(item->rendered);
    item->rendered = text;
    item->rank = rank;
    item->order = order;
    item_update_pending(m, item);
}

/* ---- the heap of candidates ---- */

/* True when the fragment emits a text that is refused in this section. Then the fragment's "from" loses its rank as
 * well. */
static bool emits_refused(const struct fragment *f, const struct section *s)
{
    for (size_t i = 0; i < f->count; i++) {
        const struct contribution *c = &f->items[i];
        if (c->kind == CONTRIBUTION_SECTION && c->item && c->item->section == s && c->item->refused &&
            text_equal(c->text, c->item->refused))
            return true;
    }
    return false;
}

/* Several objects may give one section the same content. Then the last output of a failing object must not hold back
 * the present output of the others, unless the failure was about this content. A key of a map or the name of a file has
 * one owner, which does not lose it by failing. */
int candidate_class(const struct item *item, const struct fragment *f, const struct contribution *c)
{
    if (!item_is_shareable(item))
        return 0;
    if (f->stale)
        return 1;
    if (item->kind == CONTRIBUTION_SECTION_FROM)
        return item->section->refused_pieces && emits_refused(f, item->section) ? 2 : 0;
    return item->refused && text_equal(c->text, item->refused) ? 2 : 0;
}

static bool candidate_before(const struct item *item, const struct candidate *a, const struct candidate *b)
{
    int class_a = candidate_class(item, a->fragment, a->contribution);
    int class_b = candidate_class(item, b->fragment, b->contribution);
    if (class_a != class_b)
        return class_a < class_b;
    int order = fragment_compare(a->fragment, b->fragment);
    return order ? order < 0 : a->contribution < b->contribution;
}

void candidate_place(struct item *item, size_t at, struct candidate c)
{
    item->candidates[at] = c;
    c.contribution->slot = at;
}

/* Moves the candidate at a place up or down until the heap is in order. */
void candidate_sift(struct item *item, size_t at)
{
    struct candidate c = item->candidates[at];
    while (at > 0 && candidate_before(item, &c, &item->candidates[(at - 1) / 2])) {
        candidate_place(item, at, item->candidates[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= item->candidate_count)
            break;
        if (child + 1 < item->candidate_count &&
            candidate_before(item, &item->candidates[child + 1], &item->candidates[child]))
            child++;
        if (!candidate_before(item, &item->candidates[child], &c))
            break;
        candidate_place(item, at, item->candidates[child]);
        at = child;
    }
    candidate_place(item, at, c);
}

static void candidates_sort_again(struct model *m, struct item *item)
{
    size_t count = item->candidate_count;
    for (size_t at = 0; at < count; at++) {
        item->candidate_count = (uint32_t)at + 1;
        candidate_sift(item, at);
    }
    item_settle(m, item);
}

void item_refuse(struct model *m, struct item *item, struct text *text, struct record *by)
{
    if (item->kind == CONTRIBUTION_SECTION && !text != !item->refused)
        item->section->refused_pieces += text ? 1 : (uint32_t)-1;
    text_ref(text);
    text_unref(item->refused);
    item->refused = text;
    item->refused_by = by;
    candidates_sort_again(m, item);
    if (item->kind == CONTRIBUTION_SECTION && item->section->from)
        candidates_sort_again(m, item->section->from);
}

void candidate_add(struct model *m, struct item *item, struct fragment *f, struct contribution *c)
{
    if (item->candidate_count == item->candidate_capacity) {
        item->candidate_capacity = item->candidate_capacity ? item->candidate_capacity * 2 : 1;
        item->candidates = xreallocarray(item->candidates, item->candidate_capacity, sizeof(*item->candidates));
    }
    size_t at = item->candidate_count++;
    item->candidates[at] = (struct candidate){f, c};
    candidate_sift(item, at);
    if (item->section)
        gone_note(m, item->section);
    if (item->contested || (item->rendered && !text_equal(c->text, item->rendered)))
        item_mark_contested(m, item);
}

void candidate_remove(struct model *m, struct item *item, struct contribution *c)
{
    size_t at = c->slot, last = --item->candidate_count;
    assert(item->candidates[at].contribution == c);
    if (item->contested)
        item_mark_contested(m, item);
    if (at != last) {
        candidate_place(item, at, item->candidates[last]);
        candidate_sift(item, at);
    }
    c->item = NULL;
}
