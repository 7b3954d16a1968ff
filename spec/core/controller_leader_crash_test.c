/* With the guide's timings: how long a crash costs where the platform tells of it. */
#include "leader_world.h"

#define POD(state) \
    "{\"metadata\":{\"name\":\"pod-a\"},\"status\":{\"phase\":\"Running\",\"containerStatuses\":[{\"name\":\"c\"," \
    "\"state\":{" state "}}]}}"

/* Two replicas with the guide's timings, the first leads. */
static void start_pair(struct world *w)
{
    struct elector_config a = config_of("pod-a"), b = config_of("pod-b");
    a.lease_duration_ns = b.lease_duration_ns = 60 * NS_PER_S;
    a.renew_deadline_ns = b.renew_deadline_ns = 15 * NS_PER_S;
    a.retry_period_ns = b.retry_period_ns = 5 * NS_PER_S;
    w->server.pod = POD("\"running\":{\"startedAt\":\"2026-01-01T00:00:00Z\"}");
    replica_start_with(w, &w->a, &a);
    RUN_UNTIL(w, 2000 * MS, leader_may_write(w->a.leader));
    replica_start_with(w, &w->b, &b);
    RUN_UNTIL(w, 2000 * MS, strstr(log_text(w), "New leader observed\" leader=pod-a"));
    run_for(w, 100 * MS);
}

static void crashed_leader_is_replaced_when_its_pod_says_so(void **state)
{
    static const char *const ends[] = {POD("\"terminated\":{\"finishedAt\":\"2999-01-01T00:00:00Z\"}"), NULL,
                                       "{\"metadata\":{\"name\":\"pod-a\"},\"status\":{\"phase\":\"Failed\"}}"};
    for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
        struct world *w = *state;
        start_pair(w);
        replica_end(&w->a);
        lease_server_set_pod(&w->server, ends[i]);
        RUN_UNTIL(w, 5000 * MS, leader_may_write(w->b.leader));
        assert_int_equal(leader_fence_transitions(w->b.leader), 2);
        assert_logged(w, "The leader has ended: its lease counts as released\" leader=pod-a reason=\"its ");
        replica_end(&w->b);
        run_for(w, 50 * MS);
        if (i + 1 < ARRAY_LEN(ends)) {
            tear_down(state);
            set_up(state);
        }
    }
}

static void restarted_container_takes_its_own_lease_at_once(void **state)
{
    struct world *w = *state;
    start_pair(w);
    replica_end(&w->a);
    struct elector_config a = config_of("pod-a");
    a.lease_duration_ns = 60 * NS_PER_S;
    a.renew_deadline_ns = 15 * NS_PER_S;
    a.retry_period_ns = 5 * NS_PER_S;
    replica_start_with(w, &w->a, &a);
    RUN_UNTIL(w, 5000 * MS, leader_may_write(w->a.leader));
    assert_int_equal(leader_fence_transitions(w->a.leader), 2);
}

static void without_a_right_to_pods_the_lease_decides(void **state)
{
    struct world *w = *state;
    w->server.denies_pods = true;
    start_pair(w);
    assert_logged(
        w,
        "level=INFO msg=\"Not allowed to watch the leader's Pod: its crash is noticed when the lease has expired\" identity=pod-b error=");
    replica_end(&w->a);
    lease_server_set_pod(&w->server, NULL);
    run_for(w, 500 * MS);
    assert_false(leader_may_write(w->b.leader));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(crashed_leader_is_replaced_when_its_pod_says_so, set_up, tear_down),
        cmocka_unit_test_setup_teardown(restarted_container_takes_its_own_lease_at_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(without_a_right_to_pods_the_lease_decides, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
