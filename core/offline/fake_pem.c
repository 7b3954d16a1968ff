/* Block by block, in their order. Text between blocks is left out: nobody knows what it is. */
#include "offline/fake_pem.h"

#include <limits.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "base/alloc.h"

#define BLOCKS_MAX 1000

struct block {
    char *name, *header;
    unsigned char *data;
    long length;
};

static void block_done(struct block *b)
{
    OPENSSL_free(b->name);
    OPENSSL_free(b->header);
    if (b->data != NULL)
        OPENSSL_clear_free(b->data, (size_t)b->length);
    *b = (struct block){0};
}

static bool is_key(const struct block *b)
{
    size_t length = strlen(b->name);

    return length >= 11 && strcmp(b->name + length - 11, "PRIVATE KEY") == 0;
}

static bool is_certificate(const struct block *b)
{
    return strcmp(b->name, PEM_STRING_X509) == 0 || strcmp(b->name, PEM_STRING_X509_OLD) == 0 ||
           strcmp(b->name, PEM_STRING_X509_TRUSTED) == 0;
}

static EVP_PKEY *key_of(const struct block *b)
{
    const unsigned char *at = b->data;

    return is_key(b) && *b->header == '\0' ? d2i_AutoPrivateKey(NULL, &at, b->length) : NULL;
}

void fake_pem_forget(struct fake_pem *p)
{
    for (size_t i = 0; i < p->real.length; i++)
        EVP_PKEY_free(p->real.items[i]);
    p->real.length = 0;
}

void fake_pem_done(struct fake_pem *p)
{
    fake_pem_forget(p);
    vec_done(&p->real);
    fake_keys_done(&p->keys);
}

bool fake_pem_is(const char *bytes, size_t length)
{
    return length > 0 && memmem(bytes, length, "-----BEGIN ", 11) != NULL;
}

static BIO *open_value(const char *bytes, size_t length)
{
    return length <= INT_MAX ? BIO_new_mem_buf(bytes, (int)length) : NULL;
}

static bool next_block(BIO *bio, struct block *b)
{
    return PEM_read_bio(bio, &b->name, &b->header, &b->data, &b->length) == 1;
}

void fake_pem_learn(struct fake_pem *p, const char *bytes, size_t length)
{
    BIO *bio = open_value(bytes, length);
    struct block b = {0};

    for (size_t i = 0; bio != NULL && i < BLOCKS_MAX && next_block(bio, &b); i++) {
        EVP_PKEY *key = key_of(&b);
        if (key != NULL)
            vec_push(&p->real, key);
        block_done(&b);
    }
    BIO_free(bio);
    ERR_clear_error();
}

/* ---- writing ---- */

/* What depends on keys or on signatures of the real ones. */
static bool is_left_out(int nid)
{
    return nid == NID_subject_key_identifier || nid == NID_authority_key_identifier || nid == NID_ct_precert_scts;
}

static EVP_PKEY *key_for(struct fake_pem *p, X509 *real)
{
    EVP_PKEY *public = X509_get0_pubkey(real);

    for (size_t i = 0; public != NULL && i < p->real.length; i++)
        if (EVP_PKEY_eq(public, p->real.items[i]) == 1)
            return fake_key(&p->keys, public, 0);
    if (public == NULL || X509_check_ca(real) > 0)
        return fake_authority_key(&p->keys, X509_get_subject_name(real));
    return fake_key(&p->keys, public, 1);
}

static X509 *fake_certificate(struct fake_pem *p, X509 *real)
{
    X509 *x = X509_new();
    EVP_PKEY *key = key_for(p, real), *signer = fake_authority_key(&p->keys, X509_get_issuer_name(real));
    bool good = x != NULL && key != NULL && signer != NULL && X509_set_version(x, X509_get_version(real)) == 1 &&
                X509_set_serialNumber(x, X509_get_serialNumber(real)) == 1 &&
                X509_set_subject_name(x, X509_get_subject_name(real)) == 1 &&
                X509_set_issuer_name(x, X509_get_issuer_name(real)) == 1 &&
                X509_set1_notBefore(x, X509_get0_notBefore(real)) == 1 &&
                X509_set1_notAfter(x, X509_get0_notAfter(real)) == 1 && X509_set_pubkey(x, key) == 1;

    for (int i = 0; good && i < X509_get_ext_count(real); i++) {
        X509_EXTENSION *extension = X509_get_ext(real, i);
        if (!is_left_out(OBJ_obj2nid(X509_EXTENSION_get_object(extension))))
            good = X509_add_ext(x, extension, -1) == 1;
    }
    if (good && X509_sign(x, signer, NULL) > 0)
        return x;
    X509_free(x);
    return NULL;
}

