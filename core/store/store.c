/* Each kind has a table by id. Iteration needs an order: a sorted array is kept beside the table. It is made at the
 * first iteration after ids were added or removed; a new version of an object takes the old one's place in it. A relist
 * fills a second table, which shares unchanged objects with the first one. Commit exchanges the tables and compares
 * them.
 */
#include <stdlib.h>
#include <string.h>
#include <yyjson.h>

#include "base/alloc.h"
#include "store/ask.h"
#include "store/secret_facts.h"
#include "store/store_state.h"
#include "store/vault.h"

/* ── one kind's objects ──────────────────────────────────────────────────────────────────────────────────────────────── */

static int compare_ids(const void *a, const void *b)
{
    return strcmp((*(struct object *const *)a)->id, (*(struct object *const *)b)->id);
}

static void objects_of_table(const struct map *table, struct objects *ret_objects)
{
    struct map_slot *slot;

    ret_objects->length = 0;
    for (size_t it = 0; (slot = map_next(table, &it));)
        vec_push(ret_objects, (struct object *)slot->value);
    if (ret_objects->length)
        qsort(ret_objects->items, ret_objects->length, sizeof(ret_objects->items[0]), compare_ids);
}

/* Iteration is const for callers, because the order is a cache. */
static const struct objects *kind_sorted(const struct store_kind *const_kind)
{
    struct store_kind *kind = (struct store_kind *)(uintptr_t)const_kind;

    if (!kind->is_sorted) {
        objects_of_table(&kind->table, &kind->sorted);
        kind->is_sorted = true;
    }
    return &kind->sorted;
}

static void sorted_put(struct store_kind *kind, struct object *now, struct object *before)
{
    if (!kind->is_sorted)
        return;
    struct object **place = before
                                ? bsearch(&before, kind->sorted.items, kind->sorted.length, sizeof(before), compare_ids)
                                : NULL;
    if (place)
        *place = now;
    else
        kind->is_sorted = false;
}

static void objects_drop(struct map *table)
{
    struct map_slot *slot;

    for (size_t it = 0; (slot = map_next(table, &it));)
        object_unref(slot->value);
    map_done(table);
}

/* Takes the object. */
static int put_refuse(const struct store_kind *kind, struct object *o, struct err *err)
{
    (void)err_set(err, ERR_LIMIT, "%s %s: all objects together would take more than the maximum of %zu bytes",
                  kind->spec.name, o->id, kind->store->max_bytes);
    object_unref(o);
    return -1;
}

/* Takes the object. */
static int put_staged(struct store_kind *kind, struct object *o, bool *ret_changed, struct err *err)
{
    struct object *live = map_get(&kind->table, o->id), *before = map_get(&kind->staged, o->id);
    size_t bytes = object_bytes(o), before_bytes = before ? object_bytes(before) : 0;
    struct store *s = kind->store;

    if (s->bytes - kind->bytes + kind->staged_bytes - before_bytes + bytes > s->max_bytes)
        return put_refuse(kind, o, err);
    bool same = live && object_same(live, o);
    if (ret_changed)
        *ret_changed = !same;
    if (same && strcmp(live->resource_version, o->resource_version) == 0) {
        object_unref(o);
        o = object_ref(live);
    }
    (void)map_put(&kind->staged, o->id, o);
    kind->staged_bytes += bytes - before_bytes;
    object_unref(before);
    return 0;
}

/* Takes the object. */
static int put_live(struct store_kind *kind, struct object *o, bool *ret_changed, struct err *err)
{
    struct object *before = map_get(&kind->table, o->id);
    size_t bytes = object_bytes(o), before_bytes = before ? object_bytes(before) : 0;
    struct store *s = kind->store;
    bool same = before && object_same(before, o);

    if (!same && s->bytes - before_bytes + bytes > s->max_bytes)
        return put_refuse(kind, o, err);
    sorted_put(kind, o, before);
    (void)map_put(&kind->table, o->id, o);
    kind->bytes += bytes - before_bytes;
    s->bytes += bytes - before_bytes;
    if (ret_changed)
        *ret_changed = !same;
    if (!same)
        store_tell(s, STORE_EVENT_PUT, kind, o, before);
    object_unref(before);
    return 0;
}

int store_put_value(struct store_kind *kind, struct yyjson_val *value, bool *ret_changed, struct err *err)
{
    struct object *o = NULL;

    if (object_make(kind, value, &o, err) < 0)
        return -1;
    return kind->is_replacing ? put_staged(kind, o, ret_changed, err) : put_live(kind, o, ret_changed, err);
}

