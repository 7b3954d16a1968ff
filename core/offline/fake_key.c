/* SHAKE-256 of a label gives the bytes: of a private key as it is, of an RSA prime the place where the search
 * begins. */
#include "offline/fake_key.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/objects.h>
#include <openssl/param_build.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

#define RSA_BITS_MIN 512
#define RSA_BITS_MAX 4096 /* larger ones take too long to find */
#define RSA_EXPONENT 65537

void fake_keys_done(struct fake_keys *k)
{
    for (size_t i = 0; i < k->items.length; i++) {
        free(k->items.items[i].label);
        EVP_PKEY_free(k->items.items[i].key);
    }
    vec_done(&k->items);
}

void fake_bytes(const char *label, unsigned char *bytes, size_t length)
{
    EVP_MD_CTX *hash = EVP_MD_CTX_new();

    if (hash == NULL || EVP_DigestInit_ex(hash, EVP_shake256(), NULL) != 1 ||
        EVP_DigestUpdate(hash, label, strlen(label)) != 1 || EVP_DigestFinalXOF(hash, bytes, length) != 1)
        memset(bytes, 'x', length);
    EVP_MD_CTX_free(hash);
}

static BIGNUM *fake_number(const char *label, int bits)
{
    unsigned char bytes[(RSA_BITS_MAX + 64) / 8];
    size_t length = (size_t)(bits + 7) / 8;

    fake_bytes(label, bytes, length);
    BIGNUM *n = BN_bin2bn(bytes, (int)length, NULL);
    if (n != NULL && BN_num_bits(n) > bits)
        BN_mask_bits(n, bits);
    return n;
}

/* ---- RSA ---- */

static BIGNUM *find_prime(const char *label, int bits, BN_CTX *ctx)
{
    BIGNUM *p = fake_number(label, bits);

    if (p == NULL || !BN_set_bit(p, bits - 1) || !BN_set_bit(p, bits - 2) || !BN_set_bit(p, 0)) {
        BN_free(p);
        return NULL;
    }
    while (BN_check_prime(p, ctx, NULL) != 1 || BN_mod_word(p, RSA_EXPONENT) == 1) {
        if (!BN_add_word(p, 2)) {
            BN_free(p);
            return NULL;
        }
    }
    return p;
}

struct rsa {
    BIGNUM *p, *q, *n, *e, *d, *dp, *dq, *qi;
};

static bool rsa_complete(struct rsa *r, BN_CTX *ctx)
{
    BN_CTX_start(ctx);
    BIGNUM *p1 = BN_CTX_get(ctx), *q1 = BN_CTX_get(ctx), *phi = BN_CTX_get(ctx);
    r->n = BN_new();
    r->e = BN_new();
    r->dp = BN_new();
    r->dq = BN_new();
    bool good = phi != NULL && r->dq != NULL && BN_mul(r->n, r->p, r->q, ctx) && BN_set_word(r->e, RSA_EXPONENT) &&
                BN_sub(p1, r->p, BN_value_one()) && BN_sub(q1, r->q, BN_value_one()) && BN_mul(phi, p1, q1, ctx) &&
                (r->d = BN_mod_inverse(NULL, r->e, phi, ctx)) != NULL && BN_mod(r->dp, r->d, p1, ctx) &&
                BN_mod(r->dq, r->d, q1, ctx) && (r->qi = BN_mod_inverse(NULL, r->q, r->p, ctx)) != NULL;
    BN_CTX_end(ctx);
    return good;
}

static EVP_PKEY *from_parameters(const char *type, OSSL_PARAM_BLD *builder)
{
    OSSL_PARAM *parameters = OSSL_PARAM_BLD_to_param(builder);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
    EVP_PKEY *key = NULL;

    if (parameters == NULL || ctx == NULL || EVP_PKEY_fromdata_init(ctx) != 1 ||
        EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_KEYPAIR, parameters) != 1)
        key = NULL;
    EVP_PKEY_CTX_free(ctx);
    OSSL_PARAM_free(parameters);
    return key;
}

static EVP_PKEY *make_rsa(const char *label, int bits)
{
    BN_CTX *ctx = BN_CTX_new();
    OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
    CLEANUP(free_ptr) char *first = xasprintf("%s p", label), *second = xasprintf("%s q", label);
    struct rsa r = {.p = find_prime(first, bits / 2, ctx), .q = find_prime(second, bits - bits / 2, ctx)};
    EVP_PKEY *key = NULL;

    if (r.p != NULL && r.q != NULL && rsa_complete(&r, ctx) &&
        OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_N, r.n) == 1 &&
        OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_E, r.e) == 1 &&
        OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_D, r.d) == 1 &&
        OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_FACTOR1, r.p) == 1 &&
        OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_FACTOR2, r.q) == 1 &&
        OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_EXPONENT1, r.dp) == 1 &&
        OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_EXPONENT2, r.dq) == 1 &&
        OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_COEFFICIENT1, r.qi) == 1)
        key = from_parameters("RSA", builder);
    BIGNUM *all[] = {r.p, r.q, r.n, r.e, r.d, r.dp, r.dq, r.qi};
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        BN_free(all[i]);
    OSSL_PARAM_BLD_free(builder);
    BN_CTX_free(ctx);
    return key;
}

