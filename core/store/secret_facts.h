/* secret_facts.h — what templates may know of a certificate in a Secret: facts beside its handles.
 * Thread:  loop thread only.
 * Owns:    nothing.
 * Units:   *_s Unix seconds.
 *
 *     "x509": {"validity": "valid", "not_before": 1, "not_after": 2, "names": ["shop.example.com"], "key_type":
 *     "ECDSA",
 *              "key_bits": 256, "certificates": 2, "strays": 0, "reordered": false, "problem": "…", "chain": handle,
 *              "ocsp": true, "ocsp_host": "…", "authorities": {"certificates": 1, "problem": "…"}, "revocations":
 *              {"lists": 1, "next_update":
 *              3, "problem": "…"}}
 *
 * validity is "early" before not_before, "ended" after not_after. It is the only fact that depends on the time: so
 * rendering stays a pure function of the objects, and the object changes when a date has passed
 * (secret_facts_refresh). The three words have the same length.
 */
#ifndef HAPTIC_STORE_SECRET_FACTS_H
#define HAPTIC_STORE_SECRET_FACTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/digest.h"
#include "data/certificate.h"

/* Append the member x509, with a comma in front. chain_handle: NULL where the certificate cannot be used. authorities,
 * revocations: NULL where there are none. digests: of what tls.crt and ca.crt have, so that it is seen whether that has
 * changed. */
void secret_facts_write(struct buf *out, const struct certificate_facts *f, const char *chain_handle,
                        const struct certificate_facts *authorities, const struct certificate_facts *revocations,
                        const struct digest digests[2], int64_t now_s);

/* What of it is needed again later, from an object's JSON. False when it has no facts. */
struct secret_dates {
    int64_t not_before_s, not_after_s;
    size_t validity_at; /* offset of the word */
    bool usable;        /* no problem is told */
};
bool secret_facts_dates(const char *json, size_t length, struct secret_dates *ret_dates);
#define SECRET_VALIDITY_LENGTH 5
const char *secret_validity(const struct secret_dates *dates, int64_t now_s);

#endif
