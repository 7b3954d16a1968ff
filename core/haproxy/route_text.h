/* route_text.h — routes that are lines of a frontend: `use_backend NAME if …`, `default_backend NAME`.
 * Thread:  any; pure functions.
 * Source:  HAProxy configuration manual, sections 2.2 (quoting) and 4.2 (use_backend, default_backend).
 */
#ifndef HAPTIC_HAPROXY_ROUTE_TEXT_H
#define HAPTIC_HAPROXY_ROUTE_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

/* The next route at or after *at: where the name of its backend is, as it is written, quotes included. False: none. */
bool route_text_next(const char **at, const char **ret_name, size_t *ret_length);
/* Append the text with all of its routes leading to this backend. */
void route_text_close(const char *text, const char *closed, struct buf *out);

#endif
