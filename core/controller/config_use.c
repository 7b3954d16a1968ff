/* Turns a configuration into the renderer's program and the kinds of the store. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/families.h"
#include "controller/config.h"
#include "controller/setting.h"
#include "data/json.h"
#include "engine/embedded.h"

/* ---- the program ---- */

static void put_texts(yyjson_mut_doc *doc, yyjson_mut_val *object, const struct config_texts *texts, bool scripts)
{
    for (size_t i = 0; i < texts->items.length; i++) {
        const struct config_text *t = &texts->items.items[i];
        size_t length = strlen(t->name);
        bool is_script = length > 4 && strcmp(t->name + length - 4, ".lua") == 0;
        if (is_script == scripts)
            yyjson_mut_obj_add_str(doc, object, t->name, t->text);
    }
}

static void put_rules(yyjson_mut_doc *doc, yyjson_mut_val *object, const char *prefix, const char *output,
                      const struct config_rewrites *rewrites)
{
    CLEANUP(free_ptr) char *name = xasprintf("%s%s", prefix, output);

    if (rewrites->length == 0)
        return;
    yyjson_mut_val *list = yyjson_mut_arr(doc);
    yyjson_mut_obj_add(object, yyjson_mut_strcpy(doc, name), list);
    for (size_t i = 0; i < rewrites->length; i++) {
        yyjson_mut_val *rule = yyjson_mut_arr_add_obj(doc, list);
        yyjson_mut_obj_add_str(doc, rule, "pattern", rewrites->items[i].pattern);
        yyjson_mut_obj_add_str(doc, rule, "replace", rewrites->items[i].replacement);
    }
}

static void put_rewrites(yyjson_mut_doc *doc, yyjson_mut_val *object, const struct config *c)
{
    put_rules(doc, object, "", "haproxyConfig", &c->rewrites);
    for (size_t i = 0; i < c->maps.items.length; i++)
        put_rules(doc, object, "maps/", c->maps.items.items[i].name, &c->maps.items.items[i].rewrites);
    for (size_t i = 0; i < c->files.items.length; i++)
        put_rules(doc, object, "files/", c->files.items.items[i].name, &c->files.items.items[i].rewrites);
}

#define TEMPLATES "templates/"

static void put_embedded(yyjson_mut_doc *doc, yyjson_mut_val *array, const struct embedded_file *file)
{
    yyjson_mut_val *script = yyjson_mut_arr_add_obj(doc, array);

    yyjson_mut_obj_add_str(doc, script, "name", file->name + strlen(TEMPLATES));
    yyjson_mut_obj_add_strn(doc, script, "source", file->bytes, file->length);
    yyjson_mut_obj_add_bool(doc, script, "library", true);
}

/* The parts of a library, templates/NAME/PART.lua in the order of their names, then templates/NAME.lua. */
static void put_library(yyjson_mut_doc *doc, yyjson_mut_val *array, const char *name)
{
    CLEANUP(free_ptr) char *parts = xasprintf(TEMPLATES "%s/", name);
    CLEANUP(free_ptr) char *whole = xasprintf(TEMPLATES "%s.lua", name);
    struct embedded_file file;

    for (size_t i = 0; i < embedded_count(); i++) {
        file = embedded_at(i);
        if (strncmp(file.name, parts, strlen(parts)) == 0)
            put_embedded(doc, array, &file);
    }
    if (embedded_find(whole, &file))
        put_embedded(doc, array, &file);
}

static void put_scripts(yyjson_mut_doc *doc, yyjson_mut_val *array, const struct config *c)
{
    for (size_t i = 0; i < c->libraries.length; i++)
        put_library(doc, array, c->libraries.items[i]);
    for (size_t i = 0; i < c->snippets.items.length; i++) {
        const struct config_text *t = &c->snippets.items.items[i];
        size_t length = strlen(t->name);
        if (length <= 4 || strcmp(t->name + length - 4, ".lua") != 0)
            continue;
        yyjson_mut_val *script = yyjson_mut_arr_add_obj(doc, array);
        yyjson_mut_obj_add_str(doc, script, "name", t->name);
        yyjson_mut_obj_add_str(doc, script, "source", t->text);
    }
}

