/* The first name is the subject, all of them are alternative names. */
#include "data/certificate_make.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdbool.h>

#include "base/cleanup.h"

#define DAY_S 86400L

static bool set_names(X509 *x, const char *const *names)
{
    GENERAL_NAMES *list = GENERAL_NAMES_new();
    X509_NAME *subject = X509_get_subject_name(x);
    bool good = list != NULL;

    for (size_t i = 0; good && names[i] != NULL; i++) {
        GENERAL_NAME *name = GENERAL_NAME_new();
        ASN1_IA5STRING *text = ASN1_IA5STRING_new();
        good = name && text && ASN1_STRING_set(text, names[i], -1) == 1;
        if (good) {
            GENERAL_NAME_set0_value(name, GEN_DNS, text);
            good = sk_GENERAL_NAME_push(list, name) > 0;
        }
    }
    good = good && X509_add1_ext_i2d(x, NID_subject_alt_name, list, 0, X509V3_ADD_DEFAULT) == 1 &&
           X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, (const unsigned char *)"rehearsal", -1, -1, 0) ==
               1 &&
           X509_set_issuer_name(x, subject) == 1;
    GENERAL_NAMES_free(list);
    return good;
}

static X509 *sign(EVP_PKEY *key, const char *const *names)
{
    X509 *x = X509_new();
    unsigned char serial[8];
    BIGNUM *number = RAND_bytes(serial, sizeof(serial)) == 1 ? BN_bin2bn(serial, sizeof(serial), NULL) : NULL;
    bool good = x && number && X509_set_version(x, X509_VERSION_3) == 1 &&
                BN_to_ASN1_INTEGER(number, X509_get_serialNumber(x)) != NULL &&
                X509_gmtime_adj(X509_getm_notBefore(x), -DAY_S) != NULL &&
                X509_gmtime_adj(X509_getm_notAfter(x), 3650 * DAY_S) != NULL && X509_set_pubkey(x, key) == 1 &&
                set_names(x, names) && X509_sign(x, key, EVP_sha256()) > 0;

    BN_free(number);
    if (good)
        return x;
    X509_free(x);
    return NULL;
}

static void take(BIO *from, struct buf *to)
{
    char *bytes;
    long length = BIO_get_mem_data(from, &bytes);

    buf_add(to, bytes, (size_t)length);
}

int certificate_make(const char *const *names, struct buf *ret_chain, struct buf *ret_key, struct err *err)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *x = key ? sign(key, names) : NULL;
    BIO *chain = BIO_new(BIO_s_mem()), *secret = BIO_new(BIO_s_mem());
    bool good = x && chain && secret && PEM_write_bio_X509(chain, x) == 1 &&
                PEM_write_bio_PrivateKey(secret, key, NULL, NULL, 0, NULL, NULL) == 1;

    if (good) {
        take(chain, ret_chain);
        take(secret, ret_key);
    }
    BIO_free(chain);
    BIO_free(secret);
    X509_free(x);
    EVP_PKEY_free(key);
    ERR_clear_error();
    return good ? 0 : err_set(err, ERR_SYS, "OpenSSL cannot make a key and a certificate");
}
