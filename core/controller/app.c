/* app_new() reads top to bottom like the start of a day; app_stop() is the same day's end: no new deployment, the one under way ends, the
 * Lease is given back so that a follower goes on at once, then the rest. */
#include "controller/app.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/agent.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "controller/config.h"
#include "controller/leader.h"
#include "controller/reconcile.h"
#include "controller/sweeper.h"
#include "data/json.h"
#include "engine/renderer.h"
#include "haproxy/version.h"
#include "kube/client.h"
#include "kube/event.h"
#include "store/source_dir.h"
#include "store/source_kube.h"
#include "store/store.h"

#define OBJECT_MAX ((size_t)8 << 20)
#define STORE_MAX ((size_t)1 << 30)
#define CONFIG_POLL_MS 500
#define DEPLOYMENT_END_NS (2 * NS_PER_S)

struct app {
    uv_loop_t *loop;
    struct app_options options;
    struct metrics *metrics;
    struct config *config, *next_config; /* next: its templates are being loaded */
    struct haproxy_caps caps;
    char *haproxy, *directory, *master_socket, *runtime_socket; /* absolute */
    struct store *store;
    struct source_dir *source_dir;
    struct source_kube *source_kube;
    struct kube_client *client;
    struct kube_events *events;
    struct leader *leader;
    struct renderer *renderer;
    struct reconcile *reconcile;
    struct sweeper *sweeper;
    struct agent *agent;

    uv_fs_poll_t config_poll;
    uv_timer_t stop_poll;
    bool config_polled;
    int64_t stop_deadline_ns;
    bool stopping;
    void (*stopped)(void *ctx);
    void *stopped_ctx;
    bool was_ready;
};

/* ---- pieces ---- */

/* The program that the shell would run. */
static int find_program(const char *name, char **ret_path, struct err *err)
{
    const char *path = getenv("PATH");
    char resolved[PATH_MAX];

    if (strchr(name, '/') != NULL) {
        if (realpath(name, resolved) == NULL)
            return err_set_sys(err, errno, "%s (give another --haproxy-binary)", name);
        *ret_path = xstrdup(resolved);
        return 0;
    }
    for (const char *at = path ? path : "/usr/sbin:/usr/bin:/sbin:/bin"; *at != '\0';) {
        size_t length = strcspn(at, ":");
        CLEANUP(free_ptr) char *candidate = xasprintf("%.*s/%s", (int)length, at, name);
        if (access(candidate, X_OK) == 0) {
            *ret_path = STEAL(candidate);
            return 0;
        }
        at += length + (at[length] == ':');
    }
    CLEANUP(free_ptr) char *usual = xasprintf("/usr/sbin/%s", name); /* not in the PATH of ordinary users */
    if (access(usual, X_OK) == 0) {
        *ret_path = STEAL(usual);
        return 0;
    }
    return err_set(err, ERR_NOTFOUND, "there is no program \"%s\": install HAProxy 2.6 or newer, or give --haproxy-binary", name);
}

/* What `haproxy -v` says. Blocking: a few milliseconds at the start. */
static int probe_haproxy(const char *binary, struct haproxy_caps *ret_caps, struct err *err)
{
    posix_spawn_file_actions_t actions;
    char *const argv[] = {(char *)(uintptr_t)binary, (char[]){"-v"}, NULL};
    char text[4096];
    size_t length = 0;
    int fds[2], status = 0;
    pid_t pid;

    if (pipe2(fds, O_CLOEXEC) < 0)
        return err_set_sys(err, errno, "pipe");
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, fds[1], STDOUT_FILENO);
    int failed = posix_spawnp(&pid, binary, &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(fds[1]);
    for (ssize_t n = 1; failed == 0 && n > 0 && length + 1 < sizeof(text);) {
        n = read(fds[0], text + length, sizeof(text) - 1 - length);
        length += n > 0 ? (size_t)n : 0;
    }
    close(fds[0]);
    text[length] = '\0';
    if (failed == 0)
        waitpid(pid, &status, 0);
    if (failed != 0 || (WIFEXITED(status) && WEXITSTATUS(status) == 127))
        return err_set_sys(err, failed ? failed : ENOENT, "run %s -v (give another --haproxy-binary)", binary);
    return haproxy_version_parse(text, ret_caps, err);
}