/* ---- EC ---- */

static EVP_PKEY *make_ec(const char *label, const char *curve)
{
    EC_GROUP *group = EC_GROUP_new_by_curve_name(OBJ_txt2nid(curve));
    EC_POINT *point = group ? EC_POINT_new(group) : NULL;
    BN_CTX *ctx = BN_CTX_new();
    OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
    BIGNUM *secret = NULL, *range = NULL;
    unsigned char *public = NULL;
    EVP_PKEY *key = NULL;

    if (point != NULL && (range = BN_dup(EC_GROUP_get0_order(group))) != NULL && BN_sub_word(range, 1) &&
        (secret = fake_number(label, BN_num_bits(range) + 64)) != NULL && BN_mod(secret, secret, range, ctx) &&
        BN_add_word(secret, 1) && EC_POINT_mul(group, point, secret, NULL, NULL, ctx) == 1) {
        size_t length = EC_POINT_point2buf(group, point, POINT_CONVERSION_UNCOMPRESSED, &public, ctx);
        BN_set_flags(secret, BN_FLG_CONSTTIME);
        if (length > 0 && OSSL_PARAM_BLD_push_utf8_string(builder, OSSL_PKEY_PARAM_GROUP_NAME, curve, 0) == 1 &&
            OSSL_PARAM_BLD_push_octet_string(builder, OSSL_PKEY_PARAM_PUB_KEY, public, length) == 1 &&
            OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_PRIV_KEY, secret) == 1)
            key = from_parameters("EC", builder);
    }
    OPENSSL_free(public);
    BN_free(secret);
    BN_free(range);
    OSSL_PARAM_BLD_free(builder);
    BN_CTX_free(ctx);
    EC_POINT_free(point);
    EC_GROUP_free(group);
    return key;
}

/* ---- all of them ---- */

static EVP_PKEY *make_raw(const char *label, int id, size_t length)
{
    unsigned char bytes[57];

    fake_bytes(label, bytes, length);
    return EVP_PKEY_new_raw_private_key(id, NULL, bytes, length);
}

static EVP_PKEY *make(const char *label, const EVP_PKEY *like)
{
    char curve[64];
    size_t length;
    int bits = EVP_PKEY_get_bits(like);

    switch (EVP_PKEY_get_base_id(like)) {
    case EVP_PKEY_RSA:
    case EVP_PKEY_RSA_PSS:
        return make_rsa(label, bits < RSA_BITS_MIN ? RSA_BITS_MIN : bits > RSA_BITS_MAX ? RSA_BITS_MAX : bits);
    case EVP_PKEY_EC:
        return EVP_PKEY_get_group_name(like, curve, sizeof(curve), &length) == 1 ? make_ec(label, curve) : NULL;
    case EVP_PKEY_ED25519:
        return make_raw(label, EVP_PKEY_ED25519, 32);
    case EVP_PKEY_ED448:
        return make_raw(label, EVP_PKEY_ED448, 57);
    default:
        return NULL;
    }
}

static struct fake_key *find(struct fake_keys *k, const char *label)
{
    for (size_t i = 0; i < k->items.length; i++)
        if (strcmp(k->items.items[i].label, label) == 0)
            return &k->items.items[i];
    return NULL;
}

static EVP_PKEY *keep(struct fake_keys *k, const char *label, EVP_PKEY *key)
{
    ERR_clear_error();
    vec_push(&k->items, ((struct fake_key){.label = xstrdup(label), .key = key}));
    return key;
}

EVP_PKEY *fake_key(struct fake_keys *k, const EVP_PKEY *like, unsigned number)
{
    char curve[64] = "";
    size_t length;

    (void)EVP_PKEY_get_group_name(like, curve, sizeof(curve), &length);
    CLEANUP(free_ptr)
    char *label = xasprintf("haptic fake key %d %d %s %u", EVP_PKEY_get_base_id(like), EVP_PKEY_get_bits(like), curve,
                            number);
    const struct fake_key *known = find(k, label);
    return known ? known->key : keep(k, label, make(label, like));
}

EVP_PKEY *fake_authority_key(struct fake_keys *k, const X509_NAME *name)
{
    char *text = X509_NAME_oneline(name, NULL, 0);
    CLEANUP(free_ptr) char *label = xasprintf("haptic fake authority %s", text ? text : "");

    OPENSSL_free(text);
    const struct fake_key *known = find(k, label);
    return known ? known->key : keep(k, label, make_raw(label, EVP_PKEY_ED25519, 32));
}
