/* OpenSSL reads what is there; everything that it dislikes becomes a sentence. Names come from whoever made the
 * certificate: only those that can be DNS names are told.
 */
#include "data/certificate.h"

#include <ctype.h>
#include <limits.h>
#include <openssl/bio.h>
#include <openssl/decoder.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

#define DNS_NAME_MAX 253
/* What OpenSSL's security level 2 asks for, which distributions set and HAProxy obeys. */
#define SECURITY_BITS_MIN 112
/* A handshake with 8192 bits takes 50 ms, with 16384 half a second, in which HAProxy's thread serves nobody else. */
#define RSA_BITS_MAX 8192

void certificate_facts_done(struct certificate_facts *f)
{
    for (size_t i = 0; i < f->names.length; i++)
        free(f->names.items[i]);
    vec_done(&f->names);
    *f = (struct certificate_facts){0};
}

static void problem(struct certificate_facts *f, const char *format, ...) PRINTF_LIKE(2, 3);
static void problem(struct certificate_facts *f, const char *format, ...)
{
    if (f->problem[0])
        return;
    va_list ap;
    va_start(ap, format);
    vsnprintf(f->problem, sizeof(f->problem), format, ap);
    va_end(ap);
}

/* ---- names ---- */

/* Labels of letters, digits, "-" and "_", a "*" as the first one. */
static bool is_dns_name(const char *name, size_t length)
{
    if (length == 0 || length > DNS_NAME_MAX)
        return false;
    if (length > 2 && name[0] == '*' && name[1] == '.')
        name += 2, length -= 2;
    for (size_t i = 0; i < length; i++) {
        bool dot = name[i] == '.';
        if (!dot && !isalnum((unsigned char)name[i]) && name[i] != '-' && name[i] != '_')
            return false;
        if (dot && (i == 0 || i + 1 == length || name[i - 1] == '.'))
            return false;
    }
    return true;
}

static void name_add(struct certificate_facts *f, const unsigned char *bytes, int length)
{
    if (length <= 0 || !is_dns_name((const char *)bytes, (size_t)length))
        return;
    if (f->names.length == CERTIFICATE_NAMES_MAX) {
        f->names_cut = true;
        return;
    }
    char *name = xmemdup0((const char *)bytes, (size_t)length);
    for (char *c = name; *c; c++)
        *c = (char)tolower((unsigned char)*c);
    vec_push(&f->names, name);
}

static int name_compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void names_sort(struct certificate_facts *f)
{
    size_t kept = 0;
    if (f->names.length == 0)
        return;
    qsort(f->names.items, f->names.length, sizeof(f->names.items[0]), name_compare);
    for (size_t i = 0; i < f->names.length; i++) {
        if (kept > 0 && strcmp(f->names.items[kept - 1], f->names.items[i]) == 0)
            free(f->names.items[i]);
        else
            f->names.items[kept++] = f->names.items[i];
    }
    f->names.length = kept;
}

static void names_read(struct certificate_facts *f, X509 *leaf)
{
    GENERAL_NAMES *alternatives = X509_get_ext_d2i(leaf, NID_subject_alt_name, NULL, NULL);
    bool has_dns = false;
    for (int i = 0; alternatives && i < sk_GENERAL_NAME_num(alternatives); i++) {
        int type;
        const ASN1_STRING *value = GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(alternatives, i), &type);
        if (type != GEN_DNS)
            continue;
        has_dns = true;
        name_add(f, ASN1_STRING_get0_data(value), ASN1_STRING_length(value));
    }
    GENERAL_NAMES_free(alternatives);
    const X509_NAME *subject = X509_get_subject_name(leaf);
    for (int at = -1; !has_dns && (at = X509_NAME_get_index_by_NID(subject, NID_commonName, at)) >= 0;) {
        const ASN1_STRING *value = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at));
        name_add(f, ASN1_STRING_get0_data(value), ASN1_STRING_length(value));
    }
    names_sort(f);
}

/* ---- reading ---- */

static int64_t time_read(const ASN1_TIME *time)
{
    struct tm parts;
    if (!time || ASN1_TIME_to_tm(time, &parts) != 1)
        return 0;
    return (int64_t)timegm(&parts);
}

