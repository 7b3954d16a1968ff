/* One walk down the object along the table. The path is written during the walk. */
#include "store/schema.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "data/json.h"
#include "store/schema_state.h"

static bool is_absent(struct yyjson_val *value)
{
    return value == NULL || yyjson_is_null(value);
}

static void check_table(struct schema_walk *w, struct yyjson_val *object, const struct schema_field *table,
                        bool is_root);

static void check_text(struct schema_walk *w, struct yyjson_val *at, const char *text, schema_format *format)
{
    const char *message = format && text ? format(text) : NULL;
    if (message)
        schema_tell(w, true, at, message);
}

static void check_string(struct schema_walk *w, struct yyjson_val *value, const struct schema_field *f)
{
    char message[160];

    if (!yyjson_is_str(value)) {
        schema_tell(w, true, value, "must be a string; put the value into quotes");
        return;
    }
    check_text(w, value, yyjson_get_str(value), f->format);
    if (f->values == NULL)
        return;
    size_t n = (size_t)snprintf(message, sizeof(message), "must be one of");
    for (const char *const *known = f->values; *known != NULL; known++) {
        if (strcmp(*known, yyjson_get_str(value)) == 0)
            return;
        n += (size_t)snprintf(message + n, sizeof(message) - n, "%s %s", known == f->values ? "" : ",", *known);
    }
    schema_tell(w, true, value, message);
}

static void check_strings(struct schema_walk *w, struct yyjson_val *value, const struct schema_field *f)
{
    struct yyjson_val *key, *item;
    size_t i, n;

    if (!yyjson_is_obj(value)) {
        schema_tell(w, true, value, "must be a mapping of strings");
        return;
    }
    yyjson_obj_foreach(value, i, n, key, item)
    {
        size_t length = schema_path_add(w, yyjson_get_str(key));
        check_text(w, key, yyjson_get_str(key), f->key_format);
        /* The API server accepts null instead of an empty string here. */
        if (yyjson_is_str(item))
            check_text(w, item, yyjson_get_str(item), f->format);
        else if (!yyjson_is_null(item))
            schema_tell(w, true, item, "must be a string; put the value into quotes");
        schema_path_cut(w, length);
    }
}

static void check_int(struct schema_walk *w, struct yyjson_val *value, const struct schema_field *f)
{
    char message[64];

    if (!yyjson_is_int(value)) {
        schema_tell(w, true, value,
                    yyjson_is_str(value) ? "must be a number, without quotes" : "must be a whole number");
    } else if (f->high != 0 && (json_int_of(value, -1) < f->low || json_int_of(value, -1) > f->high)) {
        snprintf(message, sizeof(message), "must be from %d to %d", f->low, f->high);
        schema_tell(w, true, value, message);
    }
}

static void check_one(struct schema_walk *w, struct yyjson_val *value, const struct schema_field *f)
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
            schema_tell(w, true, value, "must be true or false, without quotes");
        return;
    case SCHEMA_INT_OR_STRING:
        if (!yyjson_is_int(value) && !yyjson_is_str(value))
            schema_tell(w, true, value, "must be a whole number or a string");
        return;
    case SCHEMA_STRINGS:
        check_strings(w, value, f);
        return;
    case SCHEMA_OBJECT:
        if (!yyjson_is_obj(value)) {
            schema_tell(w, true, value, "must be a mapping");
            return;
        }
        check_table(w, value, f->table, false);
        if (f->rule)
            f->rule(w, value);
        return;
    case SCHEMA_ANY:
        return;
    }
}

static void check_field(struct schema_walk *w, struct yyjson_val *value, const struct schema_field *f)
{
    struct yyjson_val *item;
    size_t i, n;

    if (!f->is_list) {
        check_one(w, value, f);
        return;
    }
    if (!yyjson_is_arr(value)) {
        schema_tell(w, true, value, "must be a list");
        return;
    }
    yyjson_arr_foreach(value, i, n, item)
    {
        size_t length = schema_path_index(w, i);
        check_one(w, item, f);
        schema_path_cut(w, length);
    }
}

/* The API server compares names by their exact case. A name that differs in case only is a mistake. */
static void tell_unknown(struct schema_walk *w, struct yyjson_val *key, const struct schema_field *table)
{
    char message[160];

    for (const struct schema_field *f = table; f->name != NULL; f++)
        if (strcasecmp(f->name, yyjson_get_str(key)) == 0) {
            snprintf(message, sizeof(message), "unknown field, which is ignored; did you mean %s?", f->name);
            schema_tell(w, false, key, message);
            return;
        }
    schema_tell(w, false, key, "unknown field, which is ignored");
}

static bool is_common(const char *name)
{
    return strcmp(name, "apiVersion") == 0 || strcmp(name, "kind") == 0 || strcmp(name, "metadata") == 0;
}

static void check_table(struct schema_walk *w, struct yyjson_val *object, const struct schema_field *table,
                        bool is_root)
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
        size_t length = schema_path_add(w, yyjson_get_str(key));
        if (f->name == NULL)
            tell_unknown(w, key, table);
        else if (!yyjson_is_null(value))
            check_field(w, value, f);
        schema_path_cut(w, length);
    }
    for (const struct schema_field *f = table; f->name != NULL; f++)
        if (f->is_required && is_absent(yyjson_obj_get(object, f->name))) {
            size_t length = schema_path_add(w, f->name);
            schema_tell(w, true, object, "is missing");
            schema_path_cut(w, length);
        }
}

/* ---- names ---- */

static void check_name(struct schema_walk *w, struct yyjson_val *metadata, const char *field, schema_format *format)
{
    size_t length = schema_path_add(w, field);
    check_text(w, json_at(metadata, field), json_str(metadata, field), format);
    schema_path_cut(w, length);
}

void schema_check(const char *api_version, const char *kind, struct yyjson_val *object, schema_found *found, void *ctx)
{
    struct schema_walk w = {.found = found, .ctx = ctx};
    const struct schema_kind *k = schema_kinds;
    struct yyjson_val *metadata = json_at(object, "metadata");

    while (k->kind != NULL && (strcmp(k->api_version, api_version) != 0 || strcmp(k->kind, kind) != 0))
        k++;
    size_t length = schema_path_add(&w, "metadata");
    if (yyjson_is_obj(metadata)) {
        check_table(&w, metadata, schema_metadata, false);
        check_name(&w, metadata, "name", k->name);
        check_name(&w, metadata, "namespace", schema_format_optional_label);
    }
    schema_path_cut(&w, length);
    if (k->kind != NULL)
        check_table(&w, object, k->table, true);
    if (k->kind != NULL && k->rule)
        k->rule(&w, object);
}
