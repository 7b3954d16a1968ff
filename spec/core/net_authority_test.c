/* The two certificates of a fleet are of its authority, for their names and roles, and are renewed in time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "net/authority.h"

#define NOW ((int64_t)1800000000)

struct made {
    struct buf authority, authority_key, certificate, key;
};

static void make(struct made *m, enum authority_role role, int64_t life_s)
{
    struct err err;
    *m = (struct made){0};
    assert_int_equal(authority_make(NOW, &m->authority, &m->authority_key, &err), 0);
    assert_int_equal(authority_issue(buf_str(&m->authority), buf_str(&m->authority_key), role, "haptic-agent", NOW,
                                     life_s, &m->certificate, &m->key, &err),
                     0);
}

static void made_done(struct made *m)
{
    buf_done(&m->authority);
    buf_done(&m->authority_key);
    buf_done(&m->certificate);
    buf_done(&m->key);
}

static const char *why_not(const struct made *m, const char *authority, const char *name)
{
    const char *why = "";
    return authority_is_good(authority, buf_str(&m->certificate), buf_str(&m->key), name, NOW, &why) ? "" : why;
}

static void what_is_issued_is_good(void **state)
{
    struct made m;
    (void)state;
    make(&m, AUTHORITY_AGENT, AUTHORITY_ISSUED_LIFE_S);
    assert_string_equal(why_not(&m, buf_str(&m.authority), "haptic-agent"), "");
    assert_string_equal(why_not(&m, buf_str(&m.authority), "other"), "a certificate is for another name");
    made_done(&m);
}

static void another_authority_or_key_is_seen(void **state)
{
    const char *why = "";
    struct made m, other;
    (void)state;
    make(&m, AUTHORITY_AGENT, AUTHORITY_ISSUED_LIFE_S);
    make(&other, AUTHORITY_AGENT, AUTHORITY_ISSUED_LIFE_S);
    assert_string_equal(why_not(&m, buf_str(&other.authority), "haptic-agent"),
                        "a certificate is not of the authority");
    assert_false(authority_is_good(buf_str(&m.authority), buf_str(&m.certificate), buf_str(&other.key), "haptic-agent",
                                   NOW, &why));
    assert_string_equal(why, "a key is not that of its certificate");
    assert_false(authority_is_good("", buf_str(&m.certificate), buf_str(&m.key), "haptic-agent", NOW, &why));
    assert_string_equal(why, "a certificate or key cannot be read");
    made_done(&m);
    made_done(&other);
}

/* It began an hour ago, so of one that lasts ten minutes more a seventh is left. */
static void one_that_ends_soon_is_not_good(void **state)
{
    struct made m;
    (void)state;
    make(&m, AUTHORITY_AGENT, 600);
    assert_string_equal(why_not(&m, buf_str(&m.authority), "haptic-agent"),
                        "a certificate has passed two thirds of its time");
    made_done(&m);
    make(&m, AUTHORITY_AGENT, -60);
    assert_string_equal(why_not(&m, buf_str(&m.authority), "haptic-agent"),
                        "a certificate has passed two thirds of its time");
    made_done(&m);
}

static void each_role_is_for_its_side_only(void **state)
{
    static const struct {
        enum authority_role role;
        int server, client;
    } roles[] = {{AUTHORITY_AGENT, 1, 0}, {AUTHORITY_CONTROLLER, 0, 1}};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct made m;
        make(&m, roles[i].role, AUTHORITY_ISSUED_LIFE_S);
        BIO *bio = BIO_new_mem_buf(buf_str(&m.certificate), -1);
        X509 *c = PEM_read_bio_X509(bio, NULL, NULL, NULL);
        assert_non_null(c);
        assert_int_equal(X509_check_purpose(c, X509_PURPOSE_SSL_SERVER, 0), roles[i].server);
        assert_int_equal(X509_check_purpose(c, X509_PURPOSE_SSL_CLIENT, 0), roles[i].client);
        assert_int_equal(X509_check_ca(c), 0);
        X509_free(c);
        BIO_free(bio);
        made_done(&m);
    }
}

static void what_is_no_authority_issues_nothing(void **state)
{
    struct buf certificate = {0}, key = {0};
    struct made m;
    struct err err;
    (void)state;
    make(&m, AUTHORITY_AGENT, AUTHORITY_ISSUED_LIFE_S);
    assert_int_equal(
        authority_issue("no PEM", buf_str(&m.authority_key), AUTHORITY_AGENT, "x", NOW, 60, &certificate, &key, &err),
        -1);
    assert_int_equal(err.kind, ERR_INVALID);
    assert_int_equal(authority_issue(buf_str(&m.authority), buf_str(&m.key), AUTHORITY_AGENT, "x", NOW, 60,
                                     &certificate, &key, &err),
                     -1);
    assert_int_equal(certificate.length + key.length, 0);
    made_done(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_issued_is_good),
        cmocka_unit_test(another_authority_or_key_is_seen),
        cmocka_unit_test(one_that_ends_soon_is_not_good),
        cmocka_unit_test(each_role_is_for_its_side_only),
        cmocka_unit_test(what_is_no_authority_issues_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
