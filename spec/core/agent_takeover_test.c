/* One agent after another at the same HAProxy: what the next one knows, what the one before may still do. */
#include "agent_support.h"

static void takeover(struct world *w, const char *series)
{
    (void)series;
    int pid = world_worker_pid(w);
    CLEANUP(free_ptr) char *moved = server_line("s1", 1, "check inter 500ms weight 4");
    edit(w, "a.example", "app", moved);
    world_apply(w, false);
    /* Another agent, as after a fail-over; the first time with the directory behind, the second time level. */
    for (int i = 0; i < 2; i++) {
        world_agent_end(w, false);
        w->transitions++;
        world_agent(w, false);
        world_apply(w, true);
        assert_false(w->reloaded);
        assert_int_equal(w->operations, 0);
        assert_int_equal(world_worker_pid(w), pid);
        world_sleep(w, 300);
    }
    /* A writer of the term before is refused. */
    w->transitions--;
    world_try(w, true);
    assert_true(w->failed);
    assert_int_equal(w->err.kind, ERR_STALE);
    assert_int_equal(w->highest_transitions, w->transitions + 1);
    w->transitions++;
    /* What is on disk is what runs. */
    CLEANUP(free_ptr) char *config = file_read(w->directory, "haproxy.cfg");
    CLEANUP(free_ptr) char *port = xasprintf("server s1 127.0.0.1:%d check inter 500ms weight 4\n", upstreams.ports[1]);
    assert_non_null(strstr(config, port));
}

static void test_takeover_needs_no_reload(void **state)
{
    (void)state;
    each_series(takeover, NULL);
}

/* A leader whose time is over begins nothing, and what it has begun ends with its time. */
static void end_of_the_time_to_write(struct world *w, const char *series)
{
    (void)series;
    int pid = world_worker_pid(w);
    CLEANUP(free_ptr) char *moved = server_line("s1", 1, "check inter 500ms weight 10");
    edit(w, "a.example", "app", moved);
    w->has_end = true;
    w->write_end_ns = clock_now_ns();
    world_try(w, false);
    assert_true(w->failed);
    assert_int_equal(w->err.kind, ERR_TIMEOUT);
    CLEANUP(free_ptr) char *port = xasprintf(" %d ", upstreams.ports[1]);
    CLEANUP(free_ptr) char *servers = world_command(w, "show servers state app");
    assert_null(strstr(servers, port));
    /* Nor a reload. */
    CLEANUP(free_ptr) char *other = server_line("s1", 1, "check inter 600ms");
    edit(w, "a.example", "app", other);
    world_try(w, true);
    assert_int_equal(w->err.kind, ERR_TIMEOUT);
    assert_int_equal(world_worker_pid(w), pid);
    /* A HAProxy that hangs is not waited for beyond it. */
    edit(w, "a.example", "app", moved);
    kill(pid, SIGSTOP);
    int64_t begin_ns = clock_now_ns();
    w->write_end_ns = begin_ns + 300 * NS_PER_MS;
    world_try(w, false);
    int64_t took_ns = clock_now_ns() - begin_ns;
    kill(pid, SIGCONT);
    assert_true(w->failed);
    assert_int_equal(w->err.kind, ERR_TIMEOUT);
    assert_in_range(took_ns, 250 * NS_PER_MS, 2 * NS_PER_S);
    /* With time again all is as it should be. */
    w->has_end = false;
    world_apply(w, true);
    assert_answer(w, "a.example", "b");
}

static void test_end_of_the_time_to_write(void **state)
{
    (void)state;
    each_series(end_of_the_time_to_write, NULL);
}

/* A successor that takes over before the directory is level knows the words of servers from the journal. */
static void journal(struct world *w, const char *series)
{
    (void)series;
    world_agent_end(w, false);
    struct err err;
    const struct agent_config slow = {
        .binary = w->binary, .directory = w->directory, .min_reload_interval_ns = 1, .disk_delay_ns = 3600 * NS_PER_S};
    w->agent = agent_new(&w->loop, &slow, w->model, w->metrics, world_changed, w, &err);
    assert_non_null(w->agent);
    world_apply(w, true);
    int pid = world_worker_pid(w);
    CLEANUP(free_ptr) char *first = server_line("s1", 0, "check inter 500ms weight 10");
    CLEANUP(free_ptr) char *second = server_line("s2", 1, "check inter 700ms maxconn 50");
    CLEANUP(free_ptr) char *both = xasprintf("%s%s", first, second);
    edit(w, "a.example", "app", both);
    world_apply(w, false);
    assert_false(w->reloaded);
    CLEANUP(free_ptr) char *config = file_read(w->directory, "haproxy.cfg");
    assert_null(strstr(config, "inter 700ms"));
    /* As after a crash: nothing more is written. */
    CLEANUP(free_ptr) char *kept = file_read(w->directory, "journal");
    assert_non_null(strstr(kept, "'700ms'"));
    world_agent_end(w, false);
    file_write(w->directory, "haproxy.cfg", config);
    file_write(w->directory, "journal", kept);
    world_agent(w, false);
    world_apply(w, true);
    assert_false(w->reloaded);
    assert_int_equal(w->operations, 0);
    /* Announced and not finished, as after a crash in the middle: what is wanted has the same words. */
    world_agent_end(w, false);
    file_write(w->directory, "haproxy.cfg", config);
    CLEANUP(free_ptr) char *same = xasprintf("%s# changing backend app\n#= %s#= %s", kept, first, second);
    file_write(w->directory, "journal", same);
    world_agent(w, false);
    world_apply(w, true);
    assert_false(w->reloaded);
    assert_int_equal(w->operations, 0);
    /* The same without a word about what was wanted: the words of its servers are not believed. */
    world_agent_end(w, false);
    file_write(w->directory, "haproxy.cfg", config);
    CLEANUP(free_ptr) char *unfinished = xasprintf("%s# changing backend app\n", kept);
    file_write(w->directory, "journal", unfinished);
    world_agent(w, false);
    world_apply(w, true);
    assert_true(w->reloaded || w->operations > 0);
    assert_int_equal(world_worker_pid(w) == pid, !w->reloaded);
    /* Both servers take requests: ten of eleven go to the first, once the second one's checks have begun well. */
    unsigned answers[2] = {0};
    for (int i = 0; i < 22 || (i < 500 && !answers[1]); i++) {
        char body[64];
        if (i >= 22)
            world_sleep(w, 10);
        assert_int_equal(http_get(w->port, "a.example", body, sizeof(body)), 200);
        answers[body[0] == 'b']++;
    }
    assert_true(answers[0] > answers[1] && answers[1] > 0);
}

static void test_takeover_before_the_directory_is_level(void **state)
{
    (void)state;
    each_series(journal, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_takeover_needs_no_reload),
        cmocka_unit_test(test_end_of_the_time_to_write),
        cmocka_unit_test(test_takeover_before_the_directory_is_level),
    };
    return cmocka_run_group_tests(tests, group_begin, group_end);
}
