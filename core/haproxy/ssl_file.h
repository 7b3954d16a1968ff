/* ssl_file.h — the three kinds of files for TLS that HAProxy keeps in memory: certificates, authorities, revocations.
 * Thread:  any; pure functions of their arguments.
 * Source:  HAProxy management guide, 9.3 (show/new/set/add/commit/abort/del ssl cert, ca-file, crl-file).
 *
 * A file is told apart from another one of its name by its mark: HAProxy tells the fingerprints of certificates and
 * authorities, and of a list of revoked certificates its issuer, its dates and the serial numbers.
 */
#ifndef HAPTIC_HAPROXY_SSL_FILE_H
#define HAPTIC_HAPROXY_SSL_FILE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

enum ssl_file_kind { SSL_CERTIFICATE, SSL_AUTHORITIES, SSL_REVOCATIONS, SSL_FILE_KINDS };
/* What commands call it: "cert", "ca-file", "crl-file". */
const char *ssl_file_word(enum ssl_file_kind kind);

/* What a file is that HAProxy does not have yet: with a key, a certificate; else by what is in it. */
enum ssl_file_kind ssl_file_kind_of(const char *pem, size_t length);

#define SSL_FILE_MARK_SIZE 41
struct ssl_file_mark {
    char text[SSL_FILE_MARK_SIZE]; /* "" none: the file has nothing of that kind */
};
struct ssl_file_mark ssl_file_mark(enum ssl_file_kind kind, const char *pem, size_t length);
/* The mark of what the answer to `show ssl cert|ca-file|crl-file NAME` tells of. */
struct ssl_file_mark ssl_file_answer_mark(enum ssl_file_kind kind, const char *answer);
/* Is that what the answer to `show ssl cert|ca-file|crl-file NAME` tells of? */
bool ssl_file_answer_is(enum ssl_file_kind kind, const char *answer, const struct ssl_file_mark *mark);
/* Does the answer say that HAProxy has no such file? */
bool ssl_file_answer_is_none(enum ssl_file_kind kind, const char *answer);

/* Nothing was done: certificates are being replaced at this moment, and the same command will be answered soon. */
bool ssl_file_answer_is_locked(const char *answer);

/* Append what a command is to carry: the PEM blocks of that kind, without empty lines. */
void ssl_file_payload(enum ssl_file_kind kind, const char *pem, size_t length, struct buf *out);

#endif
