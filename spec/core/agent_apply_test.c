/* An agent that is attached to a real HAProxy: what it can change without a reload it does, under traffic, and proves
 * it. */
#include "agent_support.h"

static struct upstreams upstreams;

static int group_begin(void **state)
{
    (void)state;
    CLEANUP(free_ptr) char *binary = NULL;
    for (size_t i = 0; i < ARRAY_LEN(haproxy_series) && !binary; i++)
        binary = haproxy_binary(haproxy_series[i]);
    if (!binary)
        return -1;
    upstreams_start(&upstreams, binary);
    return 0;
}

static int group_end(void **state)
{
    (void)state;
    upstreams_end(&upstreams);
    return 0;
}

static char *server_line(const char *name, int upstream, const char *words)
{
    return xasprintf("server %s 127.0.0.1:%d %s\n", name, upstreams.ports[upstream], words);
}

/* A HAProxy that somebody else started on the directory, an agent attached to it, and one route a.example → upstream
 * a, live. */
static bool world_attached(struct world *w, const char *series)
{
    if (!world_begin(w, series))
        return false;
    char config[512];
    snprintf(
        config, sizeof(config),
        "global\n    stats socket %s/runtime.sock mode 600 level admin\n    maxconn 100\ndefaults\n    mode http\n"
        "    timeout client 5s\n    timeout server 5s\n    timeout connect 5s\nfrontend f\n    bind 127.0.0.1:%d\n",
        w->directory, w->port);
    file_write(w->directory, "haproxy.cfg", config);
    CLEANUP(free_ptr) char *master = xasprintf("%s/master.sock,mode,600", w->directory);
    CLEANUP(free_ptr) char *socket = xasprintf("%s/runtime.sock", w->directory);
    process_spawn(&w->haproxy, w->directory,
                  (const char *const[]){w->binary, "-W", "-S", master, "-f", "haproxy.cfg", NULL});
    for (int i = 0; i < 500 && access(socket, F_OK) != 0; i++)
        usleep(10000);
    CLEANUP(free_ptr) char *alive = NULL;
    for (int i = 0; i < 100 && !(alive && strstr(alive, "worker")); i++) {
        world_sleep(w, 50);
        free(alive);
        alive = world_command_at(w, "master.sock", "show proc");
    }
    world_agent(w, false);
    CLEANUP(free_ptr) char *servers = server_line("s1", 0, "check inter 500ms weight 10");
    model_put_base(w->model, w->port, "");
    model_put_route(w->model, "a.example", "app", servers);
    model_accept_all(w->model);
    world_apply(w, true);
    assert_true(w->reloaded);
    assert_answer(w, "a.example", "a");
    return true;
}

static void each_series(void (*test)(struct world *w, const char *series))
{
    bool any = false;
    for (size_t i = 0; i < ARRAY_LEN(haproxy_series); i++) {
        struct world w;
        if (!world_attached(&w, haproxy_series[i]))
            continue;
        any = true;
        print_message("    HAProxy %s\n", haproxy_series[i]);
        test(&w, haproxy_series[i]);
        world_end(&w);
    }
    if (!any)
        skip();
}

static void edit(struct world *w, const char *host, const char *backend, const char *servers)
{
    model_put_route(w->model, host, backend, servers);
    model_accept_all(w->model);
}

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
    world_sleep(w, 1300); /* leaving servers */
    world_apply(w, true);
    assert_int_equal(w->operations, 0);
    CLEANUP(free_ptr) char *state = world_command(w, "show servers state app");
    assert_null(strstr(state, " r8 "));
    assert_non_null(strstr(state, " r9 "));
}

static void test_endpoints_change_without_reload(void **state)
{
    (void)state;
    each_series(endpoints);
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
    const struct emitted alias[] = {{CONTRIBUTION_MAP_ENTRY, "host.map", "alias.example", "other", 0}};
    model_put(w->model, "alias", alias, 1);
    model_accept_all(w->model);
    world_apply(w, false);
    assert_false(w->reloaded);
    assert_answer(w, "alias.example", "b");
    /* that changes, and goes */
    const struct emitted changed[] = {{CONTRIBUTION_MAP_ENTRY, "host.map", "alias.example", "app", 0}};
    model_put(w->model, "alias", changed, 1);
    model_accept_all(w->model);
    world_apply(w, false);
    assert_answer(w, "alias.example", "a");
    model_fragment_drop(w->model, "alias");
    model_fragment_drop(w->model, "b.example");
    model_accept_all(w->model);
    world_apply(w, false);
    assert_false(w->reloaded);
    char body[64];
    assert_int_equal(http_get(w->port, "alias.example", body, sizeof(body)), 503);
    assert_int_equal(http_get(w->port, "b.example", body, sizeof(body)), 503);
    world_sleep(w, 1300);
    CLEANUP(free_ptr) char *backends = world_command(w, "show backend");
    assert_int_equal(strstr(backends, "other") != NULL, !dynamic);
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
    each_series(routes);
}

