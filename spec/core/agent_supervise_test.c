/* An agent with a HAProxy of its own: first start, death, adoption, what is on disk, and a reload that has to wait or
 * fails. */
#include "agent_support.h"

/* The server of this backend, by the same name, is the upstream. */
static void move(struct world *w, const char *host, const char *backend, int upstream)
{
    CLEANUP(free_ptr) char *line = server_line("s1", upstream, "");
    edit(w, host, backend, line);
}

static void life(struct world *w, const char *series)
{
    (void)series;
    struct agent_status status;
    move(w, "a.example", "app", 1);
    world_apply(w, false);
    assert_false(w->reloaded);
    assert_answer(w, "a.example", "b");
    /* It dies at once after a change, before the directory was written: it comes back with that change. */
    agent_status(w->agent, &status);
    w->changed[0] = '\0';
    int worker = world_worker_pid(w);
    kill(status.haproxy_pid, SIGKILL);
    kill(worker, SIGKILL);
    expect_change(w, "HAProxy was started");
    assert_answer(w, "a.example", "b");
    world_apply(w, true);
    assert_false(w->reloaded);
    assert_int_equal(w->operations, 0);
    /* The agent goes, HAProxy stays; the next one adopts it. */
    int pid = world_worker_pid(w);
    move(w, "a.example", "app", 2);
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
    expect_change(w, "HAProxy was started");
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
    each_series(life, &(const struct agent_config){0});
}

static void reloads(struct world *w, const char *series)
{
    (void)series;
    CLEANUP(free_ptr) char *master = xasprintf("%s/master.sock", w->directory);
    /* Somebody else reloads: noticed, and compared. */
    move(w, "a.example", "app", 1);
    world_apply(w, false);
    w->changed[0] = '\0';
    struct command c = {0};
    const char *reload = "reload";
    runtime_run(&w->loop, master, &reload, 1, 5 * NS_PER_S, 0, command_done, &c);
    assert_true(loop_until(&w->loop, &c.done, 10));
    free(c.answer);
    expect_change(w, "HAProxy was reloaded by another program");
    world_apply(w, true);
    assert_answer(w, "a.example", "b");
    /* A configuration that cannot be loaded: the old one goes on, also on disk. */
    model_put_base(w->model, w->port, "bind 192.0.2.1:1\n");
    model_check(w->model, true);
    world_try(w, false);
    assert_true(w->failed);
    assert_answer(w, "a.example", "b");
    CLEANUP(free_ptr) char *config = file_read(w->directory, "haproxy.cfg");
    assert_null(strstr(config, "192.0.2.1"));
    struct agent_status status;
    agent_status(w->agent, &status);
    assert_false(status.live);
    model_put_base(w->model, w->port, "");
    model_check(w->model, true);
    world_apply(w, true);
    agent_status(w->agent, &status);
    assert_true(status.live);
    assert_answer(w, "a.example", "b");
}

static void test_reloads_of_others_and_failed_ones(void **state)
{
    (void)state;
    each_series(reloads, &(const struct agent_config){0});
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
    move(&w, "a.example", "app", 0);
    world_apply(&w, true);
    move(&w, "new.example", "new", 3);
    move(&w, "a.example", "app", 1);
    world_try(&w, false);
    assert_false(w.failed);
    assert_false(w.reloaded);
    assert_true(w.reload_after_ns > 0);
    assert_answer(&w, "a.example", "b");
    char body[64];
    assert_int_equal(http_get(w.port, "new.example", body, sizeof(body)), 503);
    expect_change(&w, "a reload is due");
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
