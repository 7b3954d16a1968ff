/* fake_pem.h — certificates, keys and revocation lists with other keys: the same names, dates, extensions and kinds.
 * Thread:  any; one owner at a time.
 * Owns:    the fake keys, and the real ones that it was told of, until fake_pem_done().
 *
 * A certificate whose key is among the real ones gets the fake key of that key, so that both fit together; one that is
 * an authority gets the key of its name. All are signed by the key of their issuer's name.
 */
#ifndef HAPTIC_OFFLINE_FAKE_PEM_H
#define HAPTIC_OFFLINE_FAKE_PEM_H

#include <stdbool.h>

#include "offline/fake_key.h"

struct fake_pem {
    struct fake_keys keys;
    VEC(EVP_PKEY *) real; /* of the Secret at hand */
};
void fake_pem_done(struct fake_pem *p);

/* Is there a PEM block in it? */
bool fake_pem_is(const char *bytes, size_t length);
/* Remember the private keys in a value, before anything is written. */
void fake_pem_learn(struct fake_pem *p, const char *bytes, size_t length);
void fake_pem_forget(struct fake_pem *p);
/* Append the fake of a value. Blocks that cannot be read become others of the same name that cannot be read either. */
void fake_pem_write(struct fake_pem *p, const char *bytes, size_t length, struct buf *out);

#endif
