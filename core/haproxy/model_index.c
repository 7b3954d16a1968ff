/* Sections, groups and items by name. Each is created when it is first named, and freed when it is empty. Other files
 * of the model change the content of an item; this file manages its place. */
#include <assert.h>
#include <string.h>

#include "base/alloc.h"
#include "haproxy/model_state.h"

static struct section *section_get(struct model *m, const char *name, size_t length)
{
    struct section *s = map_getn(&m->sections, name, length);
    if (s)
        return s;
    s = xcalloc(1, sizeof(*s) + length + 1);
    memcpy(s->storage, name, length);
    s->name = s->storage;
    map_putn(&m->sections, s->name, length, s);
    return s;
}

void section_release(struct model *m, struct section *s)
{
    if (m->on_accepted) {
        if (!s->held)
            vec_push(&m->held, s);
        s->held = true;
        return;
    }
    if (s->from || s->pieces.length || s->accepted_references || s->rendered_references || s->waiting.length ||
        s->left_by)
        return;
    map_del(&m->sections, s->name);
    vec_done(&s->pieces);
    vec_done(&s->waiting);
    free(s);
}

void model_hold_parts(struct model *m, void (*fn)(void *ctx, struct item *item), void *ctx)
{
    assert(!m->on_accepted);
    m->on_accepted = fn;
    m->on_accepted_ctx = ctx;
}

bool model_parts_are_held(const struct model *m)
{
    return m->on_accepted != NULL;
}

void model_release_parts(struct model *m)
{
    m->on_accepted = NULL;
    for (size_t i = 0; i < m->held.length; i++) {
        m->held.items[i]->held = false;
        section_release(m, m->held.items[i]);
    }
    vec_clear(&m->held);
}

bool section_is_known(const struct section *s)
{
    return s && (s->from || s->pieces.length);
}

size_t model_backend_length(const char *value, size_t length)
{
    const char *at = memchr(value, '@', length);
    return at ? (size_t)(at - value) : length;
}

struct section *section_find(struct model *m, enum contribution_kind kind, const struct text *text, bool create)
{
    const char *type = kind == CONTRIBUTION_MAP_ENTRY      ? "backend "
                       : kind == CONTRIBUTION_SECTION_FROM ? "defaults "
                                                           : NULL;
    if (!type || !text || !text->length)
        return NULL;
    size_t length = kind == CONTRIBUTION_MAP_ENTRY ? model_backend_length(text->bytes, text->length) : text->length;
    buf_clear(&m->scratch);
    buf_puts(&m->scratch, type);
    buf_add(&m->scratch, text->bytes, length);
    if (create)
        return section_get(m, m->scratch.data, m->scratch.length);
    return map_getn(&m->sections, m->scratch.data, m->scratch.length);
}

struct section *section_referred(struct model *m, enum contribution_kind kind, const struct text *text)
{
    return section_find(m, kind, text, false);
}

bool kind_is_output(enum contribution_kind kind)
{
    return kind != CONTRIBUTION_STATUS && kind != CONTRIBUTION_EVENT && kind != CONTRIBUTION_WARNING &&
           !contribution_is_note(kind);
}

static size_t item_name(struct buf *b, enum contribution_kind kind, const char *scope, const char *key)
{
    buf_clear(b);
    buf_putc(b, (char)kind);
    buf_add(b, scope, strlen(scope) + 1);
    buf_add(b, key, strlen(key));
    return b->length;
}

struct item *item_find(const struct model *m, enum contribution_kind kind, const char *scope, const char *key)
{
    struct buf *b = &((struct model *)(uintptr_t)m)->scratch;
    size_t length = item_name(b, kind, scope, key);
    return map_getn(&m->items, b->data, length);
}

