/* Leaders against an API server that fails on request, with short timings and the real clock: what is logged, counted,
 * written and how long a hand-over takes. Who may lead when is the business of kube_elector_test.c and
 * kube_elector_sim_test.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/log.h"
#include "controller/leader.h"
#include "lease_server.h"

#define MS NS_PER_MS

/* One replica. */
struct replica {
    struct metrics *metrics;
    struct kube_client *client;
    struct leader *leader;
    unsigned gains, losses;
    bool stopped;
};

struct world {
    uv_loop_t loop;
    struct lease_server server;
    struct replica a, b;
    uv_timer_t tick;
    int log_fd;
};

static void on_changed(void *ctx, bool is_leader)
{
    struct replica *r = ctx;
    if (is_leader)
        r->gains++;
    else
        r->losses++;
}

static void on_stopped(void *ctx)
{
    ((struct replica *)ctx)->stopped = true;
}

static void on_tick(uv_timer_t *timer)
{
    (void)timer;
}

static struct elector_config config_of(const char *identity)
{
    struct elector_config c;
    elector_config_defaults(&c);
    c.identity = identity;
    c.namespace = "ns";
    c.lease_duration_ns = 2000 * MS;
    c.renew_deadline_ns = 1000 * MS;
    c.retry_period_ns = 200 * MS;
    return c;
}

static void replica_start_with(struct world *w, struct replica *r, const struct elector_config *config)
{
    struct kube_config kube = {.server = xasprintf("http://127.0.0.1:%d", w->server.port)};
    struct kube_client_options options = {.version = "test", .http1_only = true};
    struct err err = {0};
    r->metrics = metrics_new();
    r->client = kube_client_new(&w->loop, &kube, &options);
    if (leader_new(&w->loop, r->client, config, r->metrics, on_changed, r, &r->leader, &err) < 0)
        fail_msg("%s", err.text);
}

static void replica_start(struct world *w, struct replica *r, const char *identity)
{
    struct elector_config c = config_of(identity);
    replica_start_with(w, r, &c);
}

static void replica_end(struct replica *r)
{
    r->leader = leader_free(r->leader);
    r->client = r->client ? kube_client_free(r->client) : NULL;
    r->metrics = r->metrics ? metrics_free(r->metrics) : NULL;
}

static int set_up(void **state)
{
    struct world *w = xcalloc(1, sizeof(*w));
    uv_loop_init(&w->loop);
    w->server.loop = &w->loop;
    lease_server_listen(&w->server);
    uv_timer_init(&w->loop, &w->tick);
    uv_timer_start(&w->tick, on_tick, 5, 5);
    w->log_fd = memfd_create("log", 0);
    log_set_fd(w->log_fd);
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    replica_end(&w->a);
    replica_end(&w->b);
    lease_server_done(&w->server);
    uv_close((uv_handle_t *)&w->tick, NULL);
    uv_run(&w->loop, UV_RUN_DEFAULT);
    int open = uv_loop_close(&w->loop);
    log_set_fd(STDOUT_FILENO);
    close(w->log_fd);
    free(w);
    return open;
}

/* Run the loop until the condition holds; fail after limit_ns. Returns how long it took. */
#define RUN_UNTIL(w, limit_ns, condition) \
    __extension__({ \
        int64_t began_ns_ = clock_now_ns(); \
        while (!(condition)) { \
            if (clock_now_ns() - began_ns_ > (limit_ns)) \
                fail_msg("not within %s: %s\n%s", #limit_ns, #condition, log_text(w)); \
            uv_run(&(w)->loop, UV_RUN_ONCE); \
        } \
        clock_now_ns() - began_ns_; \
    })

static void run_for(struct world *w, int64_t span_ns)
{
    int64_t end_ns = clock_now_ns() + span_ns;
    while (clock_now_ns() < end_ns)
        uv_run(&w->loop, UV_RUN_ONCE);
}

static const char *log_text(struct world *w)
{
    static char text[65536];
    ssize_t n = pread(w->log_fd, text, sizeof(text) - 1, 0);
    text[n > 0 ? n : 0] = '\0';
    return text;
}

static void assert_logged(struct world *w, const char *part)
{
    if (!strstr(log_text(w), part))
        fail_msg("the log lacks '%s':\n%s", part, log_text(w));
}

static void assert_metric(struct replica *r, const char *line)
{
    CLEANUP(buf_done) struct buf text = {0};
    leader_collect(r->leader);
    metric_expose(r->metrics, &text);
    if (!strstr(text.data, line))
        fail_msg("the metrics lack '%s':\n%s", line, text.data);
}

static double metric_of(struct replica *r, const char *name)
{
    CLEANUP(buf_done) struct buf text = {0};
    leader_collect(r->leader);
    metric_expose(r->metrics, &text);
    CLEANUP(free_ptr) char *start = xasprintf("\n%s ", name);
    const char *at = strstr(text.data, start);
    assert_non_null(at);
    return strtod(at + strlen(start), NULL);
}

static bool lease_has(struct world *w, const char *part)
{
    return w->server.lease && strstr(w->server.lease, part);
}

/* ---- tests ---- */

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
    assert_logged(w, "The lease may not be watched");
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
