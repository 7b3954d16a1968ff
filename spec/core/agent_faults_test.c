/* An agent around which things break: files that somebody changes, a disk that takes nothing, a HAProxy that dies in
 * the middle of a reload. */
#include "agent_support.h"

#include <sys/resource.h>

static void expect_file(struct world *w, const char *name, const char *wanted)
{
    for (int i = 0; i < 60; i++) {
        CLEANUP(free_ptr) char *text = file_read(w->directory, name);
        if (text && strcmp(text, wanted) == 0)
            return;
        world_sleep(w, 50);
    }
    fail_msg("%s was not put right", name);
}

static void altered(struct world *w, const char *series)
{
    (void)series;
    int pid = world_worker_pid(w);
    CLEANUP(free_ptr) char *map = xasprintf("%s/maps", w->directory);
    CLEANUP(free_ptr) char *host_map = xasprintf("%s/host.map", map);
    CLEANUP(free_ptr) char *config = file_read(w->directory, "haproxy.cfg");
    CLEANUP(free_ptr) char *entries = file_read(w->directory, "maps/host.map");
    world_apply(w, true);
    world_sleep(w, 200);
    assert_int_equal(drift_repairs(w), 0);
    file_write(w->directory, "haproxy.cfg", "nonsense\n");
    world_apply(w, true);
    expect_file(w, "haproxy.cfg", config);
    WORLD_UNTIL(w, drift_repairs(w) == 1);
    assert_int_equal(unlink(host_map), 0);
    assert_int_equal(rmdir(map), 0);
    world_apply(w, true);
    expect_file(w, "maps/host.map", entries);
    WORLD_UNTIL(w, drift_repairs(w) == 2);
    file_write(w->directory, "files/stranger", "x");
    world_apply(w, true);
    world_sleep(w, 300);
    assert_null(file_read(w->directory, "files/stranger"));
    /* Changed while a change of our own waits to be written. */
    file_write(w->directory, "maps/host.map", "nonsense app\n");
    route(w, "a.example", "app", 1);
    world_apply(w, false);
    expect_file(w, "maps/host.map", entries);
    assert_int_equal(world_worker_pid(w), pid);
    assert_answer(w, "a.example", "b");
}

static void test_altered_files(void **state)
{
    (void)state;
    each_series(altered, &(const struct agent_config){0});
}

