/* identity.h — the certificates by which the two ends of a connection know each other, on the server's side.
 * Thread:  loop thread only.
 * Owns:    GnuTLS credentials and a list of authorities; a connection that uses older ones keeps them alive.
 * Errors:  ERR_SYS, ERR_INVALID with the file's name; those in force stay.
 * Source:  GnuTLS manual, "Certificate verification", "Using a callback to select the certificate to use".
 *
 * The files are looked at again at most once a second, when a connection is made. So renewed ones count for the next
 * connection, and no connection is dropped. A client must have a certificate of the client authority that is valid now
 * and made for client authentication, else its handshake fails. Without a client authority nobody is asked who he is.
 */
#ifndef HAPTIC_HTTP_IDENTITY_H
#define HAPTIC_HTTP_IDENTITY_H

#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>

#include "base/err.h"

struct identity;

struct identity_files {
    /* PEM; borrowed. NULL: identity_put() brings the texts; before that nobody is served */
    const char *certificate, *key;
    const char *client_authority; /* NULL: clients need no certificate */
};

int identity_new(const struct identity_files *files, struct identity **ret_identity, struct err *err) MUST_CHECK;
/* Texts (PEM) instead of files, for the connections from now on. */
int identity_put(struct identity *i, const char *certificate, const char *key, struct err *err) MUST_CHECK;
struct identity *identity_free(struct identity *i); /* NULL is fine; connections must have ended */
/* A connection of these sessions asks for its certificate: call it from GnuTLS's retrieve function. */
int identity_serve(struct identity *i, gnutls_session_t session, gnutls_pcert_st **ret_chain, unsigned *ret_length,
                   gnutls_privkey_t *ret_key);

#endif
