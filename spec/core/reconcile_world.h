/* reconcile_world.h — the way of a change with real parts: a folder of manifests, a real renderer process, the base
 * library, a supervised HAProxy that is asked by HTTP. The test program is its own renderer: started as "… renderer" it
 * hands over to the worker. */
#ifndef SPEC_CORE_RECONCILE_WORLD_H
#define SPEC_CORE_RECONCILE_WORLD_H

#include "controller_support.h"
#include "traffic_support.h"

#include "agent/agent.h"
#include "controller/config.h"
#include "controller/conflicts.h"
#include "controller/messages.h"
#include "controller/notices.h"
#include "controller/reconcile.h"
#include "engine/worker.h"
#include "store/source_dir.h"

/* One backend and one route for each ConfigMap, with what its data says. */
static UNUSED const char script[] =
    "each(resources.things, 'route', function(o, out)\n"
    "  local d = o.data or {}\n"
    "  if d.fail then fail(d.fail) end\n"
    "  while d.loop do end\n"
    "  if d.warn then out:warn('Careful', d.warn) end\n"
    "  out:backend(o.metadata.name, { profile = false }, function(b)\n"
    "    if d.text then\n"
    "      b:line('http-request', 'return', 'status', 200, 'content-type', 'text/plain', 'string', d.text)\n"
    "    end\n"
    "    if d.raw then b:raw(d.raw) end\n"
    "    if d.address then b:server({ name = 's1', address = d.address, port = 80 }) end\n"
    "  end)\n"
    "  out:map_entry('default-backend.map', o.metadata.name .. '.example', o.metadata.name)\n"
    "end)\n";

/* The series of HAProxy that begin_without_source() takes; NULL: any. */
static UNUSED const char *world_series;

struct world {
    uv_loop_t loop;
    char *binary, *root, *manifests, *hap;
    int port, log;
    struct metrics *metrics;
    struct config *config;
    struct store *store;
    struct source_dir *source;
    struct reconcile *reconcile;
    struct renderer *renderer;
    struct agent *agent;
    bool may_write, synced, stopped;
    int64_t transitions;
    unsigned stale, notices, programs, refused_programs;
    char notice[512];
};

static UNUSED bool may_write(void *ctx)
{
    return ((struct world *)ctx)->may_write;
}

static UNUSED int64_t fence_transitions(void *ctx)
{
    return ((struct world *)ctx)->transitions;
}

static UNUSED void refused_stale(void *ctx, int64_t highest)
{
    struct world *w = ctx;

    (void)highest;
    w->stale++;
}

static UNUSED int64_t received_ns(void *ctx)
{
    (void)ctx;
    return 0;
}

static UNUSED void on_program(void *ctx, const char *problem)
{
    struct world *w = ctx;

    w->programs += problem == NULL;
    w->refused_programs += problem != NULL;
}

static UNUSED bool is_synced(void *ctx)
{
    struct world *w = ctx;

    return w->synced && store_is_synced(w->store);
}

static UNUSED void notify(void *ctx, bool warning, const char *owner_kind, const char *owner_id, const char *reason,
                          const char *message)
{
    struct world *w = ctx;

    w->notices++;
    snprintf(w->notice, sizeof(w->notice), "%d %s %s %s: %s", warning, owner_kind, owner_id, reason, message);
}

static UNUSED void on_report(void *ctx, enum source_dir_news news, const char *file, size_t line, const char *message)
{
    (void)ctx;
    if (news != SOURCE_DIR_RIGHT)
        fail_msg("%s:%zu: %s", file, line, message);
}

static UNUSED void on_changed(void *ctx, const char *what)
{
    reconcile_compare_all(((struct world *)ctx)->reconcile, what);
}

