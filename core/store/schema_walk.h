/* schema_walk.h — where a judgement of an object is, and what it has found; for the files of schema only. */
#ifndef HAPTIC_STORE_SCHEMA_WALK_H
#define HAPTIC_STORE_SCHEMA_WALK_H

#include <stdbool.h>
#include <stddef.h>

#include "store/schema.h"

struct schema_walk {
    schema_found *found;
    void *ctx;
    unsigned count;
    char path[512];
    size_t length; /* of path */
};

/* Report what is wrong at the present path. */
void schema_tell(struct schema_walk *w, bool is_error, struct yyjson_val *at, const char *message);
/* Report what is wrong with the field `name` below the present path. */
void schema_tell_field(struct schema_walk *w, const char *name, struct yyjson_val *at, const char *message);
/* Go down to a field or to an item. Longer paths are cut. Returns the length before, for schema_path_cut(). */
size_t schema_path_add(struct schema_walk *w, const char *name);
size_t schema_path_index(struct schema_walk *w, size_t index);
void schema_path_cut(struct schema_walk *w, size_t length);

#endif
