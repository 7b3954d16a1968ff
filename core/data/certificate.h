/* certificate.h — what a certificate with its chain and key is, and whether HAProxy can use it.
 * Thread:  any; pure functions of their arguments.
 * Owns:    facts own their strings. No byte of a key is in them.
 * Units:   *_s Unix seconds.
 * Errors:  what is wrong with a certificate is a fact (problem), not an error.
 * Source:  RFC 7468 (PEM), RFC 5280 (validity, subject alternative names), RFC 6125 6.4.3 (wildcards).
 */
#ifndef HAPTIC_DATA_CERTIFICATE_H
#define HAPTIC_DATA_CERTIFICATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/vec.h"

#define CERTIFICATE_BYTES_MAX ((size_t)512 << 10) /* of a certificate with its chain, and of a key */
#define CERTIFICATE_NAMES_MAX 256
#define CERTIFICATE_CHAIN_MAX 32
#define CERTIFICATE_HOST_SIZE 254
#define CERTIFICATE_FINGERPRINT_SIZE 41 /* of SHA-1, as HAProxy tells it: capital hexadecimal digits */

struct certificate_facts {
    VEC(char *) names; /* DNS names in lower case, sorted, each once; the common name where there are none */
    bool names_cut;    /* there are more than CERTIFICATE_NAMES_MAX */
    int64_t not_before_s, not_after_s;
    const char *key_type; /* "RSA", "ECDSA", "Ed25519", … ; "" unknown */
    int key_bits;
    size_t certificates;
    bool reordered;                        /* the chain was not in order: ret_chain differs from what was given */
    size_t strays;                         /* certificates that are not part of the chain */
    bool ocsp;                             /* it names an OCSP responder, and its issuer is in the chain */
    char ocsp_host[CERTIFICATE_HOST_SIZE]; /* the responder's, in lower case; "" when its address is no plain one */
    char problem[200];                     /* why it cannot be used; "" when it can */
};
void certificate_facts_done(struct certificate_facts *f);

/* Read a certificate with its chain (PEM) and its key (PEM). stem: of the keys' names in the Secret, for what is told:
 * "tls" for tls.crt and tls.key. ret_chain: the certificates in order, the leaf first, then each one's issuer, without
 * anything between them; written only when there is no problem. NULL stands for a value that is not there. */
void certificate_read(const char *stem, const char *chain, size_t chain_length, const char *key, size_t key_length,
                      struct certificate_facts *ret_facts, struct buf *ret_chain);
/* The same of certificates without a key: authorities that others are verified against. */
void certificate_read_authorities(const char *bytes, size_t length, struct certificate_facts *ret_facts);
/* Lists of revoked certificates: how many there are, and when the first of them has to be replaced (not_after_s). */
void certificate_read_revocations(const char *bytes, size_t length, struct certificate_facts *ret_facts);

/* The fingerprint of the first certificate of a file; false when there is none. */
bool certificate_fingerprint(const char *pem, size_t length, char ret_text[CERTIFICATE_FINGERPRINT_SIZE]);
/* Append the PEM blocks of a text, line by line, without empty lines and whatever is between them: the form in which it
 * can be the payload of a command. */
void certificate_compact(const char *pem, size_t length, struct buf *out);

/* Make a key and a certificate that it has signed itself, for no name that exists: what clients get that ask for a name
 * nobody has. Appends PEM. */
int certificate_make_default(struct buf *ret_chain, struct buf *ret_key, struct err *err) MUST_CHECK;

#endif
