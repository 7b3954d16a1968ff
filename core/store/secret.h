/* secret.h — a Secret as everybody but the vault sees it.
 * Thread:  loop thread only.
 * Owns:    nothing; what it makes is the caller's.
 * Errors:  0, or -1 with *err set (ERR_INVALID, ERR_LIMIT); texts name keys, never bytes.
 * Source:  Kubernetes API reference: Secret v1 (data is base64, stringData is write-only and wins).
 */
#ifndef HAPTIC_STORE_SECRET_H
#define HAPTIC_STORE_SECRET_H

#include <stdbool.h>

#include "data/json.h"
#include "store/vault.h"

/* Are objects of this API version and resource Secrets? */
bool secret_is_kind(const char *api_version, const char *resource);

/* Take the values of a Secret into the vault. *ret_doc is the object with handles in their place:
 *
 *     metadata (without kubectl's copy of the object), type, immutable,
 *     data:    {KEY: handle}, of data and stringData
 *     lengths: {KEY: bytes}
 *     passwords: {KEY: facts} of values that are hashes of passwords (store/password_facts.h); where there are any
 *     users:   {handle: [{name, password: handle}]}, of the keys that may be password files (store/secret_users.h)
 *     x509:    facts of tls.crt, tls.key and ca.crt, or of such pairs with other names (store/secret_facts.h); where
 *              there is a certificate among them, or the type is kubernetes.io/tls
 *
 * and nothing else: a field that is not known might hold a value under a wrong name. */
int secret_conceal(struct vault *v, struct yyjson_val *value, struct yyjson_doc **ret_doc, struct vault_hold **ret_hold,
                   struct err *err) MUST_CHECK;

#endif
