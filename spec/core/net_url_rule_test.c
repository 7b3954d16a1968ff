/* What may be fetched, and from where: the beginning of a URL, and no address of this machine that is not named. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <netinet/in.h>

#include "net/url_rule.h"

static bool allows(const char *beginning, const char *url, struct err *err)
{
    struct url_rules rules = {0};

    *err = (struct err){0};
    assert_int_equal(url_rules_add(&rules, beginning, NULL, err), 0);
    bool allowed = url_rules_find(&rules, url, err) != NULL;
    url_rules_done(&rules);
    return allowed;
}

static void test_beginnings(void **state)
{
    static const struct {
        const char *rule, *url;
        bool allowed;
    } rows[] = {
        {"https://a.test/lists/", "https://a.test/lists/x", true},
        {"https://a.test/lists/", "https://A.TEST:443/lists/x?y=1", true},
        {"https://a.test", "https://a.test/anything", true},
        {"https://a.test/lists", "https://a.test/lists/x", true},
        {"https://a.test/lists", "https://a.test/lists", true},
        {"https://a.test/lists", "https://a.test/listsx", false},
        {"https://a.test/lists/", "https://a.test/lists/../secret", false},
        {"https://a.test/lists/", "https://a.test/lists/%2e%2e/secret", false},
        {"https://a.test/lists/", "https://a.test/lists/..%2Fsecret", false},
        {"https://a.test/lists/", "https://a.test/lists\\..\\secret", false},
        {"https://a.test/", "http://a.test/", false},
        {"https://a.test/", "https://a.test:8443/", false},
        {"https://a.test/", "https://a.test.evil.test/", false},
        {"https://a.test/", "https://user@a.test/", false},
        {"https://a.test/", "https://a.test@evil.test/", false},
        {"https://a.test/", "https://a.test/#x", false},
        {"https://a.test/", "https://a.test/\r\nHost: b", false},
        {"https://a.test/", "file:///etc/passwd", false},
        {"https://a.test/", "//a.test/", false},
        {"https://a.test/", "", false},
        {"http://127.0.0.1/", "http://0x7f.1/", true}, /* another spelling of what is listed */
        {"http://10.0.0.1/", "http://0x7f.1/", false},
    };
    struct err err;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (allows(rows[i].rule, rows[i].url, &err) != rows[i].allowed)
            fail_msg("%s with the rule %s: %s", rows[i].url, rows[i].rule, err.text);
    assert_false(allows("https://a.test/x", "https://a.test/y?key=hidden", &err));
    assert_int_equal(err.kind, ERR_DENIED);
    assert_null(strstr(err.text, "hidden"));
}

static void test_longest_rule(void **state)
{
    struct url_rules rules = {0};
    struct err err;

    (void)state;
    assert_int_equal(url_rules_add(&rules, "https://a.test/", NULL, &err), 0);
    assert_int_equal(url_rules_add(&rules, "https://a.test/lists/", "PEM", &err), 0);
    assert_string_equal(url_rules_find(&rules, "https://a.test/lists/x", &err)->authority, "PEM");
    assert_null(url_rules_find(&rules, "https://a.test/other", &err)->authority);
    assert_int_equal(url_rules_add(&rules, "https://a.test/?x", NULL, &err), -1);
    assert_int_equal(url_rules_add(&rules, "a.test/lists", NULL, &err), -1);
    url_rules_done(&rules);
}

static bool connects(const char *rule, const char *address)
{
    struct url_rules rules = {0};
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    struct err err;

    assert_int_equal(url_rules_add(&rules, rule, NULL, &err), 0);
    bool is_v4 = inet_pton(AF_INET, address, &v4.sin_addr) == 1;
    if (!is_v4)
        assert_int_equal(inet_pton(AF_INET6, address, &v6.sin6_addr), 1);
    bool may = url_rule_may_connect(&rules.items.items[0], is_v4 ? (struct sockaddr *)&v4 : (struct sockaddr *)&v6);
    url_rules_done(&rules);
    return may;
}

static void test_addresses(void **state)
{
    static const char *const local[] = {"127.0.0.1",
                                        "127.1.2.3",
                                        "0.0.0.0",
                                        "169.254.169.254",
                                        "224.0.0.1",
                                        "255.255.255.255",
                                        "100.100.100.200",
                                        "::",
                                        "::1",
                                        "fe80::1",
                                        "ff02::1",
                                        "::ffff:127.0.0.1",
                                        "::127.0.0.1",
                                        "64:ff9b::a9fe:a9fe",
                                        "fd00:ec2::254",
                                        "fd00:ec2::23",
                                        "fd20:ce::254",
                                        "168.63.129.16",
                                        "192.0.0.192",
                                        "240.0.0.1",
                                        "::ffff:0:169.254.169.254",
                                        "::ffff:168.63.129.16",
                                        "64:ff9b:1::7f00:1",
                                        "2001::1",
                                        "2002:7f00:1::1",
                                        "2002:a9fe:a9fe::",
                                        "fec0::1",
                                        "febf::1"};

    (void)state;
    for (size_t i = 0; i < sizeof(local) / sizeof(local[0]); i++)
        if (connects("https://lists.test/", local[i]))
            fail_msg("a name may lead to %s", local[i]);
    assert_true(connects("https://lists.test/", "192.0.2.1"));
    assert_true(connects("https://lists.test/", "10.0.0.1"));
    assert_true(connects("https://lists.test/", "2001:db8::1"));
    assert_true(connects("https://lists.test/", "2002:c000:201::1"));
    assert_true(connects("https://lists.test/", "::ffff:192.0.2.1"));
    assert_true(connects("https://lists.test/", "64:ff9b::192.0.2.1"));
    assert_true(connects("https://lists.test/", "168.63.129.17"));
    assert_true(connects("https://lists.test/", "223.255.255.255"));
    assert_true(connects("https://lists.test/", "fd00:ec3::1"));
    assert_true(connects("http://localhost:8080/", "127.0.0.1"));
    assert_true(connects("http://localhost:8080/", "::1"));
    assert_false(connects("http://localhost:8080/", "169.254.169.254"));
    assert_true(connects("http://127.0.0.1:8080/", "127.0.0.1"));
    assert_false(connects("http://127.0.0.1:8080/", "127.0.0.2"));
    assert_true(connects("http://[::1]:8080/", "::1"));
    assert_true(connects("http://169.254.169.254/", "169.254.169.254"));
    assert_false(connects("http://169.254.169.254/", "169.254.169.253"));
}

static void test_origin(void **state)
{
    (void)state;
    assert_true(url_same_origin("https://a.test/x", "https://a.test:443/y"));
    assert_false(url_same_origin("https://a.test/", "http://a.test/"));
    assert_false(url_same_origin("https://a.test/", "https://b.test/"));
    assert_false(url_same_origin("https://a.test/", "nothing"));
    char *shown = url_shown("https://a.test/x?key=1");
    assert_string_equal(shown, "https://a.test/x?…");
    free(shown);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_beginnings), cmocka_unit_test(test_longest_rule),
                                       cmocka_unit_test(test_addresses), cmocka_unit_test(test_origin)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
