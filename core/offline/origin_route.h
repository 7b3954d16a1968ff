/* origin_route.h — the way of a request: listener, map entry, backend, servers, each with object and template line.
 * Thread:  loop thread only; runs the loop until the renderer has answered, and blocks while HAProxy does.
 * Errors:  as of stage_new(); ERR_NOTFOUND.
 */
#ifndef HAPTIC_OFFLINE_ORIGIN_ROUTE_H
#define HAPTIC_OFFLINE_ORIGIN_ROUTE_H

#include "base/buf.h"
#include "offline/workbench.h"

/* url: "shop.test/cart", "https://shop.test:8443/cart". haproxy_binary NULL: the maps are asked, and no HAProxy. */
int origin_of_route(struct workbench *w, const char *haproxy_binary, const char *url, struct buf *out, struct err *err)
    MUST_CHECK;

#endif
