/* What the agent believes HAProxy to run, brought level with what HAProxy tells. */
#include "agent_support.h"

#include "agent/live.h"

static void merge_all(struct live_merge *m)
{
    while (!live_merge_step(m, 1))
        ;
    live_merge_free(m);
}

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
    merge_all(live_merge_servers(live, "# name\nstays\nown\n", "1\n"));
    assert_non_null(live_backend(live, "backend stays"));
    assert_non_null(live_backend(live, "listen own"));
    assert_null(live_backend(live, "backend goes"));
    assert_null(live_backend(live, "backend waits"));
    assert_int_equal(live->waiting.count, 1);
    live_free(live);
}

/* Columns of `show servers state`: backend, server, address, administrative state, weight, port. */
#define STATE(backend, name, address, admin, weight, port) \
    "1 " backend " 1 " name " " address " 2 " admin " " weight " 1 1 6 3 4 6 0 0 0 - " port " - 0 0 - - 0\n"

static const char two_backends[] = "backend app\n    server s1 127.0.0.1:1 weight 5 check\n"
                                   "    server s2 127.0.0.1:2 weight 5 check\nbackend other\n    server s1 [::1]:1\n";

static const struct cfg_server *server_of(const struct live *live, const char *backend, const char *name)
{
    return cfg_backend_server(&live_backend(live, backend)->cfg, name);
}

/* A server that HAProxy reports unchanged keeps its object: nothing is allocated for it. */
static void servers_that_are_as_they_were_stay(void **state)
{
    struct live *live = live_new();
    (void)state;
    live_load_config(live, two_backends, sizeof(two_backends) - 1);
    const struct cfg_server *s1 = server_of(live, "backend app", "s1"), *s2 = server_of(live, "backend app", "s2");
    const struct cfg_server *other = server_of(live, "backend other", "s1");
    /* HAProxy's order is that of its configuration, or another one. */
    for (int i = 0; i < 2; i++) {
        merge_all(live_merge_servers(live, "# name\napp\nother\n",
                                     "1\n# be_id\n" STATE("app", "s2", "127.0.0.1", "0", "5", "2")
                                         STATE("app", "s1", "127.0.0.1", "0", "5", "1")
                                             STATE("other", "s1", "::1", "0", "1", "1")));
        assert_ptr_equal(server_of(live, "backend app", "s1"), s1);
        assert_ptr_equal(server_of(live, "backend app", "s2"), s2);
        assert_ptr_equal(server_of(live, "backend other", "s1"), other);
        assert_false(s1->seen || s2->seen || other->seen);
    }
    live_free(live);
}

static void servers_become_what_is_told(void **state)
{
    struct live *live = live_new();
    (void)state;
    live_load_config(live, two_backends, sizeof(two_backends) - 1);
    const struct cfg_server *s2 = server_of(live, "backend app", "s2");
    live_backend(live, "backend other")->cfg.servers.items[0]->leaving = true;
    live->leaving = 1;
    merge_all(live_merge_servers(live, "# name\napp\nother\n",
                                 "1\n" STATE("app", "s3", "127.0.0.3", "0", "7", "3")
                                     STATE("app", "s2", "127.0.0.1", "0", "5", "2")
                                         STATE("app", "s1", "127.0.0.9", "4", "5", "1")));
    const struct cfg_server *s1 = server_of(live, "backend app", "s1"), *s3 = server_of(live, "backend app", "s3");
    assert_int_equal(live_backend(live, "backend app")->cfg.servers.length, 3);
    assert_string_equal(s1->address, "127.0.0.9");
    assert_int_equal(s1->admin, CFG_MAINT);
    assert_true(s1->words_known && s1->checked);
    assert_ptr_equal(server_of(live, "backend app", "s2"), s2);
    assert_false(s2->seen);
    assert_int_equal(s3->weight, 7);
    assert_false(s3->words_known);
    /* A backend that is not among the servers has none. */
    assert_int_equal(live_backend(live, "backend other")->cfg.servers.length, 0);
    assert_int_equal(live->leaving, 0);
    /* The same number of servers, and another one among them. */
    merge_all(live_merge_servers(live, "# name\napp\nother\n",
                                 "1\n" STATE("app", "s2", "127.0.0.1", "0", "5", "2")
                                     STATE("app", "s2", "127.0.0.1", "0", "5", "2")
                                         STATE("app", "s4", "127.0.0.4", "0", "1", "4")));
    assert_null(server_of(live, "backend app", "s1"));
    assert_non_null(server_of(live, "backend app", "s4"));
    live_free(live);
}