static UNUSED void put_thing(struct world *w, const char *name, const char *data)
{
    CLEANUP(free_ptr) char *file = xasprintf("%s.yaml", name), *temporary = xasprintf(".%s.new", name);
    CLEANUP(free_ptr)
    char *text = xasprintf(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {namespace: default, name: %s, creationTimestamp: "
        "\"2024-01-02T03:04:05Z\"}\ndata: {%s}\n",
        name, data);
    CLEANUP(free_ptr)
    char *from = xasprintf("%s/%s", w->manifests, temporary), *to = xasprintf("%s/%s", w->manifests, file);
    file_write(w->manifests, temporary, text);
    assert_int_equal(rename(from, to), 0);
}

static UNUSED void drop_thing(struct world *w, const char *name)
{
    CLEANUP(free_ptr) char *path = xasprintf("%s/%s.yaml", w->manifests, name);
    assert_int_equal(unlink(path), 0);
}

static UNUSED void set_program(struct world *w, const char *source)
{
    CLEANUP(buf_done) struct buf program = {0};
    CLEANUP(free_ptr) char *port = xasprintf("http_port=%d", w->port);
    CLEANUP(free_ptr) char *status = xasprintf("status_bind=127.0.0.1:%d", free_port());
    const char *const extra[] = {port, status, NULL};
    const struct haproxy_caps caps = {.major = 2, .minor = 6};
    struct err err;

    for (size_t i = 0; i < w->config->snippets.items.length; i++) {
        free(w->config->snippets.items.items[i].text);
        w->config->snippets.items.items[i].text = xstrdup(source);
    }
    assert_int_equal(config_program(w->config, &caps, NULL, extra, &program, &err), 0);
    renderer_set_program(w->renderer, buf_str(&program), program.length);
}

static UNUSED void begin_without_source(struct world *w)
{
    static const struct reconcile_ops ops = {.may_write = may_write,
                                             .fence_transitions = fence_transitions,
                                             .refused_stale = refused_stale,
                                             .received_ns = received_ns,
                                             .program = on_program,
                                             .is_synced = is_synced,
                                             .notify = notify};
    static const char config[] = "watchedResources: {things: {apiVersion: v1, resources: configmaps}}\n"
                                 "templatingSettings: {libraries: [base]}\n"
                                 "templateSnippets: {things.lua: {template: x}}\n";
    struct err err;
    bool changed;

    memset(w, 0, sizeof(*w));
    w->binary = world_series ? haproxy_binary(world_series) : haproxy_any_binary();
    if (w->binary == NULL)
        skip();
    assert_int_equal(uv_loop_init(&w->loop), 0);
    w->log = log_capture();
    log_set_level(LOG_DEBUG);
    w->root = directory_new();
    w->manifests = xasprintf("%s/manifests", w->root);
    w->hap = xasprintf("%s/haproxy", w->root);
    assert_int_equal(mkdir(w->manifests, 0700) | mkdir(w->hap, 0700), 0);
    w->port = free_port();
    w->may_write = w->synced = true;
    w->metrics = metrics_new();
    assert_int_equal(config_parse("test", config, strlen(config), &w->config, &err), 0);
    w->store = store_new(1 << 20, 1 << 28);
    assert_int_equal(config_add_kinds(w->config, w->store, &changed, &err), 0);
    const struct reconcile_config rc = {.identity = "test",
                                        .drift_interval_ns = 3600 * NS_PER_S,
                                        .render_timeout_ns = 700 * NS_PER_MS,
                                        .check = {.binary = w->binary}};
    w->reconcile = reconcile_new(&w->loop, &rc, w->store, w->metrics, &ops, w);
    const struct renderer_limits limits = {.deadline_ns = 700 * NS_PER_MS};
    w->renderer = renderer_new(&w->loop, w->store, "/proc/self/exe", &limits, reconcile_renderer_events(), w->reconcile,
                               w->metrics);
    set_program(w, script);
    const struct agent_config ac = {
        .binary = w->binary, .directory = w->hap, .supervise = true, .min_reload_interval_ns = NS_PER_MS};
    w->agent = agent_new(&w->loop, &ac, reconcile_model(w->reconcile), w->metrics, on_changed, w, &err);
    assert_non_null(w->agent);
    reconcile_attach(w->reconcile, w->renderer, w->agent);
}

static UNUSED void start_source(struct world *w)
{
    struct err err;

    if (source_dir_new(&w->loop, w->store, w->manifests, on_report, w, &w->source, &err) < 0)
        fail_msg("%s", err.text);
}

static UNUSED void on_stopped(void *ctx)
{
    ((struct world *)ctx)->stopped = true;
}

static UNUSED void end(struct world *w)
{
    reconcile_stop(w->reconcile);
    agent_stop(w->agent, true, 0, on_stopped, w);
    assert_true(loop_until(&w->loop, &w->stopped, 20));
    source_dir_free(w->source);
    renderer_free(w->renderer);
    agent_free(w->agent);
    reconcile_free(w->reconcile);
    loop_end(&w->loop);
    store_free(w->store);
    config_free(w->config);
    metrics_free(w->metrics);
    log_set_fd(STDOUT_FILENO);
    close(w->log);
    free(w->manifests);
    free(w->hap);
    free(w->binary);
    directory_remove(w->root);
}

/* GET / of NAME.example: the body of a 200, "" of another status, NULL without an answer. */
static UNUSED char *ask(const struct world *w, const char *name)
{
    CLEANUP(free_ptr) char *host = xasprintf("%s.example", name);
    char body[4096];
    int status = http_get(w->port, host, body, sizeof(body));
    return status == 200 ? xstrdup(body) : status ? xstrdup("") : NULL;
}

static UNUSED void pass_time(struct world *w, int64_t ms)
{
    loop_sleep(&w->loop, ms);
}

#define WAIT_UNTIL(w, condition) \
    do { \
        int64_t end_ = clock_now_ns() + 90 * NS_PER_S; \
        while (!(condition)) { \
            pass_time(w, 5); \
            if (clock_now_ns() > end_) { \
                log_show((w)->log); \
                fail_msg("never: %s", #condition); \
            } \
        } \
    } while (0)

static UNUSED bool answers(const struct world *w, const char *name, const char *body)
{
    CLEANUP(free_ptr) char *got = ask(w, name);

    return got != NULL && strcmp(got, body) == 0;
}

static UNUSED struct reconcile_status status(const struct world *w)
{
    struct reconcile_status s;

    reconcile_status(w->reconcile, &s);
    return s;
}

static UNUSED double checks(const struct world *w)
{
    return metric_value(metric_counter(w->metrics, "haptic_validations_total", ""));
}

static UNUSED bool is_accepted(const struct world *w, const char *part)
{
    CLEANUP(free_ptr) char *text = model_config(reconcile_model(w->reconcile), MODEL_ACCEPTED);

    return strstr(text, part) != NULL;
}

/* What main() does: it is the renderer too. */
#define RECONCILE_MAIN(argc, argv, tests) \
    do { \
        if ((argc) > 1 && strcmp((argv)[1], "renderer") == 0) \
            worker_run(&(struct vm_options){0}); \
        return cmocka_run_group_tests(tests, NULL, NULL); \
    } while (0)

#endif
