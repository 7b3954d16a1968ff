/* What an agent can change in a real HAProxy without a reload it does, under traffic, and proves it; servers that leave
 * hurt no request. */
#include "agent_support.h"

static void endpoints(struct world *w, const char *series)
{
    (void)series;
    static struct prober p; /* its thread may outlive a failed assertion */
    int pid = world_worker_pid(w);
    prober_start(&p, w->port, "a.example");

    /* another address */
    CLEANUP(free_ptr) char *moved = server_line("s1", 1, "check inter 500ms weight 10");
    edit(w, "a.example", "app", moved);
    world_apply(w, false);
    assert_false(w->reloaded);
    assert_int_equal(w->operations, 1);
    assert_answer(w, "a.example", "b");
    /* nothing changed: nothing is done */
    world_apply(w, true);
    assert_int_equal(w->operations, 0);
    assert_false(w->reloaded);
    /* another weight, one more server, then the first one goes */
    CLEANUP(free_ptr) char *more = server_line("s2", 2, "check inter 500ms");
    CLEANUP(free_ptr) char *both = xasprintf("%s%s", moved, more);
    edit(w, "a.example", "app", both);
    world_apply(w, false);
    assert_false(w->reloaded);
    edit(w, "a.example", "app", more);
    world_apply(w, false);
    assert_false(w->reloaded);
    assert_answer(w, "a.example", "c");
    /* and the other way round at once: s2 goes, s1 comes */
    for (int i = 0; i < 10; i++) {
        char name[16];
        snprintf(name, sizeof(name), "r%d", i);
        CLEANUP(free_ptr) char *next = server_line(name, i % 4, "check inter 500ms");
        edit(w, "a.example", "app", next);
        world_apply(w, false);
        assert_false(w->reloaded);
        world_sleep(w, 20);
    }
    prober_end(&p);
    assert_int_equal(world_worker_pid(w), pid);
    for (int i = 0; i < 9; i++) {
        CLEANUP(free_ptr) char *name = xasprintf(" r%d ", i);
        WORLD_UNTIL(w, !world_shows(w, "show servers state app", name));
    }
    world_apply(w, true);
    assert_int_equal(w->operations, 0);
    assert_true(world_shows(w, "show servers state app", " r9 "));
}

static void test_endpoints_change_without_reload(void **state)
{
    (void)state;
    each_series(endpoints, NULL);
}

static void routes(struct world *w, const char *series)
{
    bool dynamic = strcmp(series, "3.4") == 0;
    int pid = world_worker_pid(w);
    static struct prober p; /* its thread may outlive a failed assertion */
    prober_start(&p, w->port, "a.example");
    CLEANUP(free_ptr) char *b = server_line("s1", 1, "check inter 500ms weight 3");
    edit(w, "b.example", "other", b);
    world_apply(w, false);
    assert_int_equal(w->reloaded, !dynamic);
    assert_answer(w, "b.example", "b");
    assert_int_equal(world_worker_pid(w) == pid, dynamic);
    pid = world_worker_pid(w);
    /* a route to a backend that is there */
    const struct emitted alias[] = {{CONTRIBUTION_MAP_ENTRY, "host.map", "alias.example", "other", 0, 0}};
    model_put(w->model, "alias", alias, 1);
    model_check(w->model, true);
    world_apply(w, false);
    assert_false(w->reloaded);
    assert_answer(w, "alias.example", "b");
    /* that changes, and goes */
    const struct emitted changed[] = {{CONTRIBUTION_MAP_ENTRY, "host.map", "alias.example", "app", 0, 0}};
    model_put(w->model, "alias", changed, 1);
    model_check(w->model, true);
    world_apply(w, false);
    assert_answer(w, "alias.example", "a");
    model_fragment_drop(w->model, "alias");
    model_fragment_drop(w->model, "b.example");
    model_check(w->model, true);
    world_apply(w, false);
    assert_false(w->reloaded);
    char body[64];
    assert_int_equal(http_get(w->port, "alias.example", body, sizeof(body)), 503);
    assert_int_equal(http_get(w->port, "b.example", body, sizeof(body)), 503);
    if (dynamic)
        WORLD_UNTIL(w, !world_shows(w, "show backend", "other"));
    else
        world_looks(w, 3);
    assert_int_equal(world_shows(w, "show backend", "other"), !dynamic);
    /* and comes back */
    edit(w, "b.example", "other", b);
    world_apply(w, false);
    assert_false(w->reloaded);
    assert_answer(w, "b.example", "b");
    prober_end(&p);
    assert_int_equal(world_worker_pid(w), pid);
    world_apply(w, true);
    assert_int_equal(w->operations, 0);
}