static const char *key_type_name(int id)
{
    switch (id) {
    case EVP_PKEY_RSA:
    case EVP_PKEY_RSA_PSS:
        return "RSA";
    case EVP_PKEY_EC:
        return "ECDSA";
    case EVP_PKEY_ED25519:
        return "Ed25519";
    case EVP_PKEY_ED448:
        return "Ed448";
    case EVP_PKEY_DSA:
        return "DSA";
    default:
        return "";
    }
}

static bool has_text(const char *bytes, size_t length, const char *text)
{
    return length > 0 && memmem(bytes, length, text, strlen(text)) != NULL;
}

struct certificates {
    X509 *items[CERTIFICATE_CHAIN_MAX];
    size_t count;
};

static void certificates_done(struct certificates *c)
{
    for (size_t i = 0; i < c->count; i++)
        X509_free(c->items[i]);
    c->count = 0;
}

static bool certificates_have(const struct certificates *c, const X509 *one)
{
    for (size_t i = 0; i < c->count; i++)
        if (X509_cmp(c->items[i], one) == 0)
            return true;
    return false;
}

/* All certificates of a text, each once. */
static void certificates_read(struct certificates *c, const char *what, const char *bytes, size_t length,
                              struct certificate_facts *f)
{
    if (!bytes || length > CERTIFICATE_BYTES_MAX) {
        problem(f, bytes ? "%s is longer than 512 KiB" : "it has no %s", what);
        return;
    }
    BIO *bio = BIO_new_mem_buf(bytes, (int)length);
    X509 *one;
    while (bio && (one = PEM_read_bio_X509(bio, NULL, NULL, NULL))) {
        if (certificates_have(c, one)) {
            X509_free(one);
        } else if (c->count == CERTIFICATE_CHAIN_MAX) {
            X509_free(one);
            problem(f, "%s has more than %d certificates", what, CERTIFICATE_CHAIN_MAX);
            break;
        } else {
            c->items[c->count++] = one;
        }
    }
    unsigned long error = ERR_peek_last_error();
    if (c->count == 0)
        problem(f, length == 0 ? "%s is empty" : "%s has no certificate that can be read (PEM)", what);
    else if (!f->problem[0] && ERR_GET_REASON(error) != PEM_R_NO_START_LINE)
        problem(f, "%s has a part that cannot be read", what);
    ERR_clear_error();
    BIO_free(bio);
}

/* Nobody is asked for a password. */
static int no_password(char *text, int size, int writing, void *ctx)
{
    (void)text;
    (void)size;
    (void)writing;
    *(bool *)ctx = true;
    return -1;
}

/* A key whose type is known. Where it is not, OpenSSL makes a decoder for each combination of type and encoding, which
 * takes three times as long as all else. NULL, too, for whatever is not usual. */
static EVP_PKEY *key_read_typed(const char *type, const char *bytes, size_t length)
{
    unsigned char *der = NULL;
    char *label = NULL;
    long size = 0;
    EVP_PKEY *key = NULL;
    bool asked;
    BIO *bio = BIO_new_mem_buf(bytes, (int)length);
    if (bio && PEM_bytes_read_bio(&der, &size, &label, PEM_STRING_EVP_PKEY, bio, no_password, &asked) == 1) {
        const char *structure = strcmp(label, PEM_STRING_PKCS8INF) == 0 ? "PrivateKeyInfo" : "type-specific";
        OSSL_DECODER_CTX *decoder = OSSL_DECODER_CTX_new_for_pkey(&key, "DER", structure, type, EVP_PKEY_KEYPAIR, NULL,
                                                                  NULL);
        const unsigned char *at = der;
        size_t left = (size_t)size;
        if (decoder && OSSL_DECODER_from_data(decoder, &at, &left) != 1) {
            EVP_PKEY_free(key);
            key = NULL;
        }
        OSSL_DECODER_CTX_free(decoder);
    }
    OPENSSL_free(label);
    OPENSSL_clear_free(der, (size_t)size);
    BIO_free(bio);
    ERR_clear_error();
    return key;
}

