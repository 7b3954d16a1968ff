/* HAProxy looks at each of its backends when one is added: a few new ones go live without a reload, very many at once
 * with one, which is faster. */
#include "agent_support.h"

#define COST_MAX 30

static void route_many(struct world *w, const char *name, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        CLEANUP(free_ptr) char *backend = xasprintf("%s%u", name, i);
        CLEANUP(free_ptr) char *host = xasprintf("%s.example", backend);
        CLEANUP(free_ptr) char *server = server_line("s2", 1, "");
        model_put_route(w->model, host, host, backend, server);
    }
    model_check(w->model, true);
}

static void test_very_many_new_backends_come_with_a_reload(void **state)
{
    struct world w;
    (void)state;
    if (!world_begin(&w, "3.4"))
        return;
    world_agent_with(&w, (struct agent_config){.supervise = true, .appearing_cost_max = COST_MAX});
    CLEANUP(free_ptr) char *servers = server_line("s1", 0, "");
    world_begin_route(&w, servers);
    /* Beside one, five cost 1 + 2 + 3 + 4 + 5. */
    int pid = world_worker_pid(&w);
    route_many(&w, "few", 5);
    world_apply(&w, false);
    assert_false(w.reloaded);
    assert_int_equal(world_worker_pid(&w), pid);
    assert_answer(&w, "few4.example", "b");
    /* Beside six, the fifth is too many. */
    route_many(&w, "many", 30);
    world_apply(&w, false);
    assert_true(w.reloaded);
    assert_string_equal(w.reason, "backend many4 is one of too many that are new at once");
    assert_int_not_equal(world_worker_pid(&w), pid);
    for (unsigned i = 0; i < 30; i++) {
        CLEANUP(free_ptr) char *host = xasprintf("many%u.example", i);
        assert_answer(&w, host, "b");
    }
    world_apply(&w, true);
    assert_int_equal(w.operations, 0);
    assert_false(w.reloaded);
    /* An apply counts for itself. */
    pid = world_worker_pid(&w);
    route_many(&w, "again", 1);
    world_apply(&w, false);
    assert_false(w.reloaded);
    assert_int_equal(world_worker_pid(&w), pid);
    assert_answer(&w, "again0.example", "b");
    world_end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_very_many_new_backends_come_with_a_reload),
    };
    return cmocka_run_group_tests(tests, group_begin, group_end);
}
