/* golden.h — files with what a test expects, beside the file of the test.
 * Thread:  any.
 * Owns:    nothing.
 * Errors:  ERR_SYS, ERR_NOTFOUND: the file cannot be read, or written; the text says what to do.
 */
#ifndef HAPTIC_OFFLINE_GOLDEN_H
#define HAPTIC_OFFLINE_GOLDEN_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"

/* The text of a file that is named relative to the folder of another one. */
int golden_read(const char *beside, const char *name, struct buf *ret_text, struct err *err) MUST_CHECK;
/* Write it anew, unless it is the same; *ret_changed: it was not. */
int golden_write(const char *beside, const char *name, const char *text, size_t length, bool *ret_changed,
                 struct err *err) MUST_CHECK;

#endif