/* owner: the certificate that is probably the key's; NULL when there is none. */
static EVP_PKEY *key_read(const char *stem, const char *bytes, size_t length, X509 *owner, struct certificate_facts *f)
{
    const EVP_PKEY *public = owner ? X509_get0_pubkey(owner) : NULL;
    const char *type = public ? EVP_PKEY_get0_type_name(public) : NULL;
    bool asked = false;
    if (!bytes || length == 0 || length > CERTIFICATE_BYTES_MAX) {
        problem(f, !bytes ? "it has no %s.key" : length ? "%s.key is longer than 512 KiB" : "%s.key is empty", stem);
        return NULL;
    }
    EVP_PKEY *key = type ? key_read_typed(type, bytes, length) : NULL;
    if (key)
        return key;
    BIO *bio = BIO_new_mem_buf(bytes, (int)length);
    key = bio ? PEM_read_bio_PrivateKey(bio, NULL, no_password, &asked) : NULL;
    BIO_free(bio);
    ERR_clear_error();
    if (!key && (asked || has_text(bytes, length, "ENCRYPTED")))
        problem(f, "the key is encrypted: store it without a password");
    else if (!key)
        problem(f, "%s.key has no private key that can be read (PEM)", stem);
    return key;
}

static void leaf_check(struct certificate_facts *f, X509 *leaf)
{
    EVP_PKEY *public = X509_get0_pubkey(leaf);
    int signature_bits = 0;

    names_read(f, leaf);
    f->not_before_s = time_read(X509_get0_notBefore(leaf));
    f->not_after_s = time_read(X509_get0_notAfter(leaf));
    f->key_type = public ? key_type_name(EVP_PKEY_get_base_id(public)) : "";
    f->key_bits = public ? EVP_PKEY_get_bits(public) : 0;
    if (!public || !*f->key_type)
        problem(f, "the certificate has a kind of key that is not known");
    else if (EVP_PKEY_get_security_bits(public) < SECURITY_BITS_MIN)
        problem(f, "the key is too weak (%s, %d bits): HAProxy refuses it", f->key_type, f->key_bits);
    else if (strcmp(f->key_type, "RSA") == 0 && f->key_bits > RSA_BITS_MAX)
        problem(f, "the key has %d bits, more than %d: each handshake would hold up the others", f->key_bits,
                RSA_BITS_MAX);
    else if (X509_self_signed(leaf, 0) != 1 && X509_get_signature_info(leaf, NULL, NULL, &signature_bits, NULL) == 1 &&
             signature_bits < SECURITY_BITS_MIN && signature_bits > 0)
        problem(f, "the certificate is signed with a digest that is too weak: HAProxy refuses it");
    ERR_clear_error();
}

/* ---- order ---- */

/* Which certificate the key is of; count when it is of none. */
static size_t leaf_find(const struct certificates *c, EVP_PKEY *key)
{
    size_t i = 0;
    while (i < c->count && EVP_PKEY_eq(X509_get0_pubkey(c->items[i]), key) != 1)
        i++;
    ERR_clear_error();
    return i;
}

/* The host of "http://HOST[:PORT][/PATH]", of letters, digits, "." and "-". Whatever else there may be in an address is
 * read differently by different programs. */
static void host_read(const char *uri, char ret_host[CERTIFICATE_HOST_SIZE])
{
    static const char scheme[] = "http://",
                      letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-";

    *ret_host = '\0';
    if (!uri || strncmp(uri, scheme, sizeof(scheme) - 1) != 0)
        return;
    const char *host = uri + sizeof(scheme) - 1, *end = host + strspn(host, letters), *rest = end;
    if (*rest == ':')
        rest += 1 + strspn(rest + 1, "0123456789");
    if (end == host || end - host >= CERTIFICATE_HOST_SIZE || (*rest != '\0' && *rest != '/'))
        return;
    for (size_t i = 0; i < (size_t)(end - host); i++)
        ret_host[i] = (char)(host[i] >= 'A' && host[i] <= 'Z' ? host[i] - 'A' + 'a' : host[i]);
    ret_host[end - host] = '\0';
}

/* The leaf, then each one's issuer; what is left over keeps its order behind them. */
static void chain_order(struct certificates *c, size_t leaf, struct certificate_facts *f)
{
    struct certificates sorted = {0};
    X509 *now = c->items[leaf];
    bool used[CERTIFICATE_CHAIN_MAX] = {false};

    used[leaf] = true;
    sorted.items[sorted.count++] = now;
    while (now && X509_self_signed(now, 0) != 1) {
        size_t i = 0;
        while (i < c->count && (used[i] || X509_check_issued(c->items[i], now) != X509_V_OK))
            i++;
        now = i < c->count ? c->items[i] : NULL;
        if (now) {
            used[i] = true;
            sorted.items[sorted.count++] = now;
        }
    }
    f->strays = c->count - sorted.count;
    for (size_t i = 0; i < c->count; i++)
        if (!used[i])
            sorted.items[sorted.count++] = c->items[i];
    for (size_t i = 0; i < c->count; i++)
        f->reordered |= sorted.items[i] != c->items[i];
    STACK_OF(OPENSSL_STRING) *responders = X509_get1_ocsp(c->items[leaf]);
    f->ocsp = sk_OPENSSL_STRING_num(responders) > 0 && c->count - f->strays > 1;
    host_read(f->ocsp ? sk_OPENSSL_STRING_value(responders, 0) : NULL, f->ocsp_host);
    X509_email_free(responders);
    *c = sorted;
    ERR_clear_error();
}

