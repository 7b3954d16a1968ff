/* authority.h — an authority of our own, and the two certificates of a fleet: the agents' and the controllers'.
 * Thread:  any; pure functions of their arguments and the system's random numbers.
 * Units:   *_s seconds; *_ns nanoseconds.
 * Errors:  ERR_INVALID for PEM that is none; ERR_INTERNAL when OpenSSL fails.
 * Source:  RFC 5280; keys are EC P-256.
 */
#ifndef HAPTIC_NET_AUTHORITY_H
#define HAPTIC_NET_AUTHORITY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

#define AUTHORITY_LIFE_S ((int64_t)3650 * 86400)
#define AUTHORITY_ISSUED_LIFE_S ((int64_t)90 * 86400)

enum authority_role { AUTHORITY_AGENT, AUTHORITY_CONTROLLER };

/* now_s in all of these: the time, of time(2). */
/* A certificate that may sign others, and its key. Appends PEM. */
int authority_make(int64_t now_s, struct buf *ret_certificate, struct buf *ret_key, struct err *err) MUST_CHECK;
/* A certificate for this DNS name: of a server (agent) or of a client (controller). */
int authority_issue(const char *authority, const char *authority_key, enum authority_role role, const char *name,
                    int64_t now_s, int64_t life_s, struct buf *ret_certificate, struct buf *ret_key, struct err *err)
    MUST_CHECK;
/* Can it issue now: are they a certificate that is valid and its key? */
bool authority_is_usable(const char *authority, const char *key, int64_t now_s);
/* Have two thirds of the life of this certificate passed? Of one that cannot be read they have. */
bool authority_is_old(const char *certificate, int64_t now_s);
bool authority_is_valid(const char *certificate, int64_t now_s);
/* From when it is valid, which is an hour before it was made; 0: it cannot be read. */
int64_t authority_begin_s(const char *certificate);
/* The length of the first certificate in a row of them, with what stands before it; 0: there is none. */
size_t authority_first(const char *certificates);

/* Is it signed by that authority (the first of a row), of that name, with that key, valid now, and will it be for more
 * than a third of its life? why: what is not so. */
bool authority_is_good(const char *authority, const char *certificate, const char *key, const char *name, int64_t now_s,
                       const char **ret_why);

#endif
