/* fake_secret.h — a Secret with other values of the same kinds: what a snapshot has in the place of the real one.
 * Thread:  any; one owner at a time.
 * Owns:    the fake keys of its certificates.
 * Errors:  ERR_INVALID, ERR_LIMIT; texts name keys, never bytes.
 * Source:  Kubernetes API reference: Secret v1; crypt(5).
 *
 * Names, labels, annotations, keys, types, uid and resourceVersion stay. Values become
 *   certificates, keys, lists of revoked certificates (PEM): the same with other keys (fake_pem.h);
 *   password hashes of crypt(3), as a value or behind "USER:": hashes of the password "haptic" by the same scheme;
 *   anything else: letters and digits.
 * A fake has the length of the real value wherever its kind allows it, and depends on nothing else of it.
 */
#ifndef HAPTIC_OFFLINE_FAKE_SECRET_H
#define HAPTIC_OFFLINE_FAKE_SECRET_H

#include "data/json.h"
#include "offline/fake_pem.h"

#define FAKE_PASSWORD "haptic"

struct fake_secrets {
    struct fake_pem pem;
    char setting[128], hash[384]; /* of crypt(3), the last one */
};
void fake_secrets_done(struct fake_secrets *f);

/* Append the Secret as JSON, without kubectl's copy of it. Labels and annotations that tell a value are left out. */
int fake_secret_write(struct fake_secrets *f, struct yyjson_val *secret, struct buf *out, struct err *err) MUST_CHECK;
/* Append the fake of one value. label: of whom, such as "default/web:token". */
void fake_value_write(struct fake_secrets *f, const char *label, const char *bytes, size_t length, struct buf *out);

#endif
