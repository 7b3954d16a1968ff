/* secret_facts.h — what templates may know of a certificate in a Secret: facts beside its handles.
 * Thread:  loop thread only.
 * Owns:    nothing.
 * Units:   *_s Unix seconds.
 *
 *     "x509": {"validity": "valid", "not_before": 1, "not_after": 2, "names": ["shop.example.com"],
 *              "key_type": "ECDSA", "key_bits": 256, "certificates": 2, "strays": 0, "reordered": false,
 *              "problem": "…", "ocsp": true, "ocsp_host": "…", "stem": "tls", "chain": handle, "digest": "…",
 *              "authorities": {"certificates": 1, "problem": "…"},
 *              "revocations": {"lists": 1, "next_update": 3, "problem": "…"},
 *              "pairs": [facts of further pairs, from "validity" to "digest"]}
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

/* Pairs of a certificate and its key that one Secret can have: STEM.crt and STEM.key. The first is that of
 * kubernetes.io/tls; the others are how controllers for HAProxy have several types of keys under one name. */
#define SECRET_PAIRS_MAX 3
extern const char *const secret_pair_stems[SECRET_PAIRS_MAX];

struct secret_pair {
    const char *stem;
    struct certificate_facts facts;
    const char *chain_handle; /* NULL where the certificate cannot be used */
    struct digest digest;     /* of STEM.crt, so that it is seen whether it has changed */
};

/* Append the member x509, with a comma in front. pairs: one at least; the first one's facts stand for the Secret.
 * authorities, revocations: NULL where there are none. authorities_digest: of ca.crt. */
void secret_facts_write(struct buf *out, const struct secret_pair *pairs, size_t count,
                        const struct certificate_facts *authorities, const struct certificate_facts *revocations,
                        struct digest authorities_digest, int64_t now_s);

/* Dates and validity in the JSON text of an object that has such facts; one call for each pair of certificate and
 * key. */
struct secret_dates {
    int64_t not_before_s, not_after_s;
    size_t validity_at; /* offset of the word; 0: of none yet */
    bool usable;        /* no problem is told */
};
/* The next one; false when there is none any more. dates must be zeroed before the first. */
bool secret_facts_next(const char *json, size_t length, struct secret_dates *dates);
#define SECRET_VALIDITY_LENGTH 5
const char *secret_validity(const struct secret_dates *dates, int64_t now_s);

#endif
