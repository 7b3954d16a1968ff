/* certificates.h — keys and certificates for tests, made by OpenSSL while they run. */
#ifndef HAPTIC_SPEC_CERTIFICATES_H
#define HAPTIC_SPEC_CERTIFICATES_H

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdbool.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"

struct made {
    EVP_PKEY *key;
    X509 *certificate;
    char *chain, *secret; /* PEM */
};

static UNUSED void made_done(struct made *m)
{
    EVP_PKEY_free(m->key);
    X509_free(m->certificate);
    free(m->chain);
    free(m->secret);
}

static UNUSED char *bio_text(BIO *bio)
{
    char *bytes;
    long length = BIO_get_mem_data(bio, &bytes);
    char *text = xmemdup0(bytes, (size_t)length);
    BIO_free(bio);
    return text;
}

static UNUSED char *pem_of_certificate(X509 *x)
{
    BIO *bio = BIO_new(BIO_s_mem());
    assert_int_equal(PEM_write_bio_X509(bio, x), 1);
    return bio_text(bio);
}

static UNUSED char *pem_of_key(EVP_PKEY *key, const char *password)
{
    BIO *bio = BIO_new(BIO_s_mem());
    assert_int_equal(PEM_write_bio_PKCS8PrivateKey(bio, key, password ? EVP_aes_128_cbc() : NULL, password,
                                                   password ? (int)strlen(password) : 0, NULL, NULL),
                     1);
    return bio_text(bio);
}

/* names: "DNS:a.example,DNS:*.b.example", or NULL. issuer NULL: signed by itself. rsa_bits 0: ECDSA. from_s, until_s:
 * seconds from now. */
static UNUSED struct made make_certificate(const char *common_name, const char *names, const struct made *issuer,
                                           int rsa_bits, long from_s, long until_s)
{
    static long serial = 1000;
    struct made m = {.key = rsa_bits ? EVP_RSA_gen((unsigned)rsa_bits) : EVP_EC_gen("P-256"),
                     .certificate = X509_new()};
    X509 *x = m.certificate;
    X509_NAME *name = X509_get_subject_name(x);
    X509V3_CTX context;

    X509_set_version(x, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(x), serial++);
    X509_gmtime_adj(X509_getm_notBefore(x), from_s);
    X509_gmtime_adj(X509_getm_notAfter(x), until_s);
    X509_set_pubkey(x, m.key);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)common_name, -1, -1, 0);
    X509_set_issuer_name(x, issuer ? X509_get_subject_name(issuer->certificate) : name);
    X509V3_set_ctx(&context, issuer ? issuer->certificate : x, x, NULL, NULL, 0);
    if (names) {
        X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, NID_subject_alt_name, names);
        assert_non_null(extension);
        X509_add_ext(x, extension, -1);
        X509_EXTENSION_free(extension);
    }
    assert_true(X509_sign(x, issuer ? issuer->key : m.key, EVP_sha256()) > 0);
    m.chain = pem_of_certificate(x);
    m.secret = pem_of_key(m.key, NULL);
    return m;
}

#endif
