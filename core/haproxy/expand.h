/* expand.h — where handles of Secrets become bytes: in texts that leave for HAProxy, and nowhere else.
 * Thread:  loop thread only.
 * Owns:    nothing; who gets expanded text wipes it (expand_wipe) as soon as it is not needed.
 * Errors:  0, or -1 with *err set: ERR_NOTFOUND (a handle nobody gave out, or one that was cut), ERR_INVALID (the value
 * cannot be where the handle is). The text names Secret and key. Source:  HAProxy configuration manual, 2.2 (quoting
 * and escaping); map files: 7.1.
 */
#ifndef HAPTIC_HAPROXY_EXPAND_H
#define HAPTIC_HAPROXY_EXPAND_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/text.h"
#include "store/vault.h"

enum expand_as {
    /* Lines of haproxy.cfg. A value becomes a quoted piece of the word that its handle is in, whatever quotes are
     * around: no value ends a word, begins a comment or a line, or is replaced by a variable. No NUL and no line end.
     * In comments handles stay. */
    EXPAND_CONFIG,
    /* Lines of a map: no NUL, no line end; in a key also no blank, and not "#" first; a value does not begin with a
       blank. */
    EXPAND_MAP,
    EXPAND_MAP_KEY,   /* a key alone */
    EXPAND_MAP_VALUE, /* a value alone */
    /* Any bytes at any place. */
    EXPAND_FILE,
};

/* Append text with its handles replaced. On an error out has what came before the handle at *ret_at (an offset; may be
 * NULL). v may be NULL: then every handle is unknown. */
int expand(struct vault *v, enum expand_as as, const char *text, size_t length, struct buf *out, size_t *ret_at,
           struct err *err) MUST_CHECK;
/* The same in place: text that has no handle is not copied, and *ret_expanded (may be NULL) false. */
int expand_buf(struct vault *v, enum expand_as as, struct buf *text, bool *ret_expanded, struct err *err) MUST_CHECK;
/* Wipe and free. */
void expand_wipe(struct buf *text);

#endif
