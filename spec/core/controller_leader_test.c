/* Leaders against an API server that fails on request, with short timings and the real clock: what is logged, counted,
 * written and how long a hand-over takes. Who may lead when is the business of kube_elector_test.c and
 * kube_elector_sim_test.c. */
#include "leader_world.h"

static void leads_and_says_so(void **state)
{
    struct world *w = *state;
    replica_start(w, &w->a, "pod-a");
    assert_false(leader_may_write(w->a.leader));
    RUN_UNTIL(w, 500 * MS, leader_may_write(w->a.leader));
    assert_int_equal(w->a.gains, 1);
    assert_int_equal(leader_fence_transitions(w->a.leader), 1);
    int64_t since_us;
    struct err err;
    assert_memory_equal(leader_fence_holder(w->a.leader), "pod-a since ", 12);
    assert_int_equal(clock_parse_rfc3339(leader_fence_holder(w->a.leader) + 12, &since_us, &err), 0);
    assert_in_range(since_us, clock_wall_us() - 5000000, clock_wall_us());
    assert_true(leader_write_end_ns(w->a.leader) <= clock_now_ns() + 1000 * MS);
    assert_logged(w, "level=INFO msg=\"Leader election started\" identity=pod-a lease=haptic-leader");
    assert_logged(w, "level=INFO msg=\"Became leader: pod-a\" identity=pod-a");
    assert_metric(&w->a, "haptic_leader_election_is_leader 1\n");
    assert_metric(&w->a, "haptic_leader_election_transitions_total 1\n");
    assert_metric(&w->a, "haptic_leader_election_failures_total{reason=\"timeout\"} 0\n");
    assert_true(lease_has(w, "\"holderIdentity\":\"pod-a\""));
    assert_true(lease_has(w, "\"leaseDurationSeconds\":2"));
    run_for(w, 600 * MS);
    assert_true(metric_of(&w->a, "haptic_leader_election_seconds_as_leader_total") > 0.5);
    assert_true(metric_of(&w->a, "haptic_leader_election_last_renew_age_seconds") < 0.5);
    assert_true(metric_of(&w->a, "haptic_leader_election_renew_duration_seconds_count") >= 3);
    assert_non_null(strstr(buf_str(&w->server.events), "\"LeaderElection\""));
    assert_non_null(strstr(buf_str(&w->server.events), "pod-a became leader"));
    assert_non_null(strstr(buf_str(&w->server.events), "\"name\":\"haptic-leader\",\"uid\":\"uid-1\"}"));
    CLEANUP(buf_done) struct buf described = {0};
    leader_describe(w->a.leader, &described);
    assert_non_null(strstr(described.data, "\"role\":\"leader\""));
    assert_non_null(strstr(described.data, "\"holder\":\"pod-a\""));
}

static void release_is_taken_over_within_moments(void **state)
{
    struct world *w = *state;
    replica_start(w, &w->a, "pod-a");
    RUN_UNTIL(w, 500 * MS, leader_may_write(w->a.leader));
    replica_start(w, &w->b, "pod-b");
    RUN_UNTIL(w, 500 * MS, strstr(log_text(w), "msg=\"New leader observed\" leader=pod-a identity=pod-b"));
    run_for(w, 50 * MS);
    assert_false(leader_may_write(w->b.leader));
    leader_stop(w->a.leader, true, on_stopped, &w->a);
    assert_false(leader_may_write(w->a.leader));
    assert_false(w->a.stopped);
    int64_t took_ns = RUN_UNTIL(w, 500 * MS, leader_may_write(w->b.leader));
    assert_true(took_ns < 150 * MS); /* no poll is that soon: it was watched */
    RUN_UNTIL(w, 500 * MS, w->a.stopped);
    assert_int_equal(leader_fence_transitions(w->b.leader), 2);
    assert_logged(w, "msg=\"Lost leadership\" identity=pod-a reason=\"this replica stops\"");
    assert_logged(w, "msg=\"Leader election stopped, lease released\"");
    assert_metric(&w->a, "haptic_leader_election_is_leader 0\n");
}

