/* Without an HAProxy to look at: servers and routes of what was accepted go live without a check, and nothing else
 * does; what was accepted since is known. */
#include "model_support.h"

#include "agent/judge.h"

struct court {
    struct model *model;
    struct judge *judge;
};

static void put_web(struct court *c, const char *lines)
{
    model_put_route(c->model, "web", "web", "web", lines);
}

static void begin(struct court *c)
{
    c->model = model_new();
    c->judge = judge_new(c->model, NULL);
    model_put_base(c->model, 8000, "");
    put_web(c, "server s1 127.0.0.1:80 check\n");
    model_check(c->model, true);
}

static void end(struct court *c)
{
    judge_free(c->judge);
    model_free(c->model);
}

static void gather(void *ctx, struct item *item)
{
    struct model_changes *pending = ctx;
    vec_push(&pending->items, item);
}

/* Judges all that is pending, and accepts it when it is harmless. */
static bool is_taken(struct court *c)
{
    struct model_changes pending = {0};
    model_each_pending(c->model, gather, &pending);
    assert_true(pending.items.length > 0);
    bool harmless = judge_is_structural(c->judge, pending.items.items, pending.items.length);
    for (size_t i = 0; harmless && i < pending.items.length; i++)
        model_accept(c->model, pending.items.items[i]);
    model_changes_done(&pending);
    return harmless;
}

/* As the deployment does it. */
static void deploy(struct court *c)
{
    struct model_changes changes = {0};
    judge_see(c->judge);
    model_take_changes(c->model, &changes);
    model_changes_done(&changes);
}

static void test_servers_are_harmless(void **state)
{
    struct court c;
    (void)state;
    begin(&c);
    for (int deploys = 0; deploys < 2; deploys++) {
        put_web(&c, "server s1 127.0.0.2:80 check\n");
        assert_true(is_taken(&c));
        if (deploys)
            deploy(&c);
        put_web(&c, "server s1 127.0.0.2:80 check\nserver s2 127.0.0.3:81 check\n");
        assert_true(is_taken(&c));
        put_web(&c, "server s2 127.0.0.3:81 check\n");
        assert_true(is_taken(&c));
        if (deploys)
            deploy(&c);
    }
    end(&c);
}

static void test_words_that_were_never_accepted_are_not(void **state)
{
    struct court c;
    (void)state;
    begin(&c);
    put_web(&c, "server s1 127.0.0.1:80 check inter 5s\n");
    assert_false(is_taken(&c));
    model_check(c.model, true);
    deploy(&c);
    put_web(&c, "server s1 127.0.0.9:80 check inter 5s\n");
    assert_true(is_taken(&c));
    put_web(&c, "server s1 127.0.0.9:80 check\nhttp-request deny\n");
    assert_false(is_taken(&c));
    end(&c);
}

static void test_routes_to_what_is_there_are_harmless(void **state)
{
    const struct emitted there[] = {{CONTRIBUTION_MAP_ENTRY, "host.map", "other", "web", 0, 0}};
    const struct emitted missing[] = {{CONTRIBUTION_MAP_ENTRY, "host.map", "third", "nothing", 0, 0}};
    const struct emitted elsewhere[] = {{CONTRIBUTION_MAP_ENTRY, "unused.map", "a", "web", 0, 0}};
    struct court c;
    (void)state;
    begin(&c);
    model_put(c.model, "a", there, 1);
    assert_true(is_taken(&c));
    deploy(&c);
    model_fragment_drop(c.model, "a");
    assert_true(is_taken(&c));
    model_put(c.model, "b", missing, 1);
    assert_false(is_taken(&c));
    model_fragment_drop(c.model, "b");
    model_put(c.model, "c", elsewhere, 1);
    assert_false(is_taken(&c));
    end(&c);
}

/* Backends that come and go are for HAProxy to judge; afterwards their servers are not. */
static void test_backends_are_checked_once(void **state)
{
    struct court c;
    (void)state;
    begin(&c);
    model_put_route(c.model, "new", "new", "new", "server s1 127.0.0.1:80 check\n");
    assert_false(is_taken(&c));
    model_check(c.model, true);
    model_put_route(c.model, "new", "new", "new", "server s1 127.0.0.2:80 check\n");
    assert_true(is_taken(&c));
    deploy(&c);
    model_fragment_drop(c.model, "new");
    assert_false(is_taken(&c));
    model_check(c.model, true);
    deploy(&c);
    const struct emitted gone[] = {{CONTRIBUTION_MAP_ENTRY, "host.map", "x", "new", 0, 0}};
    model_put(c.model, "x", gone, 1);
    assert_false(is_taken(&c));
    end(&c);
}

/* Where every HAProxy adds and deletes backends at runtime, HAProxy need not judge those of known shapes. One that
 * cannot is enough. */
static void test_backends_are_not_checked_where_all_can_add_them(void **state)
{
    struct court c;
    (void)state;
    begin(&c);
    judge_set_dynamic_backends(c.judge, true);
    for (int i = 0; i < 3; i++) {
        model_put_route(c.model, "new", "new", "new", "server s1 127.0.0.1:80 check\n");
        assert_true(is_taken(&c));
        if (i > 0)
            deploy(&c);
        model_put_route(c.model, "new", "new", "new", "server s2 127.0.0.2:80 check\n");
        assert_true(is_taken(&c));
        const struct emitted another[] = {{CONTRIBUTION_MAP_ENTRY, "host.map", "another", "new", 0, 0}};
        model_put(c.model, "x", another, 1);
        assert_true(is_taken(&c));
        if (i > 1)
            deploy(&c);
        model_fragment_drop(c.model, "x");
        assert_true(is_taken(&c));
        model_fragment_drop(c.model, "new");
        assert_true(is_taken(&c));
        deploy(&c);
        model_put(c.model, "x", another, 1);
        assert_false(is_taken(&c));
        model_fragment_drop(c.model, "x");
    }
    model_put_route(c.model, "new", "new", "new", "server s1 127.0.0.1:80 check inter 5s\n");
    assert_false(is_taken(&c));
    judge_set_dynamic_backends(c.judge, false);
    model_put_route(c.model, "new", "new", "new", "server s1 127.0.0.1:80 check\n");
    assert_false(is_taken(&c));
    end(&c);
}

static void test_frontends_and_defaults_are_not(void **state)
{
    struct court c;
    (void)state;
    begin(&c);
    model_put_base(c.model, 8001, "");
    assert_false(is_taken(&c));
    model_check(c.model, true);
    model_put_base(c.model, 8001, "http-request deny if { path /x }\n");
    assert_false(is_taken(&c));
    end(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_servers_are_harmless),
        cmocka_unit_test(test_words_that_were_never_accepted_are_not),
        cmocka_unit_test(test_routes_to_what_is_there_are_harmless),
        cmocka_unit_test(test_backends_are_checked_once),
        cmocka_unit_test(test_backends_are_not_checked_where_all_can_add_them),
        cmocka_unit_test(test_frontends_and_defaults_are_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