static void size_limit(rlim_t bytes)
{
    struct rlimit limit;
    signal(SIGXFSZ, SIG_IGN); /* write() fails instead */
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void full_disk(struct world *w, const char *series)
{
    (void)series;
    CLEANUP(free_ptr) char *before = file_read(w->directory, "haproxy.cfg");
    /* The fence and little else can be written. */
    size_limit(100);
    route(w, "a.example", "app", 1);
    world_apply(w, false);
    assert_false(w->reloaded);
    assert_answer(w, "a.example", "b");
    world_sleep(w, 300);
    expect_file(w, "haproxy.cfg", before);
    /* What needs a reload fails, what does not goes on. */
    model_put_base(w->model, w->port, "http-request set-header X-A b\n");
    route(w, "a.example", "app", 2);
    world_try(w, false);
    size_limit(RLIM_INFINITY);
    assert_true(w->failed);
    assert_int_equal(w->err.kind, ERR_SYS);
    assert_non_null(strstr(w->err.text, w->directory));
    assert_non_null(strstr(w->err.text, "haproxy.cfg"));
    assert_answer(w, "a.example", "c");
    world_apply(w, true);
    assert_true(w->reloaded);
    assert_answer(w, "a.example", "c");
    CLEANUP(free_ptr) char *after = file_read(w->directory, "haproxy.cfg");
    assert_non_null(strstr(after, "X-A"));
}

static void test_full_disk(void **state)
{
    (void)state;
    each_series(full_disk, &(const struct agent_config){0});
}

static void dies_in_reload(struct world *w, const char *series)
{
    (void)series;
    static const int delays_ms[] = {0, 15, 40};
    for (size_t i = 0; i < ARRAY_LEN(delays_ms); i++) {
        struct agent_status status;
        struct model_changes changes = {0};
        const struct fence fence = {.generation = ++w->generation, .holder = "test"};
        CLEANUP(free_ptr) char *rule = xasprintf("http-request set-header X-%zu x\n", i);
        model_put_base(w->model, w->port, rule);
        route(w, "a.example", "app", (int)i + 1);
        agent_status(w->agent, &status);
        model_take_changes(w->model, &changes);
        w->applied = false;
        w->changed[0] = '\0';
        assert_true(agent_apply(w->agent, &changes, &fence, world_on_applied, w));
        model_changes_done(&changes);
        world_sleep(w, delays_ms[i]);
        kill(status.haproxy_pid, SIGKILL);
        assert_true(w->applied || loop_until(&w->loop, &w->applied, 60));
        expect_change(w, "HAProxy was started");
        world_apply(w, true);
        const char expected[] = {(char)('b' + (char)i), '\0'};
        /* A worker of the killed master listens for a moment more: a connection that it gets ends with it. */
        WORLD_UNTIL(w, is_answer(w, "a.example", expected));
        CLEANUP(free_ptr) char *config = file_read(w->directory, "haproxy.cfg");
        CLEANUP(free_ptr) char *header = xasprintf("X-%zu", i);
        assert_non_null(strstr(config, header));
    }
}

static void test_death_in_a_reload(void **state)
{
    (void)state;
    each_series(dies_in_reload, &(const struct agent_config){.reload_deadline_ns = 5 * NS_PER_S});
}

/* Somebody puts a link in the place of the directory's parent: nothing of ours is written or started behind it. */
static void test_parent_becomes_a_link(void **state)
{
    (void)state;
    struct world w;
    CLEANUP(free_ptr) char *parent = directory_new(), *other = directory_new(), *aside = xasprintf("%s.aside", parent);
    if (!world_begin(&w, "3.2") && !world_begin(&w, "2.6"))
        skip();
    directory_remove(w.directory);
    w.directory = xasprintf("%s/run", parent);
    CLEANUP(free_ptr) char *trap = xasprintf("%s/run", other), *bait = xasprintf("%s/run/maps", other);
    assert_true(mkdir(w.directory, 0700) == 0 && mkdir(trap, 0700) == 0 && mkdir(bait, 0700) == 0);
    world_agent(&w, true);
    CLEANUP(free_ptr) char *servers = server_line("s1", 0, "");
    world_begin_route(&w, servers);
    file_write(trap, "haproxy.cfg", "nonsense\n");
    assert_int_equal(rename(parent, aside), 0);
    assert_int_equal(symlink(other, parent), 0);
    model_put_base(w.model, w.port, "http-request set-header X-A b\n");
    route(&w, "a.example", "app", 1);
    world_try(&w, false);
    assert_true(w.failed);
    assert_int_equal(w.err.kind, ERR_INVALID);
    assert_non_null(strstr(w.err.text, "is a link"));
    world_try(&w, true);
    assert_true(w.failed);
    assert_answer(&w, "a.example", "a");
    /* A HAProxy that dies is not started with what lies there. */
    struct agent_status status;
    agent_status(w.agent, &status);
    kill(status.haproxy_pid, SIGKILL);
    world_sleep(&w, 1500);
    agent_status(w.agent, &status);
    assert_false(status.running);
    assert_null(file_read(trap, "fence"));
    assert_null(file_read(trap, "journal"));
    CLEANUP(free_ptr) char *kept = file_read(trap, "haproxy.cfg");
    assert_string_equal(kept, "nonsense\n");
    /* It is put right, and all goes on. */
    assert_int_equal(unlink(parent), 0);
    assert_int_equal(rename(aside, parent), 0);
    world_try(&w, true);
    if (w.failed) /* HAProxy came up in between */
        world_apply(&w, true);
    assert_answer(&w, "a.example", "b");
    world_end(&w);
    directory_remove(STEAL(other));
    (void)rmdir(parent);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_altered_files),
        cmocka_unit_test(test_full_disk),
        cmocka_unit_test(test_death_in_a_reload),
        cmocka_unit_test(test_parent_becomes_a_link),
    };
    return cmocka_run_group_tests(tests, group_begin, group_end);
}
