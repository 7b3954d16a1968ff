/* schema_state.h — the form of the tables in schema_kinds.c, for the files of schema only. */
#ifndef HAPTIC_STORE_SCHEMA_STATE_H
#define HAPTIC_STORE_SCHEMA_STATE_H

#include <stdbool.h>
#include <stddef.h>

#include "store/schema_format.h"
#include "store/schema_rule.h"

enum schema_type {
    SCHEMA_STRING,
    SCHEMA_INT,
    SCHEMA_BOOL,
    SCHEMA_INT_OR_STRING,
    SCHEMA_STRINGS, /* a map whose values are strings */
    SCHEMA_OBJECT,
    SCHEMA_ANY,
};

struct schema_field {
    const char *name;
    enum schema_type type;
    bool is_list, is_required;
    const char *const *values;        /* of a string: NULL-terminated; NULL: any */
    const struct schema_field *table; /* of an object: ends with a row without a name */
    int low, high;                    /* of an integer, when high is not 0 */
    schema_format *format;            /* of a string, or of the values of strings; may be NULL */
    schema_format *key_format;        /* of the keys of strings; may be NULL */
    schema_rule *rule;                /* of an object; may be NULL */
};

struct schema_kind {
    const char *api_version, *kind;
    schema_format *name;
    const struct schema_field *table; /* besides apiVersion, kind and metadata */
    schema_rule *rule;                /* may be NULL */
};

extern const struct schema_kind schema_kinds[]; /* ends with a row without a kind */
extern const struct schema_field schema_metadata[];

#endif
