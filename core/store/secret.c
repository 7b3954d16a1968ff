/* The object is written again as text, with handles instead of values, and parsed again: so the result cannot share
 * memory with the input. Decoded bytes are wiped as soon as the vault has them.
 */
#include "store/secret.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "store/password_facts.h"
#include "store/secret_facts.h"
#include "store/secret_users.h"

#define TEXT_MAX ((size_t)16 << 20)
#define KEYS_MAX 4096
#define KEY_LENGTH_MAX 253

bool secret_is_kind(const char *api_version, const char *resource)
{
    return strcmp(api_version, "v1") == 0 && strcmp(resource, "secrets") == 0;
}

static const char *string_or_empty(const char *text)
{
    return text ? text : "";
}

struct concealing {
    struct vault *vault;
    struct vault_name name;
    struct vault_hold *hold;
    struct buf data, lengths, passwords; /* members of the objects */
    struct buf users;                    /* lists of users, by the handles of password files */
    size_t count;
    struct plain { /* values that facts are taken from */
        struct buf bytes;
        bool is_there;
        char handle[VAULT_HANDLE_LENGTH + 1];
    } chains[SECRET_PAIRS_MAX], keys[SECRET_PAIRS_MAX], authorities, revocations;
};

static void bytes_wipe(struct buf *b)
{
    if (b->data)
        explicit_bzero(b->data, b->capacity);
    buf_done(b);
}

static struct plain *plain_of(struct concealing *c, const char *key)
{
    const char *dot = strchr(key, '.');
    size_t stem = dot ? (size_t)(dot - key) : 0;

    for (size_t i = 0; i < SECRET_PAIRS_MAX; i++) {
        if (stem == 0 || strlen(secret_pair_stems[i]) != stem || memcmp(secret_pair_stems[i], key, stem) != 0)
            continue;
        return strcmp(dot, ".crt") == 0 ? &c->chains[i] : strcmp(dot, ".key") == 0 ? &c->keys[i] : NULL;
    }
    return strcmp(key, "ca.crt") == 0 ? &c->authorities : strcmp(key, "ca.crl") == 0 ? &c->revocations : NULL;
}

static bool key_is_usable(const char *key, size_t length)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
    return length > 0 && length <= KEY_LENGTH_MAX && strspn(key, allowed) == length && !vault_is_in(key, length);
}

static int user_add(void *ctx, const char *name, size_t name_length, const char *hash, size_t hash_length,
                    struct err *err)
{
    struct concealing *c = ctx;
    char handle[VAULT_HANDLE_LENGTH + 1];
    CLEANUP(free_ptr) char *key = xasprintf("%s of %.*s", c->name.key, (int)name_length, name);
    struct vault_name of = c->name;

    of.key = key;
    if (vault_put(c->vault, &c->hold, &of, hash, hash_length, handle, err) < 0)
        return -1;
    buf_printf(&c->users, "%s{\"name\":\"%.*s\",\"password\":\"%s\"}",
               c->users.data[c->users.length - 1] == '[' ? "" : ",", (int)name_length, name, handle);
    return 0;
}

/* A value that is no password file has no users. */
static int users_add(struct concealing *c, const char *key, const char *bytes, size_t length, const char *handle,
                     struct err *err)
{
    if (!secret_users_is_key(key))
        return 0;
    buf_printf(&c->users, "%s\"%s\":[", c->users.length ? "," : "", handle);
    int result = secret_users_each(bytes, length, user_add, c, err);
    buf_putc(&c->users, ']');
    return result;
}

static int value_add(struct concealing *c, const char *key, const char *bytes, size_t length, struct err *err)
{
    char handle[VAULT_HANDLE_LENGTH + 1];
    if (c->count++ >= KEYS_MAX)
        return err_set(err, ERR_LIMIT, "more than %d keys", KEYS_MAX);
    c->name.key = key;
    if (vault_put(c->vault, &c->hold, &c->name, bytes, length, handle, err) < 0)
        return -1;
    buf_printf(&c->data, "%s\"%s\":\"%s\"", c->data.length ? "," : "", key, handle);
    buf_printf(&c->lengths, "%s\"%s\":%zu", c->lengths.length ? "," : "", key, length);
    CLEANUP(buf_done) struct buf password = {0};
    if (password_facts_write(&password, bytes, length))
        buf_printf(&c->passwords, "%s\"%s\":%s", c->passwords.length ? "," : "", key, buf_str(&password));
    if (users_add(c, key, bytes, length, handle, err) < 0)
        return -1;
    struct plain *plain = plain_of(c, key);
    if (plain) {
        bytes_wipe(&plain->bytes);
        plain->is_there = true;
        memcpy(plain->handle, handle, sizeof(handle));
        /* One byte more than the limit is enough to see that the value is too long. */
        buf_add(&plain->bytes, bytes, length <= CERTIFICATE_BYTES_MAX ? length : CERTIFICATE_BYTES_MAX + 1);
    }
    return 0;
}

