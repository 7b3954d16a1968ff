/* A connection that is made before its commands are known: it is used by the next apply, and never leads to a worker
 * that a reload has replaced. */
#include "agent_support.h"

#include "agent/agent_state.h"

static void expected(struct world *w, const char *series)
{
    (void)series;
    agent_expect(w->agent);
    assert_non_null(w->agent->expected);
    struct runtime_call *first = w->agent->expected;
    agent_expect(w->agent);
    assert_ptr_equal(w->agent->expected, first);
    route(w, "a.example", "app", 1);
    world_apply(w, false);
    /* It serves the next apply too, unless it is a second old. */
    assert_true(!w->agent->expected || w->agent->expected == first);
    assert_false(w->reloaded);
    assert_answer(w, "a.example", "b");
    route(w, "a.example", "app", 0);
    world_apply(w, false);
    assert_answer(w, "a.example", "a");
    WORLD_UNTIL(w, !w->agent->expected);
    route(w, "a.example", "app", 1);
    world_apply(w, false);
    assert_answer(w, "a.example", "b");

    /* Our own reload ends it. */
    agent_expect(w->agent);
    assert_non_null(w->agent->expected);
    model_put_base(w->model, w->port, "http-request set-header X-A b\n");
    model_check(w->model, true);
    world_apply(w, false);
    assert_true(w->reloaded);
    assert_null(w->agent->expected);
    route(w, "a.example", "app", 0);
    world_apply(w, false);
    assert_false(w->reloaded);
    assert_answer(w, "a.example", "a");

    /* Not to be used: nobody knows what runs, or it is being changed. */
    agent_expect(w->agent);
    int before = world_worker_pid(w);
    CLEANUP(free_ptr) char *answer = world_command_at(w, "master.sock", "reload");
    WORLD_UNTIL(w, world_worker_pid(w) != before);
    agent_expect(w->agent);
    expect_change(w, "HAProxy was reloaded by another program");
    assert_null(w->agent->expected);
    agent_expect(w->agent);
    assert_null(w->agent->expected);
    world_apply(w, true);
    assert_answer(w, "a.example", "a");
}

static void test_expected(void **state)
{
    (void)state;
    each_series(expected, &(const struct agent_config){0});
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_expected)};
    return cmocka_run_group_tests(tests, group_begin, group_end);
}
