/* app_new() starts the parts in order. app_stop() stops them: no new deployment begins, the running one ends, the Lease
 * is released so that a follower takes over at once, and then all other parts stop. */
#include "controller/app.h"

#include <stdlib.h>
#include <string.h>

#include "agent/fence.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "controller/app_parts.h"
#include "controller/place.h"
#include "haproxy/scratch.h"

#define STORE_MAX ((size_t)1 << 30)
#define DEPLOYMENT_END_NS (2 * NS_PER_S)

/* ---- questions of the parts ---- */

static int64_t received_ns(void *ctx)
{
    struct app *app = ctx;

    return app->source_kube ? source_kube_received_ns(app->source_kube) : 0;
}

static int64_t fence_transitions(void *ctx)
{
    return leader_fence_transitions(((struct app *)ctx)->leader);
}

static const char *fence_holder(void *ctx)
{
    return leader_fence_holder(((struct app *)ctx)->leader);
}

/* While the app stops, the running deployment may end. */
static int64_t write_end_ns(void *ctx)
{
    return leader_write_end_ns(((struct app *)ctx)->leader);
}

static void refused_stale(void *ctx, int64_t highest_transitions)
{
    leader_refused_stale(((struct app *)ctx)->leader, highest_transitions);
}

/* ---- start ---- */

static void on_stepped(void *ctx)
{
    struct app *app = ctx;

    app_on_config_step(app);
    app_report_config(app);
    if (app->sealer != NULL)
        sealer_step(app->sealer);
    status_writer_step(app->status_writer);
    owned_writer_step(app->owned_writer);
    app_step_admission(app);
}

static void on_agent_changed(void *ctx, const char *what)
{
    struct app *app = ctx;

    if (!app->stopping)
        reconcile_compare_all(app->reconcile, what);
}

static int start_haproxy(struct app *app, struct err *err)
{
    const struct app_options *o = &app->options;

    app->orders = order_report_new(reconcile_model(app->reconcile), app_notify, app);
    if (o->fleet)
        return app_start_fleet(app, err);
    app->master_socket = o->master_socket ? xstrdup(o->master_socket) : xasprintf("%s/master.sock", app->directory);
    app->runtime_socket = o->runtime_socket ? xstrdup(o->runtime_socket) : xasprintf("%s/runtime.sock", app->directory);
    const struct agent_config config = {.vault = store_vault(app->store),
                                        .binary = app->haproxy,
                                        .version = app->caps.text,
                                        .directory = app->directory,
                                        .master_socket = app->master_socket,
                                        .runtime_socket = app->runtime_socket,
                                        .supervise = !o->attach,
                                        .write_end_ns = write_end_ns,
                                        .orders_changed = app_orders_changed,
                                        .reload_deadline_ns = app->config->deployment_timeout_ns,
                                        /* 0 would select the agent's default */
                                        .min_reload_interval_ns = app->config->min_deployment_interval_ns > 0
                                                                      ? app->config->min_deployment_interval_ns
                                                                      : 1};
    app->agent = agent_new(app->loop, &config, reconcile_model(app->reconcile), app->metrics, on_agent_changed, app,
                           err);
    return app->agent != NULL ? 0 : -1;
}

static void on_events_denied(void *ctx, const struct err *err)
{
    (void)ctx;
    log_warn("Kubernetes Events about objects cannot be created; their problems are only in the log", "error",
             err->text);
}

static int start_client(struct app *app, struct err *err)
{
    const struct app_options *o = &app->options;
    struct kube_config kube;

    if (kube_config_load(&kube, &o->kube, err) < 0)
        return err->kind == ERR_NOTFOUND ? err_wrap(err, "without --source DIR an API server is needed") : -1;
    const struct kube_client_options client = {.version = o->version, .metrics = app->metrics};
    app->client = kube_client_new(app->loop, &kube, &client);
    app->events = kube_events_new(app->client, "haproxy-haptic.org/controller", o->pod_name ? o->pod_name : "haptic",
                                  app->metrics);
    kube_events_on_denied(app->events, on_events_denied, app);
    return 0;
}

static int start_store(struct app *app, struct err *err)
{
    bool changed;

    app->store = store_new(APP_OBJECT_MAX, STORE_MAX);
    return app_take_kinds(app, app->config, &changed, err);
}

/* A process that was killed during a check leaves a configuration that contains values of Secrets. */
static void sweep_leftovers(void)
{
    unsigned count = scratch_sweep(scratch_place());

    if (count > 0)
        log_info("Removed temporary files of checks whose process was killed", "directories", log_int(count), "place",
                 scratch_place());
}

