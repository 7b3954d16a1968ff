/* json.h — parsing, reading and writing JSON documents that others made.
 * Thread:  any.
 * Owns:    a parsed document belongs to the caller: CLEANUP(json_doc_done) struct yyjson_doc *doc = NULL.
 * Units:   *_bytes bytes; lines and columns count from 1.
 * Errors:  0, or -1 with *err set: ERR_INVALID (not JSON), ERR_LIMIT (too large, too deep); ret_* written only on
 *          success.
 * Source:  RFC 8259; yyjson.
 *
 * Stricter than the RFC where two readers could understand one document differently: invalid UTF-8 and equal keys in
 * one object are refused. Numbers beyond 64 bits or a double's range are kept as their text.
 */
#ifndef HAPTIC_DATA_JSON_H
#define HAPTIC_DATA_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <yyjson.h>

#include "base/buf.h"
#include "base/err.h"

/* Levels of nesting; whoever walks a document may recurse that deep. */
#define JSON_DEPTH_MAX 256

struct json_position {
    size_t line, column; /* 0: unknown */
};

/* The error text names line and column. */
int json_parse(const char *bytes, size_t length, size_t max_bytes, struct yyjson_doc **ret_doc, struct err *err)
    MUST_CHECK;
/* The same with the place of an error in *ret_at and not in the text. */
int json_parse_at(const char *bytes, size_t length, size_t max_bytes, struct yyjson_doc **ret_doc,
                  struct json_position *ret_at, struct err *err) MUST_CHECK;
void json_doc_done(struct yyjson_doc **doc);

/* Follow a path of keys:  json_at(object, "metadata", "labels", "app").  NULL where a key is absent or not in an
 * object; value may be NULL. */
struct yyjson_val *json_walk(struct yyjson_val *value, ...) __attribute__((sentinel));
#define json_at(...) json_walk(__VA_ARGS__, (char *)NULL)
/* A string without NUL bytes at the path, or NULL. */
#define json_str(...) json_str_of(json_at(__VA_ARGS__))
#define json_int_or(fallback, ...) json_int_of(json_at(__VA_ARGS__), (fallback))
#define json_bool_or(fallback, ...) json_bool_of(json_at(__VA_ARGS__), (fallback))
const char *json_str_of(struct yyjson_val *value);
/* fallback, too, when it does not fit or has a fraction */
int64_t json_int_of(struct yyjson_val *value, int64_t fallback);
bool json_bool_of(struct yyjson_val *value, bool fallback);

/* Append a scalar as text: a string's content, a number (80.0 is "80"), true, false; nothing for null and
 * containers. */
int json_scalar_text(struct yyjson_val *value, struct buf *out, struct err *err) MUST_CHECK;

/* Fields that writing leaves out. A zeroed struct leaves out none. */
#define JSON_PRUNE_MAX 64
struct json_prune {
    struct jsonpath *paths[JSON_PRUNE_MAX];
    size_t count;
};
/* Add a path of names and [*]: "metadata.annotations['a/b']", "spec.rules[*].note". */
int json_prune_add(struct json_prune *prune, const char *path, struct err *err) MUST_CHECK;
void json_prune_done(struct json_prune *prune);

/* Append the value minified. prune may be NULL. ERR_LIMIT when the buffer's maximum would be passed. */
int json_write(struct buf *out, struct yyjson_val *value, const struct json_prune *prune, struct err *err) MUST_CHECK;
/* Append a quoted, escaped string. The bytes must be UTF-8. */
int json_write_string(struct buf *out, const char *bytes, size_t length, struct err *err) MUST_CHECK;

#endif
