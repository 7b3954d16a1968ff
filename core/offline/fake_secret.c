/* A Secret is gone through twice: for its private keys, since its certificates are to fit them, and to write it. */
#include "offline/fake_secret.h"

#include <crypt.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "data/certificate.h"
#include "kube/blob.h"
#include "store/password_facts.h"
#include "store/secret_facts.h"

#define VALUES_MAX 4096
#define VALUE_BYTES_MAX ((size_t)8 << 20)
#define ANNOTATED_MIN 4 /* shorter values are found everywhere */
#define USER_MAX 256
#define HASH_CHARACTERS "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

void fake_secrets_done(struct fake_secrets *f)
{
    fake_pem_done(&f->pem);
    explicit_bzero(f, sizeof(*f));
}

/* Letters and digits of a label. */
static void add_filler(const char *label, size_t length, struct buf *out)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz012345";
    CLEANUP(free_ptr) unsigned char *bytes = xmalloc(length + 1);

    fake_bytes(label, bytes, length);
    for (size_t i = 0; i < length; i++)
        buf_putc(out, letters[bytes[i] % 32]);
}

/* ---- password hashes ---- */

struct hash_shape {
    const char *prefix;
    size_t salt, digest; /* characters; salt 0: as long as it is, up to the next "$" */
};

static const struct hash_shape shapes[] = {
    {"$1$", 0, 22},   {"$5$", 0, 43},    {"$6$", 0, 86}, {"$2a$", 22, 31}, {"$2b$", 22, 31}, {"$2y$", 22, 31},
    {"$2x$", 22, 31}, {"$apr1$", 0, 22}, {"$y$", 0, 43}, {"$gy$", 0, 43},  {"$7$", 0, 43},   {"{SHA}", 0, 28},
};

/* A hash at the text's beginning, and its length to the end of the line. */
static const struct hash_shape *shape_of(const char *text, size_t length, size_t *ret_length)
{
    size_t end = 0;

    while (end < length && strchr("\r\n :", text[end]) == NULL)
        end++;
    for (size_t i = 0; i < ARRAY_LEN(shapes); i++) {
        size_t n = strlen(shapes[i].prefix);
        if (end > n && end < 256 && strncmp(text, shapes[i].prefix, n) == 0) {
            *ret_length = end;
            return &shapes[i];
        }
    }
    return NULL;
}

/* "$6$rounds=5000$" becomes "$6$rounds=1000$", "$2y$12$" "$2y$04$": as long, and as cheap as it can be. */
static void add_cost(const char *text, size_t length, struct buf *out)
{
    bool rounds = length > 8 && strncmp(text, "rounds=", 7) == 0, first = true;

    if (!rounds && strspn(text, "0123456789") == 2 && length > 2 && text[2] == '$') {
        buf_puts(out, "04$");
        return;
    }
    for (size_t i = 0; rounds && i < length && text[i] != '$'; i++) {
        bool digit = text[i] >= '0' && text[i] <= '9';
        buf_putc(out, digit ? (first ? '1' : '0') : text[i]);
        first = first && !digit;
    }
    if (rounds)
        buf_putc(out, '$');
}

static size_t cost_length(const char *text, size_t length)
{
    const char *end = memchr(text, '$', length);

    if (end == NULL || (strncmp(text, "rounds=", 7) != 0 && !(end == text + 2 && strspn(text, "0123456789") == 2)))
        return 0;
    return (size_t)(end - text) + 1;
}

/* The hash of FAKE_PASSWORD by this setting, where crypt(3) knows the scheme and the result has that length. */
static const char *crypt_hash(struct fake_secrets *f, const char *setting, size_t length)
{
    if (strcmp(setting, f->setting) != 0) {
        CLEANUP(free_ptr) struct crypt_data *data = xcalloc(1, sizeof(*data));
        bool is_quick = password_is_quick(setting, strlen(setting));
        const char *hash = is_quick ? crypt_r(FAKE_PASSWORD, setting, data) : NULL;
        snprintf(f->setting, sizeof(f->setting), "%s", setting);
        snprintf(f->hash, sizeof(f->hash), "%s", hash != NULL && *hash != '*' ? hash : "");
    }
    return strlen(f->hash) == length ? f->hash : NULL;
}

static void add_hash(struct fake_secrets *f, const struct hash_shape *shape, const char *text, size_t length,
                     struct buf *out)
{
    CLEANUP(buf_done) struct buf setting = {0};
    size_t prefix = strlen(shape->prefix);

