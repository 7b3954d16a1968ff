/* body.h — the body of a request while it is received.
 * Thread:  loop thread only.
 * Owns:    its bytes; they are wiped.
 * Errors:  ERR_LIMIT: it is too large; ERR_INVALID: it is not what its Content-Encoding says; ERR_NOTFOUND: that
 *          encoding is unknown.
 */
#ifndef HAPTIC_HTTP_BODY_H
#define HAPTIC_HTTP_BODY_H

#include "base/buf.h"
#include "base/err.h"
#include "net/packing.h"

struct body {
    struct buf bytes;
    size_t max;
    struct unpacking *unpacking; /* NULL: it comes as it is */
};

/* encoding: the value of Content-Encoding; NULL, "identity", "gzip". */
int body_begin(struct body *b, size_t max, const char *encoding, struct err *err) MUST_CHECK;
int body_add(struct body *b, const char *bytes, size_t length, struct err *err) MUST_CHECK;
int body_end(struct body *b, struct err *err) MUST_CHECK;
void body_done(struct body *b);

#endif
