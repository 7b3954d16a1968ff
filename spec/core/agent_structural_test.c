/* What may go live without a check of the whole configuration, and what may not. */
#include "agent_support.h"

#include "data/certificate.h"

struct judging {
    struct item *items[16];
    size_t count;
};

static void collect(void *ctx, struct item *item)
{
    struct judging *j = ctx;
    assert_true(j->count < ARRAY_LEN(j->items));
    j->items[j->count++] = item;
}

static bool judge(struct world *w)
{
    struct judging j = {0};
    model_each_pending(w->model, collect, &j);
    assert_true(j.count > 0);
    return agent_is_structural(w->agent, j.items, j.count);
}

static void structural(struct world *w, const char *series)
{
    bool dynamic = strcmp(series, "3.4") == 0;
    static const struct {
        const char *words;
        bool expected;
    } cases[] = {
        {"check inter 500ms weight 99", true}, /* a shape that HAProxy has accepted */
        {"check inter 500ms", true},           {"check inter 600ms", false},
        {"check inter 500ms id 7", false},     {"weight x", false},
    };
    CLEANUP(free_ptr) char *first = server_line("s1", 0, "check inter 500ms weight 10");
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        CLEANUP(free_ptr) char *second = server_line("s2", 1, cases[i].words);
        CLEANUP(free_ptr) char *both = xasprintf("%s%s", first, second);
        model_put_route(w->model, "a.example", "a.example", "app", both);
        if (judge(w) != cases[i].expected)
            fail_msg("'%s' is judged wrongly", cases[i].words);
        model_put_route(w->model, "b.example", "b.example", "fresh", second);
        model_put_route(w->model, "a.example", "a.example", "app", first);
        if (judge(w) != (cases[i].expected && dynamic))
            fail_msg("a new backend with '%s' is judged wrongly", cases[i].words);
        model_fragment_drop(w->model, "b.example");
        assert_int_equal(model_pending(w->model), 0);
    }
    model_put_route(w->model, "a.example", "a.example", "app", "server s1 example.com:80 check inter 500ms\n");
    assert_false(judge(w));
    CLEANUP(free_ptr) char *rule = xasprintf("%shttp-request deny\n", first);
    model_put_route(w->model, "a.example", "a.example", "app", rule);
    assert_false(judge(w));
    model_put_route(w->model, "a.example", "a.example", "app", first);
    const struct emitted route[] = {{CONTRIBUTION_MAP_ENTRY, "host.map", "x.example", "app", 0, 0}};
    model_put(w->model, "x", route, 1);
    assert_true(judge(w));
    const struct emitted more[] = {{CONTRIBUTION_MAP_ENTRY, "host.map", "x.example", "app@shop/web@+cors+", 0, 0}};
    model_put(w->model, "x", more, 1);
    assert_true(judge(w));
    const struct emitted nowhere[] = {{CONTRIBUTION_MAP_ENTRY, "host.map", "x.example", "nowhere@app", 0, 0}};
    model_put(w->model, "x", nowhere, 1);
    assert_false(judge(w));
    /* A backend that another fragment gives: it must be accepted, and come without a reload. */
    for (size_t i = 0; i < 2; i++) {
        CLEANUP(free_ptr) char *line = server_line("s2", 1, cases[i * 2].words);
        const struct emitted alone[] = {{CONTRIBUTION_SECTION, "backend alone", "body", line, 30, 0},
                                        {CONTRIBUTION_SECTION_FROM, "backend alone", "from", "base", 30, 0}};
        const struct emitted leads[] = {{CONTRIBUTION_MAP_ENTRY, "host.map", "alone.example", "alone", 0, 0}};
        model_put(w->model, "alone", alone, ARRAY_LEN(alone));
        model_put(w->model, "leads", leads, ARRAY_LEN(leads));
        struct item *entry = model_map_item(w->model, "host.map", "alone.example");
        assert_false(agent_is_structural(w->agent, &entry, 1));
        struct section *section = model_section(w->model, "backend alone");
        model_accept(w->model, section->pieces.items[0]);
        model_accept(w->model, section->from);
        assert_int_equal(agent_is_structural(w->agent, &entry, 1), cases[i * 2].expected && dynamic);
        model_fragment_drop(w->model, "leads");
        model_fragment_drop(w->model, "alone");
        model_check(w->model, true);
        world_apply(w, false);
    }
    const struct emitted other[] = {{CONTRIBUTION_MAP_ENTRY, "other.map", "x.example", "app", 0, 0}};
    model_put(w->model, "x", other, 1);
    assert_false(judge(w));
    const struct emitted file[] = {{CONTRIBUTION_FILE, "x.http", "", "app", 0, 0}};
    model_put(w->model, "x", file, 1);
    assert_false(judge(w));
    model_fragment_drop(w->model, "x");
    /* A map that is searched by regular expressions: a key can be wrong. */
    model_put_base(w->model, w->port, "http-request set-header X-R %[path,map_reg(maps/host.map)]\n");
    model_check(w->model, true);
    world_apply(w, false);
    assert_true(w->reloaded);
    model_put(w->model, "x", route, 1);
    assert_false(judge(w));
}

