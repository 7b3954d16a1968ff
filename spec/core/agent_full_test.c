/* A directory that takes nothing: what needs no reload goes live all the same, whatever happens meanwhile: a HAProxy
 * that dies, a writer that takes over, a server that cannot be replaced. */
#include "agent_support.h"

#include <sys/resource.h>

/* Nothing can be written any more: where the files are to be made, there are folders. */
static void directory_fills(struct world *w)
{
    static const char *const names[] = {".haproxy.cfg.tmp", "maps/.host.map.tmp", "journal"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        CLEANUP(free_ptr) char *path = xasprintf("%s/%s", w->directory, names[i]);
        (void)unlink(path);
        assert_int_equal(mkdir(path, 0700), 0);
    }
}

static void directory_has_room(struct world *w)
{
    static const char *const names[] = {".haproxy.cfg.tmp", "maps/.host.map.tmp", "journal"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        CLEANUP(free_ptr) char *path = xasprintf("%s/%s", w->directory, names[i]);
        assert_int_equal(rmdir(path), 0);
    }
}

static void take_over(struct world *w)
{
    world_agent_end(w, false);
    w->transitions++;
    world_agent(w, true);
}

/* The reload cannot be made; the rest is live. */
static void assert_rest_is_live(struct world *w)
{
    assert_true(w->failed);
    assert_int_equal(w->err.kind, ERR_SYS);
    assert_non_null(strstr(w->err.text, w->directory));
    assert_true(w->rest_is_live);
    assert_false(is_live(w));
    struct agent_status status;
    agent_status(w->agent, &status);
    assert_true(status.serves); /* it may be asked */
}

static void full(struct world *w, const char *series)
{
    (void)series;
    static const char request[] = "POST /slow HTTP/1.1\r\nHost: a.example\r\nContent-Length: 10\r\n\r\n";
    struct agent_status status;
    route(w, "b.example", "other", 1);
    world_apply(w, false);
    directory_fills(w);
    /* HAProxy dies and comes back as it is on disk; then another writer takes over. */
    agent_status(w->agent, &status);
    w->changed[0] = '\0';
    kill(status.haproxy_pid, SIGKILL);
    expect_change(w, "HAProxy was started");
    CLEANUP(close_fd) int fd = tcp_connect(w->port);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, request, strlen(request)), strlen(request));
    world_sleep(w, 200);
    CLEANUP(free_ptr) char *s1 = server_line("s1", 0, ""), *s2 = server_line("s2", 2, "");
    CLEANUP(free_ptr) char *both = xasprintf("%s%s", s1, s2);
    edit(w, "a.example", "app", both);
    route(w, "b.example", "other", 2);
    world_try(w, true);
    take_over(w);
    /* s1 cannot be replaced while it has a connection: a reload that cannot be made. The other backend changes. */
    CLEANUP(free_ptr) char *s1_changed = server_line("s1", 0, "maxconn 50");
    CLEANUP(free_ptr) char *changed = xasprintf("%s%s", s1_changed, s2);
    edit(w, "a.example", "app", changed);
    route(w, "b.example", "other", 3);
    world_try(w, true);
    assert_rest_is_live(w);
    assert_answer(w, "b.example", "d");
    char body[64];
    assert_int_equal(http_get(w->port, "a.example", body, sizeof(body)), 200);
    /* What comes meanwhile does not wait for the reload, and does not hide that it is owed. */
    route(w, "b.example", "other", 1);
    world_try(w, false);
    assert_rest_is_live(w);
    assert_answer(w, "b.example", "b");
    /* The same with a server that this writer knows: HAProxy refuses to delete it. */
    CLEANUP(free_ptr) char *s1_again = server_line("s1", 0, "maxconn 60");
    CLEANUP(free_ptr) char *again = xasprintf("%s%s", s1_again, s2);
    edit(w, "a.example", "app", again);
    route(w, "b.example", "other", 0);
    world_try(w, false);
    assert_rest_is_live(w);
    assert_answer(w, "b.example", "a");
    route(w, "b.example", "other", 1);
    world_try(w, true);
    assert_rest_is_live(w);
    assert_answer(w, "b.example", "b");
    directory_has_room(w);
    world_apply(w, true);
    assert_true(w->reloaded);
    assert_true(is_live(w));
    assert_answer(w, "b.example", "b");
    CLEANUP(free_ptr) char *config = file_read(w->directory, "haproxy.cfg");
    assert_non_null(strstr(config, "maxconn 60"));
}

static void test_full_directory_and_takeover(void **state)
{
    (void)state;
    each_series(full, &(const struct agent_config){0});
}

/* The same with a HAProxy whose configuration the directory no longer has: what it tells itself has to do. */
static void full_and_unknown(struct world *w, const char *series)
{
    (void)series;
    CLEANUP(free_ptr) char *config = xasprintf("%s/haproxy.cfg", w->directory);
    route(w, "b.example", "other", 1);
    world_apply(w, false);
    world_sleep(w, 200);
    directory_fills(w);
    assert_int_equal(unlink(config), 0);
    take_over(w);
    for (int i = 2; i < 4; i++) {
        route(w, "b.example", "other", i);
        world_try(w, i == 2);
        assert_rest_is_live(w);
        assert_answer(w, "b.example", i == 2 ? "c" : "d");
        assert_answer(w, "a.example", "a");
    }
    /* A backend of which nothing is known may lack what protects a route: a new route waits. */
    route(w, "c.example", "other", 3);
    world_try(w, true);
    assert_rest_is_live(w);
    assert_false(is_answer(w, "c.example", "d"));
    directory_has_room(w);
    world_apply(w, true);
    assert_true(w->reloaded);
    assert_true(is_live(w));
    assert_answer(w, "b.example", "d");
    assert_answer(w, "c.example", "d");
}

static void test_full_directory_and_unknown_haproxy(void **state)
{
    (void)state;
    each_series(full_and_unknown, &(const struct agent_config){0});
}

/* No core dump of a HAProxy lands in its directory. */
static void core_limit(struct world *w, const char *series)
{
    (void)series;
    struct agent_status status;
    struct rlimit limit;
    agent_status(w->agent, &status);
    assert_int_equal(prlimit(status.haproxy_pid, RLIMIT_CORE, NULL, &limit), 0);
    assert_int_equal(limit.rlim_cur, 0);
    assert_int_equal(prlimit(world_worker_pid(w), RLIMIT_CORE, NULL, &limit), 0);
    assert_int_equal(limit.rlim_cur, 0);
}

static void test_no_core_dump(void **state)
{
    (void)state;
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_CORE, &limit), 0);
    limit.rlim_cur = limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_CORE, &limit), 0);
    if (limit.rlim_max == 0)
        print_message("    the hard limit is 0 already: this shows nothing here\n");
    each_series(core_limit, &(const struct agent_config){0});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_full_directory_and_takeover),
        cmocka_unit_test(test_full_directory_and_unknown_haproxy),
        cmocka_unit_test(test_no_core_dump),
    };
    return cmocka_run_group_tests(tests, group_begin, group_end);
}
