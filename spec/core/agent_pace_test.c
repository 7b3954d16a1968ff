/* How often HAProxy is reloaded: an owner whose changes need reloads waits, others do not wait with it, and connections
 * live for hard-stop-after however many reloads there are. */
#include "agent_support.h"

#include "agent/agent_state.h"

#define SHORTEST_NS (100 * NS_PER_MS)

/* Whatever the settings: the distances from the first reload on that a worker lives through add up to its time. */
static void test_the_distances_reach_the_time(void **state)
{
    (void)state;
    static const int64_t shortest[] = {100 * NS_PER_MS, 2 * NS_PER_S, 30 * NS_PER_S};
    static const int64_t times[] = {5 * NS_PER_S, 1800 * NS_PER_S, 86400 * NS_PER_S};
    static const unsigned most[] = {1, 3, 20, 50, 1000};
    for (size_t i = 0; i < ARRAY_LEN(shortest); i++)
        for (size_t j = 0; j < ARRAY_LEN(times); j++)
            for (size_t k = 0; k < ARRAY_LEN(most); k++) {
                int64_t sum = 0, before = 0;
                for (unsigned n = 1; n <= most[k]; n++) {
                    int64_t distance = pace_distance_ns(shortest[i], times[j], most[k], n);
                    assert_true(distance >= before || distance == times[j]);
                    sum += before = distance;
                }
                if (sum < times[j])
                    fail_msg("case %zu %zu %zu: %lld < %lld", i, j, k, (long long)sum, (long long)times[j]);
                assert_int_equal(pace_distance_ns(shortest[i], times[j], most[k], 0), shortest[i]);
            }
    /* Workers that end sooner than the shortest distance do not make it shorter. */
    assert_int_equal(pace_distance_ns(3600 * NS_PER_S, 600 * NS_PER_S, 1000, 1), 3600 * NS_PER_S);
}

static bool world_paced(struct world *w, const char *series, unsigned max_reloads)
{
    struct err err;
    if (!world_begin(w, series))
        return false;
    const struct agent_config config = {.binary = w->binary,
                                        .directory = w->directory,
                                        .supervise = true,
                                        .min_reload_interval_ns = SHORTEST_NS,
                                        .disk_delay_ns = 50 * NS_PER_MS,
                                        .poll_interval_ns = POLL_NS};
    w->agent = agent_new(&w->loop, &config, w->model, w->metrics, world_changed, w, &err);
    assert_non_null(w->agent);
    CLEANUP(free_ptr) char *servers = server_line("s1", 0, "");
    CLEANUP(free_ptr) char *most = xasprintf("mworker-max-reloads %u\n", max_reloads);
    const struct emitted limit[] = {{CONTRIBUTION_SECTION, "global", "more", most, 0, 10}};
    model_put_owned(w->model, "limit", "", 0, limit, 1);
    model_put_base(w->model, w->port, "");
    edit(w, "a.example", "app", servers);
    world_apply(w, true);
    return true;
}

/* A change of this object's backend that needs a reload. */
static void change(struct world *w, const char *object, const char *backend, int i)
{
    CLEANUP(free_ptr) char *line = server_line("s1", 0, "");
    CLEANUP(free_ptr) char *text = xasprintf("http-request set-header X-Change %d\n%s", i, line);
    model_put_route(w->model, object, backend, backend, text);
    model_check(w->model, true);
    w->changed[0] = '\0';
    world_try(w, false);
    assert_false(w->failed);
}

static void await_reload(struct world *w)
{
    while (!w->reloaded) {
        expect_change(w, "a reload is due");
        w->changed[0] = '\0';
        world_try(w, true);
        assert_false(w->failed);
    }
}

static void each_paced(void (*test)(struct world *w), unsigned max_reloads)
{
    for (size_t i = 0; i < ARRAY_LEN(haproxy_series); i++) {
        struct world w;
        if (!world_paced(&w, haproxy_series[i], max_reloads))
            continue;
        print_message("    HAProxy %s\n", haproxy_series[i]);
        test(&w);
        world_end(&w);
    }
}

static void owners(struct world *w)
{
    int64_t longest = 0;
    for (int i = 0; i < 8; i++) {
        change(w, "busy/one", "busy", i);
        longest = w->reload_after_ns > longest ? w->reload_after_ns : longest;
        await_reload(w);
    }
    /* 0.1 s, and doubled for each reload above four. */
    assert_in_range(longest, 4 * SHORTEST_NS, 16 * SHORTEST_NS);
    /* Another object of its namespace waits as well; another namespace does not, and its reload serves both. */
    change(w, "busy/two", "busy2", 100);
    assert_false(w->reloaded);
    assert_in_range(w->reload_after_ns, 6 * SHORTEST_NS, 32 * SHORTEST_NS);
    change(w, "quiet/one", "quiet", 0);
    assert_true(w->reloaded || w->reload_after_ns <= 2 * SHORTEST_NS);
    await_reload(w);
    assert_answer(w, "busy2", "a");
    assert_answer(w, "quiet", "a");
    /* A change that needs none goes live while one waits, and does not hide that it waits. */
    change(w, "busy/one", "busy", 101);
    assert_false(w->reloaded);
    route(w, "a.example", "app", 1);
    world_try(w, false);
    assert_false(w->failed);
    assert_true(w->reload_after_ns > 0);
    assert_answer(w, "a.example", "b");
    /* Also one in the backend that waits. */
    CLEANUP(free_ptr) char *moved = server_line("s1", 2, "");
    CLEANUP(free_ptr) char *text = xasprintf("http-request set-header X-Change 102\n%s", moved);
    model_put_route(w->model, "busy/one", "busy", "busy", text);
    model_check(w->model, true);
    world_try(w, false);
    assert_false(w->reloaded);
    assert_answer(w, "busy", "c");
    /* It is due, and another change comes first: what then still differs is no drift. */
    expect_change(w, "a reload is due");
    route(w, "a.example", "app", 2);
    world_try(w, false);
    assert_true(w->reload_after_ns > 0);
    world_try(w, true);
    assert_false(w->failed);
    await_reload(w);
    assert_int_equal(drift_repairs(w), 0);
}