static void start_rendering(struct app *app)
{
    static const struct reconcile_ops ops = {.may_write = app_may_write,
                                             .fence_transitions = fence_transitions,
                                             .fence_holder = fence_holder,
                                             .refused_stale = refused_stale,
                                             .program = app_on_program,
                                             .stepped = on_stepped,
                                             .is_synced = app_is_synced,
                                             .is_readable = app_is_readable,
                                             .received_ns = received_ns,
                                             .heard = app_on_heard,
                                             .reviewed = app_on_reviewed,
                                             .notify = app_notify};
    const struct app_options *o = &app->options;
    const struct reconcile_config reconcile = {
        .identity = o->pod_name ? o->pod_name : "standalone",
        .drift_interval_ns = app->config->drift_prevention_interval_ns,
        .render_timeout_ns = app->config->render_timeout_ns,
        .render_memory_bytes = app->config->render_memory_bytes,
        .check = {.binary = app->haproxy, .readable = app->options.check_reads, .vault = store_vault(app->store)}};
    const struct renderer_limits limits = {.deadline_ns = app->config->render_timeout_ns,
                                           .memory_bytes = (size_t)app->config->render_memory_bytes,
                                           .output_bytes = (size_t)app->config->render_output_bytes};

    app->reconcile = reconcile_new(app->loop, &reconcile, app->store, app->metrics, &ops, app);
    app->expiry = expiry_new(app->loop, app->store, app->metrics);
    app->sweeper = sweeper_new(app->loop, store_vault(app->store), reconcile_model(app->reconcile));
    app->renderer = renderer_new(app->loop, app->store, o->executable, &limits, reconcile_renderer_events(),
                                 app->reconcile, app->metrics);
}

static int begin(struct app *app, struct err *err)
{
    const struct app_options *o = &app->options;

    if (app->config->has_log_level && !o->log_level_fixed)
        log_set_level(app->config->log_level);
    config_warn(app->config);
    if (place_find_program(o->haproxy_binary, &app->haproxy, err) < 0 || place_probe(app->haproxy, &app->caps, err) < 0)
        return -1;
    if (o->source_dir == NULL && app->client == NULL && start_client(app, err) < 0)
        return -1;
    app_start_ownership(app);
    if (app_start_leader(app, app->config, err) < 0 || start_store(app, err) < 0)
        return -1;
    if (place_make_directory(o->haproxy_dir, &app->directory, err) < 0 ||
        default_certificate_init(&app->default_certificate, o->fleet ? NULL : app->directory, store_vault(app->store),
                                 err) < 0)
        return -1;
    sweep_leftovers();
    start_rendering(app);
    app->program_number = 1;
    if (app_start_admission(app, app_may_write, err) < 0)
        return -1;
    app_start_status(app);
    app_start_fetcher(app);
    /* HAProxy comes last, so that a failed start leaves no HAProxy behind. */
    if (app_set_program(app, app->config, err) < 0 || app_start_source(app, err) < 0 || start_haproxy(app, err) < 0)
        return -1;
    if (app->recall == NULL)
        app_start_sealing(app, NULL);
    if (app->fleet != NULL)
        reconcile_attach_fleet(app->reconcile, app->renderer, app->fleet);
    else
        reconcile_attach(app->reconcile, app->renderer, app->agent);
    metrics_on_collect(app->metrics, app_collect, app);
    app_watch_ready(app);
    return 0;
}

static int start_all(struct app *app, struct err *err)
{
    if (app->options.config_resource != NULL) {
        if (start_client(app, err) < 0 || app_open_config(app, err) < 0)
            return -1;
        app_forget_tests(app);
        app_wait_for_config(app, LOG_INFO, "it was not read yet");
        app_watch_ready(app);
        return 0;
    }
    struct config *config;
    if (app_open_config(app, err) < 0 || app_load_config(app, &config, err) < 0)
        return -1;
    if (config->tested_text == NULL) {
        app->config = config;
        app_forget_tests(app);
        return begin(app, err);
    }
    app_wait_for_config(app, LOG_INFO, "its tests run");
    app_test_config(app, config, app_on_tested);
    app_watch_ready(app);
    return 0;
}

static void open_handles(struct app *app)
{
    uv_timer_init(app->loop, &app->stop_poll);
    uv_timer_init(app->loop, &app->config_timer);
    uv_timer_init(app->loop, &app->watch_timer);
    uv_timer_init(app->loop, &app->identity_timer);
    uv_timer_init(app->loop, &app->election_timer);
    app->stop_poll.data = app->config_timer.data = app->watch_timer.data = app;
    app->identity_timer.data = app->election_timer.data = app;
}

static void leader_stopped(void *ctx);

int app_new(uv_loop_t *loop, const struct app_options *options, struct metrics *metrics, struct app **ret_app,
            struct err *err)
{
    struct app *app = xcalloc(1, sizeof(*app));

    app->loop = loop;
    app->options = *options;
    app->metrics = metrics;
    app->begin = begin;
    app->released = leader_stopped;
    open_handles(app);
    if (start_all(app, err) < 0)
        return -1; /* the caller ends the process, which frees everything */
    *ret_app = app;
    return 0;
}

/* ---- end ---- */

