/* agent_support.h — what the tests of core/agent share: upstreams, a prober with a thread of its own, a model to edit,
 * an agent on a real HAProxy.
 */
#ifndef SPEC_CORE_AGENT_SUPPORT_H
#define SPEC_CORE_AGENT_SUPPORT_H

#include "haproxy_support.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdatomic.h>

#include "agent/agent.h"
#include "base/metric.h"
#include "haproxy/model.h"
#include "haproxy/runtime.h"

/* ---- upstreams: a HAProxy that answers on ports of its own with "a", "b", "c", "d" ---- */

struct upstreams {
    pid_t pid;
    char *directory;
    int ports[4];
};

static UNUSED void process_spawn(pid_t *ret_pid, const char *directory, const char *const *argv)
{
    *ret_pid = fork();
    if (*ret_pid == 0) {
        int null = open("/dev/null", O_RDWR);
        dup2(null, 0);
        dup2(null, 1);
        dup2(null, 2);
        setsid();
        if (chdir(directory) == 0)
            execv(argv[0], (char *const *)(uintptr_t)argv);
        _exit(127);
    }
}

static UNUSED void process_end(pid_t pid)
{
    kill(-pid, SIGTERM);
    for (int i = 0; i < 300 && waitpid(pid, NULL, WNOHANG) == 0; i++)
        usleep(10000);
    kill(-pid, SIGKILL);
}

static UNUSED int http_get(int port, const char *host, char *body, size_t size);

static UNUSED void upstreams_start(struct upstreams *u, const char *binary)
{
    u->directory = directory_new();
    char *text = xasprintf("defaults\n  mode http\n  timeout client 60s\n  timeout server 5s\n  timeout connect 5s\n");
    for (int i = 0; i < 4; i++) {
        u->ports[i] = free_port();
        char *more = xasprintf(
            "%sfrontend u%d\n  bind 127.0.0.1:%d\n  http-request wait-for-body time 5s if { path /slow }\n"
            "  http-request return status 200 content-type text/plain string %c\n",
            text, i, u->ports[i], 'a' + i);
        free(text);
        text = more;
    }
    file_write(u->directory, "haproxy.cfg", text);
    free(text);
    process_spawn(&u->pid, u->directory, (const char *const[]){binary, "-db", "-f", "haproxy.cfg", NULL});
    char body[64];
    for (int i = 0; i < 500 && http_get(u->ports[3], "x", body, sizeof(body)) != 200; i++)
        usleep(10000);
}

static UNUSED void upstreams_end(struct upstreams *u)
{
    process_end(u->pid);
    directory_remove(u->directory);
}

/* ---- requests ---- */

/* GET / with this Host; the status, 0 when there was no answer. */
static UNUSED int http_get(int port, const char *host, char *body, size_t size)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)port)};
    char text[4096], *at;
    size_t length = 0;
    ssize_t n;
    int status = 0;
    body[0] = '\0';
    CLEANUP(close_fd) int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)))
        return 0;
    int out = snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", host);
    if (write(fd, text, (size_t)out) != out)
        return 0;
    while (length < sizeof(text) - 1 && (n = read(fd, text + length, sizeof(text) - 1 - length)) > 0)
        length += (size_t)n;
    text[length] = '\0';
    if (sscanf(text, "HTTP/1.1 %d", &status) != 1)
        return 0;
    at = strstr(text, "\r\n\r\n");
    snprintf(body, size, "%s", at ? at + 4 : "");
    return status;
}

/* Asks again and again, each time on a new connection, until it is stopped. */
struct prober {
    pthread_t thread;
    int port;
    const char *host;
    atomic_bool stop;
    atomic_uint requests, failures;
    atomic_int last_bad;
};

static UNUSED void *prober_run(void *ctx)
{
    struct prober *p = ctx;
    char body[256];
    while (!atomic_load(&p->stop)) {
        int status = http_get(p->port, p->host, body, sizeof(body));
        atomic_fetch_add(&p->requests, 1);
        if (status != 200) {
            atomic_fetch_add(&p->failures, 1);
            atomic_store(&p->last_bad, status);
        }
        usleep(300);
    }
    return NULL;
}

static UNUSED void prober_start(struct prober *p, int port, const char *host)
{
    memset(p, 0, sizeof(*p));
    p->port = port;
    p->host = host;
    assert_int_equal(pthread_create(&p->thread, NULL, prober_run, p), 0);
}

static UNUSED void prober_end(struct prober *p)
{
    atomic_store(&p->stop, true);
    pthread_join(p->thread, NULL);
    if (atomic_load(&p->failures))
        fail_msg("%u of %u requests failed, the last with %d", atomic_load(&p->failures), atomic_load(&p->requests),
                 atomic_load(&p->last_bad));
    assert_true(atomic_load(&p->requests) > 10);
}

