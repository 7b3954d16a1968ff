/* The way of a change with real parts: a folder of manifests, a real renderer process, the base library, a supervised
 * HAProxy that is asked by HTTP. The test program is its own renderer: started as "… renderer" it hands over to the
 * worker. */
#include "controller_support.h"

#include <arpa/inet.h>

#include "agent/agent.h"
#include "controller/config.h"
#include "controller/notices.h"
#include "controller/reconcile.h"
#include "engine/worker.h"
#include "store/source_dir.h"

/* One backend and one route for each ConfigMap, with what its data says. */
static const char script[] =
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

static bool may_write(void *ctx)
{
    return ((struct world *)ctx)->may_write;
}

static int64_t fence_transitions(void *ctx)
{
    return ((struct world *)ctx)->transitions;
}

static void refused_stale(void *ctx, int64_t highest)
{
    struct world *w = ctx;

    (void)highest;
    w->stale++;
}

static int64_t received_ns(void *ctx)
{
    (void)ctx;
    return 0;
}

static void on_program(void *ctx, bool loaded)
{
    struct world *w = ctx;

    w->programs += loaded;
    w->refused_programs += !loaded;
}

static bool is_synced(void *ctx)
{
    struct world *w = ctx;

    return w->synced && store_is_synced(w->store);
}

static void notify(void *ctx, bool warning, const char *owner_kind, const char *owner_id, const char *reason,
                   const char *message)
{
    struct world *w = ctx;

    w->notices++;
    snprintf(w->notice, sizeof(w->notice), "%d %s %s %s: %s", warning, owner_kind, owner_id, reason, message);
}

static void on_report(void *ctx, const char *file, size_t line, const char *message)
{
    (void)ctx;
    if (message != NULL)
        fail_msg("%s:%zu: %s", file, line, message);
}

static void on_changed(void *ctx, const char *what)
{
    reconcile_compare_all(((struct world *)ctx)->reconcile, what);
}

static void put_thing(struct world *w, const char *name, const char *data)
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

static void drop_thing(struct world *w, const char *name)
{
    CLEANUP(free_ptr) char *path = xasprintf("%s/%s.yaml", w->manifests, name);
    assert_int_equal(unlink(path), 0);
}

static void set_program(struct world *w, const char *source)
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
    assert_int_equal(config_program(w->config, &caps, extra, &program, &err), 0);
    renderer_set_program(w->renderer, buf_str(&program), program.length);
}

static void begin_without_source(struct world *w)
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
    for (size_t i = 0; i < ARRAY_LEN(haproxy_series) && w->binary == NULL; i++)
        w->binary = haproxy_binary(haproxy_series[i]);
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
    const struct reconcile_config rc = {
        .identity = "test", .drift_interval_ns = 3600 * NS_PER_S, .check = {.binary = w->binary}};
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

static void start_source(struct world *w)
{
    struct err err;

    if (source_dir_new(&w->loop, w->store, w->manifests, on_report, w, &w->source, &err) < 0)
        fail_msg("%s", err.text);
}

static void on_stopped(void *ctx)
{
    ((struct world *)ctx)->stopped = true;
}

static void end(struct world *w)
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

/* GET / with this Host: the body of a 200, "" of another status, NULL without an answer. */
static char *ask(const struct world *w, const char *name)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)w->port)};
    struct timeval patience = {.tv_sec = 2};
    CLEANUP(close_fd) int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CLEANUP(free_ptr)
    char *request = xasprintf("GET / HTTP/1.1\r\nHost: %s.example\r\nConnection: close\r\n\r\n", name);
    char text[4096];
    size_t length = 0;

    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0 ||
        send(fd, request, strlen(request), MSG_NOSIGNAL) < 0)
        return NULL;
    for (ssize_t n; length < sizeof(text) - 1 && (n = recv(fd, text + length, sizeof(text) - 1 - length, 0)) > 0;)
        length += (size_t)n;
    text[length] = '\0';
    const char *body = strstr(text, "\r\n\r\n");
    return length == 0 ? NULL : strncmp(text, "HTTP/1.1 200", 12) == 0 && body ? xstrdup(body + 4) : xstrdup("");
}

