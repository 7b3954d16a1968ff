/* Certificates as Secrets have them: what is told of good ones, and why others cannot be used. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/core_names.h>
#include <openssl/param_build.h>

#include "certificates.h"
#include "data/certificate.h"

#define DAY 86400L

static void read_pair(const char *chain, const char *key, struct certificate_facts *f, struct buf *out)
{
    certificate_read("tls", chain, chain ? strlen(chain) : 0, key, key ? strlen(key) : 0, f, out);
}

static void test_good(void **state UNUSED)
{
    struct made m = make_certificate(
        "ignored", "DNS:Shop.Example.com,DNS:*.example.com,DNS:shop.example.com,IP:10.0.0.1", NULL, 0, -DAY, DAY);
    struct certificate_facts f;
    CLEANUP(buf_done) struct buf chain = {0};

    read_pair(m.chain, m.secret, &f, &chain);
    assert_string_equal(f.problem, "");
    assert_int_equal(f.names.length, 2);
    assert_string_equal(f.names.items[0], "*.example.com");
    assert_string_equal(f.names.items[1], "shop.example.com");
    assert_string_equal(f.key_type, "ECDSA");
    assert_int_equal(f.key_bits, 256);
    assert_int_equal(f.not_after_s - f.not_before_s, 2 * DAY);
    assert_false(f.reordered);
    assert_string_equal(buf_str(&chain), m.chain);
    certificate_facts_done(&f);
    made_done(&m);
}

/* Templates judge whom HAProxy asks: nothing that another program could read differently. */
static void test_responder(void **state UNUSED)
{
    static const struct {
        const char *uri, *host;
    } cases[] = {
        {"http://ocsp.example.com/x", "ocsp.example.com"},
        {"http://OCSP.Example.com:8080", "ocsp.example.com"},
        {"http://127.0.0.1:80/", "127.0.0.1"},
        {"http://a.test@127.0.0.1/", ""},
        {"http://a.test:x@127.0.0.1/", ""},
        {"http://[::1]/", ""},
        {"http://a.test#@127.0.0.1/", ""},
        {"http://a.test?@127.0.0.1/", ""},
        {"http://a.test\\@127.0.0.1/", ""},
        {"https://a.test/", ""},
        {"http:///x", ""},
        {"ftp://a.test/", ""},
    };
    struct made root = make_certificate("root", NULL, NULL, 0, -DAY, DAY);

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct made leaf = make_certificate("leaf", "DNS:a.example.com", &root, 0, -DAY, DAY);
        struct certificate_facts f;
        CLEANUP(buf_done) struct buf chain = {0};
        CLEANUP(free_ptr) char *value = xasprintf("OCSP;URI:%s", cases[i].uri);
        X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, NID_info_access, value);
        assert_non_null(extension);
        X509_add_ext(leaf.certificate, extension, -1);
        X509_EXTENSION_free(extension);
        assert_true(X509_sign(leaf.certificate, root.key, EVP_sha256()) > 0);
        CLEANUP(free_ptr) char *certificate = pem_of_certificate(leaf.certificate);
        CLEANUP(free_ptr) char *text = xasprintf("%s%s", certificate, root.chain);
        read_pair(text, leaf.secret, &f, &chain);
        assert_string_equal(f.problem, "");
        assert_true(f.ocsp);
        assert_string_equal(f.ocsp_host, cases[i].host);
        certificate_facts_done(&f);
        made_done(&leaf);
    }
    made_done(&root);
}

static void test_common_name_without_alternatives(void **state UNUSED)
{
    struct made m = make_certificate("Old.example.com", NULL, NULL, 2048, -DAY, DAY);
    struct made odd = make_certificate("not a name; http-request deny", NULL, NULL, 0, -DAY, DAY);
    struct certificate_facts f;
    CLEANUP(buf_done) struct buf chain = {0};

    read_pair(m.chain, m.secret, &f, &chain);
    assert_string_equal(f.key_type, "RSA");
    assert_int_equal(f.names.length, 1);
    assert_string_equal(f.names.items[0], "old.example.com");
    certificate_facts_done(&f);
    read_pair(odd.chain, odd.secret, &f, &chain);
    assert_string_equal(f.problem, "");
    assert_int_equal(f.names.length, 0);
    certificate_facts_done(&f);
    made_done(&m);
    made_done(&odd);
}

