/* Records of fragments that are gone. One fragment may define a backend, and map entries of another fragment may
 * lead to it. When the other fragment fails or is quarantined, its former output is in force, and leads to a backend
 * that no fragment defines any more. So the record of the gone fragment stays, as it was accepted last. While something
 * rendered leads to its backends, it is a candidate, behind all others. While only something accepted leads there,
 * which will change soon, it is not a candidate.
 *
 * Only fragments stay that define nothing but backends, the sections that these are derived from, and files. They have
 * no map entries, so none leads to itself, and nothing that listens.
 */
#include <string.h>

#include "haproxy/model_state.h"

static bool is_backend(const struct contribution *c)
{
    return (c->kind == CONTRIBUTION_SECTION || c->kind == CONTRIBUTION_SECTION_FROM) &&
           strncmp(c->scope, "backend ", 8) == 0;
}

static bool may_stay(const struct fragment *f)
{
    for (size_t i = 0; i < f->count; i++) {
        const struct contribution *c = &f->items[i];
        bool is_section = c->kind == CONTRIBUTION_SECTION || c->kind == CONTRIBUTION_SECTION_FROM;
        if (c->kind == CONTRIBUTION_GUARD || (c->kind == CONTRIBUTION_MAP_ENTRY && c->key[0]) ||
            (is_section && !is_backend(c) && strncmp(c->scope, "defaults ", 9) != 0))
            return false;
    }
    return true;
}

/* True when the fragment that defines a backend also defines the section that it is derived from. */
static bool is_given_by_others(const struct record *r, const struct section *s)
{
    const struct item *item = s->from ? s->from : s->pieces.length ? s->pieces.items[0] : NULL;
    for (size_t i = 0; item && i < item->candidate_count; i++)
        if (item->candidates[i].fragment != r->active)
            return true;
    return false;
}

/* The number of references to backends that only this version defines. */
static void count_leading(const struct model *m, const struct record *r, const struct fragment *f, size_t *ret_rendered,
                          size_t *ret_accepted)
{
    *ret_rendered = *ret_accepted = 0;
    for (size_t i = 0; i < f->count; i++) {
        const struct contribution *c = &f->items[i];
        const struct section *s = is_backend(c) ? map_get(&m->sections, c->scope) : NULL;
        if (!s || (!s->rendered_references && !s->accepted_references) || is_given_by_others(r, s))
            continue;
        *ret_rendered += s->rendered_references;
        *ret_accepted += s->accepted_references;
    }
}

static void mark(struct model *m, const struct fragment *f, struct record *from, struct record *to)
{
    for (size_t i = 0; i < f->count; i++) {
        struct section *s = is_backend(&f->items[i]) ? map_get(&m->sections, f->items[i].scope) : NULL;
        if (!s || s->left_by != from)
            continue;
        s->left_by = to;
        section_release(m, s);
    }
}

bool gone_begin(struct model *m, struct record *r)
{
    struct fragment *last = r->good ? r->good : r->active;
    size_t rendered, accepted;
    if (r->gone)
        return true;
    if (!last || !may_stay(last))
        return false;
    count_leading(m, r, last, &rendered, &accepted);
    if (!rendered && !accepted)
        return false;
    fragment_ref(last);
    fragment_unref(r->newest);
    r->newest = last;
    r->gone = true;
    guard_note(m, r);
    mark(m, last, NULL, r);
    record_activate(m, r, rendered ? last : NULL);
    if (r->active)
        fragment_yield(m, r->active);
    guard_review(m, r);
    return true;
}

void gone_end(struct model *m, struct record *r)
{
    if (!r->gone)
        return;
    r->gone = false;
    mark(m, r->newest, r, NULL);
    for (size_t i = m->due.length; r->due && i-- > 0;)
        if (m->due.items[i] == r) {
            vec_swap_remove(&m->due, i);
            r->due = false;
        }
}

void record_drop(struct model *m, struct record *r)
{
    CLEANUP(free_ptr) char *id = xstrdup(r->newest->id);
    record_end_quarantine(m, r);
    gone_end(m, r);
    record_activate(m, r, NULL);
    guard_forget(m, r);
    list_remove(&m->unsettled, r, unsettled_slot);
    record_drop_kept(m, r);
    map_del(&m->records, id);
    record_free(r);
}

void model_review_gone(struct model *m)
{
    while (m->due.length) {
        struct record *r = m->due.items[m->due.length - 1];
        size_t rendered, accepted;
        m->due.length--;
        r->due = false;
        count_leading(m, r, r->newest, &rendered, &accepted);
        if (!rendered && !accepted) {
            record_drop(m, r);
        } else if (!rendered && r->active) {
            record_activate(m, r, NULL);
        } else if (rendered && !r->active && !r->reason) {
            record_activate(m, r, r->newest);
            fragment_yield(m, r->active);
        }
    }
}
