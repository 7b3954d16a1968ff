/* packing.h — bodies of requests in gzip.
 * Thread:  any.
 * Owns:    zlib's state; the window of it is wiped.
 * Units:   bytes.
 * Errors:  ERR_INVALID: it is no gzip, it is cut off, something stands behind its end; ERR_LIMIT: it unpacks to too
 *          much, by itself or for its size.
 * Source:  RFC 1952, zlib.
 */
#ifndef HAPTIC_NET_PACKING_H
#define HAPTIC_NET_PACKING_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"

/* What unpacks to more than PACKING_FREE + PACKING_RATIO × its size is refused. */
#define PACKING_RATIO ((size_t)128)
#define PACKING_FREE ((size_t)1 << 20)

/* Appends. The first plain bytes are stored as they are, and nothing behind them refers to them: the packed size tells
 * nothing about what is in them. */
void pack(const char *bytes, size_t length, size_t plain, struct buf *out);

struct unpacking;

struct unpacking *unpacking_new(void);
struct unpacking *unpacking_free(struct unpacking *u); /* NULL is fine; always returns NULL */
/* The next bytes; out: as they were, at most max in all. */
int unpacking_add(struct unpacking *u, const char *bytes, size_t length, size_t max, struct buf *out, struct err *err)
    MUST_CHECK;
/* Was that everything? */
int unpacking_end(const struct unpacking *u, struct err *err) MUST_CHECK;

#endif
