/* encoding.h — byte order marks in text of several documents, and bytes that are no UTF-8.
 * Thread:  any.
 * Source:  YAML 1.2, 5.2: a mark may stand at the beginning of the stream and of each document. RFC 3629, 4: UTF-8.
 */
#ifndef HAPTIC_DATA_ENCODING_H
#define HAPTIC_DATA_ENCODING_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

/* The text without the UTF-8 marks at its beginning and at the beginning of its documents. Where there is one inside,
 * the text is copied into copy; else it is the given one or a part of it. Lines stay where they are. */
const char *encoding_without_marks(const char *text, size_t *length, struct buf *copy);
/* Does the text begin with the mark of UTF-16? */
bool encoding_is_utf16(const char *text, size_t length);
/* Put "?" in the place of bytes that are no UTF-8, and of control characters but tabs and line feeds. */
void encoding_repair(char *text);

#endif
