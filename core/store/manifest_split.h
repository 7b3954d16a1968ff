/* manifest_split.h — long manifest text in parts that can be read by themselves.
 * Thread:  any.
 *
 * A part is some whole documents, or some whole items of one List. What is read from all parts is what is read from the
 * text, unless one of them cannot be read: then the text has to be read as a whole. (A cut within a quoted or a flow
 * value leaves the part before it without its end.)
 */
#ifndef HAPTIC_STORE_MANIFEST_SPLIT_H
#define HAPTIC_STORE_MANIFEST_SPLIT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/vec.h"

struct manifest_part {
    const char *text; /* in the whole */
    size_t length;
    size_t lines_before;
};

struct manifest_parts {
    VEC(struct manifest_part) items;
    char *list; /* the parts are lists of items: the document without them; NULL: the parts are documents */
    size_t list_length;
};

/* False when the text is not to be cut: it is short, or one document of another shape. Parts have about part_bytes. */
bool manifest_split(const char *text, size_t length, size_t part_bytes, struct manifest_parts *ret_parts);
void manifest_parts_done(struct manifest_parts *parts);

#endif
