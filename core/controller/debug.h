/* debug.h — who wrote what is accepted: per line of haproxy.cfg, per entry of a map, and along the way of a request.
 * Thread:  loop thread only.
 * Owns:    nothing.
 *
 * JSON, for the debug pages. Values of Secrets stand in it as handles. docs/operations/running.md has the shapes.
 */
#ifndef HAPTIC_CONTROLLER_DEBUG_H
#define HAPTIC_CONTROLLER_DEBUG_H

#include "haproxy/model.h"

/* {"lines":[{"line":1,"text":…,"section":…,"piece":…,"object":…,"template":…,"fragment":…},…]} */
void debug_config(const struct model *m, struct buf *out);
/* {"map":…,"entries":[{"key":…,"value":…,"object":…,"template":…,"fragment":…},…]} */
void debug_map(const struct model *m, const char *name, struct buf *out);
/* The names of all accepted maps, one a line. */
void debug_map_names(const struct model *m, struct buf *out);
/* {"host":…,"path":…,"entry":{…}|null,"backend":{"name":…,"servers":[…],"writers":[…]}|null} */
void debug_route(const struct model *m, const char *host, const char *path, struct buf *out);

#endif