/* What lies there is taken for ours: a configuration to load, sockets of a HAProxy to adopt. So only we and root may say what lies there.
 * A volume that root has made for the containers of a pod is everybody's, and that is meant. */
static int check_owner(const char *path, const char *resolved, struct err *err)
{
    struct stat link, dir;

    if (lstat(path, &link) < 0 || stat(resolved, &dir) < 0)
        return err_set_sys(err, errno, "%s", path);
    if ((link.st_uid != 0 && link.st_uid != geteuid()) || (dir.st_uid != 0 && dir.st_uid != geteuid()))
        return err_set(err, ERR_INVALID, "%s belongs to another user (%u), who could put a configuration there (choose another --haproxy-dir)",
                       path, (unsigned)(dir.st_uid != 0 && dir.st_uid != geteuid() ? dir.st_uid : link.st_uid));
    if ((dir.st_mode & S_IWOTH) && dir.st_uid != 0)
        return err_set(err, ERR_INVALID, "%s may be written by everybody (chmod o-w, or choose another --haproxy-dir)", path);
    return 0;
}

/* realpath() of a folder that may still have to be made. */
static int absolute_dir(const char *path, char **ret_path, struct err *err)
{
    char resolved[PATH_MAX];

    for (const char *slash = path; (slash = strchr(slash + 1, '/')) != NULL;) {
        CLEANUP(free_ptr) char *parent = xmemdup0(path, (size_t)(slash - path));
        (void)!mkdir(parent, 0755);
    }
    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        return err_set_sys(err, errno, "make %s (choose another --haproxy-dir)", path);
    if (realpath(path, resolved) == NULL)
        return err_set_sys(err, errno, "%s", path);
    if (check_owner(path, resolved, err) < 0)
        return -1;
    *ret_path = xstrdup(resolved);
    return 0;
}

static void on_file_report(void *ctx, const char *file, size_t line, const char *message)
{
    (void)ctx;
    if (message != NULL)
        log_warn("Manifest refused; its last good objects stay", "file", file, "line", log_int((int64_t)line), "error", message);
    else
        log_info("Manifest is right again", "file", file);
}

static void on_kube_report(void *ctx, const char *kind, const struct err *err, const char *reason, int64_t retry_in_ns)
{
    (void)ctx;
    if (err != NULL && strcmp(reason, "object") == 0)
        log_warn("Object not taken over; its last good version stays", "resource", kind, "error", err->text);
    else if (err != NULL)
        log_warn("Watch failed; what is known stays in force", "resource", kind, "error", err->text, "retry_in", log_duration(retry_in_ns));
    else
        log_info("Watch works again", "resource", kind);
}

static int start_source(struct app *app, struct err *err)
{
    if (app->options.source_dir != NULL)
        return source_dir_new(app->loop, app->store, app->options.source_dir, on_file_report, app, &app->source_dir, err);
    const struct source_kube_options options = {.max_object_bytes = OBJECT_MAX, .metrics = app->metrics};
    return source_kube_new(app->client, app->store, &options, on_kube_report, app, &app->source_kube, err);
}

static int reload_source(struct app *app, struct err *err)
{
    return app->source_dir != NULL ? source_dir_reload(app->source_dir, err) : source_kube_reload(app->source_kube, err);
}

static int64_t received_ns(void *ctx)
{
    struct app *app = ctx;

    return app->source_kube ? source_kube_received_ns(app->source_kube) : 0;
}

