/* manifest_cut.h — a document that YAML cannot read is cut out of a text, so that the others can be read.
 * Thread:  any.
 * Owns:    the copy of the text.
 */
#ifndef HAPTIC_STORE_MANIFEST_CUT_H
#define HAPTIC_STORE_MANIFEST_CUT_H

#include <stdbool.h>
#include <stddef.h>

/* Documents cut out of one text; with more, the text as a whole is wrong. Each costs one more reading. */
#define MANIFEST_CUTS_MAX 20
#define MANIFEST_CUT_NAME_MAX 254

struct manifest_cut {
    char *text; /* with blanks in the place of what was cut out, so that all lines keep their numbers; NULL: none yet */
    unsigned count;
    /* What the last document that was cut out says of itself, as far as it can be seen; "" where it cannot. */
    char kind[MANIFEST_CUT_NAME_MAX], namespace[MANIFEST_CUT_NAME_MAX], name[MANIFEST_CUT_NAME_MAX];
};

/* Cut out the document in which an error was found at a line (from 1). False when that is impossible: the text has only
 * one document, the place is unknown, or too many were cut out already. */
bool manifest_cut_document(struct manifest_cut *cut, const char *text, size_t length, size_t line);
void manifest_cut_done(struct manifest_cut *cut);

#endif
