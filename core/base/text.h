/* text.h — an immutable, counted byte string, and words over it.
 * Thread:  loop thread only (the count is not atomic).
 *
 * What a template emits is kept in several places at once (rendered, being checked, accepted, live); all share one
 * text.
 */
#ifndef HAPTIC_BASE_TEXT_H
#define HAPTIC_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/digest.h"

struct text {
    unsigned refs;
    size_t length;
    struct digest digest;
    char bytes[]; /* NUL after length */
};

struct text *text_new(const char *bytes, size_t length);
struct text *text_ref(struct text *t);                       /* NULL is fine */
struct text *text_unref(struct text *t);                     /* NULL is fine; always returns NULL */
bool text_equal(const struct text *a, const struct text *b); /* both NULL: equal */

#endif
