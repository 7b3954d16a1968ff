/* app_new() reads top to bottom like the start of a day; app_stop() is the same day's end: no new deployment, the one
 * under way ends, the Lease is given back so that a follower goes on at once, then the rest. */
#include "controller/app.h"

#include <stdlib.h>
#include <string.h>

#include "agent/fence.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "controller/app_parts.h"
#include "controller/generation_log.h"
#include "controller/place.h"
#include "controller/restore.h"
#include "data/json.h"
#include "haproxy/scratch.h"

#define OBJECT_MAX ((size_t)8 << 20)
#define STORE_MAX ((size_t)1 << 30)
#define DEPLOYMENT_END_NS (2 * NS_PER_S)

/* ---- sources ---- */

static void on_file_report(void *ctx, const char *file, size_t line, const char *message)
{
    (void)ctx;
    if (message != NULL)
        log_warn("Manifest refused; its last good objects stay", "file", file, "line", log_int((int64_t)line), "error",
                 message);
    else
        log_info("Manifest is right again", "file", file);
}

static void on_kube_report(void *ctx, const char *kind, const struct err *err, const char *reason, int64_t retry_in_ns)
{
    watch_log_tell(&((struct app *)ctx)->watch_log, kind, err, reason, retry_in_ns);
}

static int start_source(struct app *app, struct err *err)
{
    if (app->options.source_dir != NULL)
        return source_dir_new(app->loop, app->store, app->options.source_dir, on_file_report, app, &app->source_dir,
                              err);
    const struct source_kube_options options = {
        .max_object_bytes = OBJECT_MAX, .stall_ns = app->options.watch_stall_ns, .metrics = app->metrics};
    return source_kube_new(app->client, app->store, &options, on_kube_report, app, &app->source_kube, err);
}

int app_reload_source(struct app *app, struct err *err)
{
    return app->source_dir != NULL ? source_dir_reload(app->source_dir, err)
                                   : source_kube_reload(app->source_kube, err);
}

static int64_t received_ns(void *ctx)
{
    struct app *app = ctx;

    return app->source_kube ? source_kube_received_ns(app->source_kube) : 0;
}

/* ---- leadership ---- */

/* An earlier leader may have written with a fence as high as ours, where the Lease is a new one or there is none: the
 * first write would be refused. So each term begins above what is there. This decides nothing: whatever happens after
 * the look, the receiver compares at each write. */
static void look_at_fence(struct app *app)
{
    const struct fence ours = {.transitions = leader_fence_transitions(app->leader),
                               .generation = UINT64_MAX, /* the same writer goes on with whatever it had */
                               .holder = leader_fence_holder(app->leader)};
    struct fence_record highest;
    struct err err;

    if (fence_check(app->directory, &ours, &highest, &err) < 0 && err.kind == ERR_STALE)
        leader_saw_fence(app->leader, highest.transitions);
}

static void on_leader_changed(void *ctx, bool is_leader)
{
    struct app *app = ctx;

    if (is_leader && app->agent != NULL && app_may_write(app))
        look_at_fence(app);
    app_fleet_step(app);
    app_lead_admission(app);
    if (app->reconcile != NULL)
        reconcile_kick(app->reconcile);
}

static struct elector_config elector_config_of(const struct app *app, const struct config *c)
{
    struct elector_config e;

    elector_config_defaults(&e);
    e.enabled = c->leader_election && app->client != NULL;
    e.lease_name = c->lease_name;
    e.namespace = app->options.pod_namespace || app->client == NULL ? app->options.pod_namespace
                                                                    : kube_client_config(app->client)->namespace;
    e.identity = app->options.pod_name ? app->options.pod_name : "standalone";
    e.lease_duration_ns = c->lease_duration_ns;
    e.renew_deadline_ns = c->renew_deadline_ns;
    e.retry_period_ns = c->retry_period_ns;
    return e;
}

int app_check_election(const struct app *app, const struct config *c, struct err *err)
{
    bool elects = c->leader_election && app->client != NULL;

    if (elects && app->options.pod_name == NULL)
        return err_set(
            err, ERR_INVALID,
            "the environment variable POD_NAME is missing: leader election needs the pod's name. Add to the "
            "container's env: "
            "{name: POD_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}, or disable leader election");
    if (elects && app->options.pod_namespace == NULL && kube_client_config(app->client)->namespace_is_default)
        return err_set(
            err, ERR_INVALID,
            "the environment variable POD_NAMESPACE is missing: leader election needs the Lease's namespace. Add to "
            "the container's "
            "env: {name: POD_NAMESPACE, valueFrom: {fieldRef: {fieldPath: metadata.namespace}}}, or disable leader "
            "election");
    return 0;
}

