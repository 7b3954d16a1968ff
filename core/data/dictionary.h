/* dictionary.h — short forms of many similar texts.
 * Thread:  one for each dictionary.
 * Owns:    its text.
 * Units:   lengths in bytes.
 * Errors:  -1 with *err set (ERR_INVALID): bytes that dictionary_pack() has not made with this dictionary.
 * Source:  LZ4 (lz4.h): blocks with an external dictionary.
 *
 * The objects of a kind differ in little. The first of them become the dictionary, and the others say where in it they
 * find most of their text. It grows at its front while texts come that it has little of, up to DICTIONARY_MAX bytes.
 * LZ4 counts back from the end of the dictionary, so what was packed before stays readable.
 */
#ifndef HAPTIC_DATA_DICTIONARY_H
#define HAPTIC_DATA_DICTIONARY_H

#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"

#define DICTIONARY_MAX ((size_t)8 << 10)

struct dictionary;

struct dictionary *dictionary_new(void);
struct dictionary *dictionary_free(struct dictionary *d); /* NULL is fine; always returns NULL */

/* Append the short form of a text of at most BUF_MAX_DEFAULT bytes. */
void dictionary_pack(struct dictionary *d, const char *text, size_t length, struct buf *out);
/* The length of the text that packed bytes stand for. */
int dictionary_text_length(const char *packed, size_t length, size_t *ret_length, struct err *err) MUST_CHECK;
/* Write the text. room: as long as dictionary_text_length() says. */
int dictionary_unpack(const struct dictionary *d, const char *packed, size_t length, char *room, struct err *err)
    MUST_CHECK;

#endif