static void pass_time(struct world *w, int64_t ms)
{
    for (int64_t end_ns = clock_now_ns() + ms * NS_PER_MS; clock_now_ns() < end_ns;) {
        uv_run(&w->loop, UV_RUN_NOWAIT);
        usleep(500);
    }
}

#define WAIT_UNTIL(w, condition) \
    do { \
        int64_t end_ = clock_now_ns() + 30 * NS_PER_S; \
        while (!(condition)) { \
            pass_time(w, 5); \
            if (clock_now_ns() > end_) { \
                CLEANUP(free_ptr) char *log_ = log_text((w)->log); \
                fail_msg("never: %s\n%s", #condition, log_); \
            } \
        } \
    } while (0)

static bool answers(const struct world *w, const char *name, const char *body)
{
    CLEANUP(free_ptr) char *got = ask(w, name);

    return got != NULL && strcmp(got, body) == 0;
}

static struct reconcile_status status(const struct world *w)
{
    struct reconcile_status s;

    reconcile_status(w->reconcile, &s);
    return s;
}

static double checks(const struct world *w)
{
    return metric_value(metric_counter(w->metrics, "haptic_validations_total", ""));
}

static bool is_accepted(const struct world *w, const char *part)
{
    CLEANUP(free_ptr) char *text = accepted_config(reconcile_model(w->reconcile));

    return strstr(text, part) != NULL;
}

static void changes_become_live(void **state)
{
    struct world w;
    (void)state;

    begin_without_source(&w);
    assert_false(status(&w).synced);
    put_thing(&w, "a", "text: one");
    start_source(&w);
    WAIT_UNTIL(&w, answers(&w, "a", "one"));
    WAIT_UNTIL(&w, status(&w).live);
    assert_true(status(&w).synced && status(&w).rendered && status(&w).validated);
    uint64_t generation = status(&w).generation;
    put_thing(&w, "a", "text: two");
    put_thing(&w, "b", "text: three");
    WAIT_UNTIL(&w, answers(&w, "a", "two") && answers(&w, "b", "three"));
    assert_true(status(&w).generation > generation);
    drop_thing(&w, "a");
    WAIT_UNTIL(&w, answers(&w, "a", ""));
    assert_true(answers(&w, "b", "three"));
    /* A change of a server is harmless: no check is waited for. */
    put_thing(&w, "s", "address: 127.0.0.8");
    WAIT_UNTIL(&w, is_accepted(&w, "127.0.0.8") && !agent_busy(w.agent) && status(&w).live);
    double before = checks(&w);
    put_thing(&w, "s", "address: 127.0.0.9");
    WAIT_UNTIL(&w, metric_value(metric_counter(w.metrics, "haptic_accepted_total", "", "by", "structure")) >= 1);
    assert_accepted(reconcile_model(w.reconcile), "127.0.0.9");
    assert_true(checks(&w) == before);
    end(&w);
}

static void poison_from_the_start_and_later(void **state)
{
    struct world w;
    (void)state;

    begin_without_source(&w);
    put_thing(&w, "good", "text: one");
    put_thing(&w, "raw", "raw: no-such-directive at all");
    put_thing(&w, "fails", "fail: this asks for the impossible");
    put_thing(&w, "loops", "loop: \"yes\"");
    start_source(&w);
    WAIT_UNTIL(&w, answers(&w, "good", "one"));
    WAIT_UNTIL(&w, status(&w).live && status(&w).quarantined == 1 && status(&w).failed == 2);
    CLEANUP(buf_done) struct buf problems = {0};
    reconcile_describe(w.reconcile, &problems);
    assert_non_null(strstr(buf_str(&problems), "\"object\":\"things default/raw\""));
    assert_non_null(strstr(buf_str(&problems), "\"object\":\"things default/fails\""));
    assert_non_null(strstr(buf_str(&problems), "\"object\":\"things default/loops\""));
    assert_int_equal(
        log_count(w.log, "msg=\"Object quarantined: HAProxy refuses what its template made; it is left out"), 1);
    /* one of them is the one that is not run any more */
    assert_int_equal(log_count(w.log, "msg=\"Template failed"), 2);
    /* While running: their last good output stays, others go on. */
    put_thing(&w, "raw", "text: repaired");
    put_thing(&w, "fails", "text: repaired");
    put_thing(&w, "loops", "text: repaired");
    WAIT_UNTIL(&w,
               answers(&w, "raw", "repaired") && answers(&w, "fails", "repaired") && answers(&w, "loops", "repaired"));
    WAIT_UNTIL(&w, status(&w).quarantined == 0 && status(&w).failed == 0);
    put_thing(&w, "raw", "raw: no-such-directive at all");
    put_thing(&w, "fails", "fail: again");
    put_thing(&w, "loops", "loop: \"yes\"");
    put_thing(&w, "new", "text: new");
    put_thing(&w, "good", "text: two");
    WAIT_UNTIL(&w, answers(&w, "good", "two") && answers(&w, "new", "new"));
    WAIT_UNTIL(&w, status(&w).quarantined == 1 && status(&w).failed == 2);
    assert_true(answers(&w, "raw", "repaired") && answers(&w, "fails", "repaired") && answers(&w, "loops", "repaired"));
    /* They go: nothing is left of their problems. */
    drop_thing(&w, "raw");
    drop_thing(&w, "fails");
    drop_thing(&w, "loops");
    WAIT_UNTIL(&w, status(&w).quarantined == 0 && status(&w).failed == 0);
    WAIT_UNTIL(&w, answers(&w, "raw", "") && answers(&w, "fails", "") && answers(&w, "loops", ""));
    end(&w);
}

static void a_dead_renderer_forgets_nothing_and_keeps_nothing_that_is_gone(void **state)
{
    struct world w;
    (void)state;

    begin_without_source(&w);
    put_thing(&w, "a", "text: one");
    put_thing(&w, "b", "text: one");
    put_thing(&w, "fails", "fail: because");
    start_source(&w);
    WAIT_UNTIL(&w, answers(&w, "a", "one") && status(&w).failed == 1);
    for (unsigned i = 0; i < 4; i++) {
        CLEANUP(free_ptr) char *data = xasprintf("text: round%u", i);
        CLEANUP(free_ptr) char *body = xasprintf("round%u", i);
        kill(renderer_pid(w.renderer), SIGKILL);
        put_thing(&w, "a", data);
        if (i == 1)
            drop_thing(&w, "b");
        if (i == 2)
            drop_thing(&w, "fails");
        pass_time(&w, i * 3);
        WAIT_UNTIL(&w, answers(&w, "a", body));
    }
    WAIT_UNTIL(&w, answers(&w, "b", ""));
    WAIT_UNTIL(&w, status(&w).failed == 0);
    assert_int_equal(w.programs, 1); /* the same templates have been in force all the time */
    end(&w);
}

static void put_json(struct world *w, unsigned number, unsigned version)
{
    CLEANUP(free_ptr)
    char *json = xasprintf(
        "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"namespace\":\"default\",\"name\":\"t%03u\"},"
        "\"data\":{\"text\":\"v%u\"}}",
        number, version);
    struct err err;
    bool changed;

    assert_int_equal(store_put_json(store_kind_by_name(w->store, "things"), json, strlen(json), &changed, &err), 0);
}

static void a_burst_becomes_few_renderings(void **state)
{
    struct world w;
    (void)state;

    begin_without_source(&w);
    struct store_kind *things = store_kind_by_name(w.store, "things");
    store_replace_begin(things);
    store_replace_commit(things);
    WAIT_UNTIL(&w, status(&w).live);
    unsigned before = log_count(w.log, "msg=\"Rendered\"");
    /* A thousand changes as a socket delivers them: some in each turn of the loop. */
    for (unsigned i = 0; i < 1000; i++) {
        put_json(&w, i % 250, i / 250);
        if (i % 100 == 99)
            uv_run(&w.loop, UV_RUN_NOWAIT);
    }
    WAIT_UNTIL(&w, answers(&w, "t249", "v3") && answers(&w, "t000", "v3"));
    unsigned renders = log_count(w.log, "msg=\"Rendered\"") - before;
    if (renders > 12)
        fail_msg("%u renderings", renders);
    /* The first one after quiet waits for nobody. */
    pass_time(&w, 200);
    before = log_count(w.log, "msg=\"Rendered\"");
    put_json(&w, 0, 77);
    for (unsigned i = 0; i < 200 && log_count(w.log, "msg=\"Rendered\"") == before; i++)
        pass_time(&w, 1);
    assert_int_equal(log_count(w.log, "msg=\"Rendered\""), before + 1);
    end(&w);
}

static void who_may_not_write_does_not_and_compares_everything_later(void **state)
{
    struct world w;
    (void)state;

    begin_without_source(&w);
    put_thing(&w, "a", "text: one");
    w.may_write = false;
    start_source(&w);
    WAIT_UNTIL(&w, status(&w).validated);
    pass_time(&w, 300);
    assert_false(status(&w).live);
    assert_null(ask(&w, "a"));
    w.may_write = true;
    w.transitions = 1;
    reconcile_kick(w.reconcile);
    WAIT_UNTIL(&w, answers(&w, "a", "one") && status(&w).live);
    /* Leadership is lost; what is accepted meanwhile waits, what was deployed stays. */
    w.may_write = false;
    reconcile_kick(w.reconcile);
    assert_int_equal(log_count(w.log, "Stopped Deployer"), 1);
    uint64_t generation = status(&w).generation;
    put_thing(&w, "a", "text: two");
    put_thing(&w, "b", "text: new");
    WAIT_UNTIL(&w, status(&w).generation > generation);
    pass_time(&w, 300);
    assert_true(answers(&w, "a", "one") && answers(&w, "b", ""));
    w.may_write = true;
    w.transitions = 3;
    reconcile_kick(w.reconcile);
    WAIT_UNTIL(&w, answers(&w, "a", "two") && answers(&w, "b", "new"));
    WAIT_UNTIL(&w, status(&w).live);
    /* A term that was lost and won again between two looks is a new one all the same. */
    unsigned compared = log_count(w.log, "Comparing everything with HAProxy");
    w.transitions = 5;
    put_thing(&w, "a", "text: three");
    WAIT_UNTIL(&w, answers(&w, "a", "three"));
    assert_true(log_count(w.log, "Comparing everything with HAProxy") > compared);
    end(&w);
}

static void a_stale_writer_is_refused_and_goes_on_when_it_leads_again(void **state)
{
    struct world w;
    (void)state;

    begin_without_source(&w);
    put_thing(&w, "a", "text: one");
    w.transitions = 2;
    start_source(&w);
    WAIT_UNTIL(&w, answers(&w, "a", "one") && status(&w).live);
    file_write(w.hap, "fence", "9 1 somebody-else\n");
    put_thing(&w, "a", "text: two");
    WAIT_UNTIL(&w, w.stale > 0);
    pass_time(&w, 1200);
    assert_true(w.stale >= 2 && w.stale <= 4); /* again and again, but not in a loop */
    assert_false(status(&w).live);
    assert_true(answers(&w, "a", "one"));
    w.transitions = 10;
    reconcile_kick(w.reconcile);
    WAIT_UNTIL(&w, answers(&w, "a", "two") && status(&w).live);
    end(&w);
}

/* While a kind is listed anew, what is rendered without its objects is not accepted. */
static void what_is_rendered_without_a_kind_is_not_taken_for_the_truth(void **state)
{
    struct world w;
    struct err err;
    bool changed;
    (void)state;

    begin_without_source(&w);
    put_thing(&w, "a", "text: one");
    put_thing(&w, "b", "text: one");
    start_source(&w);
    WAIT_UNTIL(&w, answers(&w, "a", "one") && status(&w).live);
    uint64_t generation = status(&w).generation;
    store_remove_kind(w.store, store_kind_by_name(w.store, "things"));
    assert_int_equal(config_add_kinds(w.config, w.store, &changed, &err), 0);
    reconcile_kick(w.reconcile);
    /* A renderer that begins from nothing renders what there is: nothing. */
    kill(renderer_pid(w.renderer), SIGKILL);
    pass_time(&w, 1000);
    assert_false(status(&w).synced);
    assert_int_equal(status(&w).generation, generation);
    assert_true(answers(&w, "a", "one") && answers(&w, "b", "one"));
    drop_thing(&w, "b");
    assert_int_equal(source_dir_reload(w.source, &err), 0);
    WAIT_UNTIL(&w, answers(&w, "b", ""));
    assert_true(answers(&w, "a", "one"));
    end(&w);
}

static void templates_are_replaced_in_place(void **state)
{
    struct world w;
    (void)state;

    begin_without_source(&w);
    put_thing(&w, "a", "text: one");
    start_source(&w);
    WAIT_UNTIL(&w, answers(&w, "a", "one") && status(&w).live);
    assert_int_equal(w.programs, 1);
    /* Wrong ones change nothing, and are what the status tells of. */
    set_program(&w, "this is no Lua");
    WAIT_UNTIL(&w, w.refused_programs == 1);
    assert_non_null(strstr(status(&w).problem, "templates do not load"));
    put_thing(&w, "a", "text: two");
    WAIT_UNTIL(&w, answers(&w, "a", "two"));
    /* Ones that HAProxy refuses change nothing either. */
    set_program(&w, "out_of = section\nsection('frontend http', { name = 'x', order = 950 }, function(b) "
                    "b:raw('no-such-directive') end)\n");
    pass_time(&w, 300);
    CLEANUP(free_ptr)
    char *source = xasprintf(
        "%ssection('frontend http', { name = 'x', order = 950 }, function(b) b:raw('no-such-directive') end)\n",
        script);
    set_program(&w, source);
    WAIT_UNTIL(&w, w.programs == 2);
    WAIT_UNTIL(&w, strstr(status(&w).problem, "no-such-directive") != NULL);
    assert_true(answers(&w, "a", "two"));
    /* Changes of servers go on meanwhile, and the same refusal is not asked for over and over. */
    double before = checks(&w);
    for (unsigned i = 0; i < 20; i++) {
        CLEANUP(free_ptr) char *data = xasprintf("text: v%u", i);
        put_thing(&w, "b", data);
        pass_time(&w, 30);
    }
    assert_true(checks(&w) - before <= 14);
    CLEANUP(free_ptr) char *right = xasprintf("%s-- right again\n", script);
    set_program(&w, right);
    WAIT_UNTIL(&w, answers(&w, "b", "v19"));
    WAIT_UNTIL(&w, *status(&w).problem == '\0' && status(&w).live);
    end(&w);
}

static void ten_thousand_warnings_are_not_ten_thousand_lines(void **state)
{
    struct world w;
    (void)state;

    begin_without_source(&w);
    struct store_kind *things = store_kind_by_name(w.store, "things");
    store_replace_begin(things);
    for (unsigned i = 0; i < 2000; i++) {
        CLEANUP(free_ptr)
        char *json = xasprintf(
            "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"namespace\":\"default\",\"name\":\"t%04u\"},"
            "\"data\":{\"text\":\"x\",\"%s\":\"watch out\"}}",
            i, i % 2 ? "warn" : "fail");
        struct err err;
        assert_int_equal(store_put_json(things, json, strlen(json), NULL, &err), 0);
    }
    store_replace_commit(things);
    WAIT_UNTIL(&w, status(&w).live && status(&w).failed == 1000);
    assert_int_equal(w.notices, 2000);
    assert_int_equal(log_count(w.log, "More messages about objects were not logged"), 1);
    assert_true(log_count(w.log, "level=WARN") < 40);
    end(&w);
}

/* What is wrong for a moment, as while an object's other half is still to come, is not told; what lasts is, once. */
static void what_was_wrong_for_a_moment_is_not_told(void **state)
{
    struct world w;
    unsigned round = 0;
    int64_t began_ns;
    (void)state;

    begin_without_source(&w);
    put_thing(&w, "a", "text: one");
    start_source(&w);
    WAIT_UNTIL(&w, answers(&w, "a", "one") && status(&w).live);
    /* On a machine that stands still the moment is not one: then again. */
    do {
        round++;
        began_ns = clock_now_ns();
        CLEANUP(free_ptr) char *warns = xasprintf("text: two, warn: moment%u", round);
        CLEANUP(free_ptr) char *fails = xasprintf("fail: moment%u", round);
        put_thing(&w, "a", warns);
        put_thing(&w, "gone", warns);
        put_thing(&w, "wrong", fails);
        WAIT_UNTIL(&w, answers(&w, "a", "two") && answers(&w, "gone", "two") && status(&w).failed == 1);
        put_thing(&w, "a", "text: one");
        put_thing(&w, "wrong", "text: one");
        drop_thing(&w, "gone");
        WAIT_UNTIL(&w, answers(&w, "a", "one") && answers(&w, "gone", "") && status(&w).failed == 0);
    } while (clock_now_ns() - began_ns >= NOTICES_WAIT_NS);
    CLEANUP(free_ptr) char *moment = xasprintf("moment%u", round);
    /* What begins later is told later. */
    put_thing(&w, "a", "text: one, warn: lasts");
    put_thing(&w, "wrong", "fail: this endures");
    WAIT_UNTIL(&w, log_count(w.log, "Object has a problem\" reason=Careful object_kind=things object=default/a "
                                    "message=lasts") == 1 &&
                       log_count(w.log, "this endures") == 1);
    unsigned told = w.notices;
    assert_int_equal(log_count(w.log, moment), 0);
    assert_null(strstr(w.notice, moment));
    /* And once only. */
    put_thing(&w, "a", "text: two, warn: lasts");
    WAIT_UNTIL(&w, answers(&w, "a", "two"));
    pass_time(&w, NOTICES_WAIT_NS / NS_PER_MS + 500);
    assert_int_equal(w.notices, told);
    end(&w);
}

static void haproxy_dies_and_is_brought_back(void **state)
{
    struct world w;
    struct agent_status a;
    (void)state;

    begin_without_source(&w);
    put_thing(&w, "a", "text: one");
    start_source(&w);
    WAIT_UNTIL(&w, answers(&w, "a", "one") && status(&w).live);
    agent_status(w.agent, &a);
    kill(a.haproxy_pid, SIGKILL);
    WAIT_UNTIL(&w, !status(&w).live);
    put_thing(&w, "a", "text: two");
    WAIT_UNTIL(&w, answers(&w, "a", "two"));
    WAIT_UNTIL(&w, status(&w).live);
    end(&w);
}

/* Stopping at any moment ends, and leaks nothing. */
static void it_stops_whatever_it_is_doing(void **state)
{
    (void)state;

    for (int64_t ms = 0; ms < 400; ms = ms * 2 + 5) {
        struct world w;
        begin_without_source(&w);
        put_thing(&w, "a", "text: one");
        put_thing(&w, "raw", "raw: no-such-directive");
        put_thing(&w, "loops", "loop: \"yes\"");
        start_source(&w);
        pass_time(&w, ms);
        end(&w);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(changes_become_live),
        cmocka_unit_test(poison_from_the_start_and_later),
        cmocka_unit_test(a_dead_renderer_forgets_nothing_and_keeps_nothing_that_is_gone),
        cmocka_unit_test(a_burst_becomes_few_renderings),
        cmocka_unit_test(who_may_not_write_does_not_and_compares_everything_later),
        cmocka_unit_test(a_stale_writer_is_refused_and_goes_on_when_it_leads_again),
        cmocka_unit_test(what_is_rendered_without_a_kind_is_not_taken_for_the_truth),
        cmocka_unit_test(templates_are_replaced_in_place),
        cmocka_unit_test(ten_thousand_warnings_are_not_ten_thousand_lines),
        cmocka_unit_test(what_was_wrong_for_a_moment_is_not_told),
        cmocka_unit_test(haproxy_dies_and_is_brought_back),
        cmocka_unit_test(it_stops_whatever_it_is_doing),
    };

    if (argc > 1 && strcmp(argv[1], "renderer") == 0)
        worker_run(&(struct vm_options){0});
    return cmocka_run_group_tests(tests, NULL, NULL);
}
