/* An agent around which things break: files that somebody changes, a disk that takes nothing, a HAProxy that hangs or
 * dies in the middle of a reload, a master that says nothing, connections that do not end. */
#include "agent_support.h"

#include <sys/resource.h>

static struct upstreams upstreams;

static int group_begin(void **state)
{
    (void)state;
    CLEANUP(free_ptr) char *binary = NULL;
    for (size_t i = 0; i < ARRAY_LEN(haproxy_series) && !binary; i++)
        binary = haproxy_binary(haproxy_series[i]);
    if (!binary)
        return -1;
    signal(SIGXFSZ, SIG_IGN);
    upstreams_start(&upstreams, binary);
    return 0;
}

static int group_end(void **state)
{
    (void)state;
    upstreams_end(&upstreams);
    return 0;
}

static void route(struct world *w, const char *host, const char *backend, int upstream)
{
    CLEANUP(free_ptr) char *line = xasprintf("server s%d 127.0.0.1:%d\n", upstream, upstreams.ports[upstream]);
    model_put_route(w->model, host, backend, line);
    model_accept_all(w->model);
}

/* a.example → upstream a, live, with a HAProxy of the agent's own. */
static void each_series(void (*test)(struct world *w, const char *series), struct agent_config config)
{
    bool any = false;
    config.supervise = true;
    for (size_t i = 0; i < ARRAY_LEN(haproxy_series); i++) {
        struct world w;
        if (!world_begin(&w, haproxy_series[i]))
            continue;
        any = true;
        print_message("    HAProxy %s\n", haproxy_series[i]);
        world_agent_with(&w, config);
        model_put_base(w.model, w.port, "");
        route(&w, "a.example", "app", 0);
        world_apply(&w, true);
        assert_answer(&w, "a.example", "a");
        test(&w, haproxy_series[i]);
        world_end(&w);
    }
    if (!any)
        skip();
}

static uint64_t drift_repairs(const struct world *w)
{
    struct agent_status status;
    agent_status(w->agent, &status);
    return status.drift_repairs;
}

static bool is_live(const struct world *w)
{
    struct agent_status status;
    agent_status(w->agent, &status);
    return status.live;
}

static void expect_change(struct world *w, const char *what, int seconds)
{
    for (int i = 0; i < seconds * 20 && strcmp(w->changed, what) != 0; i++)
        world_sleep(w, 50);
    assert_string_equal(w->changed, what);
}

/* ---- the directory ---- */

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
    assert_int_equal(drift_repairs(w), 1);
    assert_int_equal(unlink(host_map), 0);
    assert_int_equal(rmdir(map), 0);
    world_apply(w, true);
    expect_file(w, "maps/host.map", entries);
    assert_int_equal(drift_repairs(w), 2);
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
    each_series(altered, (struct agent_config){0});
}

static void size_limit(rlim_t bytes)
{
    struct rlimit limit;
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
    each_series(full_disk, (struct agent_config){0});
}

/* ---- processes that hang ---- */

static const struct agent_config impatient = {.command_deadline_ns = 400 * NS_PER_MS, .hung_attempts = 2};

static void hung(struct world *w, const char *series)
{
    (void)series;
    world_sleep(w, 2500); /* it has answered once at least */
    int worker = world_worker_pid(w);
    w->changed[0] = '\0';
    kill(worker, SIGSTOP);
    expect_change(w, "HAProxy was started", 30);
    assert_int_not_equal(world_worker_pid(w), worker);
    world_apply(w, true);
    assert_answer(w, "a.example", "a");
    struct agent_status status;
    agent_status(w->agent, &status);
    assert_int_equal(status.restarts, 1);
    assert_true(status.live);
}

static void test_hung_worker_is_started_again(void **state)
{
    (void)state;
    each_series(hung, impatient);
}

/* The directory with its sockets is removed: nobody can talk to that HAProxy again. */
static void removed(struct world *w, const char *series)
{
    (void)series;
    world_sleep(w, 2500);
    CLEANUP(free_ptr) char *remove = xasprintf("rm -rf '%s'", w->directory);
    w->changed[0] = '\0';
    assert_int_equal(pclose(popen(remove, "r")), 0);
    expect_change(w, "HAProxy was started", 30);
    world_apply(w, true);
    assert_answer(w, "a.example", "a");
    assert_int_equal(access(w->directory, F_OK), 0);
}