static void drift(struct world *w, const char *series)
{
    (void)series;
    int pid = world_worker_pid(w);
    free(world_command(w, "set server app/s1 state maint"));
    free(world_command(w, "set server app/s1 addr 127.0.0.9 port 9"));
    free(world_command(w, "del map maps/host.map a.example"));
    free(world_command(w, "add map maps/host.map z.example app"));
    free(world_command(w, "add server app/foreign 127.0.0.1:9"));
    world_apply(w, true);
    assert_false(w->reloaded);
    assert_true(w->operations >= 4);
    assert_answer(w, "a.example", "a");
    CLEANUP(free_ptr) char *map = world_command(w, "show map maps/host.map");
    assert_null(strstr(map, "z.example"));
    CLEANUP(free_ptr) char *servers = world_command(w, "show servers state app");
    assert_null(strstr(servers, "foreign"));
    free(world_command(w, "add map maps/host.map a.example other"));
    world_apply(w, true);
    CLEANUP(free_ptr) char *deduped = world_command(w, "show map maps/host.map");
    assert_ptr_equal(strstr(strstr(deduped, "a.example") + 1, "a.example"), NULL);
    struct agent_status status;
    agent_status(w->agent, &status);
    assert_true(status.drift_repairs >= 2);
    assert_int_equal(world_worker_pid(w), pid);
}

/* A comparison of everything during which the model accepts another weight and another route. */
static uint64_t compare_under_way(struct world *w, int weight)
{
    const struct fence fence = {.transitions = w->transitions, .generation = ++w->generation, .holder = "test"};
    CLEANUP(free_ptr) char *words = xasprintf("check inter 500ms weight %d", weight);
    CLEANUP(free_ptr) char *servers = server_line("s1", 0, words);
    CLEANUP(free_ptr) char *host = xasprintf("news-%d.example", weight);
    struct agent_status status;
    w->applied = false;
    assert_true(agent_apply(w->agent, NULL, &fence, world_on_applied, w));
    model_put_route(w->model, "a.example", "app", servers);
    const struct emitted route = {CONTRIBUTION_MAP_ENTRY, "host.map", host, "app", 0};
    model_put(w->model, host, &route, 1);
    model_accept_all(w->model);
    assert_true(loop_until(&w->loop, &w->applied, 40));
    assert_false(w->failed);
    world_apply(w, false);
    CLEANUP(free_ptr) char *found = world_command(w, "show servers state app");
    CLEANUP(free_ptr) char *shown = xasprintf(" %d ", weight);
    assert_non_null(strstr(found, shown));
    assert_answer(w, host, "a");
    agent_status(w->agent, &status);
    return status.drift_repairs;
}

static void news(struct world *w, const char *series)
{
    (void)series;
    assert_int_equal(compare_under_way(w, 77), 0);
    free(world_command(w, "del map maps/host.map news-77.example"));
    assert_int_equal(compare_under_way(w, 78), 1);
    assert_answer(w, "news-77.example", "a");
}

static void test_news_are_no_drift(void **state)
{
    (void)state;
    each_series(news);
}

static void test_drift_is_repaired(void **state)
{
    (void)state;
    each_series(drift);
}

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
    each_series(takeover);
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
    each_series(end_of_the_time_to_write);
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
    each_series(words);
}

/* ---- what may go live without a check ---- */

struct judging {
    struct item *items[16];
    size_t count;
};

static void collect(void *ctx, struct item *item)
{
    struct judging *j = ctx;
    assert_true(j->count < ARRAY_LEN(j->items));
    j->items[j->count++] = item;
}

static bool judge(struct world *w)
{
    struct judging j = {0};
    model_each_pending(w->model, collect, &j);
    assert_true(j.count > 0);
    return agent_is_structural(w->agent, j.items, j.count);
}

