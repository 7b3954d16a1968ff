/* What an operator reads afterwards: one line for each thing that somebody else did, however much is going on. */
#include "agent_support.h"
#include "controller_support.h"

#include "agent/fence.h"

static void damaged_fence(struct world *w, const char *series)
{
    (void)series;
    int log = log_capture();
    file_write(w->directory, "fence", "garbage\n");
    route(w, "a.example", "app", 1);
    world_apply(w, false);
    route(w, "a.example", "app", 2);
    world_apply(w, false);
    assert_int_equal(log_count(log, "msg=\"The fence file was damaged"), 1);
    log_set_fd(STDOUT_FILENO);
    close(log);
}

static void test_damaged_fence(void **state)
{
    (void)state;
    each_series(damaged_fence, &(const struct agent_config){0});
}

static void other_reload(struct world *w)
{
    CLEANUP(free_ptr) char *answer = world_command_at(w, "master.sock", "reload");
}

/* Churn: something is applied all the time, so that no look at the master falls between two applies. */
static void foreign_reload(struct world *w, const char *series)
{
    (void)series;
    int log = log_capture();
    int before = world_worker_pid(w);
    other_reload(w);
    WORLD_UNTIL(w, world_worker_pid(w) != before);
    for (int i = 0; i < 3; i++) {
        route(w, "a.example", "app", i);
        world_apply(w, true);
    }
    world_looks(w, 3);
    assert_int_equal(log_count(log, "msg=\"HAProxy was reloaded by another program"), 1);
    /* Quiet: the look at the master finds it. */
    other_reload(w);
    expect_change(w, "HAProxy was reloaded by another program");
    world_apply(w, true);
    world_looks(w, 3);
    assert_int_equal(log_count(log, "msg=\"HAProxy was reloaded by another program"), 2);
    /* Reloads of our own are none of somebody else's. */
    model_put_base(w->model, w->port, "http-request set-header X-A b\n");
    model_check(w->model, true);
    world_apply(w, false);
    assert_true(w->reloaded);
    world_looks(w, 3);
    assert_int_equal(log_count(log, "msg=\"HAProxy was reloaded by another program"), 2);
    log_set_fd(STDOUT_FILENO);
    close(log);
}

static void test_foreign_reload(void **state)
{
    (void)state;
    each_series(foreign_reload, &(const struct agent_config){0});
}

/* Files go while their content is about to change in any case. */
static void removed_files(struct world *w, const char *series)
{
    (void)series;
    static const char *const files[] = {"haproxy.cfg", "maps/host.map"};
    int log = log_capture();
    world_apply(w, true);
    world_sleep(w, 200);
    for (unsigned i = 0; i < 2; i++) {
        CLEANUP(free_ptr) char *path = xasprintf("%s/%s", w->directory, files[i]);
        CLEANUP(free_ptr) char *host = xasprintf("more-%u.example", i);
        assert_int_equal(unlink(path), 0);
        const struct emitted entry[] = {{CONTRIBUTION_MAP_ENTRY, "host.map", host, "app", 0, 0}};
        model_put(w->model, host, entry, 1);
        route(w, "a.example", "app", (int)i + 1);
        world_apply(w, false);
        assert_false(w->reloaded);
        WORLD_UNTIL(w, access(path, F_OK) == 0);
        world_sleep(w, 200);
        assert_int_equal(log_count(log, "msg=\"Drift repaired\""), i + 1);
    }
    log_set_fd(STDOUT_FILENO);
    close(log);
}

static void test_removed_files_under_churn(void **state)
{
    (void)state;
    each_series(removed_files, &(const struct agent_config){0});
}

/* A writer that leads again: another one has changed a server's words and added one meanwhile. */
static void leads_again(struct world *w, const char *series)
{
    (void)series;
    int pid = world_worker_pid(w);
    struct agent *first = w->agent;
    CLEANUP(free_ptr) char *one = server_line("s1", 0, ""), *two = server_line("s2", 1, "maxconn 7");
    CLEANUP(free_ptr) char *both = xasprintf("%s%s", one, two);
    w->transitions++;
    world_agent(w, false);
    edit(w, "a.example", "app", both);
    world_apply(w, true);
    assert_false(w->reloaded);
    world_agent_end(w, false);
    w->agent = first;
    w->transitions++;
    world_apply(w, true);
    assert_false(w->reloaded);
    assert_int_equal(w->operations, 0);
    assert_int_equal(world_worker_pid(w), pid);
}

static void test_who_leads_again_knows_the_words(void **state)
{
    (void)state;
    each_series(leads_again, &(const struct agent_config){0});
}

/* One line when HAProxy runs in another version than the one that checks. */
static void other_version(struct world *w, const char *series)
{
    (void)series;
    int log = log_capture();
    world_apply(w, true);
    world_apply(w, true);
    assert_int_equal(log_count(log, "msg=\"HAProxy runs in another version"), 0);
    world_agent_end(w, false);
    world_agent_with(w, (struct agent_config){.supervise = true, .version = "9.9.9"});
    world_apply(w, true);
    world_apply(w, true);
    assert_int_equal(log_count(log, "msg=\"HAProxy runs in another version"), 1);
    assert_int_equal(log_count(log, "checks=9.9.9"), 1);
    log_set_fd(STDOUT_FILENO);
    close(log);
}

static void test_other_version(void **state)
{
    (void)state;
    each_series(other_version, &(const struct agent_config){0});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_damaged_fence),
        cmocka_unit_test(test_foreign_reload),
        cmocka_unit_test(test_removed_files_under_churn),
        cmocka_unit_test(test_who_leads_again_knows_the_words),
        cmocka_unit_test(test_other_version),
    };
    return cmocka_run_group_tests(tests, group_begin, group_end);
}
