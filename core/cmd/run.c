/* haptic run: the controller until a signal ends it. */
#include "cmd/cmd.h"

#include <errno.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "cmd/debug_pages.h"
#include "cmd/run_options.h"
#include "cmd/version.h"
#include "cmd/webhook.h"
#include "controller/app.h"
#include "engine/jail.h"
#include "http/server.h"

struct run {
    uv_loop_t loop;
    struct app *app;
    struct metrics *metrics;
    struct http_server *public_http, *debug_http;
    struct webhook *webhook;
    uv_signal_t term, interrupt, hangup;
    uv_timer_t hurry, drain;
    bool stopping;
    int64_t stopping_ns; /* since when */
    int64_t grace_ns;
    bool terminal; /* a hang-up means that it is gone */
};

/* ---- HTTP ---- */

static void serve_healthz(void *ctx, struct http_answer *answer)
{
    (void)ctx;
    buf_puts(&answer->body, "ok\n");
}

static void serve_readyz(void *ctx, struct http_answer *answer)
{
    struct run *run = ctx;

    if (run->stopping) {
        answer->status = 503;
        buf_puts(&answer->body, "stopping\n");
    } else if (app_is_ready(run->app, &answer->body)) {
        buf_puts(&answer->body, "ok\n");
    } else {
        answer->status = 503;
    }
}

static void serve_metrics(void *ctx, struct http_answer *answer)
{
    struct run *run = ctx;

    answer->content_type = "text/plain; version=0.0.4; charset=utf-8";
    metric_expose(run->metrics, &answer->body);
}

static int start_http(struct run *run, const struct run_options *o, struct err *err)
{
    if (o->metrics_port != 0) {
        if (http_server_new(&run->loop, o->metrics_address, o->metrics_port, &run->public_http, err) < 0)
            return err_wrap(err, err->kind == ERR_INVALID
                                     ? "--metrics-address"
                                     : "metrics (choose another --metrics-port or --metrics-address)");
        http_server_route(run->public_http, "/metrics", "metrics in Prometheus' text format", serve_metrics, run);
        http_server_route(run->public_http, "/healthz", "is the process alive", serve_healthz, run);
        http_server_route(run->public_http, "/readyz", "synced, rendered, validated, live", serve_readyz, run);
    }
    if (o->debug_port != 0) {
        if (http_server_new(&run->loop, "127.0.0.1", o->debug_port, &run->debug_http, err) < 0)
            return err_wrap(err, "debug (choose another --debug-port)");
        http_server_local(run->debug_http);
    }
    return 0;
}

/* ---- life ---- */

static void on_handle_closed(uv_handle_t *handle)
{
    (void)handle;
}

static void on_stopped(void *ctx)
{
    struct run *run = ctx;

    run->app = app_free(run->app);
    run->public_http = http_server_free(run->public_http);
    run->debug_http = http_server_free(run->debug_http);
    webhook_stop(run->webhook);
    uv_close((uv_handle_t *)&run->term, on_handle_closed);
    uv_close((uv_handle_t *)&run->interrupt, on_handle_closed);
    uv_close((uv_handle_t *)&run->hangup, on_handle_closed);
    uv_close((uv_handle_t *)&run->hurry, on_handle_closed);
    uv_close((uv_handle_t *)&run->drain, on_handle_closed);
}

static void on_hurry(uv_timer_t *timer)
{
    (void)timer;
    log_error("Not stopped within the grace time; leaving");
    _exit(1);
}

static void on_drained(uv_timer_t *timer)
{
    struct run *run = timer->data;

    app_stop(run->app, on_stopped, run);
}

static void stop(struct run *run, int signum)
{
    if (run->stopping) {
        /* A terminal and a supervising script may both pass on the one Ctrl-C. */
        if (clock_now_ns() - run->stopping_ns < NS_PER_S)
            return;
        log_warn("Second signal; leaving at once");
        _exit(1);
    }
    run->stopping = true;
    run->stopping_ns = clock_now_ns();
    log_info("Stopping", "signal", signum == SIGTERM ? "SIGTERM" : signum == SIGINT ? "SIGINT" : "SIGHUP");
    int64_t drain_ns = webhook_drain(run->webhook) ? WEBHOOK_DRAIN_NS : 0;
    uv_timer_start(&run->hurry, on_hurry, (uint64_t)((drain_ns + run->grace_ns + 2 * NS_PER_S) / NS_PER_MS), 0);
    if (drain_ns > 0)
        uv_timer_start(&run->drain, on_drained, (uint64_t)(drain_ns / NS_PER_MS), 0);
    else
        app_stop(run->app, on_stopped, run);
}

