/* Routes and what protects them. Records are grouped by object from the first guard on. A change of one record concerns
 * only routes of the same object, so its cost is proportional to the output of that object. This file decides what is
 * allowed; model_review.c changes the items.
 */
#include <string.h>

#include "base/alloc.h"
#include "haproxy/model_state.h"
#include "haproxy/route_text.h"

/* ---- objects ---- */

static struct owner *owner_find(struct model *m, const struct fragment *f)
{
    buf_clear(&m->scratch);
    buf_add(&m->scratch, f->owner_kind, strlen(f->owner_kind) + 1);
    buf_puts(&m->scratch, f->owner_id);
    return map_getn(&m->owners, m->scratch.data, m->scratch.length);
}

static struct owner *owner_get(struct model *m, const struct fragment *f)
{
    struct owner *o = owner_find(m, f);
    if (o)
        return o;
    o = xcalloc(1, sizeof(*o) + m->scratch.length + 1);
    memcpy(o->key, m->scratch.data, m->scratch.length);
    o->key_length = m->scratch.length;
    map_putn(&m->owners, o->key, o->key_length, o);
    return o;
}

static void owner_join(struct model *m, struct record *r)
{
    if (r->owner || !*r->newest->owner_id)
        return;
    r->owner = owner_get(m, r->newest);
    r->owner_slot = r->owner->records.length;
    vec_push(&r->owner->records, r);
}

static void begin_gathering(struct model *m)
{
    struct map_slot *slot;
    map_init(&m->owners, true);
    m->has_guards = true;
    for (size_t it = 0; (slot = map_next(&m->records, &it));)
        owner_join(m, slot->value);
}

/* The object of a fragment, if something of the object is guarded. */
static const struct owner *owner_of(const struct model *m, const struct fragment *f)
{
    if (!m->has_guards || !f || !*f->owner_id)
        return NULL;
    const struct owner *o = owner_find((struct model *)(uintptr_t)m, f);
    return o && o->guards.length ? o : NULL;
}

void owner_release(struct model *m, struct owner *o)
{
    if (o->records.length || o->open_routes)
        return;
    map_deln(&m->owners, o->key, o->key_length);
    vec_done(&o->records);
    vec_done(&o->guards);
    free(o);
}

bool guard_is_line_route(const struct item *item, const struct text *text)
{
    const char *at = text ? text->bytes : "", *name;
    size_t length;
    return item->kind == CONTRIBUTION_SECTION && text &&
           (strncmp(item->scope, "frontend ", 9) == 0 || strncmp(item->scope, "listen ", 7) == 0) &&
           route_text_next(&at, &name, &length);
}

bool guard_is_of_routes(const struct item *item)
{
    return item->kind == CONTRIBUTION_MAP_ENTRY || item->kind == CONTRIBUTION_SECTION;
}

static bool is_route(const struct model *m, const struct item *item, const struct text *text)
{
    struct model *scratch = (struct model *)(uintptr_t)m;
    return item->kind == CONTRIBUTION_MAP_ENTRY && item_refers(item) && text &&
           section_is_known(section_referred(scratch, item->kind, text));
}

static void guards_remove(struct owner *o, const struct record *by)
{
    size_t kept = 0;
    for (size_t i = 0; i < o->guards.length; i++) {
        struct guard *g = &o->guards.items[i];
        if (g->by != by) {
            o->guards.items[kept++] = *g;
            continue;
        }
        free(g->guardian);
        text_unref(g->closed);
    }
    o->guards.length = kept;
}

static bool is_closed(const struct owner *o, const struct text *text)
{
    for (size_t i = 0; i < o->guards.length; i++)
        if (text_equal(o->guards.items[i].closed, text))
            return true;
    return false;
}

/* True when all lines lead to the place of closed routes. */
static bool lines_are_closed(const struct owner *o, const struct text *text)
{
    const char *at = text->bytes, *name;
    size_t length;
    while (route_text_next(&at, &name, &length)) {
        bool closed = false;
        for (size_t i = 0; i < o->guards.length && !closed; i++)
            closed = o->guards.items[i].closed->length == length &&
                     memcmp(o->guards.items[i].closed->bytes, name, length) == 0;
        if (!closed)
            return false;
    }
    return true;
}