static bool chain_write(const struct certificates *c, struct buf *out)
{
    BIO *bio = BIO_new(BIO_s_mem());
    bool good = bio != NULL;
    char *bytes;
    for (size_t i = 0; good && i < c->count; i++)
        good = PEM_write_bio_X509(bio, c->items[i]) == 1;
    long length = good ? BIO_get_mem_data(bio, &bytes) : 0;
    if (length > 0)
        buf_add(out, bytes, (size_t)length);
    BIO_free(bio);
    return length > 0;
}

void certificate_read(const char *stem, const char *chain, size_t chain_length, const char *key_bytes,
                      size_t key_length, struct certificate_facts *f, struct buf *ret_chain)
{
    struct certificates c = {0};
    char name[32];
    *f = (struct certificate_facts){.key_type = ""};

    snprintf(name, sizeof(name), "%s.crt", stem);
    certificates_read(&c, name, chain, chain_length, f);
    EVP_PKEY *key = f->problem[0] ? NULL : key_read(stem, key_bytes, key_length, c.count ? c.items[0] : NULL, f);
    size_t leaf = key && c.count ? leaf_find(&c, key) : c.count;
    if (key && leaf == c.count)
        problem(f, "the key does not belong to the certificate");
    f->certificates = c.count;
    if (c.count)
        leaf_check(f, c.items[leaf < c.count ? leaf : 0]);
    if (!f->problem[0]) {
        chain_order(&c, leaf, f);
        if (!chain_write(&c, ret_chain))
            problem(f, "the certificates cannot be written");
    }
    EVP_PKEY_free(key);
    certificates_done(&c);
}

void certificate_read_authorities(const char *bytes, size_t length, struct certificate_facts *f)
{
    struct certificates c = {0};
    *f = (struct certificate_facts){.key_type = ""};
    certificates_read(&c, "ca.crt", bytes, length, f);
    f->certificates = c.count;
    for (size_t i = 0; i < c.count; i++) { /* the first one to end */
        int64_t from = time_read(X509_get0_notBefore(c.items[i])), until = time_read(X509_get0_notAfter(c.items[i]));
        f->not_before_s = i == 0 || from > f->not_before_s ? from : f->not_before_s;
        f->not_after_s = i == 0 || until < f->not_after_s ? until : f->not_after_s;
    }
    certificates_done(&c);
}

void certificate_read_revocations(const char *bytes, size_t length, struct certificate_facts *f)
{
    *f = (struct certificate_facts){.key_type = ""};
    BIO *bio = length <= CERTIFICATE_BYTES_MAX ? BIO_new_mem_buf(bytes, (int)length) : NULL;
    X509_CRL *list;
    if (!bio)
        problem(f, "ca.crl is longer than 512 KiB");
    while (bio && (list = PEM_read_bio_X509_CRL(bio, NULL, NULL, NULL))) {
        int64_t until = time_read(X509_CRL_get0_nextUpdate(list));
        if (until && (!f->not_after_s || until < f->not_after_s))
            f->not_after_s = until;
        f->certificates++;
        X509_CRL_free(list);
    }
    unsigned long error = ERR_peek_last_error();
    if (bio && f->certificates == 0)
        problem(f, "ca.crl has no list of revoked certificates that can be read (PEM)");
    else if (bio && ERR_GET_REASON(error) != PEM_R_NO_START_LINE)
        problem(f, "ca.crl has a part that cannot be read");
    ERR_clear_error();
    BIO_free(bio);
}

/* ---- for HAProxy's command line ---- */

