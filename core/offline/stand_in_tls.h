/* stand_in_tls.h — TLS of a stand-in: it shows a certificate, asks for one, and hands on what is inside.
 * Thread:  a context may be used by several; a connection by one.
 * Owns:    contexts and connections are their callers'.
 * Errors:  ERR_INVALID: certificate and key cannot be used; ERR_SYS.
 */
#ifndef HAPTIC_OFFLINE_STAND_IN_TLS_H
#define HAPTIC_OFFLINE_STAND_IN_TLS_H

#include <openssl/types.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

/* certificate, key: PEM. */
int stand_in_tls_new(const char *certificate, const char *key, SSL_CTX **ret_context, struct err *err) MUST_CHECK;
void stand_in_tls_free(SSL_CTX *context);

struct stand_in_hello {
    char sni[256];     /* "" none */
    char *certificate; /* PEM of the client's; malloc'ed; NULL: none */
    bool h2;           /* that was agreed upon */
};
/* The server's side of a handshake, at most some seconds. NULL: there is none. */
SSL *stand_in_tls_accept(SSL_CTX *context, int fd, struct stand_in_hello *ret_hello);
/* Copy in both directions until one side ends, or stop_fd can be read. ssl NULL: fd speaks no TLS. */
void stand_in_tls_pump(SSL *ssl, int fd, int inner_fd, int stop_fd);
void stand_in_tls_end(SSL *ssl); /* NULL is fine */

#endif