static void structural(struct world *w, const char *series)
{
    bool dynamic = strcmp(series, "3.4") == 0;
    static const struct {
        const char *words;
        bool expected;
    } cases[] = {
        {"check inter 500ms weight 99", true}, /* a shape that HAProxy has accepted */
        {"check inter 500ms", true},           {"check inter 600ms", false},
        {"check inter 500ms id 7", false},     {"weight x", false},
    };
    CLEANUP(free_ptr) char *first = server_line("s1", 0, "check inter 500ms weight 10");
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        CLEANUP(free_ptr) char *second = server_line("s2", 1, cases[i].words);
        CLEANUP(free_ptr) char *both = xasprintf("%s%s", first, second);
        model_put_route(w->model, "a.example", "app", both);
        if (judge(w) != cases[i].expected)
            fail_msg("'%s' is judged wrongly", cases[i].words);
        model_put_route(w->model, "b.example", "fresh", second);
        model_put_route(w->model, "a.example", "app", first);
        if (judge(w) != (cases[i].expected && dynamic))
            fail_msg("a new backend with '%s' is judged wrongly", cases[i].words);
        model_fragment_drop(w->model, "b.example");
        assert_int_equal(model_pending(w->model), 0);
    }
    model_put_route(w->model, "a.example", "app", "server s1 example.com:80 check inter 500ms\n");
    assert_false(judge(w));
    CLEANUP(free_ptr) char *rule = xasprintf("%shttp-request deny\n", first);
    model_put_route(w->model, "a.example", "app", rule);
    assert_false(judge(w));
    model_put_route(w->model, "a.example", "app", first);
    const struct emitted route[] = {{CONTRIBUTION_MAP_ENTRY, "host.map", "x.example", "app", 0}};
    model_put(w->model, "x", route, 1);
    assert_true(judge(w));
    const struct emitted nowhere[] = {{CONTRIBUTION_MAP_ENTRY, "host.map", "x.example", "nowhere", 0}};
    model_put(w->model, "x", nowhere, 1);
    assert_false(judge(w));
    const struct emitted other[] = {{CONTRIBUTION_MAP_ENTRY, "other.map", "x.example", "app", 0}};
    model_put(w->model, "x", other, 1);
    assert_false(judge(w));
    const struct emitted file[] = {{CONTRIBUTION_FILE, "x.http", "", "app", 0}};
    model_put(w->model, "x", file, 1);
    assert_false(judge(w));
    model_fragment_drop(w->model, "x");
    /* A map that is searched by regular expressions: a key can be wrong. */
    model_put_base(w->model, w->port, "http-request set-header X-R %[path,map_reg(maps/host.map)]\n");
    model_accept_all(w->model);
    world_apply(w, false);
    assert_true(w->reloaded);
    model_put(w->model, "x", route, 1);
    assert_false(judge(w));
}

static void test_structural_changes(void **state)
{
    (void)state;
    each_series(structural);
}

/* A route on a profile of its own, by the map. */
static void put_profiled(struct world *w, const char *host, const char *backend, const char *servers)
{
    CLEANUP(free_ptr) char *section = xasprintf("backend %s", backend);
    const struct emitted route[] = {
        {CONTRIBUTION_SECTION, "defaults special", "body", "timeout server 7s\n", 11},
        {CONTRIBUTION_SECTION_FROM, "defaults special", "from", "base", 11},
        {CONTRIBUTION_SECTION, section, "body", servers, 30},
        {CONTRIBUTION_SECTION_FROM, section, "from", "special", 30},
        {CONTRIBUTION_MAP_ENTRY, "host.map", host, backend, 0},
    };
    model_put(w->model, host, route, ARRAY_LEN(route));
}

static void accept_judged(struct world *w)
{
    struct judging j = {0};
    model_each_pending(w->model, collect, &j);
    assert_true(agent_is_structural(w->agent, j.items, j.count));
    for (size_t i = 0; i < j.count; i++)
        model_accept(w->model, j.items[i]);
    assert_int_equal(model_pending(w->model), 0);
}