static void test_chain_is_put_in_order(void **state UNUSED)
{
    struct made root = make_certificate("root", NULL, NULL, 0, -DAY, DAY);
    struct made middle = make_certificate("middle", NULL, &root, 0, -DAY, DAY);
    struct made leaf = make_certificate("leaf", "DNS:a.example.com", &middle, 0, -DAY, DAY);
    struct made other = make_certificate("other", NULL, NULL, 0, -DAY, DAY);
    CLEANUP(free_ptr)
    char *text = xasprintf("%s junk\n\n%s%s%s%s", root.chain, other.chain, middle.chain, leaf.chain, root.chain);
    CLEANUP(free_ptr) char *wanted = xasprintf("%s%s%s%s", leaf.chain, middle.chain, root.chain, other.chain);
    struct certificate_facts f;
    CLEANUP(buf_done) struct buf chain = {0};

    read_pair(text, leaf.secret, &f, &chain);
    assert_string_equal(f.problem, "");
    assert_true(f.reordered);
    assert_int_equal(f.certificates, 4);
    assert_int_equal(f.strays, 1);
    assert_string_equal(f.names.items[0], "a.example.com");
    assert_string_equal(buf_str(&chain), wanted);
    certificate_facts_done(&f);
    made_done(&root);
    made_done(&middle);
    made_done(&leaf);
    made_done(&other);
}

/* Numbers of so many bits in the place of an RSA key, which would take minutes to make. */
static EVP_PKEY *long_key(int bits)
{
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
    OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    BIGNUM *n = BN_new(), *e = BN_new(), *d = BN_new();
    EVP_PKEY *key = NULL;
    static const char *const parts[] = {OSSL_PKEY_PARAM_RSA_FACTOR1, OSSL_PKEY_PARAM_RSA_FACTOR2,
                                        OSSL_PKEY_PARAM_RSA_EXPONENT1, OSSL_PKEY_PARAM_RSA_EXPONENT2,
                                        OSSL_PKEY_PARAM_RSA_COEFFICIENT1};
    BIGNUM *numbers[ARRAY_LEN(parts)];

    BN_rand(n, bits, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ODD);
    BN_rand(d, bits - 2, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ODD);
    BN_set_word(e, RSA_F4);
    OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_N, n);
    OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_E, e);
    OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_D, d);
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        numbers[i] = BN_new();
        BN_rand(numbers[i], bits / 2, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ODD);
        OSSL_PARAM_BLD_push_BN(build, parts[i], numbers[i]);
    }
    OSSL_PARAM *parameters = OSSL_PARAM_BLD_to_param(build);
    assert_int_equal(EVP_PKEY_fromdata_init(context), 1);
    assert_int_equal(EVP_PKEY_fromdata(context, &key, EVP_PKEY_KEYPAIR, parameters), 1);
    OSSL_PARAM_free(parameters);
    OSSL_PARAM_BLD_free(build);
    EVP_PKEY_CTX_free(context);
    BN_free(n);
    BN_free(e);
    BN_free(d);
    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        BN_free(numbers[i]);
    return key;
}

/* Each handshake would hold up everybody's requests. */
static void test_long_key(void **state UNUSED)
{
    struct made m = make_certificate("long", "DNS:a.example.com", NULL, 0, -DAY, DAY);
    const struct {
        int bits;
        const char *problem;
    } cases[] = {{8192, ""}, {8200, "the key has 8200 bits, more than 8192: each handshake would hold up the others"}};

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        EVP_PKEY *key = long_key(cases[i].bits);
        struct certificate_facts f;
        CLEANUP(buf_done) struct buf chain = {0};
        X509_set_pubkey(m.certificate, key);
        assert_true(X509_sign(m.certificate, m.key, EVP_sha256()) > 0);
        CLEANUP(free_ptr) char *certificate = pem_of_certificate(m.certificate);
        CLEANUP(free_ptr) char *secret = pem_of_key(key, NULL);
        read_pair(certificate, secret, &f, &chain);
        assert_string_equal(f.problem, cases[i].problem);
        certificate_facts_done(&f);
        EVP_PKEY_free(key);
    }
    made_done(&m);
}