/* Base64 as the API server accepts it: RFC 4648 with padding; newlines between the characters are allowed. */
static int base64_decode(const char *text, size_t length, struct buf *out, struct err *err)
{
    int n = 0, rest = 0;
    if (length == 0)
        return 0;
    EVP_ENCODE_CTX *decoder = EVP_ENCODE_CTX_new();
    char *room = buf_room(out, length / 4 * 3 + 4, err);
    if (!decoder || !room) {
        EVP_ENCODE_CTX_free(decoder);
        return -1;
    }
    EVP_DecodeInit(decoder);
    bool good = EVP_DecodeUpdate(decoder, (unsigned char *)room, &n, (const unsigned char *)text, (int)length) >= 0 &&
                EVP_DecodeFinal(decoder, (unsigned char *)room + n, &rest) == 1;
    EVP_ENCODE_CTX_free(decoder);
    if (!good)
        return err_set(err, ERR_INVALID, "not base64");
    buf_grew(out, (size_t)(n + rest));
    return 0;
}

static int members_add(struct concealing *c, struct yyjson_val *values, struct yyjson_val *winners, bool encoded,
                       struct err *err)
{
    size_t at, max;
    struct yyjson_val *key, *value;

    if (values && !yyjson_is_null(values) && !yyjson_is_obj(values))
        return err_set(err, ERR_INVALID, "%s is not an object", encoded ? "data" : "stringData");
    yyjson_obj_foreach(values, at, max, key, value)
    {
        const char *name = yyjson_get_str(key);
        if (!key_is_usable(name, yyjson_get_len(key)))
            return err_set(err, ERR_INVALID, "a key that is not of letters, digits, \"-\", \"_\" and \".\"");
        if (yyjson_is_null(value) || yyjson_obj_get(winners, name))
            continue;
        if (!yyjson_is_str(value))
            return err_set(err, ERR_INVALID, "key %s: the value is not a string", name);
        struct buf bytes = {0};
        const char *text = yyjson_get_str(value);
        size_t length = yyjson_get_len(value);
        int result = encoded ? base64_decode(text, length, &bytes, err) : 0;
        if (result == 0)
            result = encoded ? value_add(c, name, buf_str(&bytes), bytes.length, err)
                             : value_add(c, name, text, length, err);
        bytes_wipe(&bytes);
        if (result < 0)
            return err_wrap(err, "key %s", name);
    }
    return 0;
}

/* Copies a member, if the object has it. */
static int member_copy(struct buf *out, struct yyjson_val *object, const char *name, const struct json_prune *prune,
                       struct err *err)
{
    struct yyjson_val *value = json_at(object, name);
    if (!value)
        return 0;
    buf_printf(out, "%s\"%s\":", out->length > 1 ? "," : "", name);
    return json_write(out, value, prune, err);
}

/* The facts of one pair. When its chain is in the wrong order, the pair gets another value with the right order. */
static int pair_read(struct concealing *c, size_t i, struct secret_pair *ret_pair,
                     char ret_ordered[VAULT_HANDLE_LENGTH + 1], struct err *err)
{
    const struct plain *chain = &c->chains[i], *key = &c->keys[i];
    CLEANUP(buf_done) struct buf ordered = {0};
    int result = 0;

    *ret_pair = (struct secret_pair){.stem = secret_pair_stems[i],
                                     .digest = digest_of(chain->bytes.data, chain->bytes.length)};
    certificate_read(ret_pair->stem, chain->is_there ? buf_str(&chain->bytes) : NULL, chain->bytes.length,
                     key->is_there ? buf_str(&key->bytes) : NULL, key->bytes.length, &ret_pair->facts, &ordered);
    if (ret_pair->facts.problem[0])
        return 0;
    ret_pair->chain_handle = chain->handle;
    if (ret_pair->facts.reordered) {
        CLEANUP(free_ptr) char *name = xasprintf("%s.crt in order", ret_pair->stem);
        c->name.key = name;
        result = vault_put(c->vault, &c->hold, &c->name, buf_str(&ordered), ordered.length, ret_ordered, err);
        ret_pair->chain_handle = ret_ordered;
    }
    return result;
}

/* All pairs that have a certificate. If there are none: the pair of kubernetes.io/tls, whose certificate is missing. */
static int pairs_read(struct concealing *c, struct secret_pair pairs[SECRET_PAIRS_MAX],
                      char ordered[SECRET_PAIRS_MAX][VAULT_HANDLE_LENGTH + 1], size_t *ret_count, struct err *err)
{
    size_t n = 0;
    int result = 0;

    for (size_t i = 0; i < SECRET_PAIRS_MAX && result == 0; i++)
        if (c->chains[i].is_there) {
            result = pair_read(c, i, &pairs[n], ordered[n], err);
            n++;
        }
    *ret_count = n ? n : 1;
    return n ? result : pair_read(c, 0, &pairs[0], ordered[0], err);
}

