/* debug_pages.h — what a running controller tells on its debug port.
 * Thread:  loop thread only.
 * Owns:    nothing; server and app are the caller's, and the app outlives the server.
 */
#ifndef HAPTIC_CMD_DEBUG_PAGES_H
#define HAPTIC_CMD_DEBUG_PAGES_H

#include "controller/app.h"
#include "http/server.h"

/* Adds all pages below /debug/ to the server. */
void debug_pages_add(struct http_server *server, struct app *app);

#endif
