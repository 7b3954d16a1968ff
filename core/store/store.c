/* Each kind has a table by id. Iteration wants order: a sorted array is kept beside the table, made when somebody
 * iterates after ids came or went; a new version of an object just takes the old one's place in it. A relist fills a
 * second table, in which an object that did not change is the very object of the first; commit exchanges the tables
 * and compares them. An object, its strings and its JSON are one allocation. It holds its kind, so it may outlive both
 * kind and store. */
#include "store/store.h"

#include <stdlib.h>
#include <string.h>
#include <yyjson.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/map.h"
#include "base/vec.h"
#include "data/json.h"
#include "data/jsonpath.h"
#include "store/secret.h"
#include "store/vault.h"

/* What a table slot and a place in the sorted array cost. */
#define OBJECT_OVERHEAD 64
#define NAME_BYTES_MAX 1024

struct objects {
    struct object **items;
    size_t length, capacity;
};

struct store_kind {
    unsigned refs;
    struct store *store; /* NULL after its removal */
    struct store_kind_spec spec;
    char *object_kind; /* NULL: unknown */
    struct jsonpath *index[STORE_INDEX_PARTS_MAX];
    size_t index_count;
    struct map table; /* id → object */
    struct objects sorted;
    bool is_sorted;
    size_t bytes;
    bool is_secret;
    bool is_synced;
    bool is_replacing;
    struct map staged;
    size_t staged_bytes;
};

struct listener {
    store_listener *fn; /* NULL: taken out while events are being told */
    void *ctx;
};

struct store {
    size_t max_object_bytes, max_bytes, bytes;
    struct json_prune ignored;
    VEC(struct store_kind *) kinds; /* in the order of their names */
    VEC(struct listener) listeners;
    unsigned telling;
    struct buf json, parts; /* scratch */
    struct vault *vault;
};

/* ── kinds ───────────────────────────────────────────────────────────────────────────────────────────────────────────── */

static struct store_kind *kind_ref(struct store_kind *kind)
{
    kind->refs++;
    return kind;
}

static void strings_free(const char *const *strings)
{
    for (size_t i = 0; strings && strings[i]; i++)
        free((char *)(uintptr_t)strings[i]);
    free((void *)(uintptr_t)strings);
}

static void kind_unref(struct store_kind *kind)
{
    if (--kind->refs > 0)
        return;
    for (size_t i = 0; i < kind->index_count; i++)
        jsonpath_free(kind->index[i]);
    free((char *)(uintptr_t)kind->spec.name);
    free((char *)(uintptr_t)kind->spec.api_version);
    free((char *)(uintptr_t)kind->spec.resource);
    free((char *)(uintptr_t)kind->spec.label_selector);
    free((char *)(uintptr_t)kind->spec.field_selector);
    strings_free(kind->spec.index_by);
    strings_free(kind->spec.namespaces);
    free(kind->object_kind);
    free(kind);
}

static const char *const *strings_copy(const char *const *strings)
{
    size_t count = 0;

    if (!strings || !strings[0])
        return NULL;
    while (strings[count])
        count++;
    char **copy = xcalloc(count + 1, sizeof(*copy));
    for (size_t i = 0; i < count; i++)
        copy[i] = xstrdup(strings[i]);
    return (const char *const *)copy;
}

static const char *string_copy(const char *string)
{
    return string ? xstrdup(string) : NULL;
}

static int kind_compile_index(struct store_kind *kind, struct err *err)
{
    static const char *const by_identity[] = {"metadata.namespace", "metadata.name", NULL};
    const char *const *paths = kind->spec.index_by ? kind->spec.index_by : by_identity;

    for (; *paths; paths++) {
        if (kind->index_count == STORE_INDEX_PARTS_MAX)
            return err_set(err, ERR_INVALID, "watched resource \"%s\": more than %d index expressions", kind->spec.name,
                           STORE_INDEX_PARTS_MAX);
        if (jsonpath_compile(*paths, &kind->index[kind->index_count], err) < 0)
            return err_wrap(err, "watched resource \"%s\": index", kind->spec.name);
        kind->index_count++;
    }
    return 0;
}

