/* nonce.h — the word that the next offer has to name, so that an offer that is sent again does nothing.
 * Thread:  loop thread only.
 * Errors:  ERR_CONFLICT: it is not the next one.
 *
 * Each answer tells the next nonce, and an offer uses it up. Controllers of the API's version 2 name none: their offers
 * are taken as long as no offer of the same or a later term has named one.
 */
#ifndef HAPTIC_MEMBER_NONCE_H
#define HAPTIC_MEMBER_NONCE_H

#include <stdint.h>

#include "base/err.h"

#define NONCE_SIZE 33 /* 32 hexadecimal digits */

struct nonce {
    char next[NONCE_SIZE];
    int64_t named_in; /* the newest term, in lease transitions, whose offers name it; INT64_MIN: none */
};

void nonce_init(struct nonce *n);
/* given: what an offer of this term names; NULL: nothing. On success there is another one from here on. */
int nonce_use(struct nonce *n, const char *given, int64_t transitions, struct err *err) MUST_CHECK;

#endif