static void item_join_group(struct model *m, struct item *item)
{
    if (item->kind == CONTRIBUTION_SECTION || item->kind == CONTRIBUTION_SECTION_FROM) {
        item->section = section_get(m, item->scope, strlen(item->scope));
        if (item->kind == CONTRIBUTION_SECTION_FROM)
            item->section->from = item;
        else
            list_add(&item->section->pieces, item, group_slot);
        return;
    }
    size_t length = 1 + strlen(item->scope);
    struct group *g = map_getn(&m->groups, item->name, length);
    if (!g) {
        g = xcalloc(1, sizeof(*g) + length + 1);
        g->kind = item->kind;
        memcpy(g->name, item->name, length);
        map_putn(&m->groups, g->name, length, g);
    }
    item->group = g;
    list_add(&g->items, item, group_slot);
}

struct item *item_get(struct model *m, enum contribution_kind kind, const char *scope, const char *key)
{
    struct item *item = item_find(m, kind, scope, key);
    if (item)
        return item;
    size_t scope_length = strlen(scope), length = m->scratch.length;
    item = xcalloc(1, sizeof(*item) + length + 1);
    memcpy(item->name, m->scratch.data, length);
    item->kind = kind;
    item->scope = item->name + 1;
    item->key = item->scope + scope_length + 1;
    item->pending_slot = item->changed_slot = item->group_slot = item->idle_slot = item->waiting_slot =
        item->contested_slot = NOWHERE;
    map_putn(&m->items, item->name, length, item);
    item_join_group(m, item);
    return item;
}

void item_wait_for(struct item *item, struct section *s)
{
    if (item->waiting_for)
        list_remove(&item->waiting_for->waiting, item, waiting_slot);
    item->waiting_for = s;
    if (s)
        list_add(&s->waiting, item, waiting_slot);
}

void item_set_wanted(struct item *item, bool wanted)
{
    if (!wanted)
        item_wait_for(item, NULL);
    if (item->wanted == wanted)
        return;
    item->wanted = wanted;
    if (item->kind == CONTRIBUTION_SECTION)
        item->section->wanted_pieces += wanted ? 1 : (uint32_t)-1;
}

void item_set_pending(struct item *item, bool pending)
{
    if (item->pending == pending)
        return;
    item->pending = pending;
    if (item->kind == CONTRIBUTION_SECTION)
        item->section->pending_pieces += pending ? 1 : (uint32_t)-1;
}

void item_free(struct model *m, struct item *item)
{
    struct section *waited_for = item->waiting_for;
    item_set_wanted(item, false);
    item_set_pending(item, false);
    if (waited_for)
        section_release(m, waited_for);
    list_remove(&m->idle, item, idle_slot);
    list_remove(&m->changed, item, changed_slot);
    list_remove(&m->pending, item, pending_slot);
    list_remove(&m->contested, item, contested_slot);
    if (item->group) {
        struct group *g = item->group;
        list_remove(&g->items, item, group_slot);
        if (!g->items.length) {
            map_deln(&m->groups, g->name, 1 + strlen(g->name + 1));
            vec_done(&g->items);
            free(g);
        }
    } else {
        if (item->kind == CONTRIBUTION_SECTION_FROM)
            item->section->from = NULL;
        else
            list_remove(&item->section->pieces, item, group_slot);
        section_release(m, item->section);
    }
    map_deln(&m->items, item->name, (size_t)(item->key - item->name) + strlen(item->key));
    text_unref(item->rendered);
    text_unref(item->accepted);
    text_unref(item->checking);
    text_unref(item->refused);
    fragment_unref(item->accepted_by);
    fragment_unref(item->checking_by);
    free(item->candidates);
    free(item);
}

bool item_is_idle(const struct item *item)
{
    return !item->candidate_count && !item->accepted && !item->changed && !item->in_check && !item->refused &&
           item->contested_slot == NOWHERE;
}

void gone_note(struct model *m, const struct section *s)
{
    struct record *r = s->left_by;
    if (!r || r->due)
        return;
    r->due = true;
    vec_push(&m->due, r);
}
