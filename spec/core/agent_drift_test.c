/* Somebody changes a running HAProxy: it is put right without a reload, and what is news is not taken for it. */
#include "agent_support.h"
#include "controller_support.h"

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

/* Routes come, change and go, some of them while everything is compared: nobody else changes anything, so nothing is
 * drift. */
static unsigned churn_next(unsigned *seed)
{
    *seed = *seed * 1103515245U + 12345U;
    return *seed >> 16;
}

static void churn_edit(struct world *w, unsigned *seed)
{
    unsigned i = churn_next(seed) % 8, what = churn_next(seed) % 4;
    CLEANUP(free_ptr) char *host = xasprintf("churn-%u.example", i);
    CLEANUP(free_ptr) char *backend = xasprintf("churn_%u", i);
    CLEANUP(free_ptr) char *s1 = server_line("s1", (int)what, ""), *s2 = server_line("s2", (int)(what + 1) % 4, "");
    CLEANUP(free_ptr) char *both = xasprintf("%s%s", s1, s2);
    if (what == 0)
        model_fragment_drop(w->model, host);
    else
        model_put_route(w->model, host, host, backend, what == 1 ? s1 : what == 2 ? s2 : both);
    model_check(w->model, true);
}

static void churn(struct world *w, const char *series)
{
    (void)series;
    const char *given = getenv("SEED");
    unsigned seed = given ? (unsigned)strtoul(given, NULL, 10) : (unsigned)clock_now_ns();
    unsigned rounds = getenv("ROUNDS") ? (unsigned)strtoul(getenv("ROUNDS"), NULL, 10) : 60;
    unsigned ways_given = 0;
    print_message("    SEED=%u\n", seed);
    for (unsigned n = 0; n < rounds; n++) {
        bool all = churn_next(&seed) % 2;
        struct model_changes changes = {0};
        char body[64];
        CLEANUP(free_ptr) char *host = xasprintf("churn-%u.example", churn_next(&seed) % 8);
        (void)http_get(w->port, host, body, sizeof(body)); /* idle connections keep servers from going */
        churn_edit(w, &seed);
        if (all) {
            world_try(w, false);
            if (w->failed)
                fail_msg("round %u: %s", n, w->err.text);
        }
        const struct fence fence = {.transitions = w->transitions, .generation = ++w->generation, .holder = "test"};
        model_take_changes(w->model, &changes);
        w->applied = false;
        assert_true(agent_apply(w->agent, all ? NULL : &changes, &fence, world_on_applied, w));
        model_changes_done(&changes);
        for (unsigned k = churn_next(&seed) % 4; k > 0; k--) {
            uv_run(&w->loop, UV_RUN_NOWAIT);
            churn_edit(w, &seed);
        }
        if (all && churn_next(&seed) % 2)
            agent_give_way(w->agent);
        assert_true(w->applied || loop_until(&w->loop, &w->applied, 40));
        if (w->failed)
            fail_msg("round %u: %s", n, w->err.text);
        ways_given += w->gave_way;
        world_try(w, false);
        if (w->failed)
            fail_msg("round %u: %s", n, w->err.text);
        if (churn_next(&seed) % 4 == 0)
            world_looks(w, 1);
        if (drift_repairs(w))
            fail_msg("drift in round %u", n);
    }
    print_message("    %u comparisons gave way\n", ways_given);
}

static void test_churn_is_no_drift(void **state)
{
    (void)state;
    each_series(churn, &(const struct agent_config){0});
}

static bool gives_way(struct world *w, unsigned turns)
{
    const struct fence fence = {.transitions = w->transitions, .generation = ++w->generation, .holder = "test"};
    w->applied = false;
    assert_true(agent_apply(w->agent, NULL, &fence, world_on_applied, w));
    for (unsigned i = 0; i < turns && !w->applied; i++)
        uv_run(&w->loop, UV_RUN_NOWAIT);
    agent_give_way(w->agent);
    assert_true(w->applied || loop_until(&w->loop, &w->applied, 40));
    assert_false(w->failed);
    return w->gave_way;
}