static void without_watch_a_release_is_polled(void **state)
{
    struct world *w = *state;
    w->server.denies_watch = true;
    replica_start(w, &w->a, "pod-a");
    RUN_UNTIL(w, 500 * MS, leader_may_write(w->a.leader));
    replica_start(w, &w->b, "pod-b");
    run_for(w, 300 * MS);
    leader_stop(w->a.leader, true, on_stopped, &w->a);
    RUN_UNTIL(w, 300 * MS, leader_may_write(w->b.leader));
    assert_logged(w, "Not allowed to watch the lease");
}

static void crashed_leader_is_replaced_when_its_lease_has_ended(void **state)
{
    struct world *w = *state;
    replica_start(w, &w->a, "pod-a");
    RUN_UNTIL(w, 500 * MS, leader_may_write(w->a.leader));
    replica_start(w, &w->b, "pod-b");
    run_for(w, 300 * MS);
    replica_end(&w->a);
    int64_t took_ns = RUN_UNTIL(w, 3000 * MS, leader_may_write(w->b.leader));
    assert_true(took_ns > 1500 * MS);
    assert_true(took_ns < 2600 * MS); /* lease_duration + retry_period, and some for this machine */
}

static void what_fails_again_is_logged_with_growing_distance(void **state)
{
    struct world *w = *state;
    struct elector_config c = config_of("pod-a");
    c.lease_duration_ns = 20 * NS_PER_S;
    c.renew_deadline_ns = 10 * NS_PER_S;
    replica_start_with(w, &w->a, &c);
    RUN_UNTIL(w, 1000 * MS, leader_may_write(w->a.leader));
    w->server.status = 500;
    run_for(w, 2500 * MS);
    unsigned asked = w->server.requests;
    assert_true(asked > 8);
    assert_in_range(count_logged(w, "lease renew failed"), 1, 2);
    w->server.status = 403; /* another failure is said at once */
    RUN_UNTIL(w, 1000 * MS, strstr(log_text(w), "reason=denied"));
}

static void missing_permission_for_events_is_said_once(void **state)
{
    struct world *w = *state;
    w->server.denies_events = true;
    replica_start(w, &w->a, "pod-a");
    RUN_UNTIL(w, 1000 * MS, leader_may_write(w->a.leader));
    for (int i = 0; i < 3; i++) {
        unsigned losses = w->a.losses;
        lease_server_delete(&w->server);
        RUN_UNTIL(w, 3000 * MS, w->a.losses > losses && leader_may_write(w->a.leader));
        run_for(w, 30 * MS);
    }
    assert_int_equal(count_logged(w, "level=WARN msg=\"Kubernetes Events about the lease cannot be created\""), 1);
}

static void another_process_of_our_name_is_called_so(void **state)
{
    struct world *w = *state;
    replica_start(w, &w->a, "pod-a");
    RUN_UNTIL(w, 1000 * MS, leader_may_write(w->a.leader));
    replica_start(w, &w->b, "pod-a");
    RUN_UNTIL(w, 3000 * MS, w->a.losses > 0);
    assert_logged(w, "another process with the name pod-a took the lease (is this pod's name used twice?)");
    assert_null(strstr(log_text(w), "the lease is held by pod-a"));
}

