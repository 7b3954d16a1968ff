/* texts.h — the texts of the renderer's objects, in short forms.
 * Thread:  one.
 * Owns:    a dictionary for each kind, to the end.
 * Errors:  -1 with *err set: ERR_LIMIT, no memory or too many kinds; ERR_INVALID, bytes that are no short form.
 */
#ifndef HAPTIC_ENGINE_TEXTS_H
#define HAPTIC_ENGINE_TEXTS_H

#include "base/map.h"
#include "base/vec.h"
#include "data/dictionary.h"
#include "engine/frame.h"

/* A zeroed struct is empty. */
struct texts {
    struct map numbers; /* kind → its place in dictionaries, counted from 1 */
    VEC(struct dictionary *) dictionaries;
    struct buf packed; /* result of texts_pack() */
    char *text;        /* and of texts_unpack() */
    size_t text_size;
};

void texts_done(struct texts *t);
/* The short form of an object's text; of an empty one: an empty one. Valid until the next call. */
int texts_pack(struct texts *t, struct field kind, struct field text, struct field *ret_packed, struct err *err)
    MUST_CHECK;
/* The text of a short form. Valid until the next call. */
int texts_unpack(struct texts *t, struct field packed, struct field *ret_text, struct err *err) MUST_CHECK;

#endif
