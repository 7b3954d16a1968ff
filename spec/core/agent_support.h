/* agent_support.h — what the tests of core/agent share: an agent on a real HAProxy that it has started, or that
 * somebody else has, in front of upstreams.
 *
 * Static functions in a header: each test is one program of one file, and uses some of them.
 */
#ifndef SPEC_CORE_AGENT_SUPPORT_H
#define SPEC_CORE_AGENT_SUPPORT_H

#include "model_support.h"
#include "traffic_support.h"

#include "agent/agent.h"
#include "base/metric.h"
#include "haproxy/runtime.h"

static UNUSED struct upstreams upstreams;

static UNUSED int group_begin(void **state)
{
    (void)state;
    CLEANUP(free_ptr) char *binary = haproxy_any_binary();
    if (!binary)
        return -1;
    upstreams_start(&upstreams, binary);
    return 0;
}

static UNUSED int group_end(void **state)
{
    (void)state;
    upstreams_end(&upstreams);
    return 0;
}

static UNUSED char *server_line(const char *name, int upstream, const char *words)
{
    return xasprintf("server %s 127.0.0.1:%d %s\n", name, upstreams.ports[upstream], words);
}

/* ---- an agent ---- */

#define POLL_NS (100 * NS_PER_MS) /* tests need not wait as long as others */

struct world {
    uv_loop_t loop;
    char *directory, *binary;
    struct metrics *metrics;
    struct model *model;
    struct agent *agent;
    pid_t haproxy; /* attached: started by us; 0: supervised */
    int port;
    uint64_t generation;
    int64_t transitions;
    bool has_end;
    int64_t write_end_ns; /* with has_end */
    /* of the last apply */
    bool applied, gave_way, stopped;
    struct err err;
    char reason[512];
    unsigned operations;
    bool reloaded, failed, rest_is_live;
    int64_t reload_after_ns, duration_ns, highest_transitions;
    char changed[256];
    unsigned changes;
};

static UNUSED void world_changed(void *ctx, const char *what)
{
    struct world *w = ctx;
    snprintf(w->changed, sizeof(w->changed), "%s", what);
    w->changes++;
}

static UNUSED int64_t world_write_end_ns(void *ctx)
{
    const struct world *w = ctx;
    return w->has_end ? w->write_end_ns : INT64_MAX;
}

/* more: what is not the same in all tests. */
static UNUSED void world_agent_with(struct world *w, struct agent_config more)
{
    struct err err;
    more.binary = w->binary;
    more.directory = w->directory;
    more.min_reload_interval_ns = 1;
    more.disk_delay_ns = 50 * NS_PER_MS;
    more.write_end_ns = world_write_end_ns;
    more.poll_interval_ns = POLL_NS;
    w->agent = agent_new(&w->loop, &more, w->model, w->metrics, world_changed, w, &err);
    assert_non_null(w->agent);
}

static UNUSED void world_agent(struct world *w, bool supervise)
{
    world_agent_with(w, (struct agent_config){.supervise = supervise});
}

static UNUSED bool world_begin(struct world *w, const char *series)
{
    memset(w, 0, sizeof(*w));
    w->binary = haproxy_binary(series);
    if (!w->binary)
        return false;
    assert_int_equal(uv_loop_init(&w->loop), 0);
    w->directory = directory_new();
    w->metrics = metrics_new();
    w->model = model_new();
    w->port = free_port();
    return true;
}

static UNUSED void world_on_stopped(void *ctx)
{
    ((struct world *)ctx)->stopped = true;
}

static UNUSED void world_agent_end(struct world *w, bool stop_haproxy)
{
    w->stopped = false;
    agent_stop(w->agent, stop_haproxy, 0, world_on_stopped, w);
    assert_true(loop_until(&w->loop, &w->stopped, 20));
    w->agent = agent_free(w->agent);
}

static UNUSED void world_end(struct world *w)
{
    if (w->agent)
        world_agent_end(w, true);
    if (w->haproxy)
        process_end(w->haproxy);
    model_free(w->model);
    metrics_free(w->metrics);
    loop_end(&w->loop);
    directory_remove(w->directory);
    free(w->binary);
}

static UNUSED void world_on_applied(void *ctx, const struct agent_result *r)
{
    struct world *w = ctx;
    w->applied = true;
    w->gave_way = r->gave_way;
    w->failed = r->err != NULL;
    w->err = r->err ? *r->err : (struct err){0};
    w->operations = r->operations;
    w->reloaded = r->reloaded;
    w->rest_is_live = r->rest_is_live;
    w->reload_after_ns = r->reload_after_ns;
    w->duration_ns = r->duration_ns;
    w->highest_transitions = r->highest.transitions;
    snprintf(w->reason, sizeof(w->reason), "%s", r->reload_reason ? r->reload_reason : "");
}

/* Apply, waiting for the end; the outcome is in w. */
static UNUSED void world_try(struct world *w, bool all)
{
    struct model_changes changes = {0};
    const struct fence fence = {.transitions = w->transitions, .generation = ++w->generation, .holder = "test"};
    model_take_changes(w->model, &changes);
    w->applied = false;
    assert_true(agent_apply(w->agent, all ? NULL : &changes, &fence, world_on_applied, w));
    model_changes_done(&changes);
    assert_true(loop_until(&w->loop, &w->applied, 40));
}

static UNUSED void world_apply(struct world *w, bool all)
{
    world_try(w, all);
    if (w->failed)
        fail_msg("apply failed: %s", w->err.text);
    assert_int_equal(w->reload_after_ns, 0);
}

