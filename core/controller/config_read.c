/* A key in snake_case is turned into camelCase and looked up in a table of fields. The error for an unknown key
 * suggests the most similar known one. */
#include "controller/config_read.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/nearest.h"
#include "data/json.h"

#define DURATION_MAX_NS (INT64_C(7) * 24 * 3600 * NS_PER_S)

int reader_fail(struct reader *r, const yyjson_val *at, const char *key, const char *message)
{
    if (r->has_no_lines)
        return err_set(r->err, ERR_INVALID, "%s: spec.%s%s: %s", r->file, r->path, key, message);
    return err_set(r->err, ERR_INVALID, "%s:%zu: %s%s: %s", r->file, yaml_line(r->doc, at), r->path, key, message);
}

static void camel_case(const char *key, char *out, size_t size)
{
    size_t n = 0;

    for (const char *p = key; *p != '\0' && n + 1 < size; p++) {
        if (*p == '_' && n > 0 && isalpha((unsigned char)p[1]))
            out[n++] = (char)toupper((unsigned char)*++p);
        else
            out[n++] = *p;
    }
    out[n] = '\0';
}

static int unknown_field(struct reader *r, const yyjson_val *at, const char *key, const struct field *table)
{
    struct nearest nearest = {.word = key};
    char message[512];

    for (const struct field *f = table; f->name != NULL; f++)
        nearest_offer(&nearest, f->name);
    if (nearest.found != NULL) {
        snprintf(message, sizeof(message), "unknown field; did you mean \"%s\"?", nearest.found);
    } else {
        size_t n = (size_t)snprintf(message, sizeof(message), "unknown field; valid are");
        for (const struct field *f = table; f->name != NULL && n < sizeof(message); f++)
            n += (size_t)snprintf(message + n, sizeof(message) - n, " %s", f->name);
    }
    return reader_fail(r, at, key, message);
}

static int read_duration(struct reader *r, yyjson_val *value, const struct field *f, int64_t *ret_ns)
{
    struct err why;
    int64_t ns;

    if (!yyjson_is_str(value))
        return reader_fail(r, value, f->name, "must be a duration such as \"15s\"");
    if (duration_parse(yyjson_get_str(value), &ns, &why) < 0)
        return reader_fail(r, value, f->name, why.text);
    if (ns < f->min || ns > DURATION_MAX_NS) {
        char text[DURATION_SIZE], message[64];
        snprintf(message, sizeof(message), "must be at %s %s", ns < f->min ? "least" : "most",
                 duration_format(ns < f->min ? f->min : DURATION_MAX_NS, text));
        return reader_fail(r, value, f->name, message);
    }
    *ret_ns = ns;
    return 0;
}

/* A known key without effect is reported, because its author expects one. */
static void warn_of(struct reader *r, yyjson_val *key, yyjson_val *value, const struct field *f)
{
    CLEANUP(buf_done) struct buf text = {0};
    struct err err;

    if (f->harmless != NULL && json_scalar_text(value, &text, &err) == 0 && strcmp(buf_str(&text), f->harmless) == 0)
        return;
    if (r->has_no_lines)
        vec_push(r->warnings, xasprintf("%s: spec.%s%s: has no effect: %s", r->file, r->path, f->name, f->note));
    else
        vec_push(r->warnings, xasprintf("%s:%zu: %s%s: has no effect: %s", r->file, yaml_line(r->doc, key), r->path,
                                        f->name, f->note));
}

static int read_strings(struct reader *r, yyjson_val *value, const char *key, struct config_strings *out)
{
    yyjson_val *item;
    size_t i, n;

    if (!yyjson_is_arr(value))
        return reader_fail(r, value, key, "must be a list of strings");
    for (size_t j = 0; j < out->length; j++)
        free(out->items[j]);
    vec_clear(out);
    yyjson_arr_foreach(value, i, n, item)
    {
        if (json_str_of(item) == NULL)
            return reader_fail(r, item, key, "must be a list of strings");
        vec_push(out, xstrdup(json_str_of(item)));
    }
    return 0;
}