static const char map_answer[] = "0x1 a new\n0x2 b old\n0x3 b twice\n0x4 d new\n0x5 d twice\n0x6 broken\n";

static void map_becomes_what_is_told(void **state)
{
    struct live *live = live_new();
    (void)state;
    live_load_map(live, "x.map", "a old\nb old\nc old\n", 18);
    struct live_map *map = live_map(live, "x.map");
    const struct text *b = map_get(&map->entries, "b");
    merge_all(live_merge_map(map, map_answer));
    assert_int_equal(map->entries.count, 3);
    assert_string_equal(((struct text *)map_get(&map->entries, "a"))->bytes, "new");
    assert_ptr_equal(map_get(&map->entries, "b"), b);
    assert_null(map_get(&map->entries, "c"));
    assert_string_equal(((struct text *)map_get(&map->entries, "d"))->bytes, "new");
    assert_int_equal(map->duplicates.length, 2);
    assert_string_equal(map->duplicates.items[0], "0x3");
    assert_string_equal(map->duplicates.items[1], "0x5");
    merge_all(live_merge_map(map, "0x1 a new\n0x2 b old\n0x4 d new\n"));
    assert_int_equal(map->entries.count, 3);
    assert_int_equal(map->duplicates.length, 0);
    merge_all(live_merge_map(map, ""));
    assert_int_equal(map->entries.count, 0);
    live_free(live);
}

/* A merge is given up after any number of steps: everything is as it was, or as it was told. */
static void a_merge_can_end_anywhere(void **state)
{
    static const char servers[] = "1\n" STATE("app", "s1", "127.0.0.1", "0", "5", "1")
        STATE("app", "s2", "127.0.0.9", "0", "5", "2") STATE("app", "s3", "127.0.0.3", "0", "5", "3")
            STATE("other", "s1", "::1", "0", "1", "1");
    bool whole = false;
    (void)state;
    size_t steps;
    for (steps = 0; !whole; steps++) {
        struct live *live = live_new();
        live_load_config(live, two_backends, sizeof(two_backends) - 1);
        live_load_map(live, "x.map", "a old\nb old\nc old\n", 18);
        struct live_map *map = live_map(live, "x.map");
        struct live_merge *m = live_merge_servers(live, "# name\napp\nother\n", servers);
        struct live_merge *n = live_merge_map(map, map_answer);
        whole = live_merge_step(m, steps);
        whole = live_merge_step(n, steps) && whole;
        live_merge_free(m);
        live_merge_free(n);
        const struct cfg_backend *app = &live_backend(live, "backend app")->cfg;
        bool told = app->servers.length == 3;
        assert_true(told || app->servers.length == 2);
        assert_string_equal(cfg_backend_server(app, "s2")->address, told ? "127.0.0.9" : "127.0.0.1");
        for (size_t i = 0; i < app->servers.length; i++)
            assert_false(app->servers.items[i]->seen);
        const struct text *a = map_get(&map->entries, "a"), *b = map_get(&map->entries, "b");
        assert_true(a && (strcmp(a->bytes, "old") == 0 || strcmp(a->bytes, "new") == 0));
        assert_true(b && strcmp(b->bytes, "old") == 0);
        assert_true(!whole || (told && map->entries.count == 3 && !map_get(&map->entries, "c")));
        live_free(live);
    }
    /* Each line, backend and entry was one step. */
    assert_true(steps > 6 + 4 + 2);
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
        cmocka_unit_test(servers_that_are_as_they_were_stay),
        cmocka_unit_test(servers_become_what_is_told),
        cmocka_unit_test(map_becomes_what_is_told),
        cmocka_unit_test(a_merge_can_end_anywhere),
        cmocka_unit_test(words_are_whole_paths_and_their_parts),
        cmocka_unit_test(files_that_servers_keep_are_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