static UNUSED void world_sleep(struct world *w, int64_t ms)
{
    loop_sleep(&w->loop, ms);
}

/* Until the agent has looked at HAProxy about so often. */
static UNUSED void world_looks(struct world *w, unsigned times)
{
    world_sleep(w, times * POLL_NS / NS_PER_MS);
}

/* Runs the loop until the condition holds. */
#define WORLD_UNTIL(w, condition) \
    do { \
        int64_t end_ns_ = clock_now_ns() + 90 * NS_PER_S; \
        while (!(condition)) { \
            if (clock_now_ns() > end_ns_) \
                fail_msg("never: %s", #condition); \
            world_sleep(w, 10); \
        } \
    } while (0)

/* One command to the running worker; the answer, to be freed. */
struct command {
    bool done;
    char *answer;
};

static UNUSED void command_done(void *ctx, const struct err *err, const struct runtime_answer *answers, size_t count)
{
    struct command *c = ctx;
    c->done = true;
    c->answer = xstrdup(!err && count ? answers[0].text : "");
}

static UNUSED char *world_command_at(struct world *w, const char *name, const char *command)
{
    struct command c = {0};
    CLEANUP(free_ptr) char *socket = xasprintf("%s/%s", w->directory, name);
    runtime_run(&w->loop, socket, &command, 1, 5 * NS_PER_S, 0, command_done, &c);
    assert_true(loop_until(&w->loop, &c.done, 10));
    return c.answer;
}

static UNUSED char *world_command(struct world *w, const char *command)
{
    return world_command_at(w, "runtime.sock", command);
}

static UNUSED bool world_shows(struct world *w, const char *command, const char *part)
{
    CLEANUP(free_ptr) char *answer = world_command(w, command);
    return strstr(answer, part) != NULL;
}

static UNUSED int world_worker_pid(struct world *w)
{
    CLEANUP(free_ptr) char *info = world_command(w, "show info");
    const char *pid = strstr(info, "\nPid: ");
    assert_non_null(pid);
    return (int)strtol(pid + 6, NULL, 10);
}

static UNUSED bool is_answer(struct world *w, const char *host, const char *expected)
{
    char body[256];

    return http_get(w->port, host, body, sizeof(body)) == 200 && strcmp(body, expected) == 0;
}

static UNUSED void assert_answer(struct world *w, const char *host, const char *expected)
{
    char body[256];
    int status = http_get(w->port, host, body, sizeof(body));
    if (status != 200 || strcmp(body, expected) != 0)
        fail_msg("%s answered %d '%s' instead of '%s'", host, status, body, expected);
}

static UNUSED void expect_change(struct world *w, const char *what)
{
    WORLD_UNTIL(w, strcmp(w->changed, what) == 0);
}

static UNUSED bool is_live(const struct world *w)
{
    struct agent_status status;
    agent_status(w->agent, &status);
    return status.live;
}

static UNUSED uint64_t drift_repairs(const struct world *w)
{
    struct agent_status status;
    agent_status(w->agent, &status);
    return status.drift_repairs;
}

/* ---- routes ---- */

/* What these servers' backend and its route are from now on, as the check has accepted it. */
static UNUSED void edit(struct world *w, const char *host, const char *backend, const char *servers)
{
    model_put_route(w->model, host, host, backend, servers);
    model_check(w->model, true);
}

/* The same with one server, named s1, s2, … as upstreams are. */
static UNUSED void route(struct world *w, const char *host, const char *backend, int upstream)
{
    CLEANUP(free_ptr) char *name = xasprintf("s%d", upstream + 1);
    CLEANUP(free_ptr) char *line = server_line(name, upstream, "");
    edit(w, host, backend, line);
}

/* a.example → app, live with these servers, of which the first upstream is one. */
static UNUSED void world_begin_route(struct world *w, const char *servers)
{
    model_put_base(w->model, w->port, "");
    edit(w, "a.example", "app", servers);
    world_apply(w, true);
    assert_answer(w, "a.example", "a");
}

/* ---- in each series ---- */

/* A HAProxy that somebody else started on the directory, an agent attached to it, and one route a.example → upstream
 * a, live. */
static UNUSED bool world_attached(struct world *w, const char *series)
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
    w->haproxy = process_spawn(w->directory, NULL,
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
    world_begin_route(w, servers);
    assert_true(w->reloaded);
    return true;
}

/* A HAProxy of the agent's own. */
static UNUSED bool world_supervised(struct world *w, const char *series, struct agent_config config)
{
    if (!world_begin(w, series))
        return false;
    config.supervise = true;
    world_agent_with(w, config);
    CLEANUP(free_ptr) char *servers = server_line("s1", 0, "");
    world_begin_route(w, servers);
    assert_true(w->reloaded);
    assert_string_equal(w->reason, "first start");
    return true;
}

/* supervised: with a HAProxy of the agent's own and this configuration; NULL: with somebody else's. */
static UNUSED void each_series(void (*test)(struct world *w, const char *series), const struct agent_config *supervised)
{
    bool any = false;
    for (size_t i = 0; i < ARRAY_LEN(haproxy_series); i++) {
        struct world w;
        const char *series = haproxy_series[i];
        if (!(supervised ? world_supervised(&w, series, *supervised) : world_attached(&w, series)))
            continue;
        any = true;
        print_message("    HAProxy %s\n", series);
        test(&w, series);
        world_end(&w);
    }
    if (!any)
        skip();
}

#endif
