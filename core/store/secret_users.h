/* secret_users.h — the users of a password file (htpasswd) in a Secret.
 * Thread:  any.
 * Owns:    nothing.
 * Source:  htpasswd(1): "NAME:HASH" in each line.
 *
 * A name is no secret, its hash is one: templates see names, and a handle for each hash.
 */
#ifndef HAPTIC_STORE_SECRET_USERS_H
#define HAPTIC_STORE_SECRET_USERS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

#define SECRET_USERS_MAX 10000

/* May the value of this key be a password file? "auth", as other controllers call it, and "htpasswd". */
bool secret_users_is_key(const char *key);
/* Call fn for each user, in the order of the lines; of equal names the first counts for HAProxy, so all are told.
 * Comments, empty lines, and what is no line of such a file are passed over. ERR_LIMIT: more than SECRET_USERS_MAX. */
int secret_users_each(const char *text, size_t length,
                      int (*fn)(void *ctx, const char *name, size_t name_length, const char *hash, size_t hash_length,
                                struct err *err),
                      void *ctx, struct err *err) MUST_CHECK;

#endif
