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

/* Append {"scheme": "sha512", "cost": 5000}, and "line_end": true where a line end is in the value: no list of users
 * can have it. cost: rounds of sha256 and sha512, the exponent of bcrypt; absent for others. Schemes: md5, apr1,
 * bcrypt, sha256, sha512, scrypt, yescrypt, sha1 ({SHA}), ssha ({SSHA}). False, and nothing appended, for any other
 * value. */
bool password_facts_write(struct buf *out, const char *bytes, size_t length);

#endif
