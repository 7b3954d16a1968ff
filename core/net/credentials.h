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

#include "base/err.h"

struct credentials;

/* PEM. authorities: one or more certificates; certificate: the own one, and what leads from it to its authority. */
int credentials_new(const char *authorities, const char *certificate, const char *key,
                    struct credentials **ret_credentials, struct err *err) MUST_CHECK;
struct credentials *credentials_free(struct credentials *c); /* NULL is fine; always returns NULL */
/* For an SSL_CTX of OpenSSL. False: it has no memory. */
bool credentials_use(const struct credentials *c, void *ssl_ctx) MUST_CHECK;

#endif
