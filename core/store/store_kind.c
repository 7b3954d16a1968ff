/* The kinds are an array, sorted by name, with binary search. Kinds have reference counts: the store holds each of its
 * kinds, and each object holds its kind. So an object may outlive both kind and store.
 */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "data/dictionary.h"
#include "store/secret.h"
#include "store/store_state.h"

struct store_kind *store_kind_ref(struct store_kind *kind)
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

void store_kind_unref(struct store_kind *kind)
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
    strings_free(kind->spec.api_versions);
    free((char *)(uintptr_t)kind->spec.namespace_selector);
    free(kind->object_kind);
    dictionary_free(kind->dictionary);
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

size_t store_kind_position(const struct store *s, const char *name)
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
    kind->dictionary = dictionary_new();
    kind->spec = (struct store_kind_spec){.name = xstrdup(spec->name),
                                          .api_version = xstrdup(spec->api_version),
                                          .resource = xstrdup(spec->resource),
                                          .index_by = strings_copy(spec->index_by),
                                          .label_selector = string_copy(spec->label_selector),
                                          .field_selector = string_copy(spec->field_selector),
                                          .namespaces = strings_copy(spec->namespaces),
                                          .api_versions = strings_copy(spec->api_versions),
                                          .namespace_selector = string_copy(spec->namespace_selector),
                                          .is_optional = spec->is_optional,
                                          .is_on_demand = spec->is_on_demand,
                                          .is_referenced = spec->is_referenced};
    kind->is_secret = secret_is_kind(spec->api_version, spec->resource);
    for (const char *const *v = spec->api_versions; v && *v; v++)
        kind->is_secret = kind->is_secret || secret_is_kind(*v, spec->resource);
    map_init(&kind->table, true);
    map_init(&kind->staged, true);
    if (kind_compile_index(kind, err) < 0) {
        store_kind_unref(kind);
        return -1;
    }
    size_t at = store_kind_position(s, spec->name);
    vec_push(&s->kinds, kind);
    memmove(&s->kinds.items[at + 1], &s->kinds.items[at], (s->kinds.length - 1 - at) * sizeof(s->kinds.items[0]));
    s->kinds.items[at] = kind;
    *ret_kind = kind;
    return 0;
}

struct store_kind *store_kind_by_name(const struct store *s, const char *name)
{
    size_t at = store_kind_position(s, name);

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

void store_kind_set_api_version(struct store_kind *kind, const char *api_version)
{
    if (strcmp(kind->spec.api_version, api_version) == 0)
        return;
    free((char *)(uintptr_t)kind->spec.api_version);
    kind->spec.api_version = xstrdup(api_version);
}

bool store_kind_spec_has_version(const struct store_kind_spec *spec, const char *api_version)
{
    for (const char *const *v = spec->api_versions; v && *v; v++)
        if (strcmp(*v, api_version) == 0)
            return true;
    return strcmp(spec->api_version, api_version) == 0;
}

static void add_parts(struct buf *out, const char *const *strings)
{
    for (; strings && *strings; strings++)
        buf_add(out, *strings, strlen(*strings) + 1);
    buf_putc(out, '\0');
}

struct digest store_kind_spec_digest(const struct store_kind_spec *spec)
{
    CLEANUP(buf_done) struct buf all = {0};
    const char *versions[] = {spec->api_version, NULL};
    const char *fixed[] = {spec->name,
                           spec->resource,
                           spec->label_selector,
                           spec->field_selector,
                           spec->namespace_selector,
                           spec->is_referenced  ? "referenced"
                           : spec->is_on_demand ? "on demand"
                                                : "all"};

    for (size_t i = 0; i < ARRAY_LEN(fixed); i++)
        buf_add(&all, fixed[i] ? fixed[i] : "", fixed[i] ? strlen(fixed[i]) + 1 : 1);
    add_parts(&all, spec->api_versions ? spec->api_versions : versions);
    add_parts(&all, spec->namespaces);
    return digest_of(all.data, all.length);
}

void store_kind_set_object_kind(struct store_kind *kind, const char *object_kind)
{
    if (kind->object_kind && strcmp(kind->object_kind, object_kind) == 0)
        return;
    free(kind->object_kind);
    kind->object_kind = xstrdup(object_kind);
}

bool store_kind_is_own(const struct store_kind *kind)
{
    return kind->is_own;
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
