/* Every item has its candidates in a binary heap, and each contribution knows its place there, so that replacing a
 * fragment costs its own size even where ten thousand fragments emit the same profile. item_settle() is the one place
 * where the rendered text of an item changes, item_set_accepted() the one where the accepted text does; the digests,
 * the pending and changed lists and the reference counts of sections follow from there.
 */
#include <assert.h>
#include <string.h>

#include "base/alloc.h"
#include "haproxy/model_state.h"

/* ---- sections and groups ---- */

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

/* The same; create: made when nothing is known of it. */
static struct section *section_find(struct model *m, enum contribution_kind kind, const struct text *text, bool create)
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

static void section_retry_waiting(struct model *m, struct section *s)
{
    VEC(struct item *) waiting = {0};
    for (size_t i = 0; i < s->waiting.length; i++)
        vec_push(&waiting, s->waiting.items[i]);
    for (size_t i = 0; i < waiting.length; i++)
        item_wait_for(waiting.items[i], NULL); /* they are looked at anew */
    for (size_t i = 0; i < waiting.length; i++)
        item_try_accept(m, waiting.items[i]);
    vec_done(&waiting);
}

/* ---- items ---- */

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

static void item_set_pending(struct item *item, bool pending)
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

void item_mark_contested(struct model *m, struct item *item)
{
    if (item->key[0] || item->kind != CONTRIBUTION_MAP_ENTRY) /* maps may be declared by many */
        list_add(&m->contested, item, contested_slot);
}

/* Nothing is left of it but perhaps a pointer in somebody's hands. */
bool item_is_idle(const struct item *item)
{
    return !item->candidate_count && !item->accepted && !item->changed && !item->in_check && !item->refused &&
           item->contested_slot == NOWHERE;
}

/* Free what became idle before the call that changes the model now. */
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

/* The rendered text becomes another one: what it leads to is counted. */
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

/* Bring the rendered text level with the candidates. */
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

/* ---- the heap of candidates ---- */

/* Does it emit a text that is refused in this section? Then its "from" gives way together with that. */
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

/* Several objects may give one section the same content; then what one that fails said last must not hold back what
 * the others say now, unless that is what it failed for. A key of a map or the name of a file belongs to somebody, who
 * does not lose it by failing. */
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

/* Move the candidate at a place up or down to where it belongs. */
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
