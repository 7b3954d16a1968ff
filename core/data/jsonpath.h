/* jsonpath.h — Kubernetes' flavour of JSONPath, compiled once and evaluated on parsed JSON.
 * Thread:  any; a compiled path is not changed by evaluation.
 * Errors:  0, or -1 with *err set (ERR_INVALID names the position and what was expected there; ERR_LIMIT); ret_*
 *          written only on success.
 * Source:  kubernetes.io "JSONPath Support"; client-go util/jsonpath.
 *
 * metadata.name  .metadata.name  {.metadata.name}  $.a  a\.b  ['a.b']  ["a.b"]  [0]  [-1]  [1:3]  [::2]  [*]  .*
 * ..name [0,2]  ['a','b']  [?(@.x)]  [?(@.x=="y")] with == != < <= > >= against a string, number, true, false, null or
 * another path. A name in quotes is literal. A field that is not there gives no result and no error. Not in here:
 * range/end and text around braces.
 */
#ifndef HAPTIC_DATA_JSONPATH_H
#define HAPTIC_DATA_JSONPATH_H

#include <stdbool.h>
#include <stddef.h>
#include <yyjson.h>

#include "base/err.h"
#include "base/vec.h"

#define JSONPATH_BYTES_MAX 4096
#define JSONPATH_STEPS_MAX 64      /* of one path, filters and unions apart */
#define JSONPATH_NESTING_MAX 4     /* of filters and unions in each other */
#define JSONPATH_RESULTS_MAX 65536 /* values held at once while evaluating */

struct jsonpath;
/* Compiles text, which is not needed afterwards. The caller frees *ret_path. */
int jsonpath_compile(const char *text, struct jsonpath **ret_path, struct err *err) MUST_CHECK;
struct jsonpath *jsonpath_free(struct jsonpath *path); /* NULL is fine; always returns NULL */

/* The first value, or NULL when there is none (also when a limit was passed). root may be NULL. */
struct yyjson_val *jsonpath_first(const struct jsonpath *path, struct yyjson_val *root);

/* Can it find more than one value? Wildcards, slices, filters, unions and ".." can. */
bool jsonpath_is_plural(const struct jsonpath *path);

/* All values in document order. */
struct json_values {
    struct yyjson_val **items;
    size_t length, capacity;
};
int jsonpath_all(const struct jsonpath *path, struct yyjson_val *root, struct json_values *ret_values, struct err *err)
    MUST_CHECK;
void json_values_done(struct json_values *values);

/* For those who follow a path themselves: true when step i is a name (*ret_name) or a wildcard (*ret_name NULL). */
bool jsonpath_plain_step(const struct jsonpath *path, size_t i, const char **ret_name, bool *ret_last);

#endif
