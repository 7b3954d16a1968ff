/* The routes of an object depend on what protects them: when another version of the protection is in use, each route is
 * settled again. */
#include "haproxy/model_state.h"

static enum guard_level owner_level(const struct model *m, const struct owner *o)
{
    enum guard_level level = GUARD_OPEN;
    for (size_t i = 0; i < o->guards.length; i++) {
        const struct record *r = map_get(&m->records, o->guards.items[i].guardian);
        if (!r || !r->active)
            return GUARD_CLOSED;
        if (r->active != r->newest || r->active->stale)
            level = GUARD_HELD;
    }
    return level;
}

static void owner_review(struct model *m, struct owner *o)
{
    enum guard_level before = o->level;
    o->level = owner_level(m, o);
    m->closed_owners += (size_t)(o->level != GUARD_OPEN);
    m->closed_owners -= (size_t)(before != GUARD_OPEN);
    if (o->level == GUARD_OPEN && before == GUARD_OPEN)
        return;
    for (size_t i = 0; i < o->records.length; i++) {
        const struct fragment *f = o->records.items[i]->active;
        for (size_t k = 0; f && k < f->count; k++)
            if (f->items[k].item && guard_is_of_routes(f->items[k].item) &&
                (f->items[k].kind == CONTRIBUTION_MAP_ENTRY || guard_is_line_route(f->items[k].item, f->items[k].text)))
                item_settle(m, f->items[k].item);
    }
}

void guard_review(struct model *m, const struct record *r)
{
    if (r->owner && (r->owner->guards.length || r->owner->level != GUARD_OPEN))
        owner_review(m, r->owner);
}

void guard_forget(struct model *m, struct record *r)
{
    struct owner *o = guard_leave(r);
    if (!o)
        return;
    owner_review(m, o);
    owner_release(m, o);
}