static void test_structural_changes(void **state)
{
    (void)state;
    each_series(structural, NULL);
}

/* A route on a profile of its own, by the map. */
static void put_profiled(struct world *w, const char *host, const char *backend, const char *servers)
{
    CLEANUP(free_ptr) char *section = xasprintf("backend %s", backend);
    const struct emitted route[] = {
        {CONTRIBUTION_SECTION, "defaults special", "body", "timeout server 7s\n", 11, 0},
        {CONTRIBUTION_SECTION_FROM, "defaults special", "from", "base", 11, 0},
        {CONTRIBUTION_SECTION, section, "body", servers, 30, 0},
        {CONTRIBUTION_SECTION_FROM, section, "from", "special", 30, 0},
        {CONTRIBUTION_MAP_ENTRY, "host.map", host, backend, 0, 0},
    };
    model_put(w->model, host, route, ARRAY_LEN(route));
}

static void accept_judged(struct world *w)
{
    struct judging j = {0};
    model_each_pending(w->model, collect, &j);
    assert_true(agent_is_structural(w->agent, j.items, j.count));
    for (size_t i = 0; i < j.count; i++)
        model_accept(w->model, j.items[i]);
    assert_int_equal(model_pending(w->model), 0);
}

/* What an object that is deleted leaves behind: no reload anywhere, on 3.4 no check either. */
static void removals(struct world *w, const char *series)
{
    bool dynamic = strcmp(series, "3.4") == 0;
    CLEANUP(free_ptr) char *b = server_line("s1", 1, "check inter 500ms weight 10");
    put_profiled(w, "b.example", "other", b);
    model_put_base(w->model, w->port, "use_backend pinned if { path /pinned }\n");
    edit(w, "pinned.example", "pinned", b);
    world_apply(w, false);
    assert_answer(w, "b.example", "b");
    int pid = world_worker_pid(w);

    /* Named by a text that runs. */
    model_fragment_drop(w->model, "pinned.example");
    assert_false(judge(w));
    model_put_route(w->model, "pinned.example", "pinned.example", "pinned", b);
    assert_int_equal(model_pending(w->model), 0);
    /* Named by a text that is being checked, then by one that is accepted and not live yet. */
    model_put_base(w->model, w->port, "use_backend pinned if { path /pinned }\ndefault_backend \"other\"\n");
    model_check_begin(w->model);
    model_fragment_drop(w->model, "b.example");
    assert_false(judge(w));
    put_profiled(w, "b.example", "other", b);
    model_check_end(w->model, true);
    model_fragment_drop(w->model, "b.example");
    assert_false(judge(w));
    put_profiled(w, "b.example", "other", b);
    model_put_base(w->model, w->port, "use_backend pinned if { path /pinned }\n");
    model_check(w->model, true);
    world_apply(w, false);
    assert_int_equal(world_worker_pid(w), pid);

    for (int i = 0; i < 2; i++) {
        static struct prober p; /* its thread may outlive a failed assertion */
        prober_start(&p, w->port, "a.example");
        model_fragment_drop(w->model, "b.example");
        if (dynamic)
            accept_judged(w);
        else
            assert_false(judge(w));
        model_check(w->model, true);
        world_apply(w, false);
        assert_false(w->reloaded);
        char body[64];
        assert_int_equal(http_get(w->port, "b.example", body, sizeof(body)), 503);
        /* What had connections goes with the next look. */
        if (dynamic)
            WORLD_UNTIL(w, !world_shows(w, "show backend", "other"));
        else
            world_looks(w, 3);
        assert_int_equal(world_shows(w, "show backend", "other"), !dynamic);
        world_apply(w, true);
        assert_int_equal(w->operations, 0);
        assert_false(w->reloaded);
        /* And back, profile and all. */
        put_profiled(w, "b.example", "other", b);
        if (dynamic)
            accept_judged(w);
        model_check(w->model, true);
        world_apply(w, false);
        assert_false(w->reloaded);
        assert_answer(w, "b.example", "b");
        prober_end(&p);
    }
    assert_int_equal(world_worker_pid(w), pid);
}

