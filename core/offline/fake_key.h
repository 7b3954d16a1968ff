/* fake_key.h — keys that stand for those of a cluster: of the same type and size, and known to everybody.
 * Thread:  any; one owner at a time.
 * Owns:    the keys that it gave out, until fake_keys_done().
 *
 * A key is a function of its type, its size and a number, and of nothing else: nothing of a real key is in it, and each
 * process makes the same ones. Real keys of one type and size have the same fake one.
 */
#ifndef HAPTIC_OFFLINE_FAKE_KEY_H
#define HAPTIC_OFFLINE_FAKE_KEY_H

#include <openssl/evp.h>
#include <openssl/x509.h>

#include "base/buf.h"
#include "base/vec.h"

struct fake_keys {
    VEC(struct fake_key {
        char *label;
        EVP_PKEY *key;
    })
    items;
};
void fake_keys_done(struct fake_keys *k);

/* A key like that one; number tells several of them apart. NULL: this type is not known. Borrowed. */
EVP_PKEY *fake_key(struct fake_keys *k, const EVP_PKEY *like, unsigned number);
/* The key of an authority of that name (Ed25519). Who is signed by a name is signed by this key, so fake chains can be
 * verified. Borrowed. */
EVP_PKEY *fake_authority_key(struct fake_keys *k, const X509_NAME *name);
/* As many bytes, made from a label. */
void fake_bytes(const char *label, unsigned char *bytes, size_t length);

#endif