    if (strcmp(shape->prefix, "{SHA}") == 0) {
        buf_puts(out, "{SHA}k1nQKz7LkoqDCkarT53oKZI6s/s=");
        return;
    }
    buf_puts(&setting, shape->prefix);
    add_cost(text + prefix, length - prefix, &setting);
    size_t at = prefix + cost_length(text + prefix, length - prefix);
    const char *end = shape->salt > 0 ? text + at + shape->salt : memrchr(text + at, '$', length - at);
    size_t salt = end != NULL && end < text + length ? (size_t)(end - text) - at : 0;
    for (size_t i = 0; i < salt; i++)
        buf_putc(&setting, i + 1 == salt && shape->salt > 0 ? 'O' : text[at + i] == '$' ? '$' : 'h');
    if (shape->salt == 0)
        buf_putc(&setting, '$');
    const char *hash = crypt_hash(f, buf_str(&setting), length);
    if (hash != NULL) {
        buf_puts(out, hash);
        return;
    }
    buf_add(out, buf_str(&setting), setting.length < length ? setting.length : length);
    for (size_t i = setting.length; i < length; i++)
        buf_putc(out, HASH_CHARACTERS[i % 64]);
}

/* Is each line "USER:HASH", or the whole a hash? Then it is written. */
static bool write_hashes(struct fake_secrets *f, const char *bytes, size_t length, struct buf *out)
{
    CLEANUP(buf_done) struct buf text = {0};
    size_t hashes = 0;

    for (size_t at = 0; at < length;) {
        const char *line = bytes + at, *stop = memchr(line, '\n', length - at);
        size_t n = stop != NULL ? (size_t)(stop - line) : length - at, hash_length = 0;
        const char *colon = memchr(line, ':', n);
        size_t user = colon != NULL && (size_t)(colon - line) < USER_MAX && *line != '$' ? (size_t)(colon - line) + 1
                                                                                         : 0;
        const struct hash_shape *shape = shape_of(line + user, n - user, &hash_length);
        if (shape == NULL && n > 0)
            return false;
        if (shape != NULL) {
            buf_add(&text, line, user);
            add_hash(f, shape, line + user, hash_length, &text);
            hashes++;
        }
        if (stop != NULL)
            buf_putc(&text, '\n');
        at += n + 1;
    }
    if (hashes > 0)
        buf_add(out, buf_str(&text), text.length);
    return hashes > 0;
}

/* ---- values ---- */

void fake_value_write(struct fake_secrets *f, const char *label, const char *bytes, size_t length, struct buf *out)
{
    size_t before = out->length;

    if (fake_pem_is(bytes, length)) {
        fake_pem_write(&f->pem, bytes, length, out);
        while (out->length - before < length)
            buf_putc(out, '\n');
    } else if (!write_hashes(f, bytes, length, out)) {
        add_filler(label, length, out);
    }
}

struct value {
    const char *key;
    struct kube_blob real;
    struct buf fake;
};

struct values {
    VEC(struct value) items;
};

static void values_done(struct values *v)
{
    for (size_t i = 0; i < v->items.length; i++) {
        kube_blob_done(&v->items.items[i].real);
        buf_done(&v->items.items[i].fake);
    }
    vec_done(&v->items);
}

static int values_read(struct values *v, struct yyjson_val *data, struct err *err)
{
    size_t at, max;
    struct yyjson_val *key, *value;

    yyjson_obj_foreach(data, at, max, key, value)
    {
        struct value one = {.key = yyjson_get_str(key)};
        if (v->items.length >= VALUES_MAX)
            return err_set(err, ERR_LIMIT, "more than %d keys", VALUES_MAX);
        if (!yyjson_is_str(value) || yyjson_get_len(value) > VALUE_BYTES_MAX)
            return err_set(err, ERR_INVALID, "key %s: the value is no string, or too long", one.key);
        if (yyjson_get_len(value) > 0 && kube_blob_set_base64(&one.real, yyjson_get_str(value), err) < 0)
            return err_wrap(err, "key %s", one.key);
        vec_push(&v->items, one);
    }
    return 0;
}

static const struct value *find(const struct values *v, const char *key)
{
    for (size_t i = 0; i < v->items.length; i++)
        if (strcmp(v->items.items[i].key, key) == 0)
            return &v->items.items[i];
    return NULL;
}

static void read_facts(const char *stem, const struct value *chain, const struct value *key, bool real,
                       struct certificate_facts *facts)
{
    CLEANUP(buf_done) struct buf ordered = {0};
    const struct value none = {0}, *c = chain ? chain : &none, *k = key ? key : &none;

    if (real)
        certificate_read(stem, c->real.bytes, c->real.length, k->real.bytes, k->real.length, facts, &ordered);
    else
        certificate_read(stem, buf_str(&c->fake), c->fake.length, buf_str(&k->fake), k->fake.length, facts, &ordered);
}