static void put_owned(yyjson_mut_doc *doc, yyjson_mut_val *kind, const struct config_kind *k)
{
    yyjson_mut_val *owned = yyjson_mut_obj_add_obj(doc, kind, "owned");

    yyjson_mut_obj_add_str(doc, owned, "apiVersion", k->api_version);
    yyjson_mut_obj_add_str(doc, owned, "resources", k->resource);
    if (k->namespaces.length == 0)
        return;
    yyjson_mut_val *namespaces = yyjson_mut_obj_add_arr(doc, owned, "namespaces");
    for (size_t i = 0; i < k->namespaces.length; i++)
        yyjson_mut_arr_add_str(doc, namespaces, k->namespaces.items[i]);
}

int config_program(const struct config *c, const struct haproxy_caps *caps, const char *default_certificate,
                   const char *const *extra, struct buf *out, struct err *err)
{
    CLEANUP(json_doc_done) struct yyjson_doc *context = NULL;
    char version[32];

    if (json_parse(c->extra_context, strlen(c->extra_context), CONFIG_FILE_MAX, &context, err) < 0)
        return err_wrap(err, "extraContext");
    yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
    yyjson_mut_val *root = yyjson_mut_obj(doc);
    yyjson_mut_doc_set_root(doc, root);
    yyjson_mut_val *kinds = yyjson_mut_obj_add_arr(doc, root, "kinds");
    for (size_t j = 0; j < c->kinds.length; j++) {
        yyjson_mut_val *kind = yyjson_mut_arr_add_obj(doc, kinds);
        size_t parts = c->kinds.items[j].index_by.length;
        yyjson_mut_obj_add_str(doc, kind, "name", c->kinds.items[j].name);
        yyjson_mut_obj_add_uint(doc, kind, "parts", parts > 0 ? parts : 2);
        if (config_kind_is_referenced(&c->kinds.items[j]) || config_kind_is_on_demand(&c->kinds.items[j]))
            yyjson_mut_obj_add_bool(doc, kind, "lazy", true);
        if (config_kind_is_on_demand(&c->kinds.items[j]))
            yyjson_mut_obj_add_bool(doc, kind, "keyed", true);
        if (c->kinds.items[j].status_patch)
            yyjson_mut_obj_add_bool(doc, kind, "status", true);
        if (c->kinds.items[j].is_owned)
            put_owned(doc, kind, &c->kinds.items[j]);
    }
    put_scripts(doc, yyjson_mut_obj_add_arr(doc, root, "scripts"), c);
    put_texts(doc, yyjson_mut_obj_add_obj(doc, root, "snippets"), &c->snippets, false);
    put_texts(doc, yyjson_mut_obj_add_obj(doc, root, "maps"), &c->maps, false);
    put_texts(doc, yyjson_mut_obj_add_obj(doc, root, "files"), &c->files, false);
    put_texts(doc, yyjson_mut_obj_add_obj(doc, root, "certificates"), &c->certificates, false);
    put_texts(doc, yyjson_mut_obj_add_obj(doc, root, "crtLists"), &c->crt_lists, false);
    put_rewrites(doc, yyjson_mut_obj_add_obj(doc, root, "rewrites"), c);
    if (c->haproxy_config != NULL)
        yyjson_mut_obj_add_str(doc, root, "haproxyConfig", c->haproxy_config);
    else
        yyjson_mut_obj_add_null(doc, root, "haproxyConfig");
    yyjson_mut_val *extra_context = yyjson_val_mut_copy(doc, yyjson_doc_get_root(context));
    yyjson_mut_val *set = yyjson_mut_obj(doc);
    for (; extra != NULL && *extra != NULL; extra++) {
        const char *equals = strchr(*extra, '=');
        yyjson_mut_val *key = yyjson_mut_strncpy(doc, *extra, (size_t)(equals - *extra));
        yyjson_mut_obj_put(set, key, setting_value(doc, equals + 1));
    }
    size_t i, n;
    yyjson_mut_val *key, *value;
    yyjson_mut_obj_foreach(set, i, n, key, value)
    {
        if (yyjson_mut_obj_get(extra_context, yyjson_mut_get_str(key)) == NULL)
            yyjson_mut_obj_add_val(doc, extra_context, yyjson_mut_get_str(key), yyjson_mut_val_mut_copy(doc, value));
    }
    yyjson_mut_obj_add_val(doc, root, "extraContext", extra_context);
    yyjson_mut_val *capabilities = yyjson_mut_obj_add_obj(doc, root, "capabilities");
    snprintf(version, sizeof(version), "%d.%d", caps->major, caps->minor);
    yyjson_mut_obj_add_strcpy(doc, capabilities, "version", version);
    yyjson_mut_obj_add_int(doc, capabilities, "major", caps->major);
    yyjson_mut_obj_add_int(doc, capabilities, "minor", caps->minor);
    yyjson_mut_obj_add_bool(doc, capabilities, "dynamic_servers", caps->dynamic_servers);
    yyjson_mut_obj_add_bool(doc, capabilities, "dynamic_backends", caps->dynamic_backends);
    yyjson_mut_obj_add_bool(doc, capabilities, "quic", caps->quic);
    yyjson_mut_obj_add_bool(doc, capabilities, "quic_limited", caps->quic_limited);
    yyjson_mut_obj_add_bool(doc, capabilities, "lua", caps->lua);
    yyjson_mut_obj_add_bool(doc, capabilities, "acme", caps->acme);
    struct families families = families_of_machine();
    yyjson_mut_obj_add_bool(doc, capabilities, "ipv6", families.ipv6);
    yyjson_mut_obj_add_bool(doc, capabilities, "ipv6_loopback", families.ipv6_loopback);
    yyjson_mut_obj_add_bool(doc, capabilities, "ipv4_route", families.ipv4_route);
    yyjson_mut_obj_add_bool(doc, capabilities, "ipv6_route", families.ipv6_route);
    yyjson_mut_obj_add_bool(doc, capabilities, "resolv_conf", access("/etc/resolv.conf", R_OK) == 0);
    if (default_certificate != NULL)
        yyjson_mut_obj_add_str(doc, capabilities, "default_certificate", default_certificate);
    struct rlimit descriptors;
    if (getrlimit(RLIMIT_NOFILE, &descriptors) == 0 && descriptors.rlim_max != RLIM_INFINITY)
        yyjson_mut_obj_add_uint(doc, capabilities, "fd_limit", descriptors.rlim_max);
    yyjson_mut_obj_add_bool(doc, root, "allowRaw", c->allow_raw);

    size_t length = 0;
    char *json = yyjson_mut_write(doc, 0, &length);
    yyjson_mut_doc_free(doc);
    if (json == NULL)
        return err_set(err, ERR_INVALID, "the templates are not valid UTF-8");
    int result = buf_try_add(out, json, length, err);
    free(json);
    return result;
}