static void test_an_owner_waits_and_others_do_not(void **state)
{
    (void)state;
    each_paced(owners, 1000); /* so many that old workers do not count */
}

static double surprises(struct world *w)
{
    return metric_value(metric_counter(w->metrics, "haptic_deployment_surprises_total",
                                       "Answers and read-backs of HAProxy that were not as expected.", "kind",
                                       "answer"));
}

/* A backend on a profile that comes with the reload comes with it as well: HAProxy cannot add it before. */
static void profiles(struct world *w)
{
    CLEANUP(free_ptr) char *line = server_line("s1", 1, "");
    const struct emitted route[] = {
        {CONTRIBUTION_SECTION, "defaults special", "body", "timeout server 7s\n", 11, 0},
        {CONTRIBUTION_SECTION_FROM, "defaults special", "from", "base", 11, 0},
        {CONTRIBUTION_SECTION, "backend profiled", "body", line, 30, 0},
        {CONTRIBUTION_SECTION_FROM, "backend profiled", "from", "special", 30, 0},
        {CONTRIBUTION_MAP_ENTRY, "host.map", "profiled", "profiled", 0, 0},
    };
    for (int i = 0; i < 8; i++) {
        change(w, "busy/one", "busy", i);
        await_reload(w);
    }
    model_put(w->model, "busy/two", route, ARRAY_LEN(route));
    model_check(w->model, true);
    w->changed[0] = '\0';
    world_try(w, false);
    assert_false(w->failed);
    assert_false(w->reloaded);
    assert_true(w->reload_after_ns > 0);
    assert_true(surprises(w) == 0);
    await_reload(w);
    assert_answer(w, "profiled", "b");
    assert_true(surprises(w) == 0);
}

static void test_a_backend_waits_with_its_profile(void **state)
{
    (void)state;
    each_paced(profiles, 1000);
}

static void long_connection(struct world *w)
{
    static const char request[] =
        "POST /slow HTTP/1.1\r\nHost: a.example\r\nContent-Length: 10\r\nConnection: close\r\n\r\n";
    char answer[4096] = "";
    CLEANUP(close_fd) int fd = tcp_connect(w->port);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, request, strlen(request)), strlen(request));
    world_sleep(w, 200);
    /* As many changes as there can be, by as many owners, for most of the five seconds of hard-stop-after. */
    struct agent_status before, after;
    agent_status(w->agent, &before);
    int64_t end_ns = clock_now_ns() + 3500 * NS_PER_MS;
    for (int i = 0; clock_now_ns() < end_ns; i++) {
        CLEANUP(free_ptr) char *object = xasprintf("owner-%d/x", i), *backend = xasprintf("of-%d", i);
        change(w, object, backend, i);
        world_sleep(w, 50);
        if (strcmp(w->changed, "a reload is due") == 0)
            world_try(w, true);
    }
    agent_status(w->agent, &after);
    assert_in_range(after.reloads - before.reloads, 1, 3);
    assert_int_equal(write(fd, "0123456789", 10), 10);
    assert_true(read(fd, answer, sizeof(answer) - 1) > 0);
    assert_non_null(strstr(answer, " 200 "));
}

static void test_long_connections_live_for_their_time(void **state)
{
    (void)state;
    each_paced(long_connection, 3);
}

/* A HAProxy that serves nothing yet has nothing that a reload could hurt, and its start counts as one. */
static void at_once(struct world *w)
{
    agent_set_times(w->agent, 0, 3600 * NS_PER_S);
    change(w, "busy/one", "busy", 0);
    assert_false(w->reloaded);
    assert_true(w->reload_after_ns > 3000 * NS_PER_S);
    agent_reload_at_once(w->agent);
    change(w, "busy/one", "busy", 1);
    assert_true(w->reloaded);
    assert_answer(w, "busy", "a");
    /* Only the next one. */
    change(w, "busy/one", "busy", 2);
    assert_false(w->reloaded);
    assert_true(w->reload_after_ns > 3000 * NS_PER_S);
}

static void test_the_first_bundle_does_not_wait(void **state)
{
    (void)state;
    each_paced(at_once, 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_distances_reach_the_time),
        cmocka_unit_test(test_an_owner_waits_and_others_do_not),
        cmocka_unit_test(test_a_backend_waits_with_its_profile),
        cmocka_unit_test(test_long_connections_live_for_their_time),
        cmocka_unit_test(test_the_first_bundle_does_not_wait),
    };
    return cmocka_run_group_tests(tests, group_begin, group_end);
}