static bool is_guardian(const struct owner *o, const char *fragment_id)
{
    for (size_t i = 0; i < o->guards.length; i++)
        if (strcmp(o->guards.items[i].guardian, fragment_id) == 0)
            return true;
    return false;
}

void guard_note_accepted(struct model *m, struct item *item)
{
    if (!m->has_guards || !guard_is_of_routes(item))
        return;
    struct owner *before = item->open_for, *o = (struct owner *)(uintptr_t)owner_of(m, item->accepted_by);
    bool is_open = o && !is_guardian(o, item->accepted_by->id) &&
                   (item->kind == CONTRIBUTION_MAP_ENTRY
                        ? is_route(m, item, item->accepted) && !is_closed(o, item->accepted)
                        : guard_is_line_route(item, item->accepted) && !lines_are_closed(o, item->accepted));
    item->open_for = is_open ? o : NULL;
    if (item->open_for)
        item->open_for->open_routes++;
    if (before) {
        before->open_routes--;
        owner_release(m, before);
    }
}

/* Counts the accepted output of an object when its first guard is added. */
static void note_routes(struct model *m, struct owner *o)
{
    for (size_t i = 0; i < o->records.length; i++) {
        const struct fragment *f = o->records.items[i]->active;
        for (size_t k = 0; f && k < f->count; k++)
            if (f->items[k].item)
                guard_note_accepted(m, f->items[k].item);
    }
}

void guard_note(struct model *m, struct record *r)
{
    const struct fragment *f = r->newest;
    bool had_guards = false;
    if (m->has_guards) {
        owner_join(m, r);
        had_guards = r->owner && r->owner->guards.length;
        if (r->owner)
            guards_remove(r->owner, r);
    }
    for (size_t i = 0; i < f->count; i++) {
        const struct contribution *c = &f->items[i];
        if (c->kind != CONTRIBUTION_GUARD)
            continue;
        if (!m->has_guards)
            begin_gathering(m);
        if (r->owner)
            vec_push(&r->owner->guards, ((struct guard){r, xstrdup(c->key), text_ref(c->text)}));
    }
    if (!had_guards && r->owner && r->owner->guards.length)
        note_routes(m, r->owner);
}

struct owner *guard_leave(struct record *r)
{
    struct owner *o = STEAL(r->owner);
    if (!o)
        return NULL;
    guards_remove(o, r);
    struct record *last = o->records.items[o->records.length - 1];
    o->records.items[r->owner_slot] = last;
    last->owner_slot = r->owner_slot;
    o->records.length--;
    return o;
}

/* ---- routes ---- */

/* True when all output of this version is accepted. Where an older object has the same key, the older object's output
 * counts. */
static bool is_in_force(const struct model *m, const struct fragment *f)
{
    for (size_t i = 0; f && i < f->count; i++) {
        const struct contribution *c = &f->items[i];
        if (!kind_is_output(c->kind))
            continue;
        const struct item *item = item_find(m, c->kind, c->scope, c->key);
        if (!item || !item->accepted)
            return false;
        bool is_its = !item->winner || strcmp(item->winner->id, f->id) == 0;
        if (is_its && !text_equal(item->accepted, c->text) && !is_route(m, item, c->text))
            return false;
    }
    return f != NULL;
}

/* Lines of a frontend go live by a reload, together with what protects them. So they open one check later: when all
 * output of the protecting fragments is accepted. */
static bool lines_may_open(const struct model *m, const struct owner *o, const struct item *item,
                           const struct text *text)
{
    if (o->level != GUARD_CLOSED && text_equal(item->accepted, text))
        return true;
    for (size_t i = 0; i < o->guards.length; i++) {
        const struct record *r = map_get(&m->records, o->guards.items[i].guardian);
        if (!r || !r->active || r->pending || !is_in_force(m, r->active))
            return false;
    }
    return o->level == GUARD_OPEN;
}