/* ---- kinds of the store ---- */

static bool same_string(const char *a, const char *b)
{
    return strcmp(a ? a : "", b ? b : "") == 0;
}

static bool same_list(char *const *a, size_t length, const char *const *b)
{
    size_t i = 0;

    for (; b != NULL && b[i] != NULL; i++)
        if (i >= length || strcmp(a[i], b[i]) != 0)
            return false;
    return i == length;
}

static bool same_kind(const struct config_kind *k, const struct store_kind_spec *spec)
{
    return same_list(k->api_versions.items, k->api_versions.length, spec->api_versions) &&
           (spec->api_versions != NULL || same_string(k->api_version, spec->api_version)) &&
           same_string(k->resource, spec->resource) && same_string(k->label_selector, spec->label_selector) &&
           same_string(k->field_selector, spec->field_selector) &&
           config_kind_is_referenced(k) == spec->is_referenced && config_kind_is_on_demand(k) == spec->is_on_demand &&
           same_list(k->index_by.items, k->index_by.length, spec->index_by) &&
           same_list(k->namespaces.items, k->namespaces.length, spec->namespaces) &&
           same_string(k->namespace_selector, spec->namespace_selector) && k->is_optional == spec->is_optional;
}

/* Removes kinds of the store: those that the configuration does not name; with differing, those that it describes
 * differently. */