static void hanging_server_ends_the_writing_before_the_deadline(void **state)
{
    struct world *w = *state;
    replica_start(w, &w->a, "pod-a");
    RUN_UNTIL(w, 500 * MS, leader_may_write(w->a.leader));
    run_for(w, 300 * MS);
    w->server.hangs = true;
    int64_t took_ns = RUN_UNTIL(w, 1100 * MS, !leader_may_write(w->a.leader));
    assert_true(took_ns < 950 * MS);
    RUN_UNTIL(w, 100 * MS, w->a.losses == 1);
    assert_logged(w, "lease renew failed");
    assert_logged(w, "timeout");
    assert_logged(w, "level=WARN msg=\"Lost leadership\" identity=pod-a reason=\"renew deadline of 1s passed without a "
                     "successful lease renew: ");
    assert_metric(&w->a, "haptic_leader_election_is_leader 0\n");
    assert_true(metric_of(&w->a, "haptic_leader_election_failures_total{reason=\"timeout\"}") >= 1);
    w->server.hangs = false;
    RUN_UNTIL(w, 1000 * MS, leader_may_write(w->a.leader)); /* it campaigns again */
    assert_int_equal(leader_fence_transitions(w->a.leader), 1);
    assert_int_equal(w->a.gains, 2);
}

static void vanished_server_is_named(void **state)
{
    struct world *w = *state;
    replica_start(w, &w->a, "pod-a");
    RUN_UNTIL(w, 500 * MS, leader_may_write(w->a.leader));
    lease_server_vanish(&w->server);
    RUN_UNTIL(w, 1200 * MS, w->a.losses == 1);
    assert_logged(w, "connection refused");
    lease_server_listen(&w->server);
    RUN_UNTIL(w, 1000 * MS, leader_may_write(w->a.leader));
}

static void refusals_are_counted_by_reason_and_survived(void **state)
{
    static const struct {
        int status;
        const char *reason;
    } cases[] = {{403, "denied"}, {500, "server"},  {429, "throttled"},
                 {503, "server"}, {422, "invalid"}, {504, "timeout"}};
    struct world *w = *state;
    replica_start(w, &w->a, "pod-a");
    RUN_UNTIL(w, 500 * MS, leader_may_write(w->a.leader));
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        CLEANUP(free_ptr)
        char *none = xasprintf("haptic_leader_election_failures_total{reason=\"%s\"} 0\n", cases[i].reason);
        CLEANUP(buf_done) struct buf text = {0};
        unsigned losses = w->a.losses, before = w->server.requests;
        w->server.status = cases[i].status;
        w->server.retry_after_s = 1;
        RUN_UNTIL(w, 1500 * MS, w->server.requests > before);
        run_for(w, 20 * MS);
        w->server.status = 0;
        run_for(w, 900 * MS);
        metric_expose(w->a.metrics, &text);
        assert_null(strstr(text.data, none));
        assert_int_equal(w->a.losses, losses); /* one refusal is no reason to lose, asked to wait or not */
        assert_true(leader_may_write(w->a.leader));
    }
}

static void deleted_lease_is_made_again_with_a_higher_fence(void **state)
{
    struct world *w = *state;
    replica_start(w, &w->a, "pod-a");
    RUN_UNTIL(w, 500 * MS, leader_may_write(w->a.leader));
    run_for(w, 50 * MS);
    lease_server_delete(&w->server);
    int64_t took_ns = RUN_UNTIL(w, 500 * MS, w->a.gains == 2);
    assert_true(took_ns < 150 * MS);
    assert_int_equal(w->a.losses, 1);
    assert_int_equal(leader_fence_transitions(w->a.leader), 2);
    assert_logged(w, "reason=\"the lease was deleted\"");
}

static void edits_of_others_survive_our_updates(void **state)
{
    struct world *w = *state;
    static const char lease[] = "{\"apiVersion\":\"coordination.k8s.io/v1\",\"kind\":\"Lease\","
                                "\"metadata\":{\"name\":\"haptic-leader\",\"namespace\":\"ns\","
                                "\"labels\":{\"team\":\"edge\"}},\"spec\":{\"strategy\":\"x.io/s\"}}";
    lease_server_store(&w->server, lease, strlen(lease));
    replica_start(w, &w->a, "pod-a");
    RUN_UNTIL(w, 500 * MS, leader_may_write(w->a.leader));
    run_for(w, 500 * MS);
    assert_true(lease_has(w, "\"team\":\"edge\""));
    assert_true(lease_has(w, "\"strategy\":\"x.io/s\""));
    assert_true(lease_has(w, "\"leaseTransitions\":1"));
}

