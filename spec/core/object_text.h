/* object_text.h — an object's JSON text in a test.
 * Owns: the last four texts; an older one is not valid any more.
 */
#ifndef HAPTIC_SPEC_OBJECT_TEXT_H
#define HAPTIC_SPEC_OBJECT_TEXT_H

#include "base/buf.h"
#include "store/store.h"

static inline const char *text_of(const struct object *o)
{
    static struct buf texts[4];
    static unsigned next;
    struct buf *text = &texts[next++ % 4];

    buf_clear(text);
    object_text(o, text);
    return buf_str(text);
}

#endif