static void test_removals(void **state)
{
    (void)state;
    each_series(removals, NULL);
}

/* Names for certificates that HAProxy has: no check of everything. */
static void lists(struct world *w, const char *series)
{
    struct buf chain = {0}, key = {0};
    (void)series;
    assert_int_equal(certificate_make_default(&chain, &key, NULL), 0);
    CLEANUP(free_ptr) char *pem = xasprintf("%s%s", buf_str(&chain), buf_str(&key));
    CLEANUP(free_ptr) char *bind = xasprintf("bind 127.0.0.1:%d ssl crt-list certs/x.list\n", free_port());
    buf_done(&chain);
    buf_done(&key);
    const struct emitted base[] = {{CONTRIBUTION_CERTIFICATE, "d.pem", "", pem, 0, 0},
                                   {CONTRIBUTION_CRT_LIST, "x.list", "", "certs/d.pem", 0, 0},
                                   {CONTRIBUTION_CERTIFICATE, "a.pem", "", pem, 0, 0},
                                   {CONTRIBUTION_CRT_LIST, "x.list", "a.example", "certs/a.pem", 0, 500}};
    model_put_base(w->model, w->port, bind);
    model_put(w->model, "tls", base, ARRAY_LEN(base));
    model_check(w->model, true);
    world_apply(w, true);
    const struct {
        struct emitted line;
        const char *content; /* of a.pem, given once more; NULL: not */
        bool expected;
    } cases[] = {
        {{CONTRIBUTION_CRT_LIST, "x.list", "b.example", "certs/a.pem", 0, 500}, NULL, true},
        {{CONTRIBUTION_CRT_LIST, "x.list", "b.example", "certs/a.pem", 0, 500}, pem, true},
        {{CONTRIBUTION_CRT_LIST, "x.list", "b.example", "certs/a.pem certs/d.pem", 0, 500}, NULL, true},
        {{CONTRIBUTION_CRT_LIST, "x.list", "b.example", "certs/a.pem [alpn h2]", 0, 500}, NULL, false},
        {{CONTRIBUTION_CRT_LIST, "x.list", "b.example", "certs/b.pem", 0, 500}, NULL, false},
        {{CONTRIBUTION_CRT_LIST, "x.list", "b.example", "certs/a.pem certs/b.pem", 0, 500}, NULL, false},
        {{CONTRIBUTION_CRT_LIST, "y.list", "b.example", "certs/a.pem", 0, 500}, NULL, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct emitted items[] = {cases[i].line, {CONTRIBUTION_CERTIFICATE, "a.pem", "", cases[i].content, 0, 0}};
        model_put(w->model, "more", items, cases[i].content ? 2 : 1);
        if (judge(w) != cases[i].expected)
            fail_msg("case %zu is judged wrongly", i);
        model_fragment_drop(w->model, "more");
        assert_int_equal(model_pending(w->model), 0);
    }
}

static void test_lists(void **state)
{
    (void)state;
    each_series(lists, &(const struct agent_config){0});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_structural_changes),
        cmocka_unit_test(test_removals),
    };
    return cmocka_run_group_tests(tests, group_begin, group_end);
}
