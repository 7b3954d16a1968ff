/* buf.h — a growing byte buffer with a maximum.
 * Owns:    its bytes. A zeroed struct is an empty buffer with the maximum BUF_MAX_DEFAULT.
 * Errors:  ERR_LIMIT when the maximum would be passed; allocation failure aborts.
 *
 * The bytes are always followed by a NUL that length does not count, so data is a C string where the content has no
 * NUL; data of an empty, never written buffer is "".
 */
#ifndef HAPTIC_BASE_BUF_H
#define HAPTIC_BASE_BUF_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define BUF_MAX_DEFAULT ((size_t)1 << 30)

struct buf {
    char *data;
    size_t length;
    size_t capacity;
    size_t max; /* 0: BUF_MAX_DEFAULT */
};

void buf_init(struct buf *b, size_t max_bytes);
void buf_done(struct buf *b);  /* NULL is fine; leaves an empty buffer */
void buf_clear(struct buf *b); /* keeps the memory */

/* Append; the plain forms abort when the maximum is passed (for output that no input sizes). */
void buf_add(struct buf *b, const void *bytes, size_t length);
void buf_puts(struct buf *b, const char *string);
void buf_putc(struct buf *b, char c);
void buf_printf(struct buf *b, const char *format, ...) PRINTF_LIKE(2, 3);
/* Append what an input sizes. -1 and ERR_LIMIT when it does not fit; the buffer is unchanged then. */
int buf_try_add(struct buf *b, const void *bytes, size_t length, struct err *err) MUST_CHECK;
/* Make room for length more bytes and return where they go; buf_grew() then counts them. NULL and ERR_LIMIT when over
 * the maximum. */
char *buf_room(struct buf *b, size_t length, struct err *err) MUST_CHECK;
void buf_grew(struct buf *b, size_t length);
/* Remove the first length bytes. */
void buf_consume(struct buf *b, size_t length);
/* Hand the bytes (malloc'ed, NUL-terminated, never NULL) to the caller; the buffer is empty afterwards. */
char *buf_steal(struct buf *b);

/* data, or "" for a buffer never written. */
static inline const char *buf_str(const struct buf *b)
{
    return b->data ? b->data : "";
}

#endif
