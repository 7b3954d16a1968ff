/* fetch_credentials.h — the values that are sent with a request for a URL.
 * Thread:  loop thread only.
 * Owns:    copies of the values, which are wiped.
 * Errors:  ERR_NOTFOUND: there is no such Secret or key; ERR_INVALID: a value that no header can have; ERR_LIMIT.
 */
#ifndef HAPTIC_CONTROLLER_FETCH_CREDENTIALS_H
#define HAPTIC_CONTROLLER_FETCH_CREDENTIALS_H

#include "controller/fetch_wish.h"
#include "store/store.h"

struct fetch_credentials {
    struct buf bearer, username, password;
};

/* The present values of the Secret that a wish names; none when it names none. */
int fetch_credentials_find(struct store *store, const struct fetch_wish *wish, struct fetch_credentials *ret,
                           struct err *err) MUST_CHECK;
void fetch_credentials_done(struct fetch_credentials *c);

#endif