/* Where a kind of this name is, or would be. */
static size_t kind_position(const struct store *s, const char *name)
{
    size_t low = 0, high = s->kinds.length;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(s->kinds.items[middle]->spec.name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

int store_add_kind(struct store *s, const struct store_kind_spec *spec, struct store_kind **ret_kind, struct err *err)
{
    if (!spec->name || !*spec->name || !spec->api_version || !*spec->api_version || !spec->resource || !*spec->resource)
        return err_set(err, ERR_INVALID, "a watched resource needs a name, an apiVersion and a resource");
    if (store_kind_by_name(s, spec->name))
        return err_set(err, ERR_INVALID, "watched resource \"%s\" is declared twice", spec->name);

    struct store_kind *kind = xcalloc(1, sizeof(*kind));
    kind->refs = 1;
    kind->store = s;
    kind->spec = (struct store_kind_spec){.name = xstrdup(spec->name),
                                          .api_version = xstrdup(spec->api_version),
                                          .resource = xstrdup(spec->resource),
                                          .index_by = strings_copy(spec->index_by),
                                          .label_selector = string_copy(spec->label_selector),
                                          .field_selector = string_copy(spec->field_selector),
                                          .namespaces = strings_copy(spec->namespaces)};
    kind->is_secret = secret_is_kind(spec->api_version, spec->resource);
    map_init(&kind->table, true);
    map_init(&kind->staged, true);
    if (kind_compile_index(kind, err) < 0) {
        kind_unref(kind);
        return -1;
    }
    size_t at = kind_position(s, spec->name);
    vec_push(&s->kinds, kind);
    memmove(&s->kinds.items[at + 1], &s->kinds.items[at], (s->kinds.length - 1 - at) * sizeof(s->kinds.items[0]));
    s->kinds.items[at] = kind;
    *ret_kind = kind;
    return 0;
}

struct store_kind *store_kind_by_name(const struct store *s, const char *name)
{
    size_t at = kind_position(s, name);

    return at < s->kinds.length && strcmp(s->kinds.items[at]->spec.name, name) == 0 ? s->kinds.items[at] : NULL;
}

size_t store_kind_count(const struct store *s)
{
    return s->kinds.length;
}

struct store_kind *store_kind_at(const struct store *s, size_t i)
{
    return s->kinds.items[i];
}

const struct store_kind_spec *store_kind_spec(const struct store_kind *kind)
{
    return &kind->spec;
}

size_t store_kind_objects(const struct store_kind *kind)
{
    return kind->table.count;
}

size_t store_kind_bytes(const struct store_kind *kind)
{
    return kind->bytes;
}

void store_kind_set_object_kind(struct store_kind *kind, const char *object_kind)
{
    if (kind->object_kind && strcmp(kind->object_kind, object_kind) == 0)
        return;
    free(kind->object_kind);
    kind->object_kind = xstrdup(object_kind);
}

bool store_kind_is_synced(const struct store_kind *kind)
{
    return kind->is_synced;
}

bool store_is_synced(const struct store *s)
{
    for (size_t i = 0; i < s->kinds.length; i++)
        if (!s->kinds.items[i]->is_synced)
            return false;
    return true;
}

/* ── objects ─────────────────────────────────────────────────────────────────────────────────────────────────────────── */

struct object *object_ref(struct object *o)
{
    o->refs++;
    return o;
}

struct object *object_unref(struct object *o)
{
    if (o && --o->refs == 0) {
        vault_release(o->hold);
        kind_unref(o->kind);
        free(o);
    }
    return NULL;
}

static size_t object_bytes(const struct object *o)
{
    size_t bytes = sizeof(*o) + OBJECT_OVERHEAD + o->json_length + strlen(o->id) + strlen(o->namespace) +
                   strlen(o->name) + strlen(o->uid) + strlen(o->resource_version) + 6 + vault_hold_bytes(o->hold);

    for (size_t i = 0; i < o->index_count; i++)
        bytes += strlen(o->index[i]) + 1;
    return bytes;
}

/* Everything but the resourceVersion. */
static bool object_same(const struct object *a, const struct object *b)
{
    if (a->json_length != b->json_length || memcmp(a->json, b->json, a->json_length) != 0 ||
        a->created_s != b->created_s || strcmp(a->uid, b->uid) != 0)
        return false;
    for (size_t i = 0; i < a->index_count; i++)
        if (strcmp(a->index[i], b->index[i]) != 0)
            return false;
    return true;
}

static bool is_name(const char *name)
{
    if (!name || !*name || strlen(name) > NAME_BYTES_MAX)
        return false;
    for (; *name; name++)
        if ((unsigned char)*name < 0x20 || *name == 0x7f || *name == '/')
            return false;
    return true;
}

/* The JSON to keep, into s->json: apiVersion and kind, then the rest without them and without what is ignored. */
static int json_make(struct store_kind *kind, struct yyjson_val *value, struct err *err)
{
    struct store *s = kind->store;
    struct buf *out = &s->json;
    const char *object_kind = json_str(value, "kind");

    if (!object_kind)
        object_kind = kind->object_kind;
    buf_clear(out);
    if (buf_try_add(out, "{\"apiVersion\":", 14, err) < 0 ||
        json_write_string(out, kind->spec.api_version, strlen(kind->spec.api_version), err) < 0)
        return -1;
    if (object_kind && (buf_try_add(out, ",\"kind\":", 8, err) < 0 ||
                        json_write_string(out, object_kind, strlen(object_kind), err) < 0))
        return -1;
    size_t brace = out->length;
    if (json_write(out, value, &s->ignored, err) < 0)
        return -1;
    out->data[brace] = out->data[brace + 1] == '}' ? ' ' : ',';
    return 0;
}

static const char *pool_add(char **pool, const char *string)
{
    size_t size = strlen(string) + 1;
    char *copy = memcpy(*pool, string, size);

    *pool += size;
    return copy;
}

/* Evaluate the index expressions into s->parts, each followed by a NUL. */
static int parts_make(struct store_kind *kind, struct yyjson_val *value, struct err *err)
{
    struct buf *parts = &kind->store->parts;

    buf_clear(parts);
    for (size_t i = 0; i < kind->index_count; i++) {
        size_t start = parts->length;
        if (json_scalar_text(jsonpath_first(kind->index[i], value), parts, err) < 0)
            return -1;
        /* A value with a NUL is no key that anybody can ask for. */
        if (parts->length > start && memchr(parts->data + start, '\0', parts->length - start))
            parts->length = start;
        if (buf_try_add(parts, "", 1, err) < 0)
            return -1;
    }
    return 0;
}

static int object_make(struct store_kind *kind, struct yyjson_val *value, struct object **ret_object, struct err *err)
{
    struct store *s = kind->store;
    struct yyjson_val *metadata = json_at(value, "metadata");
    const char *name = json_str(metadata, "name"), *namespace = json_str(metadata, "namespace"),
               *uid = json_str(metadata, "uid");
    const char *version = json_str(metadata, "resourceVersion"), *created = json_str(metadata, "creationTimestamp");
    int64_t created_us = 0;

    if (!is_name(name))
        return err_set(err, ERR_INVALID, "%s: an object without a usable metadata.name", kind->spec.name);
    if (namespace && *namespace && !is_name(namespace))
        return err_set(err, ERR_INVALID, "%s %s: not a usable metadata.namespace", kind->spec.name, name);
    namespace = namespace ? namespace : "";
    uid = uid ? uid : "";
    version = version ? version : "";
    if (json_make(kind, value, err) < 0 || parts_make(kind, value, err) < 0)
        return err_wrap(err, "%s %s%s%s", kind->spec.name, namespace, *namespace ? "/" : "", name);
    if (created && clock_parse_rfc3339(created, &created_us, NULL) < 0)
        created_us = 0;

    size_t id_size = strlen(namespace) + (*namespace != '\0') + strlen(name) + 1;
    size_t pool_size = id_size + strlen(namespace) + strlen(name) + strlen(uid) + strlen(version) + 4 +
                       s->parts.length + s->json.length + 1;
    struct object *o = xmalloc(sizeof(*o) + pool_size);
    char *pool = (char *)(o + 1);
    *o = (struct object){.refs = 1,
                         .kind = kind_ref(kind),
                         .id = pool,
                         .index_count = kind->index_count,
                         .json_length = s->json.length,
                         .created_s = created_us / 1000000};
    if (*namespace) {
        (void)pool_add(&pool, namespace);
        pool[-1] = '/';
    }
    (void)pool_add(&pool, name);
    o->namespace = pool_add(&pool, namespace);
    o->name = pool_add(&pool, name);
    o->uid = pool_add(&pool, uid);
    o->resource_version = pool_add(&pool, version);
    const char *part = buf_str(&s->parts);
    for (size_t i = 0; i < kind->index_count; i++) {
        o->index[i] = pool_add(&pool, part);
        part += strlen(part) + 1;
    }
    memcpy(pool, s->json.data, s->json.length + 1);
    o->json = pool;
    *ret_object = o;
    return 0;
}

/* ── listeners ───────────────────────────────────────────────────────────────────────────────────────────────────────── */

static void tell(struct store *s, enum store_event event, struct store_kind *kind, struct object *now,
                 struct object *before)
{
    s->telling++;
    for (size_t i = 0; i < s->listeners.length; i++)
        if (s->listeners.items[i].fn)
            s->listeners.items[i].fn(s->listeners.items[i].ctx, event, kind, now, before);
    if (--s->telling > 0)
        return;
    size_t kept = 0;
    for (size_t i = 0; i < s->listeners.length; i++)
        if (s->listeners.items[i].fn)
            s->listeners.items[kept++] = s->listeners.items[i];
    s->listeners.length = kept;
}

void store_listen(struct store *s, store_listener *listener, void *ctx)
{
    vec_push(&s->listeners, ((struct listener){listener, ctx}));
}

void store_unlisten(struct store *s, store_listener *listener, void *ctx)
{
    for (size_t i = 0; i < s->listeners.length; i++) {
        struct listener *l = &s->listeners.items[i];
        if (l->fn != listener || l->ctx != ctx)
            continue;
        if (s->telling > 0) {
            l->fn = NULL;
        } else {
            memmove(l, l + 1, (s->listeners.length - i - 1) * sizeof(*l));
            s->listeners.length--;
        }
        return;
    }
}

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

/* Iterating is const to the outside; the order is a cache. */
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

static void table_drop(struct map *table)
{
    struct map_slot *slot;

    for (size_t it = 0; (slot = map_next(table, &it));)
        object_unref(slot->value);
    map_done(table);
}

/* Takes the object. */
static int put_staged(struct store_kind *kind, struct object *o, bool *ret_changed, struct err *err)
{
    struct object *live = map_get(&kind->table, o->id), *before = map_get(&kind->staged, o->id);
    size_t bytes = object_bytes(o), before_bytes = before ? object_bytes(before) : 0;
    struct store *s = kind->store;

    if (s->bytes - kind->bytes + kind->staged_bytes - before_bytes + bytes > s->max_bytes) {
        (void)err_set(err, ERR_LIMIT, "%s %s: all objects together would take more than the maximum of %zu bytes",
                      kind->spec.name, o->id, s->max_bytes);
        object_unref(o);
        return -1;
    }
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

    if (!same && s->bytes - before_bytes + bytes > s->max_bytes) {
        (void)err_set(err, ERR_LIMIT, "%s %s: all objects together would take more than the maximum of %zu bytes",
                      kind->spec.name, o->id, s->max_bytes);
        object_unref(o);
        return -1;
    }
    sorted_put(kind, o, before);
    (void)map_put(&kind->table, o->id, o);
    kind->bytes += bytes - before_bytes;
    s->bytes += bytes - before_bytes;
    if (ret_changed)
        *ret_changed = !same;
    if (!same)
        tell(s, STORE_EVENT_PUT, kind, o, before);
    object_unref(before);
    return 0;
}

/* Of a Secret everything is made from the form without the values. */
static int secret_make(struct store_kind *kind, struct yyjson_val *value, struct object **ret_object, struct err *err)
{
    CLEANUP(json_doc_done) struct yyjson_doc *concealed = NULL;
    struct vault_hold *hold = NULL;

    if (secret_conceal(kind->store->vault, value, &concealed, &hold, err) < 0) {
        const char *namespace = json_str(value, "metadata", "namespace"), *name = json_str(value, "metadata", "name");
        return err_wrap(err, "%s %s%s%s", kind->spec.name, namespace ? namespace : "", namespace ? "/" : "",
                        name ? name : "");
    }
    if (object_make(kind, yyjson_doc_get_root(concealed), ret_object, err) < 0) {
        vault_release(hold);
        return -1;
    }
    (*ret_object)->hold = hold;
    return 0;
}

int store_put_value(struct store_kind *kind, struct yyjson_val *value, bool *ret_changed, struct err *err)
{
    struct object *o = NULL;

    if (kind->is_secret ? secret_make(kind, value, &o, err) < 0 : object_make(kind, value, &o, err) < 0)
        return -1;
    if (!kind->is_secret && vault_is_in(o->json, o->json_length)) {
        (void)err_set(err, ERR_INVALID, "%s %s: it has the text of a handle, which only a Secret's value has",
                      kind->spec.name, o->id);
        object_unref(o);
        return -1;
    }
    return kind->is_replacing ? put_staged(kind, o, ret_changed, err) : put_live(kind, o, ret_changed, err);
}

int store_put_json(struct store_kind *kind, const char *json, size_t length, bool *ret_changed, struct err *err)
{
    CLEANUP(json_doc_done) struct yyjson_doc *doc = NULL;

    if (json_parse(json, length, kind->store->max_object_bytes, &doc, err) < 0)
        return err_wrap(err, "%s", kind->spec.name);
    return store_put_value(kind, yyjson_doc_get_root(doc), ret_changed, err);
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
        tell(kind->store, STORE_EVENT_DELETE, kind, NULL, before);
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
    table_drop(&kind->staged);
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
            tell(s, STORE_EVENT_PUT, kind, now.items[i], before);
    }
    for (size_t i = 0; i < old.length; i++)
        if (!map_get(&kind->table, old.items[i]->id))
            tell(s, STORE_EVENT_DELETE, kind, NULL, old.items[i]);
    if (!was_synced)
        tell(s, STORE_EVENT_SYNCED, kind, NULL, NULL);
    table_drop(&old_table);
    vec_done(&old);
    vec_done(&now);
}

/* ── the store ───────────────────────────────────────────────────────────────────────────────────────────────────────── */

static void add_fixed_prune(struct store *s)
{
    static const char *const fixed[] = {"apiVersion", "kind", "metadata.managedFields", "metadata.resourceVersion"};

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

void store_remove_kind(struct store *s, struct store_kind *kind)
{
    struct objects old = {0};
    struct map table = kind->table;
    size_t at = kind_position(s, kind->spec.name);

    memmove(&s->kinds.items[at], &s->kinds.items[at + 1], (s->kinds.length - at - 1) * sizeof(s->kinds.items[0]));
    s->kinds.length--;
    store_replace_abort(kind);
    objects_of_table(&table, &old);
    map_init(&kind->table, true);
    s->bytes -= kind->bytes;
    kind->bytes = 0;
    kind->is_sorted = false;
    for (size_t i = 0; i < old.length; i++)
        tell(s, STORE_EVENT_DELETE, kind, NULL, old.items[i]);
    table_drop(&table);
    vec_done(&old);
    vec_done(&kind->sorted);
    kind->store = NULL;
    kind_unref(kind);
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
    vec_done(&s->kinds);
    vec_done(&s->listeners);
    vault_free(s->vault);
    free(s);
    return NULL;
}

struct vault *store_vault(const struct store *s)
{
    return s->vault;
}