static bool has_certificate(const struct concealing *c, const char *type)
{
    bool has = strcmp(type, "kubernetes.io/tls") == 0 || c->authorities.is_there;
    for (size_t i = 0; i < SECRET_PAIRS_MAX; i++)
        has = has || c->chains[i].is_there;
    return has;
}

static int facts_write(struct concealing *c, const char *type, struct buf *out, struct err *err)
{
    struct secret_pair pairs[SECRET_PAIRS_MAX] = {0};
    struct certificate_facts authorities = {0}, revocations = {0};
    char ordered[SECRET_PAIRS_MAX][VAULT_HANDLE_LENGTH + 1];
    size_t count = 0;

    if (!has_certificate(c, type))
        return 0;
    int result = pairs_read(c, pairs, ordered, &count, err);
    if (c->authorities.is_there)
        certificate_read_authorities(buf_str(&c->authorities.bytes), c->authorities.bytes.length, &authorities);
    if (c->revocations.is_there)
        certificate_read_revocations(buf_str(&c->revocations.bytes), c->revocations.bytes.length, &revocations);
    if (result == 0)
        secret_facts_write(out, pairs, count, c->authorities.is_there ? &authorities : NULL,
                           c->revocations.is_there ? &revocations : NULL,
                           digest_of(c->authorities.bytes.data, c->authorities.bytes.length), clock_wall_s());
    for (size_t i = 0; i < count; i++)
        certificate_facts_done(&pairs[i].facts);
    certificate_facts_done(&authorities);
    certificate_facts_done(&revocations);
    return result;
}

static int object_write(struct concealing *c, struct yyjson_val *value, struct buf *out, struct err *err)
{
    struct json_prune prune = {0};
    int result = json_prune_add(&prune, "annotations['kubectl.kubernetes.io/last-applied-configuration']", err);

    buf_putc(out, '{');
    if (result == 0 &&
        (member_copy(out, value, "kind", NULL, err) < 0 || member_copy(out, value, "metadata", &prune, err) < 0 ||
         member_copy(out, value, "type", NULL, err) < 0 || member_copy(out, value, "immutable", NULL, err) < 0))
        result = -1;
    json_prune_done(&prune);
    if (result == 0 && vault_is_in(out->data, out->length))
        result = err_set(err, ERR_INVALID, "it has the text of a handle outside of its values");
    if (result == 0 && (members_add(c, json_at(value, "data"), json_at(value, "stringData"), true, err) < 0 ||
                        members_add(c, json_at(value, "stringData"), NULL, false, err) < 0))
        result = -1;
    if (result == 0)
        buf_printf(out, "%s\"data\":{%s},\"lengths\":{%s}", out->length > 1 ? "," : "", buf_str(&c->data),
                   buf_str(&c->lengths));
    if (result == 0 && c->passwords.length)
        buf_printf(out, ",\"passwords\":{%s}", buf_str(&c->passwords));
    if (result == 0 && c->users.length > 0)
        buf_printf(out, ",\"users\":{%s}", buf_str(&c->users));
    if (result == 0)
        result = facts_write(c, string_or_empty(json_str(value, "type")), out, err);
    buf_putc(out, '}');
    return result;
}

int secret_conceal(struct vault *v, struct yyjson_val *value, struct yyjson_doc **ret_doc, struct vault_hold **ret_hold,
                   struct err *err)
{
    CLEANUP(buf_done) struct buf text = {0};
    struct yyjson_val *metadata = json_at(value, "metadata");
    struct concealing c = {.vault = v};

    c.name.namespace = string_or_empty(json_str(metadata, "namespace"));
    c.name.name = string_or_empty(json_str(metadata, "name"));
    c.name.uid = string_or_empty(json_str(metadata, "uid"));
    c.name.resource_version = string_or_empty(json_str(metadata, "resourceVersion"));
    buf_init(&text, TEXT_MAX);
    int result = object_write(&c, value, &text, err);
    buf_done(&c.data);
    buf_done(&c.lengths);
    buf_done(&c.passwords);
    buf_done(&c.users);
    for (size_t i = 0; i < SECRET_PAIRS_MAX; i++) {
        bytes_wipe(&c.chains[i].bytes);
        bytes_wipe(&c.keys[i].bytes);
    }
    bytes_wipe(&c.authorities.bytes);
    bytes_wipe(&c.revocations.bytes);
    if (result == 0)
        result = json_parse(text.data, text.length, TEXT_MAX, ret_doc, err);
    if (result < 0) {
        vault_release(c.hold);
        return -1;
    }
    *ret_hold = c.hold;
    return 0;
}