static void remove_kinds(const struct config *c, struct store *store, bool differing, bool *ret_changed)
{
    for (size_t i = store_kind_count(store); i-- > 0;) {
        struct store_kind *kind = store_kind_at(store, i);
        const struct store_kind_spec *spec = store_kind_spec(kind);
        bool named = false, same = false;
        for (size_t j = 0; j < c->kinds.length; j++) {
            if (strcmp(c->kinds.items[j].name, spec->name) != 0)
                continue;
            named = true;
            same = same_kind(&c->kinds.items[j], spec);
        }
        if (differing ? named && !same : !named) {
            store_remove_kind(store, kind);
            *ret_changed = true;
        }
    }
}

void config_remove_kinds(const struct config *c, struct store *store, bool *ret_changed)
{
    *ret_changed = false;
    remove_kinds(c, store, false, ret_changed);
}

int config_add_kinds(const struct config *c, struct store *store, bool *ret_changed, struct err *err)
{
    *ret_changed = false;
    remove_kinds(c, store, true, ret_changed);
    for (size_t i = 0; i < c->kinds.length; i++) {
        const struct config_kind *k = &c->kinds.items[i];
        struct store_kind *added;
        if (store_kind_by_name(store, k->name) != NULL)
            continue;
        VEC(const char *) index_by = {0}, namespaces = {0}, versions = {0};
        for (size_t j = 0; j < k->api_versions.length; j++)
            vec_push(&versions, k->api_versions.items[j]);
        vec_push(&versions, NULL);
        for (size_t j = 0; j < k->index_by.length; j++)
            vec_push(&index_by, k->index_by.items[j]);
        vec_push(&index_by, NULL);
        for (size_t j = 0; j < k->namespaces.length; j++)
            vec_push(&namespaces, k->namespaces.items[j]);
        vec_push(&namespaces, NULL);
        struct store_kind_spec spec = {.name = k->name,
                                       .api_version = k->api_version,
                                       .resource = k->resource,
                                       .index_by = k->index_by.length > 0 ? index_by.items : NULL,
                                       .label_selector = k->label_selector,
                                       .field_selector = k->field_selector,
                                       .namespaces = k->namespaces.length > 0 ? namespaces.items : NULL,
                                       .api_versions = k->api_versions.length > 0 ? versions.items : NULL,
                                       .namespace_selector = k->namespace_selector,
                                       .is_optional = k->is_optional,
                                       .is_on_demand = config_kind_is_on_demand(k),
                                       .is_referenced = config_kind_is_referenced(k)};
        int result = store_add_kind(store, &spec, &added, err);
        vec_done(&index_by);
        vec_done(&namespaces);
        vec_done(&versions);
        if (result < 0)
            return -1;
        *ret_changed = true;
    }
    return 0;
}

/* ---- differences ---- */

static bool same_strings(const struct config_strings *a, const struct config_strings *b)
{
    if (a->length != b->length)
        return false;
    for (size_t i = 0; i < a->length; i++)
        if (strcmp(a->items[i], b->items[i]) != 0)
            return false;
    return true;
}

bool config_kind_equal(const struct config_kind *a, const struct config_kind *b)
{
    return strcmp(a->name, b->name) == 0 && strcmp(a->api_version, b->api_version) == 0 &&
           strcmp(a->resource, b->resource) == 0 && same_string(a->label_selector, b->label_selector) &&
           same_string(a->field_selector, b->field_selector) && same_strings(&a->index_by, &b->index_by) &&
           same_strings(&a->namespaces, &b->namespaces) && same_strings(&a->api_versions, &b->api_versions) &&
           same_string(a->namespace_selector, b->namespace_selector) && a->is_optional == b->is_optional &&
           config_kind_is_referenced(a) == config_kind_is_referenced(b) &&
           config_kind_is_on_demand(a) == config_kind_is_on_demand(b);
}

bool config_ignores_equal(const struct config *a, const struct config *b)
{
    return same_strings(&a->ignore_fields, &b->ignore_fields);
}
