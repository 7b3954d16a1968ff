/* watchedResources: the kinds and their selection. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "controller/config_read.h"
#include "data/jsonpath.h"
#include "data/selector.h"

#define KINDS_MAX 100
#define KIND_NAME_MAX 63
#define VERSIONS_MAX 8

static const struct field kind_fields[] = {
    {.name = "apiVersion", .type = FIELD_STRING, .offset = offsetof(struct config_kind, api_version)},
    {.name = "apiVersions", .type = FIELD_STRINGS, .offset = offsetof(struct config_kind, api_versions)},
    {.name = "optional", .type = FIELD_BOOL, .offset = offsetof(struct config_kind, is_optional)},
    {.name = "resources", .type = FIELD_STRING, .required = true, .offset = offsetof(struct config_kind, resource)},
    {.name = "indexBy", .type = FIELD_STRINGS, .offset = offsetof(struct config_kind, index_by)},
    {.name = "labelSelector", .type = FIELD_STRING, .offset = offsetof(struct config_kind, label_selector)},
    {.name = "fieldSelector", .type = FIELD_STRING, .offset = offsetof(struct config_kind, field_selector)},
    {.name = "namespaces", .type = FIELD_STRINGS, .offset = offsetof(struct config_kind, namespaces)},
    {.name = "watch", .type = FIELD_STRING, .offset = offsetof(struct config_kind, watch)},
    {.name = "statusPatch", .type = FIELD_BOOL, .offset = offsetof(struct config_kind, status_patch)},
    {.name = "owned", .type = FIELD_BOOL, .offset = offsetof(struct config_kind, is_owned)},
    {.name = "namespaceSelector", .type = FIELD_STRING, .offset = offsetof(struct config_kind, namespace_selector)},
    {.name = "store", .type = FIELD_STRING, .offset = offsetof(struct config_kind, store)},
    {.name = "debounceInterval",
     .type = FIELD_WITHOUT_EFFECT,
     .note = "the first change after quiet is rendered at once, and those of a burst together"},
    {.name = "ignoreFields",
     .type = FIELD_WITHOUT_EFFECT,
     .note = "to keep fields from causing renderings, name them in watchedResourcesIgnoreFields, which removes them"},
    {.name = "enableValidationWebhook", .type = FIELD_BOOL, .offset = offsetof(struct config_kind, is_reviewed)},
    {0},
};

bool config_is_ingress(const char *api_version, const char *resource)
{
    return strcmp(api_version, "networking.k8s.io/v1") == 0 && strcmp(resource, "ingresses") == 0;
}

void config_kind_done(struct config_kind *k)
{
    free(k->name);
    free(k->api_version);
    free(k->resource);
    free(k->label_selector);
    free(k->field_selector);
    free(k->namespace_selector);
    free(k->watch);
    free(k->store);
    for (size_t i = 0; i < k->api_versions.length; i++)
        free(k->api_versions.items[i]);
    vec_done(&k->api_versions);
    for (size_t i = 0; i < k->index_by.length; i++)
        free(k->index_by.items[i]);
    vec_done(&k->index_by);
    for (size_t i = 0; i < k->namespaces.length; i++)
        free(k->namespaces.items[i]);
    vec_done(&k->namespaces);
}

static int check_index(struct reader *r, yyjson_val *value, const struct config_kind *kind)
{
    struct err why;

    value = reader_key(value, "indexBy");
    if (kind->index_by.length > STORE_INDEX_PARTS_MAX)
        return reader_fail(r, value, "indexBy", "has more than 4 expressions");
    for (size_t i = 0; i < kind->index_by.length; i++) {
        struct jsonpath *path;
        if (jsonpath_compile(kind->index_by.items[i], &path, &why) < 0)
            return reader_fail(r, value, "indexBy", why.text);
        jsonpath_free(path);
    }
    return 0;
}

static int check_selectors(struct reader *r, yyjson_val *value, const struct config_kind *kind)
{
    struct label_selector *labels = NULL, *namespaces = NULL;
    struct field_selector *fields = NULL;
    struct err why;
    int result = 0;

    if (label_selector_compile(kind->label_selector, &labels, &why) < 0)
        result = reader_fail(r, reader_key(value, "labelSelector"), "labelSelector", why.text);
    else if (field_selector_compile(kind->field_selector, &fields, &why) < 0)
        result = reader_fail(r, reader_key(value, "fieldSelector"), "fieldSelector", why.text);
    if (result == 0 && label_selector_compile(kind->namespace_selector, &namespaces, &why) < 0)
        result = reader_fail(r, reader_key(value, "namespaceSelector"), "namespaceSelector", why.text);
    if (result == 0 && kind->namespace_selector != NULL && kind->namespaces.length > 0)
        result = reader_fail(r, reader_key(value, "namespaceSelector"), "namespaceSelector",
                             "stands beside \"namespaces\"; write one of them");
    label_selector_free(namespaces);
    label_selector_free(labels);
    field_selector_free(fields);
    return result;
}

/* One apiVersion, or a list of candidates. The first candidate counts as the apiVersion until the source has found the
 * served one. */
