/* embedded.h — the files that are part of the binary: lua/haptic (the engine), templates (the built-in libraries),
 * core/cmd/crds (definitions of resources) and core/cmd/page (the debug page for a browser).
 * Thread:  any; constant.
 */
#ifndef HAPTIC_ENGINE_EMBEDDED_H
#define HAPTIC_ENGINE_EMBEDDED_H

#include <stdbool.h>
#include <stddef.h>

struct embedded_file {
    const char *name;  /* "lua/haptic/engine.lua", "templates/base.lua" */
    const char *bytes; /* NUL after length */
    size_t length;
};

/* The number of embedded files. */
size_t embedded_count(void);
/* In the order of their names. */
struct embedded_file embedded_at(size_t i);
/* False when there is none of that name. */
bool embedded_find(const char *name, struct embedded_file *ret_file);

#endif
