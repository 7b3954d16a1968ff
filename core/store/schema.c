/* One walk down the object along the table; the path is written as it goes. */
#include "store/schema.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "data/json.h"
#include "store/schema_state.h"

struct walk {
    schema_found *found;
    void *ctx;
    unsigned count;
    char path[512];
};

static void tell(struct walk *w, bool is_error, struct yyjson_val *at, const char *message)
{
    if (w->count++ < SCHEMA_FOUND_MAX)
        w->found(w->ctx, is_error, at, w->path, message);
}

/* Longer paths are cut; the length before is for path_cut(). */
static size_t path_add(struct walk *w, const char *name)
{
    size_t length = strlen(w->path);

    snprintf(w->path + length, sizeof(w->path) - length, "%s%s", length > 0 ? "." : "", name);
    return length;
}

static void path_cut(struct walk *w, size_t length)
{
    w->path[length] = '\0';
}

static bool is_absent(struct yyjson_val *value)
{
    return value == NULL || yyjson_is_null(value);
}

static void check_table(struct walk *w, struct yyjson_val *object, const struct schema_field *table, bool is_root);

static void check_string(struct walk *w, struct yyjson_val *value, const struct schema_field *f)
{
    char message[160];

    if (!yyjson_is_str(value)) {
        tell(w, true, value, "must be a string; put the value into quotes");
        return;
    }
    if (f->values == NULL)
        return;
    size_t n = (size_t)snprintf(message, sizeof(message), "must be one of");
    for (const char *const *known = f->values; *known != NULL; known++) {
        if (strcmp(*known, yyjson_get_str(value)) == 0)
            return;
        n += (size_t)snprintf(message + n, sizeof(message) - n, "%s %s", known == f->values ? "" : ",", *known);
    }
    tell(w, true, value, message);
}

static void check_strings(struct walk *w, struct yyjson_val *value)
{
    struct yyjson_val *key, *item;
    size_t i, n;

    if (!yyjson_is_obj(value)) {
        tell(w, true, value, "must be a mapping of strings");
        return;
    }
    yyjson_obj_foreach(value, i, n, key, item)
    {
        /* The server takes null for an empty string here. */
        if (yyjson_is_str(item) || yyjson_is_null(item))
            continue;
        size_t length = path_add(w, yyjson_get_str(key));
        tell(w, true, item, "must be a string; put the value into quotes");
        path_cut(w, length);
    }
}

static void check_int(struct walk *w, struct yyjson_val *value, const struct schema_field *f)
{
    char message[64];

    if (!yyjson_is_int(value)) {
        tell(w, true, value, yyjson_is_str(value) ? "must be a number, without quotes" : "must be a whole number");
    } else if (f->high != 0 && (json_int_of(value, -1) < f->low || json_int_of(value, -1) > f->high)) {
        snprintf(message, sizeof(message), "must be from %d to %d", f->low, f->high);
        tell(w, true, value, message);
    }
}

static void check_one(struct walk *w, struct yyjson_val *value, const struct schema_field *f)
{
    switch (f->type) {
    case SCHEMA_STRING:
        check_string(w, value, f);
        return;
    case SCHEMA_INT:
        check_int(w, value, f);
        return;
    case SCHEMA_BOOL:
        if (!yyjson_is_bool(value))
            tell(w, true, value, "must be true or false, without quotes");
        return;
    case SCHEMA_INT_OR_STRING:
        if (!yyjson_is_int(value) && !yyjson_is_str(value))
            tell(w, true, value, "must be a whole number or a string");
        return;
    case SCHEMA_STRINGS:
        check_strings(w, value);
        return;
    case SCHEMA_OBJECT:
        if (yyjson_is_obj(value))
            check_table(w, value, f->table, false);
        else
            tell(w, true, value, "must be a mapping");
        return;
    case SCHEMA_ANY:
        return;
    }
}

static void check_field(struct walk *w, struct yyjson_val *value, const struct schema_field *f)
{
    struct yyjson_val *item;
    size_t i, n, length = strlen(w->path);

    if (!f->is_list) {
        check_one(w, value, f);
        return;
    }
    if (!yyjson_is_arr(value)) {
        tell(w, true, value, "must be a list");
        return;
    }
    yyjson_arr_foreach(value, i, n, item)
    {
        snprintf(w->path + length, sizeof(w->path) - length, "[%zu]", i);
        check_one(w, item, f);
        path_cut(w, length);
    }
}

