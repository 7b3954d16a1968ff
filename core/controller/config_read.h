/* config_read.h — reading a document by tables of fields: one table per object, each row a key, a type and where the
 * value goes.
 * Thread:  loop thread only.
 * Errors:  ERR_INVALID with file, line and path of the field.
 */
#ifndef HAPTIC_CONTROLLER_CONFIG_READ_H
#define HAPTIC_CONTROLLER_CONFIG_READ_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "controller/config.h"
#include "data/yaml.h"

struct reader {
    struct config *config;
    struct config_strings *warnings;
    const struct yaml_doc *doc;
    const char *file;
    bool has_no_lines;   /* a resource: its text is nobody's file */
    const char *library; /* whose fields are read; NULL: the configuration's */
    char path[256];      /* of the object being read, with a dot at its end */
    struct err *err;
};

enum field_type {
    FIELD_STRING,
    FIELD_STRINGS,
    FIELD_BOOL,
    FIELD_INT,
    FIELD_DURATION,
    FIELD_OBJECT,
    FIELD_ANY, /* as FIELD_OBJECT, of any type */
    FIELD_TABLE,
    FIELD_ELSEWHERE,     /* read by somebody else */
    FIELD_WITHOUT_EFFECT /* any value is taken, with a warning that says why it does nothing */
};

struct field {
    const char *name;
    enum field_type type;
    bool required;             /* FIELD_STRING only */
    size_t offset;             /* of the value, in the object given to reader_object() */
    const struct field *table; /* FIELD_TABLE: its own rows, read into the same object */
    /* FIELD_OBJECT, FIELD_ANY: reads it all by itself. */
    int (*read)(struct reader *r, yyjson_val *value, void *object);
    int64_t min, max;     /* FIELD_INT; min of FIELD_DURATION, too */
    const char *note;     /* FIELD_WITHOUT_EFFECT: why */
    const char *harmless; /* and a value that needs no warning; NULL: none */
};

/* A table ends with a row without a name. Null values count as absent. */
int reader_object(struct reader *r, yyjson_val *value, const struct field *table, void *object) MUST_CHECK;
/* The key of that name in either spelling, for its line; the object itself when it has none. */
yyjson_val *reader_key(yyjson_val *object, const char *name);
/* The revision of a library that is merged in; "": there is none. */
const char *config_revision_of(const struct config *c, const char *library);
/* config.c: a spec, after others; then, once, what the fields mean for others that are left out. */
int config_read_part(struct reader *r, yyjson_val *spec) MUST_CHECK;
int config_read_end(struct reader *r, yyjson_val *spec) MUST_CHECK;
/* The spec of a library of that name. */
int config_read_library(struct reader *r, const char *library, yyjson_val *spec) MUST_CHECK;
/* config_kinds.c: watchedResources. */
int config_read_kinds(struct reader *r, yyjson_val *value, void *object) MUST_CHECK;
bool config_kind_remove(struct config *c, const char *name); /* false: there is none of that name */
void config_kind_done(struct config_kind *k);
/* The library writes its addresses there. */
bool config_is_ingress(const char *api_version, const char *resource);
/* config_texts.c: named templates. */
int config_read_snippets(struct reader *r, yyjson_val *value, void *object) MUST_CHECK;
int config_read_maps(struct reader *r, yyjson_val *value, void *object) MUST_CHECK;
int config_read_files(struct reader *r, yyjson_val *value, void *object) MUST_CHECK;
int config_read_certificates(struct reader *r, yyjson_val *value, void *object) MUST_CHECK;
int config_read_crt_lists(struct reader *r, yyjson_val *value, void *object) MUST_CHECK;
int config_read_haproxy_config(struct reader *r, yyjson_val *value, void *object) MUST_CHECK;
void config_texts_done(struct config_texts *t);
void config_rewrites_done(struct config_rewrites *rewrites);
/* Leave out snippets that require a kind that is not watched, with a warning. */
void config_strip_snippets(struct config *c);
/* An error about the key in the object at hand. */
int reader_fail(struct reader *r, const yyjson_val *at, const char *key, const char *message);

#endif