static void all_stopped(void *ctx)
{
    struct app *app = ctx;

    app->stopped(app->stopped_ctx);
}

static void agent_stopped_first(void *ctx);

static void stop_agent(struct app *app, void (*then)(void *ctx))
{
    agent_stop(app->agent, !app->options.attach && !app->options.keep_haproxy, app->options.grace_ns, then, app);
}

static void leader_stopped(void *ctx)
{
    struct app *app = ctx;

    if (app->options.attach || app->agent == NULL)
        all_stopped(app);
    else
        stop_agent(app, all_stopped);
}

static void agent_stopped_first(void *ctx)
{
    app_end_election(ctx);
}

/* Waits until the running deployment has ended, or until its time is over. */
static void on_stop_poll(uv_timer_t *timer)
{
    struct app *app = timer->data;

    if (app->agent != NULL && agent_busy(app->agent) && clock_now_ns() < app->stop_deadline_ns)
        return;
    uv_timer_stop(timer);
    /* With --attach, other programs write to the same HAProxy, so nothing may be sent to it after the Lease was
     * released. A HAProxy of our own drains after the release. */
    if (app->options.attach && app->agent != NULL)
        stop_agent(app, agent_stopped_first);
    else
        app_end_election(app);
}

/* For an app in which nothing was started. */
static void on_stop_unstarted(uv_timer_t *timer)
{
    all_stopped(timer->data);
}

void app_stop(struct app *app, void (*stopped)(void *ctx), void *ctx)
{
    uv_timer_stop(&app->watch_timer);
    uv_timer_stop(&app->config_timer);
    app_forget_tests(app);
    if (app->election == ELECTION_ENDING) { /* this also completes the change of the election */
        uv_timer_stop(&app->election_timer);
        app->election = ELECTION_STEADY;
    }
    if (app->reconcile == NULL) {
        app->stopping = true;
        app->stopped = stopped;
        app->stopped_ctx = ctx;
        uv_timer_start(&app->stop_poll, on_stop_unstarted, 0, 0);
        return;
    }
    if (app->sealer != NULL)
        sealer_stop(app->sealer);
    status_writer_stop(app->status_writer);
    owned_writer_stop(app->owned_writer);
    fetcher_stop(app->fetcher);
    app->stopping = true;
    app->stopped = stopped;
    app->stopped_ctx = ctx;
    app->stop_deadline_ns = clock_now_ns() + DEPLOYMENT_END_NS;
    reconcile_stop(app->reconcile);
    app_stop_fleet(app);
    uv_timer_start(&app->stop_poll, on_stop_poll, 0, 2);
}

static void on_closed(uv_handle_t *handle)
{
    struct app *app = handle->data;

    if (--app->open_handles == 0)
        free(app);
}

struct app *app_free(struct app *app)
{
    if (app == NULL)
        return NULL;
    metrics_on_collect(app->metrics, NULL, NULL);
    app->source_dir = source_dir_free(app->source_dir);
    app->source_kube = source_kube_free(app->source_kube);
    watch_log_done(&app->watch_log);
    app->renderer = renderer_free(app->renderer);
    app_stop_admission(app);
    app->agent = agent_free(app->agent);
    app->member_pods = member_pods_free(app->member_pods);
    app->fleet_secret = fleet_secret_free(app->fleet_secret);
    app->fleet = fleet_free(app->fleet);
    app->orders = order_report_free(app->orders);
    app->sealer = sealer_free(app->sealer);
    app->status_writer = status_writer_free(app->status_writer);
    app->owned_writer = owned_writer_free(app->owned_writer);
    app->fetcher = fetcher_free(app->fetcher);
    app->expiry = expiry_free(app->expiry);
    app->sweeper = sweeper_free(app->sweeper);
    app->reconcile = reconcile_free(app->reconcile);
    app->leader = leader_free(app->leader);
    app_free_ownership(app);
    app->config_report = config_report_free(app->config_report);
    app->config_source = config_source_free(app->config_source);
    app->events = kube_events_free(app->events);
    app->client = kube_client_free(app->client);
    default_certificate_done(&app->default_certificate);
    app->store = store_free(app->store);
    app->config = config_free(app->config);
    app_forget_next_config(app);
    app_forget_tests(app);
    free(app->tests_message);
    config_state_done(&app->config_state);
    free(app->waits_for);
    free(app->ignored_fields);
    free(app->part_refused);
    free(app->haproxy);
    free(app->directory);
    free(app->master_socket);
    free(app->runtime_socket);
    uv_handle_t *handles[] = {(uv_handle_t *)&app->stop_poll, (uv_handle_t *)&app->config_timer,
                              (uv_handle_t *)&app->watch_timer, (uv_handle_t *)&app->identity_timer,
                              (uv_handle_t *)&app->election_timer};
    app->open_handles = ARRAY_LEN(handles);
    for (size_t i = 0; i < ARRAY_LEN(handles); i++)
        uv_close(handles[i], on_closed);
    return NULL;
}