/* The server reads names by their exact letters; what differs in case only is a slip. */
static void tell_unknown(struct walk *w, struct yyjson_val *key, const struct schema_field *table)
{
    char message[160];

    for (const struct schema_field *f = table; f->name != NULL; f++)
        if (strcasecmp(f->name, yyjson_get_str(key)) == 0) {
            snprintf(message, sizeof(message), "unknown field, which is ignored; did you mean %s?", f->name);
            tell(w, false, key, message);
            return;
        }
    tell(w, false, key, "unknown field, which is ignored");
}

static bool is_common(const char *name)
{
    return strcmp(name, "apiVersion") == 0 || strcmp(name, "kind") == 0 || strcmp(name, "metadata") == 0;
}

static void check_table(struct walk *w, struct yyjson_val *object, const struct schema_field *table, bool is_root)
{
    struct yyjson_val *key, *value;
    size_t i, n;

    yyjson_obj_foreach(object, i, n, key, value)
    {
        const struct schema_field *f = table;
        while (f->name != NULL && strcmp(f->name, yyjson_get_str(key)) != 0)
            f++;
        if (is_root && is_common(yyjson_get_str(key)))
            continue;
        size_t length = path_add(w, yyjson_get_str(key));
        if (f->name == NULL)
            tell_unknown(w, key, table);
        else if (!yyjson_is_null(value))
            check_field(w, value, f);
        path_cut(w, length);
    }
    for (const struct schema_field *f = table; f->name != NULL; f++)
        if (f->is_required && is_absent(yyjson_obj_get(object, f->name))) {
            size_t length = path_add(w, f->name);
            tell(w, true, object, "is missing");
            path_cut(w, length);
        }
}

/* ---- names ---- */

/* RFC 1123: labels of small letters, digits and "-", joined by dots. */
static bool is_subdomain(const char *name, size_t max, bool dots)
{
    size_t length = strlen(name);

    if (length == 0 || length > max)
        return false;
    for (size_t i = 0; i < length; i++) {
        bool is_edge = i == 0 || i + 1 == length || name[i - 1] == '.' || name[i + 1] == '.';
        if (name[i] == '.'
                ? is_edge || !dots
                : !islower((unsigned char)name[i]) && !isdigit((unsigned char)name[i]) && (name[i] != '-' || is_edge))
            return false;
    }
    return true;
}

static void check_name(struct walk *w, struct yyjson_val *metadata, const struct schema_kind *kind)
{
    const char *name = json_str(metadata, "name"), *namespace = json_str(metadata, "namespace");

    if (name != NULL && kind->kind != NULL) {
        size_t length = path_add(w, "name");
        if (kind->name == SCHEMA_NAME_LABEL && (!is_subdomain(name, 63, false) || isdigit((unsigned char)*name)))
            tell(w, true, json_at(metadata, "name"),
                 "must be at most 63 small letters, digits and \"-\", a letter first");
        else if (kind->name == SCHEMA_NAME_SUBDOMAIN && !is_subdomain(name, 253, true))
            tell(w, true, json_at(metadata, "name"), "must be a DNS name in small letters");
        path_cut(w, length);
    }
    if (namespace != NULL && *namespace != '\0' && !is_subdomain(namespace, 63, false)) {
        size_t length = path_add(w, "namespace");
        tell(w, true, json_at(metadata, "namespace"), "must be at most 63 small letters, digits and \"-\"");
        path_cut(w, length);
    }
}

void schema_check(const char *api_version, const char *kind, struct yyjson_val *object, schema_found *found, void *ctx)
{
    struct walk w = {.found = found, .ctx = ctx};
    const struct schema_kind *k = schema_kinds;
    struct yyjson_val *metadata = json_at(object, "metadata");

    while (k->kind != NULL && (strcmp(k->api_version, api_version) != 0 || strcmp(k->kind, kind) != 0))
        k++;
    size_t length = path_add(&w, "metadata");
    if (yyjson_is_obj(metadata)) {
        check_table(&w, metadata, schema_metadata, false);
        check_name(&w, metadata, k);
    }
    path_cut(&w, length);
    if (k->kind != NULL)
        check_table(&w, object, k->table, true);
}