/* ---- the model ---- */

struct emitted {
    enum contribution_kind kind;
    const char *scope, *key, *text;
    int32_t rank;
};

static UNUSED struct fragment *fragment_make(const char *id, int64_t created_s, const struct emitted *emitted,
                                             size_t count)
{
    struct contribution_input *items = xcalloc(count + 1, sizeof(*items));
    for (size_t i = 0; i < count; i++)
        items[i] = (struct contribution_input){.kind = emitted[i].kind,
                                               .rank = emitted[i].rank,
                                               .scope = emitted[i].scope,
                                               .scope_length = strlen(emitted[i].scope),
                                               .key = emitted[i].key,
                                               .key_length = strlen(emitted[i].key),
                                               .text = emitted[i].text,
                                               .text_length = strlen(emitted[i].text)};
    const struct fragment_head head = {
        .id = id, .template_name = "test.lua", .owner_kind = "tests", .owner_id = id, .owner_created_s = created_s};
    struct fragment *f = fragment_new(&head, items, count);
    free(items);
    return f;
}

static UNUSED void model_put(struct model *m, const char *id, const struct emitted *emitted, size_t count)
{
    struct fragment *f = fragment_make(id, 1, emitted, count);
    model_fragment_put(m, f);
    fragment_unref(f);
}

static UNUSED void model_accept_all(struct model *m)
{
    model_check_begin(m);
    model_check_end(m, true);
}

/* Global, defaults, a frontend that routes by maps/host.map. */
static UNUSED void model_put_base(struct model *m, int port, const char *extra)
{
    CLEANUP(free_ptr)
    char *frontend = xasprintf("bind 127.0.0.1:%d\n%suse_backend %%[req.hdr(host),lower,map(maps/host.map)]\n", port,
                               extra);
    const struct emitted base[] = {
        {CONTRIBUTION_SECTION, "global", "body", "maxconn 200\nhard-stop-after 5s\n", 0},
        {CONTRIBUTION_SECTION, "defaults base", "body",
         "mode http\ntimeout client 5s\ntimeout server 5s\ntimeout connect 1s\nretries 2\n", 10},
        {CONTRIBUTION_SECTION, "frontend http", "body", frontend, 20},
        {CONTRIBUTION_SECTION_FROM, "frontend http", "from", "base", 20},
        {CONTRIBUTION_MAP_ENTRY, "host.map", "", "", 0},
    };
    model_put(m, "base", base, ARRAY_LEN(base));
}

/* One route: host → backend with these server lines. */
static UNUSED void model_put_route(struct model *m, const char *host, const char *backend, const char *servers)
{
    CLEANUP(free_ptr) char *section = xasprintf("backend %s", backend);
    const struct emitted route[] = {
        {CONTRIBUTION_SECTION, section, "body", servers, 30},
        {CONTRIBUTION_SECTION_FROM, section, "from", "base", 30},
        {CONTRIBUTION_MAP_ENTRY, "host.map", host, backend, 0},
    };
    model_put(m, host, route, ARRAY_LEN(route));
}

/* ---- an agent ---- */

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
    bool applied, stopped;
    struct err err;
    char reason[512];
    unsigned operations;
    bool reloaded, failed;
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
    w->failed = r->err != NULL;
    w->err = r->err ? *r->err : (struct err){0};
    w->operations = r->operations;
    w->reloaded = r->reloaded;
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

static UNUSED void world_sleep(struct world *w, int ms)
{
    bool over = false, closed = false;
    uv_timer_t timer;
    uv_timer_init(&w->loop, &timer);
    timer.data = &over;
    uv_timer_start(&timer, wait_over, (uint64_t)ms, 0);
    while (!over)
        uv_run(&w->loop, UV_RUN_ONCE);
    timer.data = &closed;
    uv_close((uv_handle_t *)&timer, wait_closed);
    while (!closed)
        uv_run(&w->loop, UV_RUN_NOWAIT);
}

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

static UNUSED int world_worker_pid(struct world *w)
{
    CLEANUP(free_ptr) char *info = world_command(w, "show info");
    const char *pid = strstr(info, "\nPid: ");
    assert_non_null(pid);
    return (int)strtol(pid + 6, NULL, 10);
}

static UNUSED void assert_answer(struct world *w, const char *host, const char *expected)
{
    char body[256];
    int status = http_get(w->port, host, body, sizeof(body));
    if (status != 200 || strcmp(body, expected) != 0)
        fail_msg("%s answered %d '%s' instead of '%s'", host, status, body, expected);
}

#endif
