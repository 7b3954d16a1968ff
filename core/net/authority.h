/* authority.h — an authority of our own, and the two certificates of a fleet: the agents' and the controllers'.
 * Thread:  any; pure functions of their arguments, the clock and the system's random numbers.
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

/* A certificate that may sign others, and its key. Appends PEM. */
int authority_make(struct buf *ret_certificate, struct buf *ret_key, struct err *err) MUST_CHECK;
/* A certificate for this DNS name: of a server (agent) or of a client (controller). */
int authority_issue(const char *authority, const char *authority_key, enum authority_role role, const char *name,
                    int64_t life_s, struct buf *ret_certificate, struct buf *ret_key, struct err *err) MUST_CHECK;

/* Is it signed by that authority, of that name, with that key, valid now, and will it be for more than a third of its
 * life? why: what is not so. */
bool authority_is_good(const char *authority, const char *certificate, const char *key, const char *name,
                       const char **ret_why);

#endif