static int load_config(struct app *app, struct config **ret_config, struct err *err)
{
    if (app->options.config_file != NULL)
        return config_load(app->options.config_file, ret_config, err);
    *ret_config = config_new_default();
    return 0;
}

static int set_program(struct app *app, const struct config *config, struct err *err)
{
    CLEANUP(buf_done) struct buf program = {0};

    if (config_program(config, &app->caps, app->options.extra_context, &program, err) < 0)
        return -1;
    renderer_set_program(app->renderer, buf_str(&program), program.length);
    return 0;
}

static void take_settings(struct app *app, const struct config *config)
{
    if (config->has_log_level && !app->options.log_level_fixed)
        log_set_level(config->log_level);
    reconcile_set_drift_interval(app->reconcile, config->drift_prevention_interval_ns);
}

/* ---- leadership ---- */

static void on_leader_changed(void *ctx, bool is_leader)
{
    struct app *app = ctx;

    (void)is_leader;
    if (app->reconcile != NULL)
        reconcile_kick(app->reconcile);
}

static struct elector_config elector_config_of(const struct app *app, const struct config *c)
{
    struct elector_config e;

    elector_config_defaults(&e);
    e.enabled = c->leader_election && app->client != NULL;
    e.lease_name = c->lease_name;
    e.namespace = app->options.pod_namespace || app->client == NULL ? app->options.pod_namespace : kube_client_config(app->client)->namespace;
    e.identity = app->options.pod_name ? app->options.pod_name : "standalone";
    e.lease_duration_ns = c->lease_duration_ns;
    e.renew_deadline_ns = c->renew_deadline_ns;
    e.retry_period_ns = c->retry_period_ns;
    return e;
}

static int start_leader(struct app *app, const struct config *c, struct err *err)
{
    bool elects = c->leader_election && app->client != NULL;

    if (elects && app->options.pod_name == NULL)
        return err_set(err, ERR_INVALID,
                       "the environment variable POD_NAME is missing: leader election needs the pod's name. Add to the container's env: "
                       "{name: POD_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}, or disable leader election");
    if (elects && app->options.pod_namespace == NULL && kube_client_config(app->client)->namespace_is_default)
        return err_set(err, ERR_INVALID,
                       "the environment variable POD_NAMESPACE is missing: leader election needs the Lease's namespace. Add to the container's "
                       "env: {name: POD_NAMESPACE, valueFrom: {fieldRef: {fieldPath: metadata.namespace}}}, or disable leader election");
    struct elector_config e = elector_config_of(app, c);
    return leader_new(app->loop, app->client, &e, app->metrics, on_leader_changed, app, &app->leader, err);
}

