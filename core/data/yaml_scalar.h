/* yaml_scalar.h — what an unquoted YAML scalar means.
 * Thread:  any.
 * Source:  YAML 1.1 types in the reading of sigs.k8s.io/yaml.
 */
#ifndef HAPTIC_DATA_YAML_SCALAR_H
#define HAPTIC_DATA_YAML_SCALAR_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

enum yaml_type {
    YAML_TYPE_STRING,
    YAML_TYPE_NULL,
    YAML_TYPE_TRUE,
    YAML_TYPE_FALSE,
    YAML_TYPE_INT,
    YAML_TYPE_FLOAT,
    YAML_TYPE_NOT_FINITE, /* .inf, .nan: numbers that JSON has not */
};

/* The type of a plain scalar; for INT and FLOAT the JSON number is appended to number. */
enum yaml_type yaml_scalar_resolve(const char *text, size_t length, struct buf *number);

#endif