int app_start_leader(struct app *app, const struct config *c, struct err *err)
{
    if (app_check_election(app, c, err) < 0)
        return -1;
    struct elector_config e = elector_config_of(app, c);
    return leader_new(app->loop, app->client, &e, app->metrics, on_leader_changed, app, &app->leader, err);
}

static int64_t fence_transitions(void *ctx)
{
    return leader_fence_transitions(((struct app *)ctx)->leader);
}

static const char *fence_holder(void *ctx)
{
    return leader_fence_holder(((struct app *)ctx)->leader);
}

/* An app that stops lets the deployment under way end. */
static int64_t write_end_ns(void *ctx)
{
    return leader_write_end_ns(((struct app *)ctx)->leader);
}

static void refused_stale(void *ctx, int64_t highest_transitions)
{
    leader_refused_stale(((struct app *)ctx)->leader, highest_transitions);
}

/* ---- messages for owners of objects ---- */

static void send_event(struct app *app, const struct store_kind *kind, const struct object *object, bool warning,
                       const char *reason, const char *message)
{
    CLEANUP(json_doc_done) struct yyjson_doc *doc = NULL;

    if (json_parse(object->json, object->json_length, OBJECT_MAX, &doc, NULL) < 0)
        return;
    yyjson_val *root = yyjson_doc_get_root(doc);
    const char *api_version = json_str(root, "apiVersion");
    const struct kube_event_object about = {.api_version = api_version ? api_version
                                                                       : store_kind_spec(kind)->api_version,
                                            .kind = json_str(root, "kind"),
                                            .namespace = object->namespace,
                                            .name = object->name,
                                            .uid = object->uid,
                                            .resource_version = object->resource_version};
    kube_event_send(app->events, &about, warning ? "Warning" : "Normal", reason, "Reconcile", message);
}

void app_notify(void *ctx, bool warning, const char *owner_kind, const char *owner_id, const char *reason,
                const char *message)
{
    struct app *app = ctx;
    struct store_kind *kind = *owner_kind ? store_kind_by_name(app->store, owner_kind) : NULL;
    struct object *object = kind ? store_get(kind, owner_id) : NULL;

    if (app->reconcile != NULL)
        generation_log_tell(reconcile_generations(app->reconcile), warning, owner_kind, owner_id, reason, message);
    if (object != NULL && app->events != NULL && leader_may_write(app->leader))
        send_event(app, kind, object, warning, reason, message);
}

/* ---- what the next start needs ---- */

static bool is_newest(void *ctx)
{
    struct app *app = ctx;
    const struct fence ours = {.transitions = leader_fence_transitions(app->leader),
                               .generation = UINT64_MAX,
                               .holder = leader_fence_holder(app->leader)};
    struct fence_record highest;
    struct err err;

    return fence_check(app->directory, &ours, &highest, &err) == 0 || err.kind != ERR_STALE;
}

static struct bundle_stamp stamp(void *ctx)
{
    struct app *app = ctx;

    return (struct bundle_stamp){.transitions = leader_fence_transitions(app->leader),
                                 .generation = reconcile_generation(app->reconcile)};
}

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

/* The newer one of what this directory and what a member has. 0: nothing was taken up. */
static int restore(struct app *app, const struct recall_answer *member, struct restored *ret_restored, struct err *err)
{
    struct model *model = reconcile_model(app->reconcile);
    struct vault *vault = store_vault(app->store);
    struct bundle_stamp own = {.transitions = INT64_MIN};
    struct restored found;

    if (member == NULL || member->member == NULL)
        return restore_accepted(app->directory, model, vault, ret_restored, err);
    if (restore_stamp(app->directory, &own, err) < 0 && err->kind != ERR_NOTFOUND)
        log_warn("What was accepted here before the start cannot be read; what the fleet serves is taken up", "error",
                 err->text);
    if (own.transitions >= member->transitions &&
        (own.transitions > member->transitions || own.generation >= member->generation))
        return restore_accepted(app->directory, model, vault, ret_restored, err);
    if (restore_offer(member->bytes, member->length, model, vault, &found, err) < 0)
        return err_wrap(err, "member %s", member->member);
    *ret_restored = found;
    return 0;
}