static void test_routes_and_backends(void **state)
{
    (void)state;
    each_series(routes, NULL);
}

static void words(struct world *w, const char *series)
{
    (void)series;
    static struct prober p; /* its thread may outlive a failed assertion */
    prober_start(&p, w->port, "a.example");
    /* The only server gets other words: a reload, because nobody could serve meanwhile. */
    CLEANUP(free_ptr) char *alone = server_line("s1", 0, "check inter 600ms");
    edit(w, "a.example", "app", alone);
    world_apply(w, false);
    assert_true(w->reloaded);
    int pid = world_worker_pid(w);
    /* One of two: not. */
    CLEANUP(free_ptr) char *second = server_line("s2", 1, "check inter 600ms");
    CLEANUP(free_ptr) char *both = xasprintf("%s%s", alone, second);
    edit(w, "a.example", "app", both);
    world_apply(w, false);
    world_sleep(w, 100);
    prober_end(&p);
    assert_int_equal(world_worker_pid(w), pid);
    /* Anything else of a backend: a reload, with the reason. */
    CLEANUP(free_ptr) char *rule = xasprintf("http-response set-header X-A b\n%s", both);
    edit(w, "a.example", "app", rule);
    world_apply(w, false);
    assert_true(w->reloaded);
    assert_non_null(strstr(w->reason, "backend app changed"));
}

static void test_what_needs_a_reload(void **state)
{
    (void)state;
    each_series(words, NULL);
}

/* A request that is under way when its server is removed ends well; the server goes afterwards. */
static void *slow_request(void *ctx)
{
    const struct world *w = ctx;
    static const char request[] =
        "POST /slow HTTP/1.1\r\nHost: a.example\r\nContent-Length: 10\r\nConnection: close\r\n\r\n";
    char answer[4096] = "";
    CLEANUP(close_fd) int fd = tcp_connect(w->port);
    if (fd < 0 || write(fd, request, strlen(request)) != (ssize_t)strlen(request))
        return NULL;
    usleep(900000);
    if (write(fd, "0123456789", 10) != 10)
        return NULL;
    ssize_t n = read(fd, answer, sizeof(answer) - 1);
    return n > 0 && strstr(answer, " 200 ") ? ctx : NULL;
}

static void running_request(struct world *w, const char *series)
{
    (void)series;
    pthread_t thread;
    void *good = NULL;
    assert_int_equal(pthread_create(&thread, NULL, slow_request, w), 0);
    world_sleep(w, 300);
    CLEANUP(free_ptr) char *next = server_line("s2", 1, "check inter 500ms");
    edit(w, "a.example", "app", next);
    world_apply(w, false);
    assert_false(w->reloaded);
    CLEANUP(free_ptr) char *during = world_command(w, "show servers state app");
    assert_non_null(strstr(during, " s1 "));
    assert_answer(w, "a.example", "b");
    pthread_join(thread, &good);
    assert_non_null(good);
    /* 2.6 keeps a server while it has idle connections to it: until that one closes them. */
    WORLD_UNTIL(w, !world_shows(w, "show servers state app", " s1 "));
    world_apply(w, true);
    assert_int_equal(w->operations, 0);
}

static void test_a_running_request_is_not_hurt(void **state)
{
    (void)state;
    each_series(running_request, NULL);
}