static struct text *line_text(struct model *m, const struct item *item, struct text *text)
{
    const struct owner *o = owner_of(m, item->winner);
    if (!o || is_guardian(o, item->winner->id) || lines_may_open(m, o, item, text))
        return text;
    CLEANUP(buf_done) struct buf closed = {0};
    route_text_close(text->bytes, o->guards.items[0].closed->bytes, &closed);
    text_unref(m->closed);
    m->closed = text_new(buf_str(&closed), closed.length);
    return m->closed;
}

struct text *guard_text(const struct model *m, const struct item *item, struct text *text)
{
    if (m->has_guards && guard_is_line_route(item, text))
        return line_text((struct model *)(uintptr_t)m, item, text);
    if (!m->closed_owners || !is_route(m, item, text))
        return text;
    const struct owner *o = owner_of(m, item->winner);
    if (!o || o->level == GUARD_OPEN || (o->level == GUARD_HELD && text_equal(item->accepted, text)))
        return text;
    return o->guards.items[0].closed;
}

/* The object that owns the route. */
static const struct fragment *emitter_of(const struct item *item, bool checked)
{
    return checked ? item->checking_by : item->winner;
}

bool guard_protects(const struct model *m, const struct item *item, bool checked)
{
    const struct fragment *f = emitter_of(item, checked);
    const struct owner *o = item->kind == CONTRIBUTION_MAP_ENTRY ? owner_of(m, f) : NULL;
    return o && !is_guardian(o, f->id);
}

bool model_is_guarded(const struct model *m, const struct item *item)
{
    const struct owner *o = item->kind == CONTRIBUTION_MAP_ENTRY ? owner_of(m, item->accepted_by) : NULL;
    return item->guarded || (o && is_route(m, item, item->accepted) && !is_closed(o, item->accepted));
}

static bool owner_is_ready(const struct model *m, struct owner *o)
{
    for (size_t i = 0; i < o->guards.length; i++) {
        const struct record *r = map_get(&m->records, o->guards.items[i].guardian);
        if (!r || !is_in_force(m, r->checking ? r->checking : r->active))
            return false;
    }
    return true;
}

static bool protects(const struct fragment *f)
{
    for (size_t i = 0; f && i < f->count; i++)
        if (f->items[i].kind == CONTRIBUTION_GUARD && strcmp(f->items[i].key, f->id) == 0)
            return true;
    return false;
}

/* True when all output of the present version of a protecting fragment is accepted, or will be in the same step. */
static bool is_replaced(const struct model *m, const char *guardian)
{
    const struct record *r = map_get(&m->records, guardian);
    if (!r || !r->active)
        return false;
    return !r->pending || (m->check_ending && is_in_force(m, r->checking ? r->checking : r->active));
}

bool guard_releases(const struct model *m, const struct item *item)
{
    if (!m->has_guards || !item->accepted || !protects(item->accepted_by))
        return true;
    const struct owner *o = owner_find((struct model *)(uintptr_t)m, item->accepted_by);
    if (!o || !o->open_routes)
        return true;
    if (is_guardian(o, item->accepted_by->id))
        return is_replaced(m, item->accepted_by->id) && o->level != GUARD_CLOSED;
    /* The item no longer has to protect the routes: it goes after its replacements are accepted. */
    for (size_t i = 0; i < o->guards.length; i++)
        if (!is_replaced(m, o->guards.items[i].guardian))
            return false;
    return true;
}

bool guard_allows(struct model *m, const struct item *item, bool checked)
{
    const struct text *text = checked ? item->checking : item->rendered;
    if (!m->has_guards)
        return true;
    if (!text && !guard_releases(m, item))
        return false;
    if (!guard_protects(m, item, checked) || !is_route(m, item, text) || text_equal(text, item->accepted))
        return true;
    struct owner *o = (struct owner *)(uintptr_t)owner_of(m, emitter_of(item, checked));
    if (is_closed(o, text))
        return true;
    if (checked && o->asked != m->checks_ended) {
        o->asked = m->checks_ended;
        o->ready = owner_is_ready(m, o);
    }
    if (checked)
        return o->ready;
    for (size_t i = 0; i < o->guards.length; i++) {
        const struct record *r = map_get(&m->records, o->guards.items[i].guardian);
        if (!r || !r->active || r->pending)
            return false;
    }
    return true;
}
