/* outline.h — an indented text ("name: value" lines, what belongs to a line further to the right) as JSON.
 * Thread:  any.
 * Owns:    nothing.
 */
#ifndef HAPTIC_OFFLINE_OUTLINE_H
#define HAPTIC_OFFLINE_OUTLINE_H

#include "base/buf.h"

/* Append a list of {"name", "value", "parts": […]}; name is left out where a line has none. */
void outline_put_json(const char *text, struct buf *out);

#endif
