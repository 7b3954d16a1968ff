/* Handles of the Secret give access to its values in the vault. */
#include "controller/fetch_credentials.h"

#include <stdint.h>
#include <string.h>

#include "data/json.h"
#include "store/secret.h"
#include "store/vault.h"

#define CREDENTIAL_MAX ((size_t)16 << 10)

static void wipe(struct buf *b)
{
    if (b->data != NULL)
        explicit_bzero(b->data, b->capacity);
    buf_done(b);
}

static struct object *find_secret(struct store *store, const char *id)
{
    for (size_t i = 0; i < store_kind_count(store); i++) {
        struct store_kind *kind = store_kind_at(store, i);
        const struct store_kind_spec *spec = store_kind_spec(kind);
        struct object *o = secret_is_kind(spec->api_version, spec->resource) ? store_get(kind, id) : NULL;
        if (o != NULL)
            return o;
    }
    return NULL;
}

/* The value of one key, as text. */
static int credential(struct store *store, const struct object *secret, const char *key, struct buf *out,
                      struct err *err)
{
    CLEANUP(json_doc_done) struct yyjson_doc *doc = NULL;
    struct vault_value value;

    if (object_parse(secret, SIZE_MAX, &doc, err) < 0)
        return -1;
    const char *handle = json_str(yyjson_doc_get_root(doc), "data", key);
    if (handle == NULL)
        return err_set(err, ERR_NOTFOUND, "Secret %s has no key %s", secret->id, key);
    if (vault_get(store_vault(store), handle, &value, err) < 0)
        return -1;
    size_t length = value.length;
    while (length > 0 && (value.bytes[length - 1] == '\n' || value.bytes[length - 1] == '\r'))
        length--; /* an editor has added a newline */
    for (size_t i = 0; i < length; i++)
        if ((unsigned char)value.bytes[i] < ' ')
            return err_set(err, ERR_INVALID, "Secret %s: %s has a control character", secret->id, key);
    buf_init(out, CREDENTIAL_MAX);
    return buf_try_add(out, value.bytes, length, err);
}

void fetch_credentials_done(struct fetch_credentials *c)
{
    wipe(&c->bearer);
    wipe(&c->username);
    wipe(&c->password);
}

int fetch_credentials_find(struct store *store, const struct fetch_wish *wish, struct fetch_credentials *ret,
                           struct err *err)
{
    if (wish->secret == NULL)
        return 0;
    const struct object *secret = find_secret(store, wish->secret);
    if (secret == NULL)
        return err_set(err, ERR_NOTFOUND, "there is no Secret %s", wish->secret);
    if (wish->bearer != NULL)
        return credential(store, secret, wish->bearer, &ret->bearer, err);
    if (wish->username == NULL || wish->password == NULL)
        return err_set(err, ERR_INVALID, "credentials without keys of the Secret %s", wish->secret);
    return credential(store, secret, wish->username, &ret->username, err) < 0
               ? -1
               : credential(store, secret, wish->password, &ret->password, err);
}