static bool may_write(void *ctx)
{
    struct app *app = ctx;

    return !app->stopping && app->leader != NULL && leader_may_write(app->leader);
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

static void send_event(struct app *app, const struct store_kind *kind, const struct object *object, bool warning, const char *reason,
                       const char *message)
{
    CLEANUP(json_doc_done) struct yyjson_doc *doc = NULL;

    if (json_parse(object->json, object->json_length, OBJECT_MAX, &doc, NULL) < 0)
        return;
    yyjson_val *root = yyjson_doc_get_root(doc);
    const char *api_version = json_str(root, "apiVersion");
    const struct kube_event_object about = {.api_version = api_version ? api_version : store_kind_spec(kind)->api_version,
                                            .kind = json_str(root, "kind"),
                                            .namespace = object->namespace,
                                            .name = object->name,
                                            .uid = object->uid,
                                            .resource_version = object->resource_version};
    kube_event_send(app->events, &about, warning ? "Warning" : "Normal", reason, "Reconcile", message);
}

static void notify(void *ctx, bool warning, const char *owner_kind, const char *owner_id, const char *reason, const char *message)
{
    struct app *app = ctx;
    struct store_kind *kind = *owner_kind ? store_kind_by_name(app->store, owner_kind) : NULL;
    struct object *object = kind ? store_get(kind, owner_id) : NULL;

    if (warning)
        log_warn("Object has a problem", "reason", reason, "object_kind", owner_kind, "object", owner_id, "problem", message);
    else
        log_info("Object", "reason", reason, "object_kind", owner_kind, "object", owner_id, "note", message);
    if (object != NULL && app->events != NULL && leader_may_write(app->leader))
        send_event(app, kind, object, warning, reason, message);
}

/* ---- configuration changes ---- */

static void on_program(void *ctx, bool loaded)
{
    struct app *app = ctx;
    struct err err;
    bool changed;

    if (app->next_config == NULL)
        return;
    if (!loaded) {
        app->next_config = config_free(app->next_config);
        return;
    }
    config_remove_kinds(app->next_config, app->store, &changed);
    if (changed && reload_source(app, &err) < 0)
        log_error("Source cannot be restarted", "error", err.text);
    config_free(app->config);
    app->config = STEAL(app->next_config);
    log_info("Configuration in force", "config", app->options.config_file ? app->options.config_file : "built-in");
}

static int take_config(struct app *app, struct config *config, struct err *err)
{
    bool changed;

    if (config_add_kinds(config, app->store, &changed, err) < 0 || (changed && reload_source(app, err) < 0) ||
        set_program(app, config, err) < 0)
        return -1;
    take_settings(app, config);
    return 0;
}

static bool same_election(const struct config *a, const struct config *b)
{
    return a->leader_election == b->leader_election && strcmp(a->lease_name, b->lease_name) == 0 &&
           a->lease_duration_ns == b->lease_duration_ns && a->renew_deadline_ns == b->renew_deadline_ns &&
           a->retry_period_ns == b->retry_period_ns;
}

static void on_config_file(uv_fs_poll_t *poll, int status, const uv_stat_t *before, const uv_stat_t *now)
{
    struct app *app = poll->data;
    struct config *config;
    struct err err;

    (void)before;
    (void)now;
    if (app->stopping)
        return;
    if (status < 0) {
        log_error("Configuration file cannot be read; the old configuration stays in force", "error", uv_strerror(status));
        return;
    }
    if (load_config(app, &config, &err) < 0) {
        log_error("Configuration refused; the old one stays in force", "error", err.text);
        return;
    }
    if (app->client != NULL && !same_election(app->config, config))
        log_warn("Changed leader election settings take effect at the next start");
    config_free(app->next_config);
    app->next_config = config;
    if (take_config(app, config, &err) < 0) {
        log_error("Configuration refused; the old one stays in force", "error", err.text);
        app->next_config = config_free(app->next_config);
    }
}

/* ---- start ---- */

static void on_agent_changed(void *ctx, const char *what)
{
    struct app *app = ctx;

    if (!app->stopping)
        reconcile_compare_all(app->reconcile, what);
}

static void collect(void *ctx)
{
    struct app *app = ctx;
    struct reconcile_status status;
    struct rusage usage;
    long pages = 0, resident = 0;

    for (size_t i = 0; i < store_kind_count(app->store); i++) {
        struct store_kind *kind = store_kind_at(app->store, i);
        const char *name = store_kind_spec(kind)->name;
        metric_set(metric_gauge(app->metrics, "haptic_resources", "Objects held, by kind.", "kind", name), (double)store_kind_objects(kind));
        metric_set(metric_gauge(app->metrics, "haptic_resource_bytes", "Bytes of objects held, by kind.", "kind", name),
                   (double)store_kind_bytes(kind));
        metric_set(metric_gauge(app->metrics, "haptic_resources_synced", "1 when the kind was listed completely.", "kind", name),
                   store_kind_is_synced(kind));
    }
    leader_collect(app->leader);
    reconcile_status(app->reconcile, &status);
    metric_set(metric_gauge(app->metrics, "haptic_quarantined_objects", "Fragments held at their last accepted output."), (double)status.quarantined);
    metric_set(metric_gauge(app->metrics, "haptic_failed_objects", "Fragments whose template fails."), (double)status.failed);
    metric_set(metric_gauge(app->metrics, "haptic_pending_items", "Items rendered and not accepted."), (double)status.pending);
    metric_set(metric_gauge(app->metrics, "haptic_generation", "Number of the accepted configuration, of this process."), (double)status.generation);
    metric_set(metric_gauge(app->metrics, "haptic_model_hash",
                            "First 48 bits of the hash of the accepted configuration; equal on replicas that render the same."),
               (double)(status.digest.high >> 16));
    metric_set(metric_gauge(app->metrics, "haptic_model_age_seconds", "Time since the accepted configuration changed."),
               status.accepted_ns ? (double)(clock_now_ns() - status.accepted_ns) / (double)NS_PER_S : 0);
    metric_set(metric_gauge(app->metrics, "haptic_ready", "1 when /readyz says so."), app_is_ready(app, NULL));
    getrusage(RUSAGE_SELF, &usage);
    metric_set(metric_counter(app->metrics, "process_cpu_seconds_total", "CPU time of this process."),
               (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) + (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6);
    FILE *statm = fopen("/proc/self/statm", "re");
    if (statm != NULL) {
        if (fscanf(statm, "%ld %ld", &pages, &resident) == 2)
            metric_set(metric_gauge(app->metrics, "process_resident_memory_bytes", "Resident memory of this process."),
                       (double)resident * (double)sysconf(_SC_PAGESIZE));
        fclose(statm);
    }
}

static int start_haproxy(struct app *app, struct err *err)
{
    const struct app_options *o = &app->options;

    if (absolute_dir(o->haproxy_dir, &app->directory, err) < 0)
        return -1;
    app->master_socket = o->master_socket ? xstrdup(o->master_socket) : xasprintf("%s/master.sock", app->directory);
    app->runtime_socket = o->runtime_socket ? xstrdup(o->runtime_socket) : xasprintf("%s/runtime.sock", app->directory);
    const struct agent_config config = {.vault = store_vault(app->store),
                                        .binary = app->haproxy,
                                        .directory = app->directory,
                                        .master_socket = app->master_socket,
                                        .runtime_socket = app->runtime_socket,
                                        .supervise = !o->attach,
                                        .write_end_ns = write_end_ns,
                                        .min_reload_interval_ns = app->config->min_deployment_interval_ns};
    app->agent = agent_new(app->loop, &config, reconcile_model(app->reconcile), app->metrics, on_agent_changed, app, err);
    return app->agent != NULL ? 0 : -1;
}

static int start_all(struct app *app, struct err *err)
{
    static const struct reconcile_ops ops = {
        .may_write = may_write, .fence_transitions = fence_transitions, .fence_holder = fence_holder, .refused_stale = refused_stale, .program = on_program, .received_ns = received_ns, .notify = notify};
    const struct app_options *o = &app->options;
    bool changed;

    if (load_config(app, &app->config, err) < 0)
        return -1;
    if (app->config->has_log_level && !o->log_level_fixed)
        log_set_level(app->config->log_level);
    if (find_program(o->haproxy_binary, &app->haproxy, err) < 0 || probe_haproxy(app->haproxy, &app->caps, err) < 0)
        return -1;
    if (o->source_dir == NULL) {
        struct kube_config kube;
        if (kube_config_load(&kube, &o->kube, err) < 0)
            return err_wrap(err, "no API server (give --kubeconfig, or --source DIR to run without one)");
        const struct kube_client_options client = {.version = o->version, .metrics = app->metrics};
        app->client = kube_client_new(app->loop, &kube, &client);
        app->events = kube_events_new(app->client, "haproxy-haptic.org/controller", o->pod_name ? o->pod_name : "haptic", app->metrics);
    }
    if (start_leader(app, app->config, err) < 0)
        return -1;

    app->store = store_new(OBJECT_MAX, STORE_MAX);
    VEC(const char *) ignored = {0};
    for (size_t i = 0; i < app->config->ignore_fields.length; i++)
        vec_push(&ignored, app->config->ignore_fields.items[i]);
    vec_push(&ignored, NULL);
    int result = store_set_ignored_fields(app->store, ignored.items, err);
    vec_done(&ignored);
    if (result < 0 || config_add_kinds(app->config, app->store, &changed, err) < 0)
        return -1;

    const struct reconcile_config reconcile = {.identity = o->pod_name ? o->pod_name : "standalone",
                                               .drift_interval_ns = app->config->drift_prevention_interval_ns,
                                               .check = {.binary = app->haproxy, .vault = store_vault(app->store)}};
    app->reconcile = reconcile_new(app->loop, &reconcile, app->store, app->metrics, &ops, app);
    app->sweeper = sweeper_new(app->loop, store_vault(app->store), reconcile_model(app->reconcile));
    metrics_on_collect(app->metrics, collect, app);
    const struct renderer_limits limits = {.deadline_ns = app->config->render_timeout_ns,
                                           .memory_bytes = (size_t)app->config->render_memory_bytes};
    app->renderer = renderer_new(app->loop, app->store, o->executable, &limits, reconcile_renderer_events(), app->reconcile, app->metrics);
    if (set_program(app, app->config, err) < 0 || start_haproxy(app, err) < 0)
        return -1;
    reconcile_attach(app->reconcile, app->renderer, app->agent);
    if (start_source(app, err) < 0)
        return -1;
    if (o->config_file != NULL) {
        uv_fs_poll_init(app->loop, &app->config_poll);
        app->config_poll.data = app;
        app->config_polled = true;
        uv_fs_poll_start(&app->config_poll, on_config_file, o->config_file, CONFIG_POLL_MS);
    }
    return 0;
}

int app_new(uv_loop_t *loop, const struct app_options *options, struct metrics *metrics, struct app **ret_app, struct err *err)
{
    struct app *app = xcalloc(1, sizeof(*app));

    app->loop = loop;
    app->options = *options;
    app->metrics = metrics;
    uv_timer_init(loop, &app->stop_poll);
    app->stop_poll.data = app;
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

    if (app->options.attach)
        all_stopped(app);
    else
        stop_agent(app, all_stopped);
}

static void release(struct app *app)
{
    leader_stop(app->leader, true, leader_stopped, app);
}

static void agent_stopped_first(void *ctx)
{
    release(ctx);
}

/* The deployment under way ends, or its time does. */
static void on_stop_poll(uv_timer_t *timer)
{
    struct app *app = timer->data;

    if (agent_busy(app->agent) && clock_now_ns() < app->stop_deadline_ns)
        return;
    uv_timer_stop(timer);
    /* A HAProxy that others write to as well must not hear from us after the Lease was given back; one of our own drains after it. */
    if (app->options.attach)
        stop_agent(app, agent_stopped_first);
    else
        release(app);
}

void app_stop(struct app *app, void (*stopped)(void *ctx), void *ctx)
{
    app->stopping = true;
    app->stopped = stopped;
    app->stopped_ctx = ctx;
    app->stop_deadline_ns = clock_now_ns() + DEPLOYMENT_END_NS;
    reconcile_stop(app->reconcile);
    uv_timer_start(&app->stop_poll, on_stop_poll, 0, 2);
}

static void on_freed(uv_handle_t *handle)
{
    free(handle->data);
}

static void on_poll_closed(uv_handle_t *handle)
{
    struct app *app = handle->data;

    uv_close((uv_handle_t *)&app->stop_poll, on_freed);
}

struct app *app_free(struct app *app)
{
    if (app == NULL)
        return NULL;
    metrics_on_collect(app->metrics, NULL, NULL);
    app->source_dir = source_dir_free(app->source_dir);
    app->source_kube = source_kube_free(app->source_kube);
    app->renderer = renderer_free(app->renderer);
    app->agent = agent_free(app->agent);
    app->sweeper = sweeper_free(app->sweeper);
    app->reconcile = reconcile_free(app->reconcile);
    app->leader = leader_free(app->leader);
    app->events = kube_events_free(app->events);
    app->client = kube_client_free(app->client);
    app->store = store_free(app->store);
    app->config = config_free(app->config);
    app->next_config = config_free(app->next_config);
    free(app->haproxy);
    free(app->directory);
    free(app->master_socket);
    free(app->runtime_socket);
    if (app->config_polled)
        uv_close((uv_handle_t *)&app->config_poll, on_poll_closed);
    else
        uv_close((uv_handle_t *)&app->stop_poll, on_freed);
    return NULL;
}

/* ---- state ---- */

static void say(struct buf *why, const char *text)
{
    if (why != NULL)
        buf_puts(why, text);
}

bool app_is_ready(const struct app *app, struct buf *why)
{
    struct reconcile_status s;
    bool writer = leader_may_write(app->leader);
    size_t before = why ? why->length : 0;

    reconcile_status(app->reconcile, &s);
    for (size_t i = 0; !s.synced && why != NULL && i < store_kind_count(app->store); i++) {
        struct store_kind *kind = store_kind_at(app->store, i);
        if (!store_kind_is_synced(kind))
            buf_printf(why, "not synced: %s\n", store_kind_spec(kind)->name);
    }
    if (s.synced && !s.rendered)
        say(why, "not rendered yet\n");
    if (s.rendered && !s.validated)
        say(why, "not validated yet\n");
    if (s.validated && writer && !s.live)
        say(why, "not live yet\n");
    if (why != NULL && why->length > before && *s.problem != '\0')
        buf_printf(why, "%s\n", s.problem);
    return s.synced && s.rendered && s.validated && (!writer || s.live);
}

void app_describe(const struct app *app, struct buf *out)
{
    struct reconcile_status s;
    struct agent_status a;
    char hex[DIGEST_HEX_SIZE];

    reconcile_status(app->reconcile, &s);
    agent_status(app->agent, &a);
    buf_printf(out, "{\"ready\":%s,\"synced\":%s,\"rendered\":%s,\"validated\":%s,\"live\":%s,\"generation\":%llu,\"hash\":\"%s\",",
               app_is_ready(app, NULL) ? "true" : "false", s.synced ? "true" : "false", s.rendered ? "true" : "false",
               s.validated ? "true" : "false", s.live ? "true" : "false", (unsigned long long)s.generation, digest_hex(s.digest, hex));
    buf_printf(out, "\"haproxy\":{\"running\":%s,\"version\":\"%s\",\"pid\":%d,\"reloads\":%llu,\"operations\":%llu,\"old_workers\":%u},",
               a.running ? "true" : "false", a.caps.text, a.haproxy_pid, (unsigned long long)a.reloads, (unsigned long long)a.operations,
               a.workers_old);
    buf_puts(out, "\"leader\":");
    leader_describe(app->leader, out);
    buf_puts(out, ",\"kinds\":{");
    for (size_t i = 0; i < store_kind_count(app->store); i++) {
        struct store_kind *kind = store_kind_at(app->store, i);
        buf_printf(out, "%s\"%s\":{\"objects\":%zu,\"bytes\":%zu,\"synced\":%s}", i ? "," : "", store_kind_spec(kind)->name,
                   store_kind_objects(kind), store_kind_bytes(kind), store_kind_is_synced(kind) ? "true" : "false");
    }
    buf_puts(out, "},\"problems\":");
    reconcile_describe(app->reconcile, out);
    buf_puts(out, "}\n");
}

void app_write_config(const struct app *app, struct buf *out)
{
    model_write_config(reconcile_model(app->reconcile), MODEL_ACCEPTED, out, NULL);
}
