/* An agent with a HAProxy of its own: first start, death, adoption, what is on disk, and a reload that has to wait or
 * fails. */
#include "agent_support.h"

static struct upstreams upstreams;

static int group_begin(void **state)
{
    (void)state;
    CLEANUP(free_ptr) char *binary = NULL;
    for (size_t i = 0; i < ARRAY_LEN(haproxy_series) && !binary; i++)
        binary = haproxy_binary(haproxy_series[i]);
    if (!binary)
        return -1;
    upstreams_start(&upstreams, binary);
    return 0;
}

static int group_end(void **state)
{
    (void)state;
    upstreams_end(&upstreams);
    return 0;
}

static void route(struct world *w, const char *host, const char *backend, int upstream)
{
    CLEANUP(free_ptr) char *line = xasprintf("server s1 127.0.0.1:%d\n", upstreams.ports[upstream]);
    model_put_route(w->model, host, backend, line);
    model_accept_all(w->model);
}

static void each_series(void (*test)(struct world *w, const char *series))
{
    bool any = false;
    for (size_t i = 0; i < ARRAY_LEN(haproxy_series); i++) {
        struct world w;
        if (!world_begin(&w, haproxy_series[i]))
            continue;
        any = true;
        print_message("    HAProxy %s\n", haproxy_series[i]);
        world_agent(&w, true);
        model_put_base(w.model, w.port, "");
        route(&w, "a.example", "app", 0);
        world_apply(&w, true);
        assert_true(w.reloaded);
        assert_string_equal(w.reason, "first start");
        assert_answer(&w, "a.example", "a");
        test(&w, haproxy_series[i]);
        world_end(&w);
    }
    if (!any)
        skip();
}

static void life(struct world *w, const char *series)
{
    (void)series;
    struct agent_status status;
    route(w, "a.example", "app", 1);
    world_apply(w, false);
    assert_false(w->reloaded);
    assert_answer(w, "a.example", "b");
    /* It dies at once after a change, before the directory was written: it comes back with that change. */
    agent_status(w->agent, &status);
    w->changed[0] = '\0';
    int worker = world_worker_pid(w);
    kill(status.haproxy_pid, SIGKILL);
    kill(worker, SIGKILL);
    for (int i = 0; i < 100 && strcmp(w->changed, "HAProxy was started") != 0; i++)
        world_sleep(w, 100);
    assert_answer(w, "a.example", "b");
    world_apply(w, true);
    assert_false(w->reloaded);
    assert_int_equal(w->operations, 0);
    /* The agent goes, HAProxy stays; the next one adopts it. */
    int pid = world_worker_pid(w);
    route(w, "a.example", "app", 2);
    world_apply(w, false);
    world_agent_end(w, false);
    assert_answer(w, "a.example", "c");
    world_agent(w, true);
    world_apply(w, true);
    assert_false(w->reloaded);
    assert_int_equal(w->operations, 0);
    assert_int_equal(world_worker_pid(w), pid);
    /* Everything ends and begins again without a model: the last known good configuration serves. */
    world_agent_end(w, true);
    char body[64];
    assert_int_equal(http_get(w->port, "a.example", body, sizeof(body)), 0);
    struct model *before = w->model;
    w->model = model_new();
    w->changed[0] = '\0';
    world_agent(w, true);
    for (int i = 0; i < 100 && strcmp(w->changed, "HAProxy was started") != 0; i++)
        world_sleep(w, 100);
    assert_answer(w, "a.example", "c");
    world_agent_end(w, true);
    model_free(w->model);
    w->model = before;
    world_agent(w, true);
    world_apply(w, true);
}

static void test_start_death_adoption(void **state)
{
    (void)state;
    each_series(life);
}

static void reloads(struct world *w, const char *series)
{
    (void)series;
    CLEANUP(free_ptr) char *master = xasprintf("%s/master.sock", w->directory);
    /* Somebody else reloads: noticed, and compared. */
    route(w, "a.example", "app", 1);
    world_apply(w, false);
    w->changed[0] = '\0';
    struct command c = {0};
    const char *reload = "reload";
    runtime_run(&w->loop, master, &reload, 1, 5 * NS_PER_S, 0, command_done, &c);
    assert_true(loop_until(&w->loop, &c.done, 10));
    free(c.answer);
    for (int i = 0; i < 50 && strcmp(w->changed, "HAProxy was reloaded by somebody else") != 0; i++)
        world_sleep(w, 100);
    assert_string_equal(w->changed, "HAProxy was reloaded by somebody else");
    world_apply(w, true);
    assert_answer(w, "a.example", "b");
    /* A configuration that cannot be loaded: the old one goes on, also on disk. */
    model_put_base(w->model, w->port, "bind 192.0.2.1:1\n");
    model_accept_all(w->model);
    world_try(w, false);
    assert_true(w->failed);
    assert_answer(w, "a.example", "b");
    CLEANUP(free_ptr) char *config = file_read(w->directory, "haproxy.cfg");
    assert_null(strstr(config, "192.0.2.1"));
    struct agent_status status;
    agent_status(w->agent, &status);
    assert_false(status.live);
    model_put_base(w->model, w->port, "");
    model_accept_all(w->model);
    world_apply(w, true);
    agent_status(w->agent, &status);
    assert_true(status.live);
    assert_answer(w, "a.example", "b");
}

static void test_reloads_of_others_and_failed_ones(void **state)
{
    (void)state;
    each_series(reloads);
}

/* A reload that may not be made yet holds nothing else back. */
static void test_held_back_reload(void **state)
{
    (void)state;
    struct world w;
    if (!world_begin(&w, "2.6") && !world_begin(&w, "3.2"))
        skip();
    const struct agent_config config = {
        .binary = w.binary, .directory = w.directory, .supervise = true, .min_reload_interval_ns = 2 * NS_PER_S};
    struct err err;
    w.agent = agent_new(&w.loop, &config, w.model, w.metrics, world_changed, &w, &err);
    assert_non_null(w.agent);
    model_put_base(w.model, w.port, "");
    route(&w, "a.example", "app", 0);
    world_apply(&w, true);
    route(&w, "new.example", "new", 3);
    route(&w, "a.example", "app", 1);
    world_try(&w, false);
    assert_false(w.failed);
    assert_false(w.reloaded);
    assert_true(w.reload_after_ns > 0);
    assert_answer(&w, "a.example", "b");
    char body[64];
    assert_int_equal(http_get(w.port, "new.example", body, sizeof(body)), 503);
    for (int i = 0; i < 50 && strcmp(w.changed, "a reload is due") != 0; i++)
        world_sleep(&w, 100);
    world_apply(&w, true);
    assert_true(w.reloaded);
    assert_answer(&w, "new.example", "d");
    world_end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_start_death_adoption),
        cmocka_unit_test(test_reloads_of_others_and_failed_ones),
        cmocka_unit_test(test_held_back_reload),
    };
    return cmocka_run_group_tests(tests, group_begin, group_end);
}