static void test_bad_ones(void **state UNUSED)
{
    struct made good = make_certificate("good", "DNS:a.example.com", NULL, 0, -DAY, DAY);
    struct made other = make_certificate("other", "DNS:a.example.com", NULL, 0, -DAY, DAY);
    struct made weak = make_certificate("weak", "DNS:a.example.com", NULL, 1024, -DAY, DAY);
    CLEANUP(free_ptr) char *encrypted = pem_of_key(good.key, "secret");
    CLEANUP(free_ptr) char *cut = xmemdup0(good.chain, strlen(good.chain) / 2);
    CLEANUP(free_ptr) char *second_cut = xasprintf("%s%s", good.chain, cut);
    const struct {
        const char *chain, *key, *problem;
    } cases[] = {
        {NULL, good.secret, "it has no tls.crt"},
        {good.chain, NULL, "it has no tls.key"},
        {"", good.secret, "tls.crt is empty"},
        {good.chain, "", "tls.key is empty"},
        {"garbage", good.secret, "tls.crt has no certificate that can be read (PEM)"},
        {cut, good.secret, "tls.crt has no certificate that can be read (PEM)"},
        {second_cut, good.secret, "tls.crt has a part that cannot be read"},
        {good.chain, "garbage", "tls.key has no private key that can be read (PEM)"},
        {good.chain, good.chain, "tls.key has no private key that can be read (PEM)"},
        {good.secret, good.chain, "tls.crt has no certificate that can be read (PEM)"},
        {good.chain, encrypted, "the key is encrypted: store it without a password"},
        {good.chain, other.secret, "the key does not belong to the certificate"},
        {weak.chain, weak.secret, "the key is too weak (RSA, 1024 bits): HAProxy refuses it"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct certificate_facts f;
        CLEANUP(buf_done) struct buf chain = {0};
        read_pair(cases[i].chain, cases[i].key, &f, &chain);
        assert_string_equal(f.problem, cases[i].problem);
        assert_int_equal(chain.length, 0);
        certificate_facts_done(&f);
    }
    made_done(&good);
    made_done(&other);
    made_done(&weak);
}

static char *traditional(EVP_PKEY *key)
{
    BIO *bio = BIO_new(BIO_s_mem());
    assert_int_equal(PEM_write_bio_PrivateKey_traditional(bio, key, NULL, NULL, 0, NULL, NULL), 1);
    return bio_text(bio);
}

/* As OpenSSL writes them now and did before, and what stands before a key in some files. */
static void test_forms_of_keys(void **state UNUSED)
{
    static const char parameters[] = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n";
    struct made ec = make_certificate("ec", "DNS:a.example.com", NULL, 0, -DAY, DAY);
    struct made rsa = make_certificate("rsa", "DNS:a.example.com", NULL, 2048, -DAY, DAY);
    CLEANUP(free_ptr) char *old_ec = traditional(ec.key), *old_rsa = traditional(rsa.key);
    CLEANUP(free_ptr) char *behind = xasprintf("%s%s", parameters, old_ec);
    CLEANUP(free_ptr) char *noted = xasprintf("made by hand\n%s", ec.secret);
    /* The key is that of a certificate behind one of another type. */
    CLEANUP(free_ptr) char *mixed = xasprintf("%s%s", ec.chain, rsa.chain);
    const struct {
        const char *chain, *key, *type, *problem;
    } cases[] = {
        {ec.chain, ec.secret, "ECDSA", ""},
        {ec.chain, old_ec, "ECDSA", ""},
        {ec.chain, behind, "ECDSA", ""},
        {ec.chain, noted, "ECDSA", ""},
        {rsa.chain, rsa.secret, "RSA", ""},
        {rsa.chain, old_rsa, "RSA", ""},
        {mixed, rsa.secret, "RSA", ""},
        {mixed, old_rsa, "RSA", ""},
        {ec.chain, rsa.secret, "ECDSA", "the key does not belong to the certificate"},
        {rsa.chain, old_ec, "RSA", "the key does not belong to the certificate"},
        {ec.chain, parameters, "ECDSA", "tls.key has no private key that can be read (PEM)"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct certificate_facts f;
        CLEANUP(buf_done) struct buf chain = {0};
        read_pair(cases[i].chain, cases[i].key, &f, &chain);
        assert_string_equal(f.problem, cases[i].problem);
        assert_string_equal(f.key_type, cases[i].type);
        certificate_facts_done(&f);
    }
    made_done(&ec);
    made_done(&rsa);
}

static void test_limits(void **state UNUSED)
{
    struct buf names = {0};
    struct certificate_facts f;
    CLEANUP(buf_done) struct buf chain = {0};

    for (int i = 0; i < CERTIFICATE_NAMES_MAX + 10; i++)
        buf_printf(&names, "%sDNS:n%d.example.com", i ? "," : "", i);
    struct made m = make_certificate("many", buf_str(&names), NULL, 0, -DAY, DAY);
    read_pair(m.chain, m.secret, &f, &chain);
    assert_int_equal(f.names.length, CERTIFICATE_NAMES_MAX);
    assert_true(f.names_cut);
    certificate_facts_done(&f);

    CLEANUP(buf_done) struct buf many = {0};
    for (int i = 0; i <= CERTIFICATE_CHAIN_MAX; i++) {
        struct made one = make_certificate("one", NULL, NULL, 0, -DAY, DAY);
        buf_puts(&many, one.chain);
        made_done(&one);
    }
    buf_clear(&chain);
    read_pair(buf_str(&many), m.secret, &f, &chain);
    assert_string_equal(f.problem, "tls.crt has more than 32 certificates");
    certificate_facts_done(&f);

    CLEANUP(free_ptr) char *huge = xmalloc(CERTIFICATE_BYTES_MAX + 2);
    memset(huge, 'a', CERTIFICATE_BYTES_MAX + 1);
    huge[CERTIFICATE_BYTES_MAX + 1] = '\0';
    read_pair(huge, m.secret, &f, &chain);
    assert_string_equal(f.problem, "tls.crt is longer than 512 KiB");
    certificate_facts_done(&f);
    buf_done(&names);
    made_done(&m);
}

static void test_payload(void **state UNUSED)
{
    static const char text[] = "subject: x\r\n\r\n-----BEGIN A-----\r\nabc\r\n\r\ndef\n-----END A-----\n\nbetween\n"
                               "-----BEGIN B-----\nx\n-----END B-----";
    CLEANUP(buf_done) struct buf out = {0};

    certificate_compact(text, strlen(text), &out);
    assert_string_equal(buf_str(&out),
                        "-----BEGIN A-----\nabc\ndef\n-----END A-----\n-----BEGIN B-----\nx\n-----END B-----\n");
}

static void test_default(void **state UNUSED)
{
    CLEANUP(buf_done) struct buf chain = {0}, key = {0}, ordered = {0}, again = {0}, other = {0};
    char first[CERTIFICATE_FINGERPRINT_SIZE], second[CERTIFICATE_FINGERPRINT_SIZE];
    struct certificate_facts f;
    struct err err;

    assert_int_equal(certificate_make_default(&chain, &key, &err), 0);
    read_pair(buf_str(&chain), buf_str(&key), &f, &ordered);
    assert_string_equal(f.problem, "");
    assert_string_equal(f.names.items[0], "default.haptic.invalid");
    certificate_facts_done(&f);
    assert_int_equal(certificate_make_default(&again, &other, &err), 0);
    assert_true(certificate_fingerprint(buf_str(&chain), chain.length, first));
    assert_true(certificate_fingerprint(buf_str(&again), again.length, second));
    assert_int_equal(strlen(first), 40);
    assert_string_not_equal(first, second);
    assert_false(certificate_fingerprint("x", 1, first));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_common_name_without_alternatives),
        cmocka_unit_test(test_chain_is_put_in_order),
        cmocka_unit_test(test_bad_ones),
        cmocka_unit_test(test_responder),
        cmocka_unit_test(test_long_key),
        cmocka_unit_test(test_forms_of_keys),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_payload),
        cmocka_unit_test(test_default),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
