/* From rendered to accepted. A *unit* is what has to be accepted together: a section whose "from" changes with all its
 * pending pieces, or one item. A unit is accepted as a whole or waits as a whole.
 *
 * After a successful check, the rendering as a whole is correct. Only output that was accepted during the check can
 * block a unit. Sections come first, each after the section that it is derived from; then the routes; then the sections
 * that go.
 */
#include <string.h>

#include "base/alloc.h"
#include "haproxy/model_state.h"

struct unit {
    VEC(struct item *) items; /* "from" first */
};

/* ---- what blocks a unit ---- */

/* The section that this text refers to, if it is rendered but not accepted. */
static struct section *reference_missing(struct model *m, const struct item *item, const struct text *text)
{
    struct section *s = item_refers(item) ? section_referred(m, item->kind, text) : NULL;
    return s && s->rendered_pieces && !s->accepted_pieces ? s : NULL;
}

/* True when a section would lose its last piece, or one of several pieces that all go, while accepted output refers to
 * it. After a check, only if the section is rendered again. */
static bool section_is_needed(const struct section *s, size_t going, bool checked)
{
    if (!going || !s->accepted_references)
        return false;
    return s->rendered_pieces ? s->accepted_pieces == going : !checked;
}

/* The section that blocks the unit in this state; NULL: none. */
static struct section *unit_blocked_by(struct model *m, const struct unit *u, enum model_state state, bool checked)
{
    size_t going = 0, coming = 0;
    struct section *s = u->items.items[0]->section;
    for (size_t i = 0; i < u->items.length; i++) {
        const struct item *item = u->items.items[i];
        struct section *missing = reference_missing(m, item, item_text(item, state));
        if (missing)
            return missing;
        going += item->kind == CONTRIBUTION_SECTION && item->accepted && !item_text(item, state);
        coming += item->kind == CONTRIBUTION_SECTION && !item->accepted && item_text(item, state);
    }
    return s && !coming && section_is_needed(s, going, checked) ? s : NULL;
}

/* ---- one item ---- */

/* Looks again at the items that wait for this section. */
static void section_retry_waiting(struct model *m, struct section *s)
{
    VEC(struct item *) waiting = {0};
    for (size_t i = 0; i < s->waiting.length; i++)
        vec_push(&waiting, s->waiting.items[i]);
    for (size_t i = 0; i < waiting.length; i++)
        item_wait_for(waiting.items[i], NULL); /* all of them are looked at again */
    for (size_t i = 0; i < waiting.length; i++)
        item_try_accept(m, waiting.items[i]);
    vec_done(&waiting);
}

/* The only place where the accepted text of an item changes. It also updates the digest, the list of changes and the
 * reference counts of sections. */
void item_set_accepted(struct model *m, struct item *item, struct text *text, int32_t rank, int32_t order,
                       struct fragment *by)
{
    struct text *old = item->accepted;
    struct section *released = NULL, *appeared = NULL;

    if (item->section && m->check_running && !m->check_ending && !item->section->disturbed) {
        item->section->disturbed = true;
        vec_push(&m->disturbed, item->section);
    }

    if (old)
        m->accepted_digest = digest_sub(m->accepted_digest,
                                        item_digest(item, old, item->accepted_rank, item->accepted_order));
    if (text)
        m->accepted_digest = digest_add(m->accepted_digest, item_digest(item, text, rank, order));
    if (item->kind == CONTRIBUTION_SECTION && !old != !text) {
        item->section->accepted_pieces += text ? 1 : (uint32_t)-1;
        if (text && item->section->accepted_pieces == 1)
            appeared = item->section;
    }
    struct section *to = item_refers(item) ? section_find(m, item->kind, text, true) : NULL;
    if (to)
        to->accepted_references++;
    struct section *from = item_refers(item) ? section_referred(m, item->kind, old) : NULL;
    if (from && --from->accepted_references == 0)
        released = from;

