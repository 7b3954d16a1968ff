/* credentials.h — certificate, key and authorities of a client, read once and used for each of its connections.
 * Thread:  loop thread only.
 * Owns:    OpenSSL's objects; a connection that uses them holds references of its own.
 * Errors:  credentials_new() refuses PEM that is none, and a key that does not fit.
 *
 * libcurl reads PEM anew for each connection, which takes most of the time of a handshake on the client's side.
 */
#ifndef HAPTIC_NET_CREDENTIALS_H
#define HAPTIC_NET_CREDENTIALS_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"

struct credentials;

/* PEM. authorities: one or more certificates; certificate: the own one, and what leads from it to its authority. */
int credentials_new(const char *authorities, const char *certificate, const char *key,
                    struct credentials **ret_credentials, struct err *err) MUST_CHECK;
struct credentials *credentials_free(struct credentials *c); /* NULL is fine; always returns NULL */
/* Append a file of PEM. ERR_SYS: it cannot be read; ERR_LIMIT: it passes out->max; ERR_INVALID: it has no PEM. It may
 * be a key: the caller wipes the buffer. */
int credentials_read_file(const char *path, struct buf *out, struct err *err) MUST_CHECK;
/* For an SSL_CTX of OpenSSL. False: it has no memory. */
bool credentials_use(const struct credentials *c, void *ssl_ctx) MUST_CHECK;

#endif
