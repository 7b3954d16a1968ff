/* An object, its strings and its packed text are one allocation: the struct, then a pool of NUL-terminated strings,
 * then the packed text. Text and index values are first made in the store's scratch buffers, so that their sizes are
 * known. For a Secret, everything is made from the form without the values (store/secret.h).
 */
#include <stdlib.h>
#include <string.h>
#include <yyjson.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "data/dictionary.h"
#include "store/ask.h"
#include "store/secret.h"
#include "store/store_state.h"
#include "store/vault.h"

/* The cost of a table slot and a place in the sorted array. */
#define OBJECT_OVERHEAD 64
#define NAME_BYTES_MAX 1024

struct object *object_ref(struct object *o)
{
    o->refs++;
    return o;
}

struct object *object_unref(struct object *o)
{
    if (o && --o->refs == 0) {
        vault_release(o->hold);
        store_kind_unref(o->kind);
        free(o);
    }
    return NULL;
}

size_t object_bytes(const struct object *o)
{
    size_t bytes = sizeof(*o) + OBJECT_OVERHEAD + o->packed_length + strlen(o->id) + strlen(o->namespace) +
                   strlen(o->name) + strlen(o->uid) + strlen(o->resource_version) + 6 + vault_hold_bytes(o->hold);

    for (size_t i = 0; i < o->index_count; i++)
        bytes += strlen(o->index[i]) + 1;
    return bytes;
}

void object_text(const struct object *o, struct buf *out)
{
    if (o->text_length == 0)
        return;
    char *room = buf_room(out, o->text_length, NULL);
    if (!room || dictionary_unpack(o->kind->dictionary, o->packed, o->packed_length, room, NULL) < 0)
        abort();
    buf_grew(out, o->text_length);
}

int object_parse(const struct object *o, size_t max_bytes, struct yyjson_doc **ret_doc, struct err *err)
{
    CLEANUP(buf_done) struct buf text = {0};

    object_text(o, &text);
    return json_parse(buf_str(&text), text.length, max_bytes, ret_doc, err);
}

/* The packed form of a text depends on the time, because the dictionary grows. */
static bool text_same(const struct object *a, const struct object *b)
{
    CLEANUP(buf_done) struct buf text_a = {0}, text_b = {0};

    if (a->text_length != b->text_length)
        return false;
    if (a->packed_length == b->packed_length && memcmp(a->packed, b->packed, a->packed_length) == 0)
        return true;
    object_text(a, &text_a);
    object_text(b, &text_b);
    return memcmp(buf_str(&text_a), buf_str(&text_b), a->text_length) == 0;
}