    item->accepted = text_ref(text);
    text_unref(old);
    item->accepted_rank = rank;
    item->accepted_order = order;
    fragment_ref(by);
    fragment_unref(item->accepted_by);
    item->accepted_by = by;
    guard_note_accepted(m, item);
    if (item->in_check) {
        item->in_check = false;
        item->checking = text_unref(item->checking);
        item->checking_by = fragment_unref(item->checking_by);
    }
    item->changed = true;
    list_add(&m->changed, item, changed_slot);
    if (m->on_accepted)
        m->on_accepted(m->on_accepted_ctx, item);
    struct record *charged = item->charged;
    item_update_pending(m, item);
    if (charged)
        vec_push(&m->settling, charged);

    if (appeared)
        section_retry_waiting(m, appeared);
    if (released) {
        gone_note(m, released);
        section_retry_waiting(m, released);
        section_release(m, released);
    }
}

/* ---- without a check ---- */

/* The items that have to be accepted together with this one. False while one of them is not wanted. */
static bool unit_of(struct item *item, struct unit *ret_unit)
{
    struct section *s = item->section;
    struct item *from = s ? s->from : NULL;
    if (!from || !from->pending) {
        vec_push(&ret_unit->items, item);
        return true;
    }
    if (!from->wanted || s->wanted_pieces != s->pending_pieces)
        return false;
    vec_push(&ret_unit->items, from);
    for (size_t i = 0; i < s->pieces.length; i++)
        if (s->pieces.items[i]->pending)
            vec_push(&ret_unit->items, s->pieces.items[i]);
    return true;
}

void item_try_accept(struct model *m, struct item *item)
{
    struct unit u = {0};
    if (!item->wanted || !item->pending || !guard_allows(m, item, false))
        return;
    if (unit_of(item, &u) && !u.items.items[0]->waiting_for) {
        struct section *blocker = unit_blocked_by(m, &u, MODEL_RENDERED, false);
        if (blocker)
            item_wait_for(u.items.items[0], blocker);
        for (size_t i = 0; !blocker && i < u.items.length; i++) {
            struct item *member = u.items.items[i];
            if (member->pending)
                item_set_accepted(m, member, member->rendered, member->rank, member->order, member->winner);
        }
    }
    vec_done(&u.items);
}

/* All output of a record is accepted: routes of its object may have waited for this. */
static void open_guarded(struct model *m, const struct record *r)
{
    const struct owner *o = r->owner;
    if (!o || !o->guards.length)
        return;
    for (size_t i = 0; i < o->records.length; i++) {
        const struct fragment *f = o->records.items[i]->active;
        for (size_t k = 0; f && k < f->count; k++)
            if (f->items[k].kind == CONTRIBUTION_MAP_ENTRY && f->items[k].item && f->items[k].item->wanted)
                item_try_accept(m, f->items[k].item);
            else if (f->items[k].item && guard_is_line_route(f->items[k].item, f->items[k].text))
                item_settle(m, f->items[k].item);
    }
}

/* Runs after everything that belongs together is accepted. */
static void settle_records(struct model *m)
{
    while (m->settling.length) {
        struct record *r = m->settling.items[--m->settling.length];
        record_settle(m, r);
        if (!r->pending)
            open_guarded(m, r);
    }
}

void model_accept(struct model *m, struct item *item)
{
    if (!item->pending)
        return;
    item_set_wanted(item, true);
    item_try_accept(m, item);
    settle_records(m);
}

/* ---- after a check ---- */

static void item_take_checked(struct model *m, struct item *item)
{
    bool is_same = item->winner && text_equal(item->checking, item->rendered);
    struct fragment *by = fragment_ref(is_same ? item->winner : item->checking_by);
    struct text *text = text_ref(item->checking);
    item_set_accepted(m, item, text, item->checking_rank, item->checking_order, by);
    text_unref(text);
    fragment_unref(by);
}

