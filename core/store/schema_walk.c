/* The path is written during the walk. The number of findings is limited, so that one object cannot fill a log. */
#include "store/schema_walk.h"

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

static void append(struct schema_walk *w, const char *text, size_t length)
{
    size_t room = sizeof(w->path) - 1 - w->length;

    length = length < room ? length : room;
    memcpy(w->path + w->length, text, length);
    w->length += length;
    w->path[w->length] = '\0';
}

size_t schema_path_add(struct schema_walk *w, const char *name)
{
    size_t before = w->length;

    if (before > 0)
        append(w, ".", 1);
    append(w, name, strlen(name));
    return before;
}

/* Without snprintf(), which took a sixth of the time for reading many objects. */
size_t schema_path_index(struct schema_walk *w, size_t index)
{
    char text[2 + 3 * sizeof(index)], *at = text + sizeof(text);
    size_t before = w->length;

    *--at = ']';
    do
        *--at = (char)('0' + index % 10);
    while ((index /= 10) > 0);
    *--at = '[';
    append(w, at, (size_t)(text + sizeof(text) - at));
    return before;
}

void schema_path_cut(struct schema_walk *w, size_t length)
{
    w->length = length;
    w->path[length] = '\0';
}
