/* certificate_make.h — keys and certificates for rehearsals, never for clients of a cluster.
 * Thread:  any.
 * Owns:    nothing.
 * Errors:  ERR_SYS: OpenSSL cannot make them.
 * Source:  RFC 5280.
 */
#ifndef HAPTIC_DATA_CERTIFICATE_MAKE_H
#define HAPTIC_DATA_CERTIFICATE_MAKE_H

#include "base/buf.h"
#include "base/err.h"

/* A key (P-256) and a certificate that it has signed itself, for these DNS names, valid from a day ago for ten years.
 * names: ended by NULL, at least one. Both are appended as PEM. */
int certificate_make(const char *const *names, struct buf *ret_chain, struct buf *ret_key, struct err *err) MUST_CHECK;

#endif
