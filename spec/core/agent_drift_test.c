/* Somebody changes a running HAProxy: it is put right without a reload, and what is news is not taken for it. */
#include "agent_support.h"

static void drift(struct world *w, const char *series)
{
    (void)series;
    int pid = world_worker_pid(w);
    free(world_command(w, "set server app/s1 state maint"));
    free(world_command(w, "set server app/s1 addr 127.0.0.9 port 9"));
    free(world_command(w, "del map maps/host.map a.example"));
    free(world_command(w, "add map maps/host.map z.example app"));
    free(world_command(w, "add server app/foreign 127.0.0.1:9"));
    world_apply(w, true);
    assert_false(w->reloaded);
    assert_true(w->operations >= 4);
    assert_answer(w, "a.example", "a");
    CLEANUP(free_ptr) char *map = world_command(w, "show map maps/host.map");
    assert_null(strstr(map, "z.example"));
    CLEANUP(free_ptr) char *servers = world_command(w, "show servers state app");
    assert_null(strstr(servers, "foreign"));
    free(world_command(w, "add map maps/host.map a.example other"));
    world_apply(w, true);
    CLEANUP(free_ptr) char *deduped = world_command(w, "show map maps/host.map");
    assert_ptr_equal(strstr(strstr(deduped, "a.example") + 1, "a.example"), NULL);
    struct agent_status status;
    agent_status(w->agent, &status);
    assert_true(status.drift_repairs >= 2);
    assert_int_equal(world_worker_pid(w), pid);
}

static void test_drift_is_repaired(void **state)
{
    (void)state;
    each_series(drift, NULL);
}

/* A comparison of everything during which the model accepts another weight and another route. */
static uint64_t compare_under_way(struct world *w, int weight)
{
    const struct fence fence = {.transitions = w->transitions, .generation = ++w->generation, .holder = "test"};
    CLEANUP(free_ptr) char *words = xasprintf("check inter 500ms weight %d", weight);
    CLEANUP(free_ptr) char *servers = server_line("s1", 0, words);
    CLEANUP(free_ptr) char *host = xasprintf("news-%d.example", weight);
    struct agent_status status;
    w->applied = false;
    assert_true(agent_apply(w->agent, NULL, &fence, world_on_applied, w));
    model_put_route(w->model, "a.example", "a.example", "app", servers);
    const struct emitted route = {CONTRIBUTION_MAP_ENTRY, "host.map", host, "app", 0, 0};
    model_put(w->model, host, &route, 1);
    model_check(w->model, true);
    assert_true(loop_until(&w->loop, &w->applied, 40));
    assert_false(w->failed);
    world_apply(w, false);
    CLEANUP(free_ptr) char *found = world_command(w, "show servers state app");
    CLEANUP(free_ptr) char *shown = xasprintf(" %d ", weight);
    assert_non_null(strstr(found, shown));
    assert_answer(w, host, "a");
    agent_status(w->agent, &status);
    return status.drift_repairs;
}

static void news(struct world *w, const char *series)
{
    (void)series;
    assert_int_equal(compare_under_way(w, 77), 0);
    free(world_command(w, "del map maps/host.map news-77.example"));
    assert_int_equal(compare_under_way(w, 78), 1);
    assert_answer(w, "news-77.example", "a");
}

static void test_news_are_no_drift(void **state)
{
    (void)state;
    each_series(news, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_drift_is_repaired),
        cmocka_unit_test(test_news_are_no_drift),
    };
    return cmocka_run_group_tests(tests, group_begin, group_end);
}