bool object_same(const struct object *a, const struct object *b)
{
    if (a->created_s != b->created_s || strcmp(a->uid, b->uid) != 0 || !text_same(a, b))
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

/* The JSON to keep, into s->json: apiVersion and kind, then the rest without them and without ignored fields. */
static int json_make(struct store_kind *kind, struct yyjson_val *value, struct err *err)
{
    struct store *s = kind->store;
    struct buf *out = &s->json;
    const char *object_kind = json_str(value, "kind"), *api_version = kind->spec.api_version;
    const char *own_version = kind->spec.api_versions ? json_str(value, "apiVersion") : NULL;

    if (!object_kind)
        object_kind = kind->object_kind;
    if (own_version && store_kind_spec_has_version(&kind->spec, own_version))
        api_version = own_version;
    buf_clear(out);
    if (buf_try_add(out, "{\"apiVersion\":", 14, err) < 0 ||
        json_write_string(out, api_version, strlen(api_version), err) < 0)
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

/* A value with a NUL or the separator cannot be a key of a query, so nothing is added for it. */
static int part_add(struct buf *parts, struct yyjson_val *value, struct err *err)
{
    size_t start = parts->length;

    if (json_scalar_text(value, parts, err) < 0)
        return -1;
    if (parts->length > start && (memchr(parts->data + start, '\0', parts->length - start) ||
                                  memchr(parts->data + start, STORE_INDEX_SEPARATOR, parts->length - start)))
        parts->length = start;
    return 0;
}

/* True when the list that begins at from already contains the text from last to its end. */
static bool parts_have(const struct buf *parts, size_t from, size_t last)
{
    const char *text = parts->data + last;
    size_t length = parts->length - last;

    for (size_t at = from, end; at < last; at = end + 1) {
        const char *separator = memchr(parts->data + at, STORE_INDEX_SEPARATOR, last - at);
        end = separator ? (size_t)(separator - parts->data) : last;
        if (end - at == length && memcmp(parts->data + at, text, length) == 0)
            return true;
    }
    return false;
}

/* Adds each value that an expression finds once. A value that cannot be a key counts only when there is no other. */
static int parts_add_all(struct store_kind *kind, size_t part, struct yyjson_val *value, size_t *ret_count,
                         struct err *err)
{
    CLEANUP(json_values_done) struct json_values found = {0};
    struct buf *parts = &kind->store->parts;
    size_t from = parts->length, count = 0;

    if (jsonpath_all(kind->index[part], value, &found, err) < 0)
        return -1;
    for (size_t i = 0; i < found.length; i++) {
        size_t before = parts->length;
        if (count > 0 && buf_try_add(parts, &(char){STORE_INDEX_SEPARATOR}, 1, err) < 0)
            return -1;
        size_t start = parts->length;
        if (part_add(parts, found.items[i], err) < 0)
            return -1;
        if (parts->length == start || parts_have(parts, from, start))
            parts->length = before;
        else if (++count > STORE_INDEX_VALUES_MAX)
            return err_set(err, ERR_LIMIT, "%s of indexBy finds more than %d values", kind->spec.index_by[part],
                           STORE_INDEX_VALUES_MAX);
    }
    *ret_count = count > 0 ? count : 1;
    return 0;
}

/* Evaluates the index expressions into s->parts, each followed by a NUL. */
static int parts_make(struct store_kind *kind, struct yyjson_val *value, struct err *err)
{
    struct buf *parts = &kind->store->parts;
    size_t keys = 1;

    buf_clear(parts);
    for (size_t i = 0; i < kind->index_count; i++) {
        size_t count = 1;
        if (jsonpath_is_plural(kind->index[i]) ? parts_add_all(kind, i, value, &count, err) < 0
                                               : part_add(parts, jsonpath_first(kind->index[i], value), err) < 0)
            return -1;
        keys *= count;
        if (keys > STORE_INDEX_KEYS_MAX)
            return err_set(err, ERR_LIMIT, "the expressions of indexBy give more than %d keys", STORE_INDEX_KEYS_MAX);
        if (buf_try_add(parts, "", 1, err) < 0)
            return -1;
    }
    return 0;
}

static int plain_make(struct store_kind *kind, struct yyjson_val *value, struct object **ret_object, struct err *err)
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
    buf_clear(&s->packed);
    dictionary_pack(kind->dictionary, s->json.data, s->json.length, &s->packed);
    size_t pool_size = id_size + strlen(namespace) + strlen(name) + strlen(uid) + strlen(version) + 4 +
                       s->parts.length + s->packed.length;
    struct object *o = xmalloc(sizeof(*o) + pool_size);
    char *pool = (char *)(o + 1);
    *o = (struct object){.refs = 1,
                         .kind = store_kind_ref(kind),
                         .id = pool,
                         .index_count = kind->index_count,
                         .text_length = s->json.length,
                         .packed_length = s->packed.length,
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
    memcpy(pool, s->packed.data, s->packed.length);
    o->packed = pool;
    *ret_object = o;
    return 0;
}

static const char *rebased(const struct object *from, struct object *to, const char *string)
{
    return (const char *)to + (string - (const char *)from);
}

/* A copy with another packed text. */
static struct object *copy_with(const struct object *o, const char *packed, size_t packed_length)
{
    size_t size = (size_t)(o->packed - (const char *)o);
    struct object *copy = xmalloc(size + packed_length);

    memcpy((void *)copy, o, size);
    copy->refs = 1;
    copy->kind = store_kind_ref(o->kind);
    copy->id = rebased(o, copy, o->id);
    copy->namespace = rebased(o, copy, o->namespace);
    copy->name = rebased(o, copy, o->name);
    copy->uid = rebased(o, copy, o->uid);
    copy->resource_version = rebased(o, copy, o->resource_version);
    for (size_t i = 0; i < o->index_count; i++)
        copy->index[i] = rebased(o, copy, o->index[i]);
    copy->packed = rebased(o, copy, o->packed);
    copy->packed_length = packed_length;
    if (packed_length)
        memcpy((char *)copy + size, packed, packed_length);
    return copy;
}

struct object *object_with_text(const struct object *o, size_t at, const char *text, size_t length)
{
    CLEANUP(buf_done) struct buf whole = {0}, packed = {0};

    object_text(o, &whole);
    memcpy(whole.data + at, text, length);
    dictionary_pack(o->kind->dictionary, whole.data, whole.length, &packed);
    struct object *copy = copy_with(o, packed.data, packed.length);
    copy->hold = vault_share(o->hold);
    return copy;
}

struct object *object_without_text(const struct object *o)
{
    struct object *copy = copy_with(o, NULL, 0);

    copy->text_length = 0;
    copy->hold = NULL;
    return copy;
}

/* True when the text of this object is needed. */
static bool is_text_wanted(const struct store_kind *kind, const struct object *o)
{
    const struct asks *asks = kind->store->asks;

    return !kind->spec.is_on_demand || !asks_is_served(asks, kind->spec.name) || asks_has(asks, kind->spec.name, o->id);
}

static int secret_make(struct store_kind *kind, struct yyjson_val *value, struct object **ret_object, struct err *err)
{
    CLEANUP(json_doc_done) struct yyjson_doc *concealed = NULL;
    struct vault_hold *hold = NULL;

    if (secret_conceal(kind->store->vault, value, &concealed, &hold, err) < 0) {
        const char *namespace = json_str(value, "metadata", "namespace"), *name = json_str(value, "metadata", "name");
        return err_wrap(err, "%s %s%s%s", kind->spec.name, namespace ? namespace : "", namespace ? "/" : "",
                        name ? name : "");
    }
    if (plain_make(kind, yyjson_doc_get_root(concealed), ret_object, err) < 0) {
        vault_release(hold);
        return -1;
    }
    (*ret_object)->hold = hold;
    return 0;
}

static int whole_make(struct store_kind *kind, struct yyjson_val *value, struct object **ret_object, struct err *err)
{
    struct object *o = NULL;

    if (kind->is_secret && !kind->store->takes_concealed)
        return secret_make(kind, value, ret_object, err);
    if (plain_make(kind, value, &o, err) < 0)
        return -1;
    if (!kind->store->takes_concealed && vault_is_in(kind->store->json.data, kind->store->json.length)) {
        (void)err_set(err, ERR_INVALID, "%s %s: it has the text of a handle, which only a Secret's value has",
                      kind->spec.name, o->id);
        object_unref(o);
        return -1;
    }
    *ret_object = o;
    return 0;
}

int object_make(struct store_kind *kind, struct yyjson_val *value, struct object **ret_object, struct err *err)
{
    struct object *o = NULL;

    if (whole_make(kind, value, &o, err) < 0)
        return -1;
    *ret_object = o;
    if (!is_text_wanted(kind, o)) {
        *ret_object = object_without_text(o);
        object_unref(o);
    }
    return 0;
}

int store_make_object(struct store_kind *kind, struct yyjson_val *value, struct object **ret_object, struct err *err)
{
    return whole_make(kind, value, ret_object, err);
}

bool object_equal(const struct object *a, const struct object *b)
{
    return object_same(a, b);
}