int store_put_json(struct store_kind *kind, const char *json, size_t length, bool *ret_changed, struct err *err)
{
    CLEANUP(json_doc_done) struct yyjson_doc *doc = NULL;

    if (json_parse(json, length, kind->store->max_object_bytes, &doc, err) < 0)
        return err_wrap(err, "%s", kind->spec.name);
    return store_put_value(kind, yyjson_doc_get_root(doc), ret_changed, err);
}

/* Removes the id from a table of the kind; returns the bytes that the table needs less. */
static size_t text_drop(struct map *table, const char *id, struct object **ret_before)
{
    struct object *before = map_get(table, id);

    *ret_before = NULL;
    if (!before || before->text_length == 0)
        return 0;
    struct object *now = object_without_text(before);
    size_t freed = object_bytes(before) - object_bytes(now);
    (void)map_put(table, now->id, now);
    *ret_before = before;
    return freed;
}

void store_drop_text(struct store_kind *kind, const char *id)
{
    struct object *before;
    size_t freed = text_drop(&kind->table, id, &before);

    if (before) {
        sorted_put(kind, map_get(&kind->table, id), before);
        kind->bytes -= freed;
        kind->store->bytes -= freed;
        object_unref(before);
    }
    if (kind->is_replacing) {
        kind->staged_bytes -= text_drop(&kind->staged, id, &before);
        object_unref(before);
    }
}

static void dates_refresh(struct store_kind *kind, int64_t now_s)
{
    CLEANUP(buf_done) struct buf text = {0};
    struct objects objects = {0};

    objects_of_table(&kind->table, &objects);
    for (size_t i = 0; i < objects.length; i++) {
        struct object *now = NULL;
        const struct object *o = objects.items[i];
        buf_clear(&text);
        object_text(o, &text);
        for (struct secret_dates dates = {0}; secret_facts_next(buf_str(&text), text.length, &dates);) {
            const char *validity = secret_validity(&dates, now_s);
            if (memcmp(text.data + dates.validity_at, validity, SECRET_VALIDITY_LENGTH) == 0)
                continue;
            struct object *next = object_with_text(now ? now : o, dates.validity_at, validity, SECRET_VALIDITY_LENGTH);
            object_unref(now);
            now = next;
        }
        if (now)
            (void)!put_live(kind, now, NULL, NULL);
    }
    vec_done(&objects);
}

void store_refresh_dates(struct store *s, int64_t now_s)
{
    for (size_t i = 0; i < s->kinds.length; i++)
        if (s->kinds.items[i]->is_secret && !s->kinds.items[i]->is_replacing)
            dates_refresh(s->kinds.items[i], now_s);
}

void store_delete(struct store_kind *kind, const char *namespace, const char *name, bool *ret_existed)
{
    CLEANUP(free_ptr) char *id = namespace && *namespace ? xasprintf("%s/%s", namespace, name) : xstrdup(name);
    struct object *before = map_del(kind->is_replacing ? &kind->staged : &kind->table, id);

    if (ret_existed)
        *ret_existed = before != NULL;
    if (!before)
        return;
    if (kind->is_replacing) {
        kind->staged_bytes -= object_bytes(before);
    } else {
        kind->is_sorted = false;
        kind->bytes -= object_bytes(before);
        kind->store->bytes -= object_bytes(before);
        store_tell(kind->store, STORE_EVENT_DELETE, kind, NULL, before);
    }
    object_unref(before);
}

struct object *store_get(const struct store_kind *kind, const char *id)
{
    return map_get(&kind->table, id);
}

void store_each(const struct store_kind *kind, void (*fn)(void *ctx, struct object *o), void *ctx)
{
    const struct objects *sorted = kind_sorted(kind);

    for (size_t i = 0; i < sorted->length; i++)
        fn(ctx, sorted->items[i]);
}

/* ── relists ─────────────────────────────────────────────────────────────────────────────────────────────────────────── */

void store_replace_abort(struct store_kind *kind)
{
    objects_drop(&kind->staged);
    kind->staged_bytes = 0;
    kind->is_replacing = false;
}

void store_replace_begin(struct store_kind *kind)
{
    store_replace_abort(kind);
    kind->is_replacing = true;
}

