/* route.h — where the maps of the routes lead a host and a path to: the order of look-ups in templates/base.lua.
 * Thread:  loop thread only.
 * Owns:    nothing; what is found points into the model and is valid until it changes.
 *
 * Rules in haproxy.cfg may answer before (redirects, denials) or choose otherwise; this knows the maps alone. A spec
 * compares it with HAProxy.
 */
#ifndef HAPTIC_HAPROXY_ROUTE_H
#define HAPTIC_HAPROXY_ROUTE_H

#include "haproxy/model.h"

struct route {
    struct item *entry;      /* of a map; its scope is the map, its key the key */
    const char *value;       /* of the entry */
    size_t backend_length;   /* of the backend's name, with which the value begins */
    struct section *section; /* of the backend; NULL: there is none */
};

/* host may have a port; path may have a query. False: no entry fits. */
bool route_find(const struct model *m, enum model_state state, const char *host, const char *path,
                struct route *ret_route);
/* The text of an item in that state; NULL: it has none. */
const char *route_item_text(const struct item *item, enum model_state state);
/* Who wrote it in that state; NULL: nobody. */
const struct fragment *route_item_owner(const struct item *item, enum model_state state);

#endif
