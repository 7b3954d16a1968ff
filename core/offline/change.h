/* change.h — what a rendering changed, as lines with + and -.
 * Thread:  loop thread only.
 * Owns:    nothing.
 */
#ifndef HAPTIC_OFFLINE_CHANGE_H
#define HAPTIC_OFFLINE_CHANGE_H

#include "base/buf.h"
#include "engine/contribution.h"

/* Append "~ FRAGMENT" and the lines that went and came; before or now may be NULL. */
void change_write(const struct fragment *before, const struct fragment *now, struct buf *out);
/* The same as a JSON object: change (added, changed, removed), fragment, template, object, and parts: kind, scope, key
 * and the lists of lines removed and added. */
void change_write_json(const struct fragment *before, const struct fragment *now, struct buf *out);

#endif