bool certificate_fingerprint(const char *pem, size_t length, char ret_text[CERTIFICATE_FINGERPRINT_SIZE])
{
    unsigned char digest[EVP_MAX_MD_SIZE], *der = NULL;
    char *name = NULL;
    unsigned n = 0;
    long size = 0;
    BIO *bio = length <= INT_MAX ? BIO_new_mem_buf(pem, (int)length) : NULL;
    /* Its bytes are enough: reading what is in them costs ten times as much. */
    bool good = bio && PEM_bytes_read_bio(&der, &size, &name, PEM_STRING_X509, bio, NULL, NULL) == 1 && size > 0 &&
                EVP_Digest(der, (size_t)size, digest, &n, EVP_sha1(), NULL) == 1 &&
                n * 2 + 1 == CERTIFICATE_FINGERPRINT_SIZE;
    for (unsigned i = 0; good && i < n; i++)
        snprintf(ret_text + 2 * (size_t)i, 3, "%02X", digest[i]);
    OPENSSL_free(name);
    OPENSSL_free(der);
    BIO_free(bio);
    ERR_clear_error();
    return good;
}

void certificate_compact(const char *pem, size_t length, struct buf *out)
{
    const char *end = pem + length;
    bool inside = false;
    for (const char *line = pem; line < end;) {
        const char *stop = memchr(line, '\n', (size_t)(end - line));
        if (!stop)
            stop = end;
        size_t n = (size_t)(stop - line);
        while (n > 0 && isspace((unsigned char)line[n - 1]))
            n--;
        if (n > 11 && memcmp(line, "-----BEGIN ", 11) == 0)
            inside = true;
        if (inside && n > 0) {
            buf_add(out, line, n);
            buf_putc(out, '\n');
        }
        if (n > 9 && memcmp(line, "-----END ", 9) == 0)
            inside = false;
        line = stop + (stop < end);
    }
}

/* ---- the default certificate ---- */

#define DEFAULT_NAME "default.haptic.invalid"
#define DEFAULT_DAYS 3650

static X509 *default_sign(EVP_PKEY *key)
{
    X509 *x = X509_new();
    X509V3_CTX context;
    X509_EXTENSION *extension = NULL;
    unsigned char serial[16];
    X509_NAME *name = x ? X509_get_subject_name(x) : NULL;
    BIGNUM *number = NULL;
    bool good = x && X509_set_version(x, X509_VERSION_3) == 1 && X509_gmtime_adj(X509_getm_notBefore(x), -86400) &&
                X509_time_adj_ex(X509_getm_notAfter(x), DEFAULT_DAYS, 0, NULL) && X509_set_pubkey(x, key) == 1;
    good = good && BN_rand(number = BN_new(), 8 * (int)sizeof(serial) - 1, BN_RAND_TOP_ANY, BN_RAND_BOTTOM_ANY) == 1 &&
           BN_to_ASN1_INTEGER(number, X509_get_serialNumber(x));
    BN_free(number);
    good = good &&
           X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)DEFAULT_NAME, -1, -1, 0) == 1 &&
           X509_set_issuer_name(x, name) == 1;
    X509V3_set_ctx(&context, x, x, NULL, NULL, 0);
    good = good && (extension = X509V3_EXT_conf_nid(NULL, &context, NID_subject_alt_name, "DNS:" DEFAULT_NAME)) &&
           X509_add_ext(x, extension, -1) == 1 && X509_sign(x, key, EVP_sha256()) > 0;
    X509_EXTENSION_free(extension);
    if (!good) {
        X509_free(x);
        return NULL;
    }
    return x;
}

static void bio_take(BIO *bio, struct buf *out)
{
    char *bytes;
    long length = BIO_get_mem_data(bio, &bytes);
    if (length > 0) {
        buf_add(out, bytes, (size_t)length);
        explicit_bzero(bytes, (size_t)length);
    }
}

int certificate_make_default(struct buf *ret_chain, struct buf *ret_key, struct err *err)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *x = key ? default_sign(key) : NULL;
    BIO *chain = BIO_new(BIO_s_mem()), *secret = BIO_new(BIO_s_secmem());
    bool good = x && chain && secret && PEM_write_bio_X509(chain, x) == 1 &&
                PEM_write_bio_PrivateKey(secret, key, NULL, NULL, 0, NULL, NULL) == 1;
    if (good) {
        bio_take(chain, ret_chain);
        bio_take(secret, ret_key);
    }
    BIO_free(chain);
    BIO_free(secret);
    X509_free(x);
    EVP_PKEY_free(key);
    ERR_clear_error();
    return good ? 0 : err_set(err, ERR_SYS, "OpenSSL cannot make a key and a certificate");
}
