/* What the elector may be told: timings that leave a margin, names that can be one. */
#include "elector_world.h"

static void checks_timings(void **state)
{
    (void)state;
    static const struct {
        int64_t lease_ms, renew_ms, retry_ms, timeout_ms;
        const char *complaint; /* NULL: fine */
    } cases[] = {
        {60000, 15000, 5000, 0, NULL},
        {15000, 10000, 2000, 0, NULL},
        {137000, 107000, 26000, 0, NULL},
        {2000, 1000, 200, 0, NULL},
        {60000, 15000, 5000, 4000, NULL},
        {60000, 15000, 5000, 6000, "request timeout 6s is too long"},
        {15000, 15000, 5000, 0, "lease_duration 15s must be greater than renew_deadline 15s"},
        {16000, 15000, 5000, 0, "lease_duration 16s leaves no margin"},
        {60000, 15000, 15000, 0, "renew_deadline 15s must be greater than 1.2 times retry_period 15s"},
        {60000, 6000, 5000, 0, "1.2 times retry_period 5s"},
        {60000, 6300, 5000, 0, "no room for two tries"},
        {500, 300, 100, 0, "between 1s and 24h"},
        {90000000, 15000, 5000, 0, "between 1s and 24h"},
        {60000, 0, 5000, 0, "greater than 0"},
        {60000, 15000, 0, 0, "greater than 0"},
        {60000, 15000, INT64_MAX / MS, 0, "1.2 times retry_period"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct elector_config c = config();
        struct err err = {0};
        c.lease_duration_ns = cases[i].lease_ms * MS;
        c.renew_deadline_ns = cases[i].renew_ms * MS;
        c.retry_period_ns = cases[i].retry_ms * MS;
        c.request_timeout_ns = cases[i].timeout_ms * MS;
        int result = elector_config_check(&c, &err);
        assert_int_equal(result, cases[i].complaint ? -1 : 0);
        if (cases[i].complaint && !strstr(err.text, cases[i].complaint))
            fail_msg("\"%s\" lacks \"%s\"", err.text, cases[i].complaint);
        if (!cases[i].complaint) /* a missed renewal leaves room for two whole tries before writing stops */
            assert_true(c.retry_period_ns + 2 * elector_request_timeout_ns(&c) <=
                        c.renew_deadline_ns - elector_write_margin_ns(&c));
    }
}

static void checks_names(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "Upper", "-a", "a-", "a..b", "a.-b", "a-.b", "a/b", "a b"};
    static const char *const good[] = {"haptic-leader", "a", "0", "a.b-c.d"};
    struct err err;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct elector_config c = config();
        c.lease_name = bad[i];
        assert_int_equal(elector_config_check(&c, &err), -1);
        assert_int_equal(err.kind, ERR_INVALID);
    }
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct elector_config c = config();
        c.lease_name = good[i];
        assert_int_equal(elector_config_check(&c, &err), 0);
    }
    struct elector_config c = config();
    c.identity = "";
    assert_int_equal(elector_config_check(&c, &err), -1);
    c.enabled = false; /* then nothing of it matters */
    assert_int_equal(elector_config_check(&c, &err), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(checks_timings),
        cmocka_unit_test(checks_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
