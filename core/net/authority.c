/* Certificates begin to be valid an hour ago: the clocks of two machines differ. */
#include "net/authority.h"

#include <openssl/bn.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <time.h>

#define BEFORE_S 3600L
#define SERIAL_BITS 127

static void free_key(EVP_PKEY **key)
{
    EVP_PKEY_free(*key);
}

static void free_certificate(X509 **certificate)
{
    X509_free(*certificate);
}

static void free_time(ASN1_TIME **time)
{
    ASN1_TIME_free(*time);
}

static void free_bio(BIO **bio)
{
    BIO_free(*bio);
}

static int fail(struct err *err, const char *what)
{
    return err_set(err, ERR_INTERNAL, "OpenSSL cannot %s", what);
}

static X509 *read_certificate(const char *pem)
{
    CLEANUP(free_bio) BIO *bio = BIO_new_mem_buf(pem, -1);
    return bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
}

/* A key with a pass phrase is none: nobody is asked for it. */
static int no_phrase(char *to, int size, int writing, void *ctx)
{
    (void)to;
    (void)size;
    (void)writing;
    (void)ctx;
    return -1;
}

static EVP_PKEY *read_key(const char *pem)
{
    CLEANUP(free_bio) BIO *bio = BIO_new_mem_buf(pem, -1);
    return bio ? PEM_read_bio_PrivateKey(bio, NULL, no_phrase, NULL) : NULL;
}

static int write_pem(X509 *certificate, EVP_PKEY *key, struct buf *ret_certificate, struct buf *ret_key)
{
    CLEANUP(free_bio) BIO *of_certificate = BIO_new(BIO_s_mem());
    CLEANUP(free_bio) BIO *of_key = BIO_new(BIO_s_secmem());
    char *bytes = NULL;
    if (!of_certificate || !of_key || !PEM_write_bio_X509(of_certificate, certificate) ||
        !PEM_write_bio_PrivateKey(of_key, key, NULL, NULL, 0, NULL, NULL))
        return -1;
    long length = BIO_get_mem_data(of_certificate, &bytes);
    buf_add(ret_certificate, bytes, (size_t)length);
    length = BIO_get_mem_data(of_key, &bytes);
    buf_add(ret_key, bytes, (size_t)length);
    return 0;
}

static int set_serial(X509 *certificate)
{
    BIGNUM *number = BN_new();
    bool set = number && BN_rand(number, SERIAL_BITS, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) &&
               BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate));
    BN_free(number);
    return set ? 0 : -1;
}

static int add_extension(X509 *certificate, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, issuer, certificate, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_nconf_nid(NULL, &ctx, nid, value);
    bool added = extension && X509_add_ext(certificate, extension, -1);
    X509_EXTENSION_free(extension);
    return added ? 0 : -1;
}

/* Everything but issuer, extensions and signature. */
static X509 *begin_certificate(EVP_PKEY *key, const char *common_name, int64_t now_s, int64_t life_s)
{
    X509 *c = X509_new();
    X509_NAME *subject = c ? X509_get_subject_name(c) : NULL;
    if (c && X509_set_version(c, X509_VERSION_3) && set_serial(c) == 0 && X509_set_pubkey(c, key) &&
        ASN1_TIME_set(X509_getm_notBefore(c), (time_t)(now_s - BEFORE_S)) &&
        ASN1_TIME_set(X509_getm_notAfter(c), (time_t)(now_s + life_s)) &&
        X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, (const unsigned char *)common_name, -1, -1, 0))
        return c;
    X509_free(c);
    return NULL;
}

