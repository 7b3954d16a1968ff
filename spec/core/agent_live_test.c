/* What the agent believes HAProxy to run, brought level with what HAProxy tells. */
#include "agent_support.h"

#include "agent/live.h"

static void backends_that_are_not_told_are_forgotten(void **state)
{
    static const char config[] = "defaults base\n    mode http\nbackend stays from base\n    server s1 127.0.0.1:1\n"
                                 "backend goes from base\n    server s1 127.0.0.1:1\nbackend waits from base\n"
                                 "    server s1 127.0.0.1:1\nlisten own from base\n    bind :80\n";
    struct live *live = live_new();
    (void)state;
    live_load_config(live, config, sizeof(config) - 1);
    assert_non_null(live_backend(live, "backend goes"));
    live_backend_wait(live, live_backend(live, "backend waits"));
    live_backend_wait(live, live_backend(live, "backend stays"));
    live_merge_backends(live, "# name\nstays\nown\n");
    assert_non_null(live_backend(live, "backend stays"));
    assert_non_null(live_backend(live, "listen own"));
    assert_null(live_backend(live, "backend goes"));
    assert_null(live_backend(live, "backend waits"));
    assert_int_equal(live->waiting.count, 1);
    live_free(live);
}

/* A path counts as a whole, and so do its parts: "track app/s1" names a backend. */
static void words_are_whole_paths_and_their_parts(void **state)
{
    static const char config[] = "frontend f\n    bind :443 ssl crt-list \"certs/https.list\"\n"
                                 "    http-request set-var(txn.a) path,map_str(maps/host.map)\n    use_backend app\n"
                                 "backend app\n    server s1 127.0.0.1:1 track other/s2 cookie nobody\n";
    struct live *live = live_new();
    (void)state;
    live_load_config(live, config, sizeof(config) - 1);
    const char *there[] = {"certs/https.list", "https.list", "maps/host.map", "app", "other", "other/s2"};
    for (size_t i = 0; i < ARRAY_LEN(there); i++) {
        assert_true(live_refers(live, there[i]));
        assert_true(live_text_refers(config, sizeof(config) - 1, there[i]));
    }
    const char *absent[] = {"certs/https", "tps.list", "certs/https.list/", "/https.list", "ap"};
    for (size_t i = 0; i < ARRAY_LEN(absent); i++) {
        assert_false(live_refers(live, absent[i]));
        assert_false(live_text_refers(config, sizeof(config) - 1, absent[i]));
    }
    live_free(live);
}

/* Which files servers keep is known without looking at any server. */
static void files_that_servers_keep_are_known(void **state)
{
    static const char config[] =
        "defaults base\n    default-server ssl verify required ca-file certs/all.pem\n"
        "backend own from base\n    default-server ca-file certs/most.pem crl-file certs/revoked.pem\n"
        "    server s1 127.0.0.1:1 ssl ca-file certs/one.pem\n"
        "    server s2 127.0.0.1:2 ssl crt certs/mine.pem ca-file certs/two.pem\n"
        "frontend f\n    bind :443 ssl crt certs/x.pem ca-file certs/clients.pem\n";
    static const char more[] = "server s3 127.0.0.1:3 ssl ca-file certs/three.pem\n";
    struct live *live = live_new();
    struct cfg_backend next = {0};
    (void)state;
    live_load_config(live, config, sizeof(config) - 1);
    const char *kept[] = {"certs/all.pem", "certs/most.pem", "certs/revoked.pem", "certs/one.pem"};
    for (size_t i = 0; i < ARRAY_LEN(kept); i++)
        assert_true(live_is_trusted(live, kept[i]));
    const char *others[] = {"certs/two.pem", "certs/mine.pem", "certs/x.pem", "certs/clients.pem", "certs/three.pem"};
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        assert_false(live_is_trusted(live, others[i]));
    cfg_backend_parse(more, sizeof(more) - 1, "base", &next);
    live_backend_take(live, live_backend(live, "backend own"), &next);
    assert_int_equal(next.servers.length, 0);
    assert_true(live_is_trusted(live, "certs/three.pem"));
    /* A connection that goes on may still have the former ones. */
    assert_true(live_is_trusted(live, "certs/one.pem"));
    live_free(live);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(backends_that_are_not_told_are_forgotten),
        cmocka_unit_test(words_are_whole_paths_and_their_parts),
        cmocka_unit_test(files_that_servers_keep_are_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