static void stale_refusal_raises_the_fence(void **state)
{
    struct world *w = *state;
    replica_start(w, &w->a, "pod-a");
    RUN_UNTIL(w, 500 * MS, leader_may_write(w->a.leader));
    leader_refused_stale(w->a.leader, 41);
    assert_false(leader_may_write(w->a.leader));
    RUN_UNTIL(w, 500 * MS, leader_may_write(w->a.leader));
    assert_int_equal(leader_fence_transitions(w->a.leader), 42);
    assert_true(lease_has(w, "\"leaseTransitions\":42"));
    assert_int_equal(w->a.gains, 2); /* compare everything again */
    assert_int_equal(w->a.losses, 0);
}

static void a_fence_that_is_seen_is_passed_before_anything_is_written(void **state)
{
    struct world *w = *state;
    replica_start(w, &w->a, "pod-a");
    RUN_UNTIL(w, 500 * MS, leader_may_write(w->a.leader));
    leader_saw_fence(w->a.leader, 41);
    assert_false(leader_may_write(w->a.leader)); /* before the Lease says so, too */
    RUN_UNTIL(w, 500 * MS, leader_may_write(w->a.leader));
    assert_int_equal(leader_fence_transitions(w->a.leader), 42);
    assert_true(lease_has(w, "\"leaseTransitions\":42"));
    assert_int_equal(w->a.losses, 0);
}

static void stale_leader_steps_down(void **state)
{
    struct world *w = *state;
    replica_start(w, &w->a, "pod-a");
    RUN_UNTIL(w, 500 * MS, leader_may_write(w->a.leader));
    static const char taken[] =
        "{\"apiVersion\":\"coordination.k8s.io/v1\",\"kind\":\"Lease\","
        "\"metadata\":{\"name\":\"haptic-leader\",\"namespace\":\"ns\"},"
        "\"spec\":{\"holderIdentity\":\"pod-z\",\"leaseDurationSeconds\":60,\"leaseTransitions\":7}}";
    w->server.hangs = true; /* the watch tells nothing */
    lease_server_store(&w->server, taken, strlen(taken));
    w->server.hangs = false;
    leader_refused_stale(w->a.leader, 7);
    RUN_UNTIL(w, 500 * MS, w->a.losses == 1);
    assert_logged(w, "msg=\"Lost leadership\" identity=pod-a reason=\"the lease is held by pod-z\"");
    run_for(w, 300 * MS);
    assert_false(leader_may_write(w->a.leader));
}

static void held_up_process_does_not_write(void **state)
{
    struct world *w = *state;
    replica_start(w, &w->a, "pod-a");
    RUN_UNTIL(w, 500 * MS, leader_may_write(w->a.leader));
    usleep(1100 * 1000); /* the loop stands still, as under SIGSTOP */
    assert_false(leader_may_write(w->a.leader));
    assert_metric(&w->a, "haptic_leader_election_is_leader 0\n");
    assert_true(metric_of(&w->a, "haptic_leader_election_seconds_as_leader_total") <
                1.05); /* to the deadline, not to now */
    RUN_UNTIL(w, 500 * MS, w->a.losses == 1);
    assert_logged(w, "this process was held up");
    RUN_UNTIL(w, 500 * MS, leader_may_write(w->a.leader));
}