/* A change goes before a comparison of what is believed to be live; nothing of either is lost. */
static void change_first(struct world *w, const char *series)
{
    (void)series;
    struct agent_status status;
    int pid = world_worker_pid(w);
    world_apply(w, true);
    for (unsigned turns = 0; turns < 4; turns++) {
        CLEANUP(free_ptr) char *words = xasprintf("check inter 500ms weight %u", 20 + turns);
        CLEANUP(free_ptr) char *servers = server_line("s1", 0, words), *shown = xasprintf(" %u ", 20 + turns);
        free(world_command(w, "add map maps/host.map drift.example app"));
        assert_true(gives_way(w, turns));
        edit(w, "a.example", "app", servers);
        world_apply(w, false);
        CLEANUP(free_ptr) char *found = world_command(w, "show servers state app");
        assert_non_null(strstr(found, shown));
        /* The comparison that follows repairs what the first one may have seen. */
        world_apply(w, true);
        CLEANUP(free_ptr) char *map = world_command(w, "show map maps/host.map");
        assert_null(strstr(map, "drift.example"));
        agent_status(w->agent, &status);
        assert_int_equal(status.drift_repairs, turns + 1);
    }
    /* Not for ever. */
    for (unsigned i = 0; i < 9; i++)
        assert_true(gives_way(w, 0));
    assert_false(gives_way(w, 0));
    assert_true(gives_way(w, 0));
    /* A comparison that is needed goes on: a change has not been applied. */
    edit(w, "a.example", "other", "");
    assert_false(gives_way(w, 0));
    assert_int_equal(world_worker_pid(w), pid);
}

static void test_a_comparison_gives_way_to_a_change(void **state)
{
    (void)state;
    each_series(change_first, NULL);
}

/* A server that is being deleted while it is wanted again. */
static void wanted_again(struct world *w, const char *series)
{
    (void)series;
    static const char request[] = "POST /slow HTTP/1.1\r\nHost: a.example\r\nContent-Length: 10\r\n\r\n";
    int log = log_capture();
    for (int i = 0; i < 5; i++) {
        int fd = tcp_connect(w->port);
        assert_true(fd >= 0);
        assert_int_equal(write(fd, request, strlen(request)), strlen(request));
        world_sleep(w, 50);
        route(w, "a.example", "app", 1);
        world_apply(w, false);
        assert_false(w->reloaded);
        /* HAProxy stands still while it is asked to delete the server; then its last connection goes. */
        int pid = world_worker_pid(w);
        kill(pid, SIGSTOP);
        world_looks(w, 3);
        close(fd);
        route(w, "a.example", "app", 0);
        struct model_changes changes = {0};
        const struct fence fence = {.transitions = w->transitions, .generation = ++w->generation, .holder = "test"};
        model_take_changes(w->model, &changes);
        w->applied = false;
        assert_true(agent_apply(w->agent, &changes, &fence, world_on_applied, w));
        model_changes_done(&changes);
        world_sleep(w, 50);
        kill(pid, SIGCONT);
        assert_true(w->applied || loop_until(&w->loop, &w->applied, 40));
        assert_false(w->failed);
        assert_answer(w, "a.example", "a");
    }
    assert_int_equal(log_count(log, "msg=\"HAProxy is not as expected"), 0);
    assert_int_equal(drift_repairs(w), 0);
    log_set_fd(STDOUT_FILENO);
    close(log);
}

static void test_wanted_again_while_deleted(void **state)
{
    (void)state;
    each_series(wanted_again, &(const struct agent_config){0});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_drift_is_repaired),          cmocka_unit_test(test_news_are_no_drift),
        cmocka_unit_test(test_churn_is_no_drift),          cmocka_unit_test(test_a_comparison_gives_way_to_a_change),
        cmocka_unit_test(test_wanted_again_while_deleted),
    };
    return cmocka_run_group_tests(tests, group_begin, group_end);
}