static int read_field(struct reader *r, yyjson_val *key, yyjson_val *value, const struct field *f, void *object)
{
    char *at = (char *)object + f->offset;
    char message[128];

    switch (f->type) {
    case FIELD_ELSEWHERE:
        return 0;
    case FIELD_ANY:
        return f->read(r, value, object);
    case FIELD_WITHOUT_EFFECT:
        warn_of(r, key, value, f);
        return 0;
    case FIELD_STRING:
        if (json_str_of(value) == NULL)
            return reader_fail(r, value, f->name, "must be a string");
        free(*(char **)at);
        *(char **)at = xstrdup(json_str_of(value));
        return 0;
    case FIELD_STRINGS:
        return read_strings(r, value, f->name, (struct config_strings *)at);
    case FIELD_BOOL:
        if (!yyjson_is_bool(value))
            return reader_fail(r, value, f->name, "must be true or false");
        *(bool *)at = yyjson_get_bool(value);
        return 0;
    case FIELD_INT:
        if (!yyjson_is_int(value) || json_int_of(value, f->min - 1) < f->min ||
            json_int_of(value, f->min - 1) > f->max) {
            snprintf(message, sizeof(message), "must be a whole number from %lld to %lld", (long long)f->min,
                     (long long)f->max);
            return reader_fail(r, value, f->name, message);
        }
        *(int64_t *)at = yyjson_get_sint(value);
        return 0;
    case FIELD_DURATION:
        return read_duration(r, value, f, (int64_t *)at);
    case FIELD_OBJECT:
    case FIELD_TABLE: {
        size_t length = strlen(r->path);
        int result;
        if (!yyjson_is_obj(value))
            return reader_fail(r, value, f->name, "must be an object");
        snprintf(r->path + length, sizeof(r->path) - length, "%s.", f->name);
        result = f->type == FIELD_TABLE ? reader_object(r, value, f->table, object) : f->read(r, value, object);
        r->path[length] = '\0';
        return result;
    }
    }
    return reader_fail(r, value, f->name, "cannot be read");
}

yyjson_val *reader_key(yyjson_val *object, const char *name)
{
    yyjson_obj_iter it = yyjson_obj_iter_with(object);

    for (yyjson_val *key; (key = yyjson_obj_iter_next(&it)) != NULL;) {
        char plain[128];
        camel_case(yyjson_get_str(key), plain, sizeof(plain));
        if (strcmp(plain, name) == 0)
            return key;
    }
    return object;
}

int reader_object(struct reader *r, yyjson_val *value, const struct field *table, void *object)
{
    yyjson_val *key, *item;
    size_t i, n;

    yyjson_obj_foreach(value, i, n, key, item)
    {
        char name[128];
        const struct field *f = table;
        camel_case(yyjson_get_str(key), name, sizeof(name));
        while (f->name != NULL && strcmp(f->name, name) != 0)
            f++;
        if (f->name == NULL)
            return unknown_field(r, key, yyjson_get_str(key), table);
        if (yyjson_is_null(item))
            continue;
        if (read_field(r, key, item, f, object) < 0)
            return -1;
    }
    for (const struct field *f = table; f->name != NULL; f++)
        if (f->required && *(char **)((char *)object + f->offset) == NULL)
            return reader_fail(r, value, f->name, "is missing");
    return 0;
}

const char *config_revision_of(const struct config *c, const char *library)
{
    for (size_t i = 0; i < c->refs.length; i++)
        if (strcmp(c->refs.items[i].name, library) == 0 && c->refs.items[i].revision != NULL)
            return c->refs.items[i].revision;
    return "";
}

void config_forget_tests(struct config *c)
{
    free(STEAL(c->tested_text));
    c->tested_length = 0;
}