static void alone_without_election(void **state)
{
    struct world *w = *state;
    struct elector_config c = config_of("pod-a");
    c.enabled = false;
    replica_start_with(w, &w->a, &c);
    assert_true(leader_may_write(w->a.leader));
    RUN_UNTIL(w, 100 * MS, w->a.gains == 1);
    assert_metric(&w->a, "haptic_leader_election_is_leader 1\n");
    assert_memory_equal(leader_fence_holder(w->a.leader), "pod-a since 20", 14);
    /* What an earlier process has left is no news; a refusal is. */
    leader_saw_fence(w->a.leader, 3);
    leader_saw_fence(w->a.leader, 3);
    assert_int_equal(leader_fence_transitions(w->a.leader), 4);
    assert_int_equal(w->a.gains, 1);
    assert_null(strstr(log_text(w), "level=WARN"));
    leader_refused_stale(w->a.leader, 5);
    assert_int_equal(leader_fence_transitions(w->a.leader), 6);
    assert_int_equal(w->a.gains, 2);
    assert_logged(w, "level=WARN msg=\"Fence raised");
    leader_refused_stale(w->a.leader, 5);
    leader_saw_fence(w->a.leader, 5);
    assert_int_equal(leader_fence_transitions(w->a.leader), 6);
    assert_int_equal(w->a.gains, 2);
    assert_int_equal(leader_write_end_ns(w->a.leader), INT64_MAX);
    leader_stop(w->a.leader, true, on_stopped, &w->a);
    assert_false(leader_may_write(w->a.leader));
    assert_false(w->a.stopped);
    RUN_UNTIL(w, 100 * MS, w->a.stopped);
    assert_int_equal(w->server.requests, 0);
    assert_null(w->server.lease);
}

static void refuses_timings_without_margin(void **state)
{
    struct world *w = *state;
    struct elector_config c = config_of("pod-a");
    struct err err = {0};
    struct kube_config kube = {.server = xstrdup("http://127.0.0.1:1")};
    struct kube_client_options options = {.version = "test"};
    w->a.metrics = metrics_new();
    w->a.client = kube_client_new(&w->loop, &kube, &options);
    c.lease_duration_ns = c.renew_deadline_ns;
    assert_int_equal(leader_new(&w->loop, w->a.client, &c, w->a.metrics, on_changed, &w->a, &w->a.leader, &err), -1);
    assert_int_equal(err.kind, ERR_INVALID);
    assert_non_null(strstr(err.text, "lease_duration"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(leads_and_says_so, set_up, tear_down),
        cmocka_unit_test_setup_teardown(release_is_taken_over_within_moments, set_up, tear_down),
        cmocka_unit_test_setup_teardown(without_watch_a_release_is_polled, set_up, tear_down),
        cmocka_unit_test_setup_teardown(crashed_leader_is_replaced_when_its_lease_has_ended, set_up, tear_down),

        cmocka_unit_test_setup_teardown(what_fails_again_is_logged_with_growing_distance, set_up, tear_down),

        cmocka_unit_test_setup_teardown(missing_permission_for_events_is_said_once, set_up, tear_down),

        cmocka_unit_test_setup_teardown(another_process_of_our_name_is_called_so, set_up, tear_down),
        cmocka_unit_test_setup_teardown(hanging_server_ends_the_writing_before_the_deadline, set_up, tear_down),
        cmocka_unit_test_setup_teardown(vanished_server_is_named, set_up, tear_down),
        cmocka_unit_test_setup_teardown(refusals_are_counted_by_reason_and_survived, set_up, tear_down),
        cmocka_unit_test_setup_teardown(deleted_lease_is_made_again_with_a_higher_fence, set_up, tear_down),
        cmocka_unit_test_setup_teardown(edits_of_others_survive_our_updates, set_up, tear_down),
        cmocka_unit_test_setup_teardown(stale_refusal_raises_the_fence, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_fence_that_is_seen_is_passed_before_anything_is_written, set_up, tear_down),
        cmocka_unit_test_setup_teardown(stale_leader_steps_down, set_up, tear_down),
        cmocka_unit_test_setup_teardown(held_up_process_does_not_write, set_up, tear_down),
        cmocka_unit_test_setup_teardown(alone_without_election, set_up, tear_down),
        cmocka_unit_test_setup_teardown(refuses_timings_without_margin, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