static void drain_ends(struct world *w, const char *series)
{
    (void)series;
    static const char request[] = "POST /slow HTTP/1.1\r\nHost: a.example\r\nContent-Length: 10\r\n\r\n";
    CLEANUP(close_fd) int fd = tcp_connect(w->port);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, request, strlen(request)), strlen(request));
    world_sleep(w, 200);
    route(w, "a.example", "app", 1);
    world_apply(w, false);
    assert_false(w->reloaded);
    CLEANUP(free_ptr) char *during = world_command(w, "show servers state app");
    assert_non_null(strstr(during, " s1 "));
    /* The request would wait for five seconds, and holds the server until its connection is shut down. */
    int64_t begin = clock_now_ns();
    bool gone = false;
    while (!gone && clock_now_ns() - begin < 4500 * NS_PER_MS) {
        world_sleep(w, 100);
        CLEANUP(free_ptr) char *servers = world_command(w, "show servers state app");
        gone = strstr(servers, " s1 ") == NULL;
    }
    assert_true(gone);
    assert_true(clock_now_ns() - begin > 500 * NS_PER_MS);
    assert_answer(w, "a.example", "b");
    world_apply(w, true);
    assert_int_equal(w->operations, 0);
}

static void test_leaving_servers_are_shut_down(void **state)
{
    (void)state;
    each_series(drain_ends, &(const struct agent_config){.drain_ns = NS_PER_S});
}

static void put_listen(struct world *w, int port, const char *servers)
{
    CLEANUP(free_ptr) char *bind = xasprintf("bind 127.0.0.1:%d\n%s", port, servers);
    const struct emitted section[] = {{CONTRIBUTION_SECTION, "listen direct", "body", bind, 40, 0},
                                      {CONTRIBUTION_SECTION_FROM, "listen direct", "from", "base", 40, 0}};
    model_put(w->model, "direct", section, ARRAY_LEN(section));
    model_check(w->model, true);
}

static void expect_body(int port, const char *expected)
{
    char body[64];
    assert_int_equal(http_get(port, "x", body, sizeof(body)), 200);
    assert_string_equal(body, expected);
}

static void listen_section(struct world *w, const char *series)
{
    (void)series;
    int port = free_port();
    CLEANUP(free_ptr) char *first = xasprintf("server s1 127.0.0.1:%d\n", upstreams.ports[0]);
    CLEANUP(free_ptr) char *moved = xasprintf("server s1 127.0.0.1:%d\n", upstreams.ports[1]);
    CLEANUP(free_ptr) char *other = xasprintf("server s2 127.0.0.1:%d\n", upstreams.ports[2]);
    put_listen(w, port, first);
    world_apply(w, false);
    assert_true(w->reloaded);
    assert_string_equal(w->reason, "listen direct is new");
    expect_body(port, "a");
    put_listen(w, port, moved);
    world_apply(w, false);
    assert_false(w->reloaded);
    expect_body(port, "b");
    put_listen(w, port, other);
    world_apply(w, false);
    assert_false(w->reloaded);
    expect_body(port, "c");
    WORLD_UNTIL(w, !world_shows(w, "show servers state direct", " s1 "));
    world_apply(w, true);
    assert_int_equal(w->operations, 0);
    model_fragment_drop(w->model, "direct");
    model_check(w->model, true);
    world_apply(w, false);
    assert_true(w->reloaded);
    char body[64];
    assert_int_equal(http_get(port, "x", body, sizeof(body)), 0);
}

static void test_listen_sections(void **state)
{
    (void)state;
    each_series(listen_section, &(const struct agent_config){0});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_endpoints_change_without_reload),
        cmocka_unit_test(test_routes_and_backends),
        cmocka_unit_test(test_what_needs_a_reload),
        cmocka_unit_test(test_a_running_request_is_not_hurt),
        cmocka_unit_test(test_leaving_servers_are_shut_down),
        cmocka_unit_test(test_listen_sections),
    };
    return cmocka_run_group_tests(tests, group_begin, group_end);
}