static void test_removed_directory(void **state)
{
    (void)state;
    each_series(removed, impatient);
}

/* One that somebody else has started is only reported, and works on when it is let go. */
static void attached(struct world *w, const char *series)
{
    (void)series;
    world_agent_end(w, false);
    world_agent_with(w, impatient);
    world_apply(w, true);
    world_sleep(w, 2500);
    assert_true(is_live(w));
    int worker = world_worker_pid(w);
    kill(worker, SIGSTOP);
    for (int i = 0; i < 200 && is_live(w); i++)
        world_sleep(w, 50);
    assert_false(is_live(w));
    world_try(w, true);
    assert_true(w->failed);
    world_sleep(w, 3000);
    assert_int_equal(kill(worker, SIGCONT), 0);
    world_sleep(w, 2500);
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
    each_series(attached, (struct agent_config){0});
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
    for (int i = 0; i < 200 && sample(w, unanswered) < 2; i++)
        world_sleep(w, 50);
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
    each_series(silent_master, (struct agent_config){0});
}

/* ---- dying in the middle ---- */

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
        expect_change(w, "HAProxy was started", 60);
        world_apply(w, true);
        const char expected[] = {(char)('b' + (char)i), '\0'};
        assert_answer(w, "a.example", expected);
        CLEANUP(free_ptr) char *config = file_read(w->directory, "haproxy.cfg");
        CLEANUP(free_ptr) char *header = xasprintf("X-%zu", i);
        assert_non_null(strstr(config, header));
    }
}

static void test_death_in_a_reload(void **state)
{
    (void)state;
    each_series(dies_in_reload, (struct agent_config){.reload_deadline_ns = 5 * NS_PER_S});
}

/* ---- connections that do not end ---- */

static void drain_ends(struct world *w, const char *series)
{
    (void)series;
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)w->port)};
    static const char request[] = "POST /slow HTTP/1.1\r\nHost: a.example\r\nContent-Length: 10\r\n\r\n";
    CLEANUP(close_fd) int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(write(fd, request, strlen(request)), strlen(request));
    world_sleep(w, 200);
    route(w, "a.example", "app", 1);
    world_apply(w, false);
    assert_false(w->reloaded);
    CLEANUP(free_ptr) char *during = world_command(w, "show servers state app");
    assert_non_null(strstr(during, " s0 "));
    /* The request would wait for five seconds, and holds the server until its connection is shut down. */
    int64_t begin = clock_now_ns();
    bool gone = false;
    while (!gone && clock_now_ns() - begin < 4500 * NS_PER_MS) {
        world_sleep(w, 100);
        CLEANUP(free_ptr) char *servers = world_command(w, "show servers state app");
        gone = strstr(servers, " s0 ") == NULL;
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
    each_series(drain_ends, (struct agent_config){.drain_ns = NS_PER_S});
}

/* ---- listen ---- */

static void put_listen(struct world *w, int port, const char *servers)
{
    CLEANUP(free_ptr) char *bind = xasprintf("bind 127.0.0.1:%d\n%s", port, servers);
    const struct emitted section[] = {{CONTRIBUTION_SECTION, "listen direct", "body", bind, 40},
                                      {CONTRIBUTION_SECTION_FROM, "listen direct", "from", "base", 40}};
    model_put(w->model, "direct", section, ARRAY_LEN(section));
    model_accept_all(w->model);
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
    world_sleep(w, 2200);
    world_apply(w, true);
    assert_int_equal(w->operations, 0);
    model_fragment_drop(w->model, "direct");
    model_accept_all(w->model);
    world_apply(w, false);
    assert_true(w->reloaded);
    char body[64];
    assert_int_equal(http_get(port, "x", body, sizeof(body)), 0);
}

static void test_listen_sections(void **state)
{
    (void)state;
    each_series(listen_section, (struct agent_config){0});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_altered_files),
        cmocka_unit_test(test_full_disk),
        cmocka_unit_test(test_hung_worker_is_started_again),
        cmocka_unit_test(test_removed_directory),
        cmocka_unit_test(test_hung_worker_of_somebody_else),
        cmocka_unit_test(test_silent_master),
        cmocka_unit_test(test_death_in_a_reload),
        cmocka_unit_test(test_leaving_servers_are_shut_down),
        cmocka_unit_test(test_listen_sections),
    };
    return cmocka_run_group_tests(tests, group_begin, group_end);
}