/* The item was to go when the check began, and is wanted again now, so it stays. */
static bool is_wanted_again(const struct item *item)
{
    return !item->checking && !item->pending;
}

/* The checked items of a section; false when none of them can be accepted. */
static bool unit_checked(const struct section *s, struct unit *ret_unit)
{
    size_t again = 0, going = 0;
    if (s->disturbed)
        return false;
    if (s->from && s->from->in_check)
        vec_push(&ret_unit->items, s->from);
    for (size_t i = 0; i < s->pieces.length; i++)
        if (s->pieces.items[i]->in_check)
            vec_push(&ret_unit->items, s->pieces.items[i]);
    for (size_t i = 0; i < ret_unit->items.length; i++) {
        again += is_wanted_again(ret_unit->items.items[i]);
        going += !ret_unit->items.items[i]->checking;
    }
    /* False when all of them were to go and some of them are wanted again. */
    return ret_unit->items.length && !(again && going == ret_unit->items.length);
}

static void section_take_checked(struct model *m, struct section *s)
{
    struct unit u = {0};
    if (unit_checked(s, &u) && !unit_blocked_by(m, &u, MODEL_CHECKING, true))
        for (size_t i = 0; i < u.items.length; i++) {
            struct item *item = u.items.items[i];
            if (item->in_check && !is_wanted_again(item) && (item->checking || guard_releases(m, item)))
                item_take_checked(m, item);
        }
    vec_done(&u.items);
}

/* True when something of the section remains. */
static bool section_remains(const struct section *s)
{
    for (size_t i = 0; i < s->pieces.length; i++)
        if (item_text(s->pieces.items[i], MODEL_CHECKING))
            return true;
    return false;
}

/* The sections that were checked, each once; a section follows those that it is derived from. */
static void checked_sections(struct model *m, struct section ***ret_sections, size_t *ret_count)
{
    VEC(struct section *) sorted = {0};
    VEC(struct section *) chain = {0};
    for (size_t i = 0; i < m->checking.length; i++) {
        struct section *s = m->checking.items[i]->section;
        for (; section_is_known(s) && !s->visited;
             s = s->from ? section_referred(m, s->from->kind, item_text(s->from, MODEL_CHECKING)) : NULL) {
            s->visited = true;
            vec_push(&chain, s);
        }
        while (chain.length)
            vec_push(&sorted, chain.items[--chain.length]);
    }
    vec_done(&chain);
    *ret_sections = sorted.items;
    *ret_count = sorted.length;
}

/* Items outside of sections. is_protected: routes that are protected by other items come after those. */
static void routes_take_checked(struct model *m, bool going, bool is_protected)
{
    for (size_t i = 0; i < m->checking.length; i++) {
        struct item *item = m->checking.items[i];
        struct unit u = {0};
        if (item->section || !item->in_check || !item->checking != going || is_wanted_again(item) ||
            (!going && guard_protects(m, item, true) != is_protected) || !guard_allows(m, item, true))
            continue;
        vec_push(&u.items, item);
        if (!unit_blocked_by(m, &u, MODEL_CHECKING, true))
            item_take_checked(m, item);
        vec_done(&u.items);
    }
}

void check_accept(struct model *m)
{
    struct section **sections;
    size_t count;
    m->check_ending = true;
    checked_sections(m, &sections, &count);
    for (size_t i = 0; i < count; i++)
        if (section_remains(sections[i]))
            section_take_checked(m, sections[i]);
    m->checks_ended++;
    routes_take_checked(m, false, false);
    routes_take_checked(m, false, true);
    routes_take_checked(m, true, false);
    routes_take_checked(m, true, false); /* protections of routes that are gone */
    /* Sections that go, and pieces that protected a route until now. */
    for (size_t i = count; i-- > 0;)
        section_take_checked(m, sections[i]);
    for (size_t i = 0; i < count; i++)
        sections[i]->visited = false;
    free(sections);
    settle_records(m);
    m->check_ending = false;
}