static int check_versions(struct reader *r, yyjson_val *value, struct config_kind *kind)
{
    struct config_strings *versions = &kind->api_versions;
    yyjson_val *key = reader_key(value, "apiVersions");

    if (kind->api_version == NULL && versions->length == 0)
        return reader_fail(r, value, "apiVersion",
                           "is missing; or write \"apiVersions\", the first of which is used "
                           "that the API server has");
    if (kind->api_version != NULL && versions->length > 0)
        return reader_fail(r, key, "apiVersions", "stands beside \"apiVersion\"; write one of them");
    if (versions->length > VERSIONS_MAX)
        return reader_fail(r, key, "apiVersions", "has more than 8 items");
    for (size_t i = 0; i < versions->length; i++)
        for (size_t j = 0; j < i; j++)
            if (strcmp(versions->items[i], versions->items[j]) == 0)
                return reader_fail(r, key, "apiVersions", "names a version twice");
    if (kind->api_version == NULL)
        kind->api_version = xstrdup(versions->items[0]);
    if (versions->length == 1) {
        free(versions->items[0]);
        vec_clear(versions);
    }
    return 0;
}

static bool is_by_identity(const struct config_strings *index_by)
{
    return index_by->length == 0 || (index_by->length == 2 && strcmp(index_by->items[0], "metadata.namespace") == 0 &&
                                     strcmp(index_by->items[1], "metadata.name") == 0);
}

bool config_kind_is_referenced(const struct config_kind *kind)
{
    return kind->watch != NULL && strcmp(kind->watch, "referenced") == 0;
}

/* A kind that is read by name alone has no labels or fields to select by. */
static int check_watch(struct reader *r, yyjson_val *value, const struct config_kind *kind)
{
    yyjson_val *key = reader_key(value, "watch");

    if (kind->watch == NULL || strcmp(kind->watch, "all") == 0)
        return 0;
    if (!config_kind_is_referenced(kind))
        return reader_fail(r, key, "watch", "must be \"all\" or \"referenced\"");
    if (kind->label_selector != NULL || kind->field_selector != NULL || kind->namespace_selector != NULL)
        return reader_fail(r, key, "watch",
                           "\"referenced\" reads objects by their names: there is no place for a selector");
    if (kind->api_versions.length > 1)
        return reader_fail(r, key, "watch", "\"referenced\" needs one \"apiVersion\"");
    if (!is_by_identity(&kind->index_by))
        return reader_fail(r, key, "watch",
                           "\"referenced\" reads objects by their names: indexBy is metadata.namespace, metadata.name");
    return 0;
}

bool config_kind_is_on_demand(const struct config_kind *kind)
{
    return kind->store != NULL && strcmp(kind->store, "on-demand") == 0;
}

static int check_store(struct reader *r, yyjson_val *value, const struct config_kind *kind)
{
    yyjson_val *key = reader_key(value, "store");

    if (kind->store == NULL || strcmp(kind->store, "full") == 0)
        return 0;
    if (!config_kind_is_on_demand(kind))
        return reader_fail(r, key, "store", "must be \"full\" or \"on-demand\"");
    if (config_kind_is_referenced(kind))
        return reader_fail(r, key, "store", "stands beside watch: referenced, which keeps only what is referred to");
    if (kind->is_owned)
        return reader_fail(r, key, "store",
                           "stands beside owned: an object that templates create is compared as a whole");
    if (kind->status_patch)
        return reader_fail(r, key, "store",
                           "\"on-demand\" needs statusPatch: false, as a status is compared with the whole object");
    return 0;
}

