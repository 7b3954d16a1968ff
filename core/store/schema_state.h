/* schema_state.h — the form of the tables in schema_kinds.c, for the files of schema only. */
#ifndef HAPTIC_STORE_SCHEMA_STATE_H
#define HAPTIC_STORE_SCHEMA_STATE_H

#include <stdbool.h>
#include <stddef.h>

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
};

enum schema_name { SCHEMA_NAME_SUBDOMAIN, SCHEMA_NAME_LABEL };

struct schema_kind {
    const char *api_version, *kind;
    enum schema_name name;
    const struct schema_field *table; /* besides apiVersion, kind and metadata */
};

extern const struct schema_kind schema_kinds[]; /* ends with a row without a kind */
extern const struct schema_field schema_metadata[];

#endif
