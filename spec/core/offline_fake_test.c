/* Fakes of Secrets: nothing of the real value, its length, and what can be done with it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "offline/fake_secret.h"

#include <crypt.h>
#include <openssl/pem.h>

#include "base/alloc.h"
#include "data/certificate.h"

static void make(const char *value, size_t length, struct buf *out)
{
    struct fake_secrets f = {0};

    fake_value_write(&f, "label", value, length, out);
    fake_secrets_done(&f);
}

static void a_text_becomes_another_of_the_same_length(void **state)
{
    (void)state;
    static const char *const values[] = {"", "a", "tOp secret\n", "two\nlines: yes", "user:plain", "$9$unknown$hash"};

    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        CLEANUP(buf_done) struct buf out = {0}, again = {0};
        make(values[i], strlen(values[i]), &out);
        make(values[i], strlen(values[i]), &again);
        assert_int_equal(out.length, strlen(values[i]));
        assert_string_equal(buf_str(&out), buf_str(&again));
        if (strlen(values[i]) > 3)
            assert_null(memmem(buf_str(&out), out.length, values[i], 4));
    }
}

/* Whoever has the file can log in by it. */
static void a_hash_becomes_one_of_a_known_password(void **state)
{
    (void)state;
    static const char *const hashes[] = {
        "$1$abcdefgh$1234567890123456789012",
        "$5$abcdefghijkl$1234567890123456789012345678901234567890123",
        "$5$rounds=77777$abcd$1234567890123456789012345678901234567890123",
        "$6$abcdefghijklmnop$12345678901234567890123456789012345678901234567890123456789012345678901234567890123456",
        "$2y$12$abcdefghijklmnopqrstuv1234567890123456789012345678901",
    };

    for (size_t i = 0; i < ARRAY_LEN(hashes); i++) {
        CLEANUP(buf_done) struct buf alone = {0}, file = {0};
        CLEANUP(free_ptr) char *lines = xasprintf("ada:%s\nbob:%s\n", hashes[i], hashes[i]);
        struct crypt_data data = {0};
        make(hashes[i], strlen(hashes[i]), &alone);
        assert_int_equal(alone.length, strlen(hashes[i]));
        assert_null(strstr(buf_str(&alone), "1234567"));
        assert_string_equal(crypt_r(FAKE_PASSWORD, buf_str(&alone), &data), buf_str(&alone));
        make(lines, strlen(lines), &file);
        CLEANUP(free_ptr) char *wanted = xasprintf("ada:%s\nbob:%s\n", buf_str(&alone), buf_str(&alone));
        assert_string_equal(buf_str(&file), wanted);
    }
}

/* Schemes that crypt(3) does not know keep their shape. */
static void an_unknown_hash_keeps_its_shape(void **state)
{
    (void)state;
    static const char *const hashes[] = {"$apr1$abcdefgh$1234567890123456789012", "{SHA}k1nQKz7LkoqDCkarT53oKZI6s/s="};

    for (size_t i = 0; i < ARRAY_LEN(hashes); i++) {
        CLEANUP(buf_done) struct buf out = {0};
        make(hashes[i], strlen(hashes[i]), &out);
        assert_int_equal(out.length, strlen(hashes[i]));
        assert_memory_equal(buf_str(&out), hashes[i], 5);
        assert_null(strstr(buf_str(&out), "1234567"));
    }
}

static void keys_of_each_kind_fit_their_certificate(void **state)
{
    (void)state;
    struct fake_keys keys = {0};
    static const char *const curves[] = {"P-256", "P-384", "P-521"};
    EVP_PKEY *like[] = {EVP_EC_gen(curves[0]),
                        EVP_EC_gen(curves[1]),
                        EVP_EC_gen(curves[2]),
                        EVP_RSA_gen(2048),
                        EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"),
                        EVP_PKEY_Q_keygen(NULL, NULL, "ED448")};

    for (size_t i = 0; i < ARRAY_LEN(like); i++) {
        EVP_PKEY *one = fake_key(&keys, like[i], 0), *other = fake_key(&keys, like[i], 1);
        assert_non_null(one);
        assert_int_equal(EVP_PKEY_get_base_id(like[i]), EVP_PKEY_get_base_id(one));
        assert_int_equal(EVP_PKEY_get_bits(like[i]), EVP_PKEY_get_bits(one));
        assert_int_not_equal(EVP_PKEY_eq(like[i], one), 1);
        assert_int_not_equal(EVP_PKEY_eq(one, other), 1);
        assert_ptr_equal(one, fake_key(&keys, like[i], 0));
        EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(one, NULL);
        assert_int_equal(EVP_PKEY_check(ctx), 1);
        EVP_PKEY_CTX_free(ctx);
        EVP_PKEY_free(like[i]);
    }
    fake_keys_done(&keys);
}

static void a_secret_keeps_what_is_no_value(void **state)
{
    (void)state;
    static const char secret[] =
        "{\"metadata\":{\"name\":\"s\",\"namespace\":\"n\",\"uid\":\"u\",\"managedFields\":[1],\"annotations\":{\"a\":\"b\","
        "\"kubectl.kubernetes.io/last-applied-configuration\":\"{c2VjcmV0}\"}},\"type\":\"Opaque\",\"immutable\":true,"
        "\"data\":{\"k\":\"c2VjcmV0\",\"empty\":\"\"},\"unknown\":\"c2VjcmV0\"}";
    CLEANUP(json_doc_done) struct yyjson_doc *doc = NULL;
    CLEANUP(buf_done) struct buf out = {0};
    struct fake_secrets f = {0};
    struct err err;

    assert_int_equal(json_parse(secret, strlen(secret), 1 << 20, &doc, &err), 0);
    assert_int_equal(fake_secret_write(&f, yyjson_doc_get_root(doc), &out, &err), 0);
    assert_null(strstr(buf_str(&out), "c2VjcmV0"));
    assert_null(strstr(buf_str(&out), "managedFields"));
    assert_non_null(strstr(buf_str(&out), "\"annotations\":{\"a\":\"b\"}"));
    assert_non_null(strstr(buf_str(&out), "\"type\":\"Opaque\",\"immutable\":true,\"data\":{\"k\":\""));
    assert_non_null(strstr(buf_str(&out), "\"empty\":\"\"}}"));
    fake_secrets_done(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_text_becomes_another_of_the_same_length),
        cmocka_unit_test(a_hash_becomes_one_of_a_known_password),
        cmocka_unit_test(an_unknown_hash_keeps_its_shape),
        cmocka_unit_test(keys_of_each_kind_fit_their_certificate),
        cmocka_unit_test(a_secret_keeps_what_is_no_value),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