/* A list that revokes nothing: of the same issuer and dates. */
static X509_CRL *fake_list(struct fake_pem *p, const X509_CRL *real)
{
    X509_CRL *list = X509_CRL_new();
    EVP_PKEY *signer = fake_authority_key(&p->keys, X509_CRL_get_issuer(real));

    if (list != NULL && signer != NULL && X509_CRL_set_version(list, X509_CRL_VERSION_2) == 1 &&
        X509_CRL_set_issuer_name(list, X509_CRL_get_issuer(real)) == 1 &&
        X509_CRL_set1_lastUpdate(list, X509_CRL_get0_lastUpdate(real)) == 1 &&
        (X509_CRL_get0_nextUpdate(real) == NULL ||
         X509_CRL_set1_nextUpdate(list, X509_CRL_get0_nextUpdate(real)) == 1) &&
        X509_CRL_sign(list, signer, NULL) > 0)
        return list;
    X509_CRL_free(list);
    return NULL;
}

/* Nothing can be read of it, as of the real one. */
static void write_unreadable(const struct block *b, BIO *out)
{
    unsigned char filler[48];
    const char *name = *b->header != '\0' ? PEM_STRING_PKCS8 : b->name; /* a header says that it is encrypted */

    fake_bytes("haptic fake block", filler, sizeof(filler));
    (void)PEM_write_bio(out, name, "", filler, sizeof(filler));
}

static bool write_block(struct fake_pem *p, const struct block *b, BIO *out)
{
    const unsigned char *at = b->data;
    bool good = false;

    if (is_certificate(b)) {
        X509 *real = strcmp(b->name, PEM_STRING_X509_TRUSTED) == 0 ? d2i_X509_AUX(NULL, &at, b->length)
                                                                   : d2i_X509(NULL, &at, b->length);
        X509 *fake = real ? fake_certificate(p, real) : NULL;
        good = fake != NULL && PEM_write_bio_X509(out, fake) == 1;
        X509_free(fake);
        X509_free(real);
    } else if (is_key(b)) {
        EVP_PKEY *real = key_of(b), *fake = real ? fake_key(&p->keys, real, 0) : NULL;
        good = fake != NULL && PEM_write_bio_PrivateKey(out, fake, NULL, NULL, 0, NULL, NULL) == 1;
        EVP_PKEY_free(real);
    } else if (strcmp(b->name, PEM_STRING_X509_CRL) == 0) {
        X509_CRL *real = d2i_X509_CRL(NULL, &at, b->length), *fake = real ? fake_list(p, real) : NULL;
        good = fake != NULL && PEM_write_bio_X509_CRL(out, fake) == 1;
        X509_CRL_free(fake);
        X509_CRL_free(real);
    }
    return good;
}

void fake_pem_write(struct fake_pem *p, const char *bytes, size_t length, struct buf *ret)
{
    BIO *in = open_value(bytes, length), *out = BIO_new(BIO_s_mem());
    struct block b = {0};
    char *text;
    size_t blocks = 0;

    for (; in != NULL && out != NULL && blocks < BLOCKS_MAX && next_block(in, &b); blocks++) {
        if (!write_block(p, &b, out))
            write_unreadable(&b, out);
        block_done(&b);
    }
    if (blocks == 0) /* it has the beginning of one, and cannot be read */
        write_unreadable(&(struct block){.name = PEM_STRING_X509, .header = ""}, out);
    long n = out != NULL ? BIO_get_mem_data(out, &text) : 0;
    if (n > 0)
        buf_add(ret, text, (size_t)n);
    BIO_free(in);
    BIO_free(out);
    ERR_clear_error();
}
