/* The path is written as the walk goes; what is found is counted, so that one object cannot fill a log. */
#include "store/schema_walk.h"

#include <stdio.h>
#include <string.h>

void schema_tell(struct schema_walk *w, bool is_error, struct yyjson_val *at, const char *message)
{
    if (w->count++ < SCHEMA_FOUND_MAX)
        w->found(w->ctx, is_error, at, w->path, message);
}

void schema_tell_field(struct schema_walk *w, const char *name, struct yyjson_val *at, const char *message)
{
    size_t length = schema_path_add(w, name);
    schema_tell(w, true, at, message);
    schema_path_cut(w, length);
}

size_t schema_path_add(struct schema_walk *w, const char *name)
{
    size_t length = strlen(w->path);
    snprintf(w->path + length, sizeof(w->path) - length, "%s%s", length > 0 ? "." : "", name);
    return length;
}

size_t schema_path_index(struct schema_walk *w, size_t index)
{
    size_t length = strlen(w->path);
    snprintf(w->path + length, sizeof(w->path) - length, "[%zu]", index);
    return length;
}

void schema_path_cut(struct schema_walk *w, size_t length)
{
    w->path[length] = '\0';
}