/* What an object that is deleted leaves behind: no reload anywhere, on 3.4 no check either. */
static void removals(struct world *w, const char *series)
{
    bool dynamic = strcmp(series, "3.4") == 0;
    CLEANUP(free_ptr) char *b = server_line("s1", 1, "check inter 500ms weight 10");
    put_profiled(w, "b.example", "other", b);
    model_put_base(w->model, w->port, "use_backend pinned if { path /pinned }\n");
    edit(w, "pinned.example", "pinned", b);
    world_apply(w, false);
    assert_answer(w, "b.example", "b");
    int pid = world_worker_pid(w);

    /* Named by a text that runs. */
    model_fragment_drop(w->model, "pinned.example");
    assert_false(judge(w));
    model_put_route(w->model, "pinned.example", "pinned", b);
    assert_int_equal(model_pending(w->model), 0);
    /* Named by a text that is being checked, then by one that is accepted and not live yet. */
    model_put_base(w->model, w->port, "use_backend pinned if { path /pinned }\ndefault_backend \"other\"\n");
    model_check_begin(w->model);
    model_fragment_drop(w->model, "b.example");
    assert_false(judge(w));
    put_profiled(w, "b.example", "other", b);
    model_check_end(w->model, true);
    model_fragment_drop(w->model, "b.example");
    assert_false(judge(w));
    put_profiled(w, "b.example", "other", b);
    model_put_base(w->model, w->port, "use_backend pinned if { path /pinned }\n");
    model_accept_all(w->model);
    world_apply(w, false);
    assert_int_equal(world_worker_pid(w), pid);

    for (int i = 0; i < 2; i++) {
        static struct prober p; /* its thread may outlive a failed assertion */
        prober_start(&p, w->port, "a.example");
        model_fragment_drop(w->model, "b.example");
        if (dynamic)
            accept_judged(w);
        else
            assert_false(judge(w));
        model_accept_all(w->model);
        world_apply(w, false);
        assert_false(w->reloaded);
        char body[64];
        assert_int_equal(http_get(w->port, "b.example", body, sizeof(body)), 503);
        world_sleep(w, 1300); /* what had connections goes with the next look */
        CLEANUP(free_ptr) char *backends = world_command(w, "show backend");
        assert_int_equal(strstr(backends, "other") != NULL, !dynamic);
        world_apply(w, true);
        assert_int_equal(w->operations, 0);
        assert_false(w->reloaded);
        /* And back, profile and all. */
        put_profiled(w, "b.example", "other", b);
        if (dynamic)
            accept_judged(w);
        model_accept_all(w->model);
        world_apply(w, false);
        assert_false(w->reloaded);
        assert_answer(w, "b.example", "b");
        prober_end(&p);
    }
    assert_int_equal(world_worker_pid(w), pid);
}

static void test_removals(void **state)
{
    (void)state;
    each_series(removals);
}

/* A request that is under way when its server is removed ends well; the server goes afterwards. */
static void *slow_request(void *ctx)
{
    const struct world *w = ctx;
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)w->port)};
    static const char request[] =
        "POST /slow HTTP/1.1\r\nHost: a.example\r\nContent-Length: 10\r\nConnection: close\r\n\r\n";
    char answer[4096] = "";
    CLEANUP(close_fd) int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) ||
        write(fd, request, strlen(request)) != (ssize_t)strlen(request))
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
    /* 2.6 keeps an idle connection to it for up to pool-purge-delay, 5 s. */
    CLEANUP(free_ptr) char *after = world_command(w, "show servers state app");
    for (int i = 0; i < 40 && strstr(after, " s1 "); i++) {
        world_sleep(w, 500);
        free(after);
        after = world_command(w, "show servers state app");
    }
    assert_null(strstr(after, " s1 "));
    world_apply(w, true);
    assert_int_equal(w->operations, 0);
}

static void test_a_running_request_is_not_hurt(void **state)
{
    (void)state;
    each_series(running_request);
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
    /* Announced and not finished: the words of its servers are not believed. */
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
    each_series(journal);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_endpoints_change_without_reload),
        cmocka_unit_test(test_routes_and_backends),
        cmocka_unit_test(test_drift_is_repaired),
        cmocka_unit_test(test_news_are_no_drift),
        cmocka_unit_test(test_takeover_needs_no_reload),
        cmocka_unit_test(test_end_of_the_time_to_write),
        cmocka_unit_test(test_what_needs_a_reload),
        cmocka_unit_test(test_structural_changes),
        cmocka_unit_test(test_removals),
        cmocka_unit_test(test_a_running_request_is_not_hurt),
        cmocka_unit_test(test_takeover_before_the_directory_is_level),
    };
    return cmocka_run_group_tests(tests, group_begin, group_end);
}