void store_replace_commit(struct store_kind *kind)
{
    struct store *s = kind->store;
    struct map old_table = kind->table;
    struct objects old = {0}, now = {0};
    bool was_synced = kind->is_synced;

    objects_of_table(&old_table, &old);
    objects_of_table(&kind->staged, &now);
    s->bytes += kind->staged_bytes - kind->bytes;
    kind->bytes = kind->staged_bytes;
    kind->table = kind->staged;
    map_init(&kind->staged, true);
    kind->staged_bytes = 0;
    kind->is_replacing = false;
    kind->is_sorted = false;
    kind->is_synced = true;

    for (size_t i = 0; i < now.length; i++) {
        struct object *before = map_get(&old_table, now.items[i]->id);
        if (before != now.items[i] && !(before && object_same(before, now.items[i])))
            store_tell(s, STORE_EVENT_PUT, kind, now.items[i], before);
    }
    for (size_t i = 0; i < old.length; i++)
        if (!map_get(&kind->table, old.items[i]->id))
            store_tell(s, STORE_EVENT_DELETE, kind, NULL, old.items[i]);
    if (!was_synced)
        store_tell(s, STORE_EVENT_SYNCED, kind, NULL, NULL);
    objects_drop(&old_table);
    vec_done(&old);
    vec_done(&now);
}

void store_kind_set_own(struct store_kind *kind)
{
    kind->is_own = true;
    if (kind->is_synced)
        return;
    store_replace_begin(kind);
    store_replace_commit(kind);
}

void store_remove_kind(struct store *s, struct store_kind *kind)
{
    struct objects old = {0};
    struct map table = kind->table;
    size_t at = store_kind_position(s, kind->spec.name);

    memmove(&s->kinds.items[at], &s->kinds.items[at + 1], (s->kinds.length - at - 1) * sizeof(s->kinds.items[0]));
    s->kinds.length--;
    store_replace_abort(kind);
    objects_of_table(&table, &old);
    map_init(&kind->table, true);
    s->bytes -= kind->bytes;
    kind->bytes = 0;
    kind->is_sorted = false;
    for (size_t i = 0; i < old.length; i++)
        store_tell(s, STORE_EVENT_DELETE, kind, NULL, old.items[i]);
    objects_drop(&table);
    vec_done(&old);
    vec_done(&kind->sorted);
    kind->store = NULL;
    store_kind_unref(kind);
}

/* ── the store ───────────────────────────────────────────────────────────────────────────────────────────────────────── */

static void add_fixed_prune(struct store *s)
{
    static const char *const fixed[] = {"apiVersion", "kind", "metadata.managedFields", "metadata.resourceVersion",
                                        "metadata.annotations['kubectl.kubernetes.io/last-applied-configuration']"};

    for (size_t i = 0; i < ARRAY_LEN(fixed); i++)
        if (json_prune_add(&s->ignored, fixed[i], NULL) < 0)
            abort();
}

struct store *store_new(size_t max_object_bytes, size_t max_bytes)
{
    struct store *s = xcalloc(1, sizeof(*s));

    s->max_object_bytes = max_object_bytes;
    s->max_bytes = max_bytes;
    buf_init(&s->json, max_object_bytes);
    buf_init(&s->parts, max_object_bytes);
    add_fixed_prune(s);
    s->vault = vault_new(max_bytes);
    s->asks = asks_new();
    return s;
}

int store_set_ignored_fields(struct store *s, const char *const *paths, struct err *err)
{
    struct json_prune before = s->ignored;

    s->ignored = (struct json_prune){0};
    add_fixed_prune(s);
    for (; paths && *paths; paths++)
        if (json_prune_add(&s->ignored, *paths, err) < 0) {
            json_prune_done(&s->ignored);
            s->ignored = before;
            return -1;
        }
    json_prune_done(&before);
    return 0;
}

struct store *store_free(struct store *s)
{
    if (!s)
        return NULL;
    s->listeners.length = 0;
    while (s->kinds.length)
        store_remove_kind(s, s->kinds.items[s->kinds.length - 1]);
    json_prune_done(&s->ignored);
    buf_done(&s->json);
    buf_done(&s->parts);
    buf_done(&s->packed);
    vec_done(&s->kinds);
    vec_done(&s->listeners);
    vault_free(s->vault);
    asks_free(s->asks);
    free(s);
    return NULL;
}

void store_take_concealed(struct store *s)
{
    s->takes_concealed = true;
}

struct vault *store_vault(const struct store *s)
{
    return s->vault;
}

struct asks *store_asks(const struct store *s)
{
    return s->asks;
}