/* Names become labels of metrics and identifiers in templates. */
static int check_kind_name(struct reader *r, const yyjson_val *key, const char *name)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_", others[] = "0123456789-";
    size_t n = 0;

    while (strchr(letters, name[n]) != NULL && name[n] != '\0')
        n++;
    while (n > 0 && name[n] != '\0' && (strchr(letters, name[n]) != NULL || strchr(others, name[n]) != NULL))
        n++;
    if (n == 0 || name[n] != '\0' || n > KIND_NAME_MAX)
        return reader_fail(r, key, "",
                           "must be named with letters, digits, \"_\" and \"-\", a letter first, at most 63");
    return 0;
}

bool config_kind_remove(struct config *c, const char *name)
{
    for (size_t i = 0; i < c->kinds.length; i++)
        if (strcmp(c->kinds.items[i].name, name) == 0) {
            config_kind_done(&c->kinds.items[i]);
            memmove(c->kinds.items + i, c->kinds.items + i + 1, (c->kinds.length - i - 1) * sizeof(*c->kinds.items));
            c->kinds.length--;
            return true;
        }
    return false;
}

/* The controller must see each object that templates create; otherwise it could never delete the object. */
static int check_owned(struct reader *r, yyjson_val *value, const struct config_kind *kind)
{
    if (!kind->is_owned)
        return 0;
    if (kind->label_selector != NULL && strcmp(kind->label_selector, CONFIG_OWNED_LABEL) != 0)
        return reader_fail(r, reader_key(value, "labelSelector"), "labelSelector",
                           "may only be \"" CONFIG_OWNED_LABEL "\" where \"owned\" is true: what templates create "
                           "must be seen");
    if (kind->field_selector != NULL || kind->namespace_selector != NULL || kind->api_versions.length > 0)
        return reader_fail(r, reader_key(value, "owned"), "owned",
                           "needs one apiVersion, and neither fieldSelector nor namespaceSelector: what templates "
                           "create must be seen");
    return 0;
}

int config_read_kinds(struct reader *r, yyjson_val *value, void *object)
{
    struct config *c = object;
    yyjson_val *key, *item;
    size_t i, n, prefix = strlen(r->path);

    c->has_own_kinds = true;
    if (yyjson_obj_size(value) > KINDS_MAX)
        return reader_fail(r, value, "", "has more than 100 entries");
    yyjson_obj_foreach(value, i, n, key, item)
    {
        struct config_kind kind = {.name = xstrdup(yyjson_get_str(key))};
        int result = 0;
        if (yyjson_is_null(item)) {
            result = config_kind_remove(c, kind.name)
                         ? 0
                         : reader_fail(r, item, kind.name, "there is no such kind to remove");
            config_kind_done(&kind);
            if (result < 0)
                return -1;
            continue;
        }
        if (!yyjson_is_obj(item))
            result = reader_fail(r, item, kind.name, "must be an object");
        snprintf(r->path + prefix, sizeof(r->path) - prefix, "%s.", kind.name);
        if (result == 0)
            result = check_kind_name(r, key, kind.name);
        if (result == 0)
            result = reader_object(r, item, kind_fields, &kind);
        if (result == 0)
            result = check_versions(r, item, &kind);
        if (result == 0 && yyjson_obj_get(item, "statusPatch") == NULL && yyjson_obj_get(item, "status_patch") == NULL)
            kind.status_patch = config_is_ingress(kind.api_version, kind.resource);
        if (result == 0)
            result = check_index(r, item, &kind);
        if (result == 0)
            result = check_selectors(r, item, &kind);
        if (result == 0)
            result = check_owned(r, item, &kind);
        if (result == 0)
            result = check_watch(r, item, &kind);
        if (result == 0)
            result = check_store(r, item, &kind);
        r->path[prefix] = '\0';
        if (result < 0) {
            config_kind_done(&kind);
            return -1;
        }
        (void)config_kind_remove(c, kind.name);
        vec_push(&c->kinds, kind);
    }
    return 0;
}