int authority_make(int64_t now_s, struct buf *ret_certificate, struct buf *ret_key, struct err *err)
{
    CLEANUP(free_key) EVP_PKEY *key = EVP_EC_gen("P-256");
    CLEANUP(free_certificate)
    X509 *c = key ? begin_certificate(key, "haptic fleet authority", now_s, AUTHORITY_LIFE_S) : NULL;
    if (!c || !X509_set_issuer_name(c, X509_get_subject_name(c)) ||
        add_extension(c, c, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") < 0 ||
        add_extension(c, c, NID_key_usage, "critical,keyCertSign,cRLSign") < 0 ||
        add_extension(c, c, NID_subject_key_identifier, "hash") < 0 || !X509_sign(c, key, EVP_sha256()) ||
        write_pem(c, key, ret_certificate, ret_key) < 0)
        return fail(err, "make an authority");
    return 0;
}

int authority_issue(const char *authority, const char *authority_key, enum authority_role role, const char *name,
                    int64_t now_s, int64_t life_s, struct buf *ret_certificate, struct buf *ret_key, struct err *err)
{
    CLEANUP(free_certificate) X509 *issuer = read_certificate(authority);
    CLEANUP(free_key) EVP_PKEY *issuer_key = read_key(authority_key);
    char alternative[300];
    if (!issuer || !issuer_key || X509_check_private_key(issuer, issuer_key) != 1)
        return err_set(err, ERR_INVALID, "the authority's certificate or key cannot be read, or they do not fit");
    if (strlen(name) > 64 || snprintf(alternative, sizeof(alternative), "DNS:%s", name) >= (int)sizeof(alternative))
        return err_set(err, ERR_INVALID, "\"%.80s\" is too long a name for a certificate", name);
    CLEANUP(free_key) EVP_PKEY *key = EVP_EC_gen("P-256");
    CLEANUP(free_certificate) X509 *c = key ? begin_certificate(key, name, now_s, life_s) : NULL;
    if (!c || !X509_set_issuer_name(c, X509_get_subject_name(issuer)) ||
        add_extension(c, issuer, NID_basic_constraints, "critical,CA:FALSE") < 0 ||
        add_extension(c, issuer, NID_key_usage, "critical,digitalSignature") < 0 ||
        add_extension(c, issuer, NID_ext_key_usage, role == AUTHORITY_AGENT ? "serverAuth" : "clientAuth") < 0 ||
        add_extension(c, issuer, NID_subject_alt_name, alternative) < 0 ||
        add_extension(c, issuer, NID_authority_key_identifier, "keyid") < 0 ||
        !X509_sign(c, issuer_key, EVP_sha256()) || write_pem(c, key, ret_certificate, ret_key) < 0)
        return fail(err, "issue a certificate");
    return 0;
}

/* How much of its life is left, in thirds: 3 when it has just begun, 0 when it has ended or not begun. */
static double thirds_left(const X509 *c, int64_t now_s)
{
    CLEANUP(free_time) ASN1_TIME *now = ASN1_TIME_set(NULL, (time_t)now_s);
    int days = 0, seconds = 0, left_days = 0, left_seconds = 0;
    if (!now || !ASN1_TIME_diff(&days, &seconds, X509_get0_notBefore(c), X509_get0_notAfter(c)) ||
        !ASN1_TIME_diff(&left_days, &left_seconds, now, X509_get0_notAfter(c)))
        return 0;
    int64_t life = (int64_t)days * 86400 + seconds, left = (int64_t)left_days * 86400 + left_seconds;
    return left <= 0 || left > life ? 0 : (double)left * 3 / (double)life;
}

bool authority_is_valid(const char *certificate, int64_t now_s)
{
    CLEANUP(free_certificate) X509 *c = read_certificate(certificate);
    return c && thirds_left(c, now_s) > 0;
}

bool authority_is_old(const char *certificate, int64_t now_s)
{
    CLEANUP(free_certificate) X509 *c = read_certificate(certificate);
    return !c || thirds_left(c, now_s) <= 1;
}

bool authority_is_usable(const char *authority, const char *key, int64_t now_s)
{
    CLEANUP(free_certificate) X509 *c = read_certificate(authority);
    CLEANUP(free_key) EVP_PKEY *own = read_key(key);
    return c && own && X509_check_private_key(c, own) == 1 && X509_check_ca(c) > 0 && thirds_left(c, now_s) > 0;
}

int64_t authority_begin_s(const char *certificate)
{
    CLEANUP(free_certificate) X509 *c = read_certificate(certificate);
    struct tm tm = {0};
    return c && ASN1_TIME_to_tm(X509_get0_notBefore(c), &tm) ? (int64_t)timegm(&tm) : 0;
}

size_t authority_first(const char *certificates)
{
    CLEANUP(free_bio) BIO *bio = BIO_new_mem_buf(certificates, -1);
    CLEANUP(free_certificate) X509 *c = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
    return c ? strlen(certificates) - (size_t)BIO_pending(bio) : 0;
}

bool authority_is_good(const char *authority, const char *certificate, const char *key, const char *name, int64_t now_s,
                       const char **ret_why)
{
    CLEANUP(free_certificate) X509 *issuer = read_certificate(authority), *c = read_certificate(certificate);
    CLEANUP(free_key) EVP_PKEY *own = read_key(key);
    if (!issuer || !c || !own)
        *ret_why = "a certificate or key cannot be read";
    else if (X509_check_private_key(c, own) != 1)
        *ret_why = "a key is not that of its certificate";
    else if (X509_verify(c, X509_get0_pubkey(issuer)) != 1)
        *ret_why = "a certificate is not of the authority";
    else if (X509_check_host(c, name, 0, 0, NULL) != 1)
        *ret_why = "a certificate is for another name";
    else if (thirds_left(c, now_s) <= 1)
        *ret_why = "a certificate has passed two thirds of its time";
    else
        return true;
    return false;
}
