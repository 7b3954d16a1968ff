/* haptic agent: beside one HAProxy until a signal ends it. */
#include <linux/close_range.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>
#include <uv.h>

#include "base/clock.h"
#include "base/log.h"
#include "cmd/agent_options.h"
#include "cmd/cmd.h"
#include "cmd/version.h"
#include "controller/place.h"
#include "engine/jail.h"
#include "haproxy/expand.h"
#include "http/api.h"
#include "http/server.h"
#include "member/member.h"

#define BODY_MAX ((size_t)512 << 20)
#define NONCE_HEADER "Haptic-Nonce"

struct beside {
    uv_loop_t loop;
    struct agent_options options;
    char *directory, *binary;
    struct metrics *metrics;
    struct member *member;
    struct identity *identity;
    struct api_server *api;
    struct http_server *status;
    uv_signal_t term, interrupt;
    uv_timer_t hurry;
    bool stopping;
};

/* ---- the API ---- */

static void on_answer(void *ctx, unsigned status, struct buf *json)
{
    api_answer(ctx, status, "application/json", json);
}

static void serve_apply(void *ctx, struct api_request *request, const char *body, size_t length)
{
    member_offer(((struct beside *)ctx)->member, api_header(request, NONCE_HEADER), body, length, on_answer, request);
}

static void serve_verify(void *ctx, struct api_request *request, const char *body, size_t length)
{
    member_verify(((struct beside *)ctx)->member, body, length, on_answer, request);
}

static void serve_state(void *ctx, struct api_request *request, const char *body, size_t length)
{
    CLEANUP(buf_done) struct buf json = {0};

    (void)body;
    (void)length;
    member_describe(((struct beside *)ctx)->member, &json);
    api_answer(request, 200, "application/json", &json);
}

static void collect(void *ctx)
{
    member_collect(((struct beside *)ctx)->member);
}

static void serve_api_metrics(void *ctx, struct api_request *request, const char *body, size_t length)
{
    CLEANUP(buf_done) struct buf text = {0};

    (void)body;
    (void)length;
    metric_expose(((struct beside *)ctx)->metrics, &text);
    api_answer(request, 200, "text/plain; version=0.0.4; charset=utf-8", &text);
}

static void serve_bundle(void *ctx, struct api_request *request, const char *body, size_t length)
{
    CLEANUP(expand_wipe) struct buf out = {0};

    (void)body;
    (void)length;
    bool found = member_write_bundle(((struct beside *)ctx)->member, &out);
    if (!found)
        buf_puts(&out, "not configured\n");
    api_answer(request, found ? 200 : 404, found ? "application/octet-stream" : "text/plain; charset=utf-8", &out);
}

static void serve_api_health(void *ctx, struct api_request *request, const char *body, size_t length)
{
    CLEANUP(buf_done) struct buf why = {0};

    (void)body;
    (void)length;
    bool ready = member_is_ready(((struct beside *)ctx)->member, &why);
    if (ready)
        buf_puts(&why, "ok\n");
    api_answer(request, ready ? 200 : 503, "text/plain; charset=utf-8", &why);
}

/* ---- status, without TLS ---- */

static void serve_healthz(void *ctx, struct http_answer *answer)
{
    (void)ctx;
    buf_puts(&answer->body, "ok\n");
}

static void serve_startz(void *ctx, struct http_answer *answer)
{
    bool may = member_may_start(((struct beside *)ctx)->member);

    answer->status = may ? 200 : 503;
    buf_puts(&answer->body, may ? "ok\n" : "there is no configuration to start HAProxy with yet\n");
}

static void serve_readyz(void *ctx, struct http_answer *answer)
{
    struct beside *b = ctx;

    if (b->stopping)
        buf_puts(&answer->body, "stopping\n");
    else if (member_is_ready(b->member, &answer->body))
        buf_puts(&answer->body, "ok\n");
    answer->status = strcmp(buf_str(&answer->body), "ok\n") == 0 ? 200 : 503;
}

static void serve_metrics(void *ctx, struct http_answer *answer)
{
    answer->content_type = "text/plain; version=0.0.4; charset=utf-8";
    metric_expose(((struct beside *)ctx)->metrics, &answer->body);
}

