/* Tests of version.c: the spellings of versions, and what real binaries and processes say. */
#include "haproxy_support.h"

#include "haproxy/runtime.h"
#include "haproxy/version.h"

static void versions_are_read(void **state UNUSED)
{
    static const struct {
        const char *text;
        int major, minor, patch;
        const char *shortened;
    } cases[] = {
        {"HAProxy version 2.6.12-1+deb12u4 2026/10/17 - https://haproxy.org/\nStatus: long-term", 2, 6, 12,
         "2.6.12-1+deb12u4"},
        {"HA-Proxy version 1.8.19-1+deb10u3 2020/08/01", 1, 8, 19, "1.8.19-1+deb10u3"},
        {"3.4.7-1", 3, 4, 7, "3.4.7-1"},
        {"3.5-dev1-abc", 3, 5, 0, "3.5-dev1-abc"},
        {"HAProxy version 10.11.12", 10, 11, 12, "10.11.12"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct haproxy_caps caps;
        assert_int_equal(haproxy_version_parse(cases[i].text, &caps, NULL), 0);
        assert_int_equal(caps.major, cases[i].major);
        assert_int_equal(caps.minor, cases[i].minor);
        assert_int_equal(caps.patch, cases[i].patch);
        assert_string_equal(caps.text, cases[i].shortened);
        assert_int_equal(caps.dynamic_backends, cases[i].major > 3 || (cases[i].major == 3 && cases[i].minor >= 4));
    }
    static const char *const wrong[] = {"", "HAProxy", "3", "3.", "version\n3.4.5", "99999.1"};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        struct haproxy_caps caps;
        struct err err;
        assert_int_equal(haproxy_version_parse(wrong[i], &caps, &err), -1);
        assert_int_equal(err.kind, ERR_INVALID);
    }
}

static void features_are_whole_words(void **state UNUSED)
{
    static const struct {
        const char *features;
        bool quic, limited;
    } cases[] = {
        {"-PROMEX +QUIC -QUIC_OPENSSL_COMPAT +RT", true, false},
        {"-PROMEX +QUIC +QUIC_OPENSSL_COMPAT +RT", true, true},
        {"-PROMEX -QUIC -QUIC_OPENSSL_COMPAT", false, false},
        {"+QUIC_OPENSSL_COMPAT", false, false},
        {"+RT +QUIC", true, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct haproxy_caps caps;
        CLEANUP(free_ptr)
        char *text = xasprintf("HAProxy version 3.4.7 2026/10/14\nFeature list : %s\n", cases[i].features);
        assert_int_equal(haproxy_version_parse(text, &caps, NULL), 0);
        assert_int_equal(caps.quic, cases[i].quic);
        assert_int_equal(caps.quic_limited, cases[i].limited);
    }
}

static void help_overrules_the_number(void **state UNUSED)
{
    struct haproxy_caps caps;
    assert_int_equal(haproxy_version_parse("3.4.7", &caps, NULL), 0);
    haproxy_caps_from_help(
        &caps,
        "The following commands are valid at this level:\n  add server <bk>/<srv>  : create\n  del server <bk>/<srv> : remove\n");
    assert_true(caps.dynamic_servers);
    assert_false(caps.dynamic_backends);
    assert_false(caps.server_removable);
    haproxy_caps_from_help(&caps, "  add serverless : x\n  waiting : x");
    assert_false(caps.dynamic_servers);
    assert_false(caps.server_removable);
}

static void help_take(void *ctx, const struct err *err, const struct runtime_answer *answers, size_t count)
{
    char **ret = ctx;
    if (err)
        fail_msg("%s", err->text);
    assert_int_equal(count, 1);
    *ret = xstrdup(answers[0].text);
}

static void real_versions_agree(void **state UNUSED)
{
    for (size_t i = 0; i < ARRAY_LEN(haproxy_series); i++) {
        struct haproxy h;
        if (!haproxy_start(&h, haproxy_series[i]))
            continue;
        CLEANUP(free_ptr) char *binary = haproxy_binary(haproxy_series[i]);
        CLEANUP(free_ptr) char *command = xasprintf("%s -vv", binary);
        char text[16384] = "";
        FILE *p = popen(command, "r");
        text[fread(text, 1, sizeof(text) - 1, p)] = '\0';
        pclose(p);
        struct haproxy_caps caps;
        assert_int_equal(haproxy_version_parse(text, &caps, NULL), 0);
        assert_int_equal(caps.quic, strstr(text, "USE_QUIC=1") != NULL);
        assert_int_equal(caps.acme, strstr(text, "+ACME") != NULL && strcmp(haproxy_series[i], "3.4") >= 0);
        assert_int_equal(caps.major, haproxy_series[i][0] - '0');
        assert_int_equal(caps.minor, haproxy_series[i][2] - '0');

        uv_loop_t loop;
        char *help = NULL;
        const char *ask = "help";
        uv_loop_init(&loop);
        runtime_run(&loop, h.runtime_socket, &ask, 1, NS_PER_S, 0, help_take, &help);
        uv_run(&loop, UV_RUN_DEFAULT);
        loop_end(&loop);
        struct haproxy_caps refined = caps;
        haproxy_caps_from_help(&refined, help);
        assert_memory_equal(&refined, &caps, sizeof(caps));
        print_message("HAProxy %s: backends %d, removable %d, quic %d\n", caps.text, caps.dynamic_backends,
                      caps.server_removable, caps.quic);
        free(help);
        haproxy_end(&h);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(versions_are_read),
        cmocka_unit_test(features_are_whole_words),
        cmocka_unit_test(help_overrules_the_number),
        cmocka_unit_test(real_versions_agree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