void app_start_sealing(struct app *app, const struct recall_answer *member)
{
    static const struct sealer_ops ops = {.may_write = app_may_write, .is_newest = is_newest, .stamp = stamp};
    struct restored restored;
    struct err err;

    if (restore(app, member, &restored, &err) == 0) {
        reconcile_restored(app->reconcile);
        app_restore_fetched(app);
        app_restore_owned(app);
        log_info(restored.haproxy[0] != '\0' ? "Took up what was accepted before the start"
                                             : "Took up what the fleet serves",
                 "fragments", log_int((int64_t)restored.parts), "transitions", log_int(restored.stamp.transitions),
                 "generation", log_int((int64_t)restored.stamp.generation), "haproxy", restored.haproxy);
        if (restored.left_out > 0)
            log_warn("Not taken up: output that needs values of Secrets which are not there", "fragments",
                     log_int((int64_t)restored.left_out));
        if (restored.cut > 0)
            log_warn("The end of the file was not written to its end; the state before it is used", "file", SEALER_FILE,
                     "bytes", log_int((int64_t)restored.cut));
    } else if (err.kind != ERR_NOTFOUND) {
        log_error("What was accepted before the start cannot be read; objects whose templates fail now have no output",
                  "error", err.text);
    }
    app->sealer = sealer_new(app->loop, app->directory, app->caps.text, reconcile_model(app->reconcile),
                             store_vault(app->store), app->metrics, &ops, app);
}

/* ---- start ---- */

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
                                        /* 0 would be the agent's own idea of it */
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
    log_warn("Kubernetes Events about objects cannot be created; what is wrong with them stands in the log only",
             "error", err->text);
}

static int start_client(struct app *app, struct err *err)
{
    const struct app_options *o = &app->options;
    struct kube_config kube;

    if (kube_config_load(&kube, &o->kube, err) < 0)
        return err_wrap(err, "no API server (give --kubeconfig, or --source DIR to run without one)");
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

    app->store = store_new(OBJECT_MAX, STORE_MAX);
    return app_take_kinds(app, app->config, &changed, err);
}

/* A process that was killed during a check has left a configuration with the values of Secrets. */
static void sweep_leftovers(void)
{
    unsigned count = scratch_sweep(scratch_place());

    if (count > 0)
        log_info("Removed what checks of a process that was killed had left", "directories", log_int(count), "place",
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

int app_begin(struct app *app, struct err *err)
{
    const struct app_options *o = &app->options;

    if (app->config->has_log_level && !o->log_level_fixed)
        log_set_level(app->config->log_level);
    config_warn(app->config);
    if (place_find_program(o->haproxy_binary, &app->haproxy, err) < 0 || place_probe(app->haproxy, &app->caps, err) < 0)
        return -1;
    if (o->source_dir == NULL && app->client == NULL && start_client(app, err) < 0)
        return -1;
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
    /* HAProxy last: what cannot start leaves none behind. */
    if (app_set_program(app, app->config, err) < 0 || start_source(app, err) < 0 || start_haproxy(app, err) < 0)
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
        return app_begin(app, err);
    }
    app_wait_for_config(app, LOG_INFO, "its tests run");
    app_test_config(app, config);
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

int app_new(uv_loop_t *loop, const struct app_options *options, struct metrics *metrics, struct app **ret_app,
            struct err *err)
{
    struct app *app = xcalloc(1, sizeof(*app));

    app->loop = loop;
    app->options = *options;
    app->metrics = metrics;
    open_handles(app);
    if (start_all(app, err) < 0)
        return -1; /* the process ends; what was made goes with it */
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

void app_end_election(struct app *app)
{
    if (app->election == ELECTION_RELEASING)
        return; /* it comes back here */
    leader_stop(app->leader, true, leader_stopped, app);
}

static void agent_stopped_first(void *ctx)
{
    app_end_election(ctx);
}

/* The deployment under way ends, or its time does. */
static void on_stop_poll(uv_timer_t *timer)
{
    struct app *app = timer->data;

    if (app->agent != NULL && agent_busy(app->agent) && clock_now_ns() < app->stop_deadline_ns)
        return;
    uv_timer_stop(timer);
    /* A HAProxy that others write to as well must not hear from us after the Lease was given back; one of our own
     * drains after it. */
    if (app->options.attach && app->agent != NULL)
        stop_agent(app, agent_stopped_first);
    else
        app_end_election(app);
}

/* Nothing was started. */
static void on_stop_unstarted(uv_timer_t *timer)
{
    all_stopped(timer->data);
}

void app_stop(struct app *app, void (*stopped)(void *ctx), void *ctx)
{
    uv_timer_stop(&app->watch_timer);
    uv_timer_stop(&app->config_timer);
    app_forget_tests(app);
    if (app->election == ELECTION_ENDING) { /* this is the end of it, too */
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
