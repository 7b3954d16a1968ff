/* leader_world.h — two leaders and an API server that fails on request, with the real clock and a log to look into. */
#ifndef SPEC_LEADER_WORLD_H
#define SPEC_LEADER_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/log.h"
#include "controller/leader.h"
#include "lease_server.h"

#define MS NS_PER_MS

/* One replica. */
struct replica {
    struct metrics *metrics;
    struct kube_client *client;
    struct leader *leader;
    unsigned gains, losses;
    bool stopped;
};

struct world {
    uv_loop_t loop;
    struct lease_server server;
    struct replica a, b;
    uv_timer_t tick;
    int log_fd;
};

static inline void on_changed(void *ctx, bool is_leader)
{
    struct replica *r = ctx;
    if (is_leader)
        r->gains++;
    else
        r->losses++;
}

static inline void on_stopped(void *ctx)
{
    ((struct replica *)ctx)->stopped = true;
}

static inline void on_tick(uv_timer_t *timer)
{
    (void)timer;
}

static inline struct elector_config config_of(const char *identity)
{
    struct elector_config c;
    elector_config_defaults(&c);
    c.identity = identity;
    c.namespace = "ns";
    c.lease_duration_ns = 2000 * MS;
    c.renew_deadline_ns = 1000 * MS;
    c.retry_period_ns = 200 * MS;
    return c;
}

static inline void replica_start_with(struct world *w, struct replica *r, const struct elector_config *config)
{
    struct kube_config kube = {.server = xasprintf("http://127.0.0.1:%d", w->server.port)};
    struct kube_client_options options = {.version = "test", .http1_only = true};
    struct err err = {0};
    r->metrics = metrics_new();
    r->client = kube_client_new(&w->loop, &kube, &options);
    if (leader_new(&w->loop, r->client, config, r->metrics, on_changed, r, &r->leader, &err) < 0)
        fail_msg("%s", err.text);
}

static inline void replica_start(struct world *w, struct replica *r, const char *identity)
{
    struct elector_config c = config_of(identity);
    replica_start_with(w, r, &c);
}

static inline void replica_end(struct replica *r)
{
    r->leader = leader_free(r->leader);
    r->client = r->client ? kube_client_free(r->client) : NULL;
    r->metrics = r->metrics ? metrics_free(r->metrics) : NULL;
}

static inline int set_up(void **state)
{
    struct world *w = xcalloc(1, sizeof(*w));
    uv_loop_init(&w->loop);
    w->server.loop = &w->loop;
    lease_server_listen(&w->server);
    uv_timer_init(&w->loop, &w->tick);
    uv_timer_start(&w->tick, on_tick, 5, 5);
    w->log_fd = memfd_create("log", 0);
    log_set_fd(w->log_fd);
    *state = w;
    return 0;
}

static inline int tear_down(void **state)
{
    struct world *w = *state;
    replica_end(&w->a);
    replica_end(&w->b);
    lease_server_done(&w->server);
    uv_close((uv_handle_t *)&w->tick, NULL);
    uv_run(&w->loop, UV_RUN_DEFAULT);
    int open = uv_loop_close(&w->loop);
    log_set_fd(STDOUT_FILENO);
    close(w->log_fd);
    free(w);
    return open;
}

/* Run the loop until the condition holds; fail after limit_ns. Returns how long it took. */
#define RUN_UNTIL(w, limit_ns, condition) \
    __extension__({ \
        int64_t began_ns_ = clock_now_ns(); \
        while (!(condition)) { \
            if (clock_now_ns() - began_ns_ > (limit_ns)) \
                fail_msg("not within %s: %s\n%s", #limit_ns, #condition, log_text(w)); \
            uv_run(&(w)->loop, UV_RUN_ONCE); \
        } \
        clock_now_ns() - began_ns_; \
    })

static inline void run_for(struct world *w, int64_t span_ns)
{
    int64_t end_ns = clock_now_ns() + span_ns;
    while (clock_now_ns() < end_ns)
        uv_run(&w->loop, UV_RUN_ONCE);
}

static inline const char *log_text(struct world *w)
{
    static char text[65536];
    ssize_t n = pread(w->log_fd, text, sizeof(text) - 1, 0);
    text[n > 0 ? n : 0] = '\0';
    return text;
}

static inline void assert_logged(struct world *w, const char *part)
{
    if (!strstr(log_text(w), part))
        fail_msg("the log lacks '%s':\n%s", part, log_text(w));
}

static inline void assert_metric(struct replica *r, const char *line)
{
    CLEANUP(buf_done) struct buf text = {0};
    leader_collect(r->leader);
    metric_expose(r->metrics, &text);
    if (!strstr(text.data, line))
        fail_msg("the metrics lack '%s':\n%s", line, text.data);
}

static inline double metric_of(struct replica *r, const char *name)
{
    CLEANUP(buf_done) struct buf text = {0};
    leader_collect(r->leader);
    metric_expose(r->metrics, &text);
    CLEANUP(free_ptr) char *start = xasprintf("\n%s ", name);
    const char *at = strstr(text.data, start);
    assert_non_null(at);
    return strtod(at + strlen(start), NULL);
}

static inline bool lease_has(struct world *w, const char *part)
{
    return w->server.lease && strstr(w->server.lease, part);
}

static inline unsigned count_logged(struct world *w, const char *part)
{
    unsigned count = 0;
    for (const char *at = log_text(w); (at = strstr(at, part)); at += strlen(part))
        count++;
    return count;
}

#endif
