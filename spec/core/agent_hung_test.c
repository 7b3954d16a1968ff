/* Processes that hang: a worker that is stopped, sockets that are gone, a master that says nothing. */
#include "agent_support.h"

#include "agent/agent_state.h"

static const struct agent_config impatient = {.command_deadline_ns = 400 * NS_PER_MS, .hung_attempts = 2};

static void hung(struct world *w, const char *series)
{
    (void)series;
    world_looks(w, 6); /* it has answered once at least */
    int worker = world_worker_pid(w);
    w->changed[0] = '\0';
    kill(worker, SIGSTOP);
    expect_change(w, "HAProxy was started");
    assert_int_not_equal(world_worker_pid(w), worker);
    world_apply(w, true);
    assert_answer(w, "a.example", "a");
    struct agent_status status;
    agent_status(w->agent, &status);
    assert_int_equal(status.restarts, 1);
    assert_true(metric_value(metric_counter(w->metrics, "haptic_haproxy_hung_total", "")) == 1);
    assert_true(status.live);
}

static void test_hung_worker_is_started_again(void **state)
{
    (void)state;
    each_series(hung, &impatient);
}

/* The directory with its sockets is removed: nobody can talk to that HAProxy again. */
static void removed(struct world *w, const char *series)
{
    (void)series;
    world_looks(w, 6);
    CLEANUP(free_ptr) char *remove = xasprintf("rm -rf '%s'", w->directory);
    w->changed[0] = '\0';
    assert_int_equal(pclose(popen(remove, "r")), 0);
    expect_change(w, "HAProxy was started");
    world_apply(w, true);
    assert_answer(w, "a.example", "a");
    assert_int_equal(access(w->directory, F_OK), 0);
}

static void test_removed_directory(void **state)
{
    (void)state;
    each_series(removed, &impatient);
}

/* One that somebody else has started is only reported, and works on when it is let go. */
static void attached(struct world *w, const char *series)
{
    (void)series;
    world_agent_end(w, false);
    world_agent_with(w, impatient);
    world_apply(w, true);
    world_looks(w, 6);
    assert_true(is_live(w));
    int worker = world_worker_pid(w);
    kill(worker, SIGSTOP);
    WORLD_UNTIL(w, !is_live(w));
    world_try(w, true);
    assert_true(w->failed);
    world_sleep(w, 2 * impatient.hung_attempts * impatient.command_deadline_ns / NS_PER_MS);
    assert_int_equal(kill(worker, SIGCONT), 0);
    world_looks(w, 6);
    assert_int_equal(world_worker_pid(w), worker);
    world_apply(w, true);
    assert_true(is_live(w));
    /* HAProxy is the next agent's again, which ends it. */
    world_agent_end(w, false);
    world_agent(w, true);
    world_apply(w, true);
}

static void test_hung_worker_of_somebody_else(void **state)
{
    (void)state;
    each_series(attached, &(const struct agent_config){0});
}

static double sample(struct world *w, const char *line)
{
    CLEANUP(buf_done) struct buf text = {0};
    metric_expose(w->metrics, &text);
    const char *at = strstr(buf_str(&text), line);
    return at ? strtod(at + strlen(line), NULL) : 0;
}

/* A master that accepts and says nothing: operations go on, the status tells. */
static void silent_master(struct world *w, const char *series)
{
    (void)series;
    CLEANUP(free_ptr) char *path = xasprintf("%s/silent.sock", w->directory);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    CLEANUP(close_fd) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(fd, 100), 0);
    world_agent_end(w, false);
    struct agent_config config = impatient;
    config.master_socket = path;
    world_agent_with(w, config);
    world_apply(w, true);
    static const char unanswered[] = "haptic_haproxy_unanswered_total{process=\"master\"} ";
    WORLD_UNTIL(w, sample(w, unanswered) >= 2);
    assert_false(is_live(w));
    assert_string_equal(w->changed, "HAProxy does not answer");
    route(w, "a.example", "app", 3);
    world_apply(w, false);
    assert_answer(w, "a.example", "d");
    assert_false(is_live(w));
    world_agent_end(w, false);
    world_agent(w, true);
    world_apply(w, true);
    assert_true(is_live(w));
}

static void test_silent_master(void **state)
{
    (void)state;
    each_series(silent_master, &(const struct agent_config){0});
}

static void test_another_master(void **state)
{
    (void)state;
    /* It answered at 100 s, with 5 reloads, after a minute of life. */
    const struct master_seen before = {.pid = 1, .reloads = 5, .uptime_s = 60, .answered_ns = 100 * NS_PER_S};
    static const struct {
        const char *what;
        struct master_process now;
        int64_t asked_s;
        bool is_another;
    } cases[] = {
        {"it lives on", {.pid = 1, .reloads = 5, .uptime_s = 61}, 101, false},
        {"a reload", {.pid = 1, .reloads = 6, .uptime_s = 61}, 101, false},
        {"a reload that is not counted any more", {.pid = 1, .reloads = 4, .uptime_s = 61}, 101, false},
        {"the time of day was set back", {.pid = 1, .reloads = 5, .uptime_s = 50}, 101, false},
        {"nobody asked for long", {.pid = 1, .reloads = 5, .uptime_s = 360}, 400, false},
        {"another process", {.pid = 7, .reloads = 5, .uptime_s = 61}, 101, true},
        {"the same pid in a container", {.pid = 1, .reloads = 0, .uptime_s = 0}, 102, true},
        {"the same pid, as many reloads", {.pid = 1, .reloads = 5, .uptime_s = 1}, 104, true},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        if (watch_is_another_master(&before, &cases[i].now, cases[i].asked_s * NS_PER_S) != cases[i].is_another)
            fail_msg("%s", cases[i].what);
    assert_false(watch_is_another_master(&(const struct master_seen){0}, &cases[0].now, NS_PER_S));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hung_worker_is_started_again),
        cmocka_unit_test(test_removed_directory),
        cmocka_unit_test(test_hung_worker_of_somebody_else),
        cmocka_unit_test(test_silent_master),
        cmocka_unit_test(test_another_master),
    };
    return cmocka_run_group_tests(tests, group_begin, group_end);
}