/* A certificate that HAProxy cannot use must not become one that it can. */
static void keep_problem_of(struct values *v, const char *stem)
{
    CLEANUP(free_ptr) char *chain_name = xasprintf("%s.crt", stem);
    CLEANUP(free_ptr) char *key_name = xasprintf("%s.key", stem);
    const struct value *chain = find(v, chain_name), *key = find(v, key_name);
    struct certificate_facts real, fake;

    if (chain == NULL || key == NULL || chain->fake.length == 0)
        return;
    read_facts(stem, chain, key, true, &real);
    read_facts(stem, chain, key, false, &fake);
    if (real.problem[0] != '\0' && fake.problem[0] == '\0')
        memset(chain->fake.data, 'x', chain->fake.length);
    certificate_facts_done(&real);
    certificate_facts_done(&fake);
}

static void keep_problems(struct values *v)
{
    for (size_t i = 0; i < SECRET_PAIRS_MAX; i++)
        keep_problem_of(v, secret_pair_stems[i]);
}

/* ---- the object ---- */

/* Do labels or annotations tell a value, plain or as base64? */
static bool tells(const char *text, size_t length, const struct values *v)
{
    for (size_t i = 0; i < v->items.length; i++) {
        const struct kube_blob *b = &v->items.items[i].real;
        if (b->length < ANNOTATED_MIN)
            continue;
        if (memmem(text, length, b->bytes, b->length) != NULL)
            return true;
        CLEANUP(free_ptr) char *encoded = kube_base64_encode(b->bytes, b->length);
        if (memmem(text, length, encoded, strcspn(encoded, "=")) != NULL)
            return true;
    }
    return false;
}

static int add_prune(struct json_prune *prune, const char *const *paths, size_t count, struct err *err)
{
    for (size_t i = 0; i < count; i++)
        if (json_prune_add(prune, paths[i], err) < 0)
            return -1;
    return 0;
}

static int write_metadata(struct yyjson_val *metadata, const struct values *v, struct buf *out, struct err *err)
{
    static const char *const always[] = {"managedFields",
                                         "annotations['kubectl.kubernetes.io/last-applied-configuration']"};
    static const char *const telling[] = {"managedFields", "annotations", "labels"};
    CLEANUP(buf_done) struct buf text = {0};
    CLEANUP(json_prune_done) struct json_prune own = {0}, strict = {0};

    if (add_prune(&own, always, ARRAY_LEN(always), err) < 0 ||
        add_prune(&strict, telling, ARRAY_LEN(telling), err) < 0 || json_write(&text, metadata, &own, err) < 0)
        return -1;
    if (!tells(buf_str(&text), text.length, v))
        return buf_try_add(out, buf_str(&text), text.length, err);
    return json_write(out, metadata, &strict, err);
}

static int write_member(struct yyjson_val *secret, const char *name, struct buf *out, struct err *err)
{
    struct yyjson_val *value = json_at(secret, name);

    if (value == NULL)
        return 0;
    buf_printf(out, ",\"%s\":", name);
    return json_write(out, value, NULL, err);
}

static int write_data(const struct values *v, struct buf *out, struct err *err)
{
    buf_puts(out, ",\"data\":{");
    for (size_t i = 0; i < v->items.length; i++) {
        const struct value *one = &v->items.items[i];
        CLEANUP(free_ptr) char *encoded = kube_base64_encode(buf_str(&one->fake), one->fake.length);
        if (i > 0)
            buf_putc(out, ',');
        if (json_write_string(out, one->key, strlen(one->key), err) < 0)
            return -1;
        buf_printf(out, ":\"%s\"", encoded);
    }
    buf_puts(out, "}");
    return 0;
}

int fake_secret_write(struct fake_secrets *f, struct yyjson_val *secret, struct buf *out, struct err *err)
{
    CLEANUP(values_done) struct values v = {0};
    struct yyjson_val *metadata = json_at(secret, "metadata");
    const char *namespace = json_str(metadata, "namespace"), *name = json_str(metadata, "name");

    if (values_read(&v, json_at(secret, "data"), err) < 0)
        return -1;
    for (size_t i = 0; i < v.items.length; i++)
        fake_pem_learn(&f->pem, v.items.items[i].real.bytes, v.items.items[i].real.length);
    for (size_t i = 0; i < v.items.length; i++) {
        struct value *one = &v.items.items[i];
        CLEANUP(free_ptr)
        char *label = xasprintf("haptic fake value %s/%s:%s", namespace ? namespace : "", name ? name : "", one->key);
        fake_value_write(f, label, one->real.bytes ? one->real.bytes : "", one->real.length, &one->fake);
    }
    fake_pem_forget(&f->pem);
    keep_problems(&v);
    buf_puts(out, "{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":");
    if (write_metadata(metadata, &v, out, err) < 0 || write_member(secret, "type", out, err) < 0 ||
        write_member(secret, "immutable", out, err) < 0 || write_data(&v, out, err) < 0)
        return -1;
    buf_putc(out, '}');
    return 0;
}