static int start_http(struct beside *b, struct err *err)
{
    const struct agent_options *o = &b->options;
    const struct identity_files files = {o->certificate, o->key, o->client_authority};

    if (identity_new(&files, &b->identity, err) < 0)
        return -1;
    if (api_server_new(&b->loop, o->listen.address, o->listen.port, b->identity, BODY_MAX, &b->api, err) < 0)
        return err_wrap(err, "--listen");
    api_server_route(b->api, "GET", "/v1/state", serve_state, b);
    api_server_route(b->api, "POST", "/v1/apply", serve_apply, b);
    api_server_route(b->api, "POST", "/v1/verify", serve_verify, b);
    api_server_route(b->api, "GET", "/v1/bundle", serve_bundle, b);
    api_server_route(b->api, "GET", "/metrics", serve_api_metrics, b);
    api_server_route(b->api, "GET", "/health", serve_api_health, b);
    if (o->status.port == 0)
        return 0;
    if (http_server_new(&b->loop, o->status.address, o->status.port, &b->status, err) < 0)
        return err_wrap(err, "--status-listen");
    http_server_route(b->status, "/healthz", "is the process alive", serve_healthz, b);
    http_server_route(b->status, "/startz", "may HAProxy be started", serve_startz, b);
    http_server_route(b->status, "/readyz", "does HAProxy serve the accepted configuration", serve_readyz, b);
    http_server_route(b->status, "/metrics", "metrics in Prometheus' text format", serve_metrics, b);
    return 0;
}

/* ---- life ---- */

static void on_handle_closed(uv_handle_t *handle)
{
    (void)handle;
}

static void on_stopped(void *ctx)
{
    struct beside *b = ctx;

    metrics_on_collect(b->metrics, NULL, NULL);
    b->member = member_free(b->member);
    b->api = api_server_free(b->api);
    b->status = http_server_free(b->status);
    uv_close((uv_handle_t *)&b->term, on_handle_closed);
    uv_close((uv_handle_t *)&b->interrupt, on_handle_closed);
    uv_close((uv_handle_t *)&b->hurry, on_handle_closed);
}

static void on_hurry(uv_timer_t *timer)
{
    (void)timer;
    log_error("Not stopped within the grace time; leaving");
    _exit(1);
}

static void on_signal(uv_signal_t *handle, int signum)
{
    struct beside *b = handle->data;

    if (b->stopping)
        return;
    b->stopping = true;
    log_info("Stopping", "signal", signum == SIGTERM ? "SIGTERM" : "SIGINT");
    uv_timer_start(&b->hurry, on_hurry, (uint64_t)((b->options.grace_ns + 2 * NS_PER_S) / NS_PER_MS), 0);
    member_stop(b->member, !b->options.attach && !b->options.keep_haproxy, b->options.grace_ns, on_stopped, b);
}

static int start(struct beside *b, struct err *err)
{
    const struct agent_options *o = &b->options;

    log_set_level(o->log_level);
    signal(SIGPIPE, SIG_IGN);
    uv_loop_init(&b->loop);
    b->metrics = metrics_new();
    metric_set(
        metric_gauge(b->metrics, "haptic_build_info", "The program's version; always 1.", "version", HAPTIC_VERSION),
        1);
    if (place_make_directory(o->directory, &b->directory, err) < 0 ||
        (!o->attach && place_find_program(o->binary, &b->binary, err) < 0))
        return -1;
    log_info("HAProxy agent starting", "version", HAPTIC_VERSION, "directory", b->directory, "haproxy",
             o->attach ? "attach" : b->binary);
    if (start_http(b, err) < 0)
        return -1;
    const struct member_options member = {.version = HAPTIC_VERSION,
                                          .directory = b->directory,
                                          .binary = b->binary,
                                          .master_socket = o->master_socket,
                                          .runtime_socket = o->runtime_socket,
                                          .minimal_bind = o->minimal_bind,
                                          .min_reload_interval_ns = o->min_reload_interval_ns,
                                          .drift_interval_ns = o->drift_interval_ns};
    b->member = member_new(&b->loop, &member, b->metrics, err);
    if (b->member == NULL)
        return -1;
    metrics_on_collect(b->metrics, collect, b);
    uv_timer_init(&b->loop, &b->hurry);
    uv_signal_init(&b->loop, &b->term);
    uv_signal_init(&b->loop, &b->interrupt);
    b->term.data = b->interrupt.data = b;
    uv_signal_start(&b->term, on_signal, SIGTERM);
    uv_signal_start(&b->interrupt, on_signal, SIGINT);
    return 0;
}

/* Neither HAProxy nor a core file gets what this process has: descriptors, and memory with values of Secrets. */
static void keep_private(void)
{
    (void)close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
    if (!JAIL_SANITIZED)
        (void)prctl(PR_SET_DUMPABLE, 0);
}

int cmd_agent(int argc, char **argv)
{
    static struct beside b;
    struct err err;

    keep_private();
    if (agent_options_parse(&b.options, argc, argv, &err) < 0) {
        fprintf(stderr, "haptic agent: %s\n", err.text);
        return 2;
    }
    if (b.options.help) {
        agent_options_print_help();
        return 0;
    }
    if (start(&b, &err) < 0) {
        log_error("Cannot start", "error", err.text);
        exit(1); /* nothing runs yet: what was made goes with the process */
    }
    uv_run(&b.loop, UV_RUN_DEFAULT);
    uv_loop_close(&b.loop);
    identity_free(b.identity);
    metrics_free(b.metrics);
    free(b.directory);
    free(b.binary);
    log_info("Agent shutdown complete");
    return 0;
}
