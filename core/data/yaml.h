/* yaml.h — YAML read into JSON documents that remember their lines.
 * Thread:  any.
 * Owns:    struct yaml_docs owns its documents: CLEANUP(yaml_docs_done) struct yaml_docs docs = {0}.
 * Units:   lines and columns count from 1.
 * Errors:  0, or -1 with *err set: ERR_INVALID (syntax, equal keys, unknown alias), ERR_LIMIT (size, depth, alias
 *          expansion).
 * Source:  YAML 1.1 as Kubernetes reads it (sigs.k8s.io/yaml): yes, on and y are true, 010 is 8, everything quoted is
 *          a string.
 */
#ifndef HAPTIC_DATA_YAML_H
#define HAPTIC_DATA_YAML_H

#include <stddef.h>
#include <stdint.h>
#include <yyjson.h>

#include "base/err.h"
#include "data/json.h"

/* Nodes that aliases and merge keys may add to one text. */
#define YAML_EXPANSION_MAX 100000

struct yaml_doc {
    struct yyjson_doc *json; /* never NULL; an empty document is null */
    uint32_t *lines;         /* of each value, in document order */
};

struct yaml_docs {
    struct yaml_doc *items;
    size_t length, capacity;
    size_t expanded; /* nodes that aliases and merge keys have added */
};

/* All documents of the text. ret_at: the place of an error; NULL puts it into the text as "line 3, column 5: …". */
int yaml_parse(const char *text, size_t length, size_t max_bytes, struct yaml_docs *ret_docs,
               struct json_position *ret_at, struct err *err) MUST_CHECK;
/* The same for a part of a text, before which so many lines stand: lines are those of the whole. */
int yaml_parse_part(const char *text, size_t length, size_t max_bytes, size_t lines_before, struct yaml_docs *ret_docs,
                    struct json_position *ret_at, struct err *err) MUST_CHECK;
void yaml_docs_done(struct yaml_docs *docs);

/* The line on which a value or key of this document began. */
size_t yaml_line(const struct yaml_doc *doc, const struct yyjson_val *value);

#endif