static void on_signal(uv_signal_t *handle, int signum)
{
    struct run *run = handle->data;

    if (signum == SIGHUP && !run->terminal)
        app_reload_config(run->app);
    else
        stop(run, signum);
}

/* A process that has nothing running yet: what was made goes with it. */
static void on_failed(void *ctx, const struct err *err)
{
    (void)ctx;
    log_error("Cannot start", "error", err->text);
    exit(1);
}

static void on_webhook_certified(void *ctx, const char *certificate, const char *key)
{
    webhook_certify(((struct run *)ctx)->webhook, certificate, key);
}

static int start(struct run *run, struct run_options *o, struct err *err)
{
    log_set_level(o->log_level);
    signal(SIGPIPE, SIG_IGN);
    uv_loop_init(&run->loop);
    run->metrics = metrics_new();
    run->grace_ns = o->app.grace_ns;
    o->app.failed = on_failed;
    o->app.failed_ctx = run;
    o->app.webhook_certified = on_webhook_certified;
    o->app.webhook_ctx = run;
    metric_set(
        metric_gauge(run->metrics, "haptic_build_info", "The program's version; always 1.", "version", HAPTIC_VERSION),
        1);
    log_info("HAProxy Template Ingress Controller starting", "version", HAPTIC_VERSION, "config",
             o->app.config_file       ? o->app.config_file
             : o->app.config_resource ? o->app.config_resource
                                      : "built-in",
             "source", o->app.source_dir ? o->app.source_dir : "API server", "haproxy",
             o->app.fleet    ? "fleet"
             : o->app.attach ? "attach"
                             : "local",
             "haproxy_dir", o->app.haproxy_dir);
    /* First what may be taken already: the loop does not run yet, so nobody asks before there is an app. */
    if (start_http(run, o, err) < 0 || app_new(&run->loop, &o->app, run->metrics, &run->app, err) < 0)
        return -1;
    if (run->debug_http != NULL)
        debug_pages_add(run->debug_http, run->app);
    if (o->app.has_webhook && webhook_new(&run->loop, o, run->app, run->metrics, &run->webhook, err) < 0)
        return -1;
    uv_timer_init(&run->loop, &run->hurry);
    uv_timer_init(&run->loop, &run->drain);
    run->drain.data = run;
    uv_signal_init(&run->loop, &run->term);
    uv_signal_init(&run->loop, &run->interrupt);
    uv_signal_init(&run->loop, &run->hangup);
    run->term.data = run->interrupt.data = run->hangup.data = run;
    run->terminal = isatty(STDIN_FILENO);
    uv_signal_start(&run->term, on_signal, SIGTERM);
    uv_signal_start(&run->interrupt, on_signal, SIGINT);
    uv_signal_start(&run->hangup, on_signal, SIGHUP);
    return 0;
}

/* Neither HAProxy, which sees everybody's traffic, nor a core file gets what this process has: the descriptors that it
 * was started with, and its memory with the token. */
static void keep_private(void)
{
    (void)close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
    if (!JAIL_SANITIZED)
        (void)prctl(PR_SET_DUMPABLE, 0);
}

int cmd_run(int argc, char **argv)
{
    char executable[4096];
    size_t size = sizeof(executable);
    struct run run = {0};
    struct run_options o = {.app = {.version = HAPTIC_VERSION, .executable = executable}};
    struct err err;
    int status = 0;

    keep_private();
    if (uv_exepath(executable, &size) != 0)
        snprintf(executable, sizeof(executable), "%s", "/proc/self/exe");
    if (run_options_parse(&o, argc, argv, &err) < 0) {
        fprintf(stderr, "haptic run: %s\n", err.text);
        status = 2;
    } else if (o.help) {
        run_options_print_help();
    } else if (start(&run, &o, &err) < 0) {
        log_error("Cannot start", "error", err.text);
        status = 1;
        /* A process that has nothing running yet: what was made goes with it. */
        run_options_done(&o);
        exit(status);
    } else {
        uv_run(&run.loop, UV_RUN_DEFAULT);
        uv_loop_close(&run.loop);
        run.webhook = webhook_free(run.webhook);
        metrics_free(run.metrics);
        log_info("Controller shutdown complete");
    }
    run_options_done(&o);
    return status;
}
