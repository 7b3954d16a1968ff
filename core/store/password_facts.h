/* password_facts.h — what templates may know of a password's hash in a Secret: by which scheme it was made, how costly.
 * Thread:  any.
 * Owns:    nothing.
 * Source:  crypt(5); Apache httpd, "Password Formats" ($apr1$, {SHA}).
 */
#ifndef HAPTIC_STORE_PASSWORD_FACTS_H
#define HAPTIC_STORE_PASSWORD_FACTS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

/* HAProxy computes a hash between two requests, and ends itself when it has been busy for two seconds. */
#define PASSWORD_MICROSECONDS_MAX 300000L

/* Append {"scheme": "sha512", "cost": 5000, "microseconds": 1501}, and "line_end": true where a line end is in the
 * value: no list of users can have it. cost: rounds of sha256 and sha512, the exponent of bcrypt, the number that
 * crypt_gensalt(3) takes for scrypt and yescrypt; absent for others. microseconds: what a login takes, about; absent
 * where that is unknown or more than PASSWORD_MICROSECONDS_MAX. Schemes: des, md5, apr1, bcrypt, sha256, sha512,
 * scrypt, yescrypt, sha1 ({SHA}), ssha ({SSHA}). False, and nothing appended, for any other value. */
bool password_facts_write(struct buf *out, const char *bytes, size_t length);
/* A hash of a known scheme that takes at most PASSWORD_MICROSECONDS_MAX? */
bool password_is_quick(const char *bytes, size_t length);

#endif
