/* Readiness is computed on request. A timer checks it in order to log slow steps of the start, the addresses once the
 * controller is ready, and later changes of readiness. */
#include <malloc.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "controller/app_parts.h"
#include "controller/held.h"
#include "data/json.h"

#define WATCH_START_MS 50
#define WATCH_MS 1000
#define PROGRESS_NS (2 * NS_PER_S) /* before this time no progress is logged */
#define ADDRESSES_MAX 20

/* ---- readiness ---- */

static void say(struct buf *why, const char *text)
{
    if (why != NULL)
        buf_puts(why, text);
}

static void say_not_listed(const struct app *app, struct buf *why)
{
    for (size_t i = 0; why != NULL && i < app->config->kinds.length; i++) {
        const char *name = app->config->kinds.items[i].name;
        const struct store_kind *kind = store_kind_by_name(app->store, name);
        if (kind == NULL || !store_kind_is_synced(kind))
            buf_printf(why, "not synced: %s\n", name);
    }
}

bool app_is_ready(const struct app *app, struct buf *why)
{
    struct reconcile_status s;
    struct agent_status a = {.running = app->fleet != NULL};
    if (app->reconcile == NULL) {
        if (why != NULL)
            buf_printf(why, "waiting for the configuration %s: %s\n", app_config_name(app),
                       app->waits_for != NULL ? app->waits_for : "");
        return false;
    }
    bool writer = leader_may_write(app->leader);
    size_t before = why ? why->length : 0;

    reconcile_status(app->reconcile, &s);
    if (app->agent != NULL)
        agent_status(app->agent, &a);
    if (!s.synced)
        say_not_listed(app, why);
    if (app->recall != NULL)
        say(why, "not read yet: what the fleet serves\n");
    if (!fetcher_is_settled(app->fetcher))
        say(why, "not fetched yet: the URLs that templates want\n");
    if (s.awaits_source)
        say(why,
            "manifests cannot be read, see the log: the configuration that was accepted before the start stays in force\n");
    else if (s.synced && !s.rendered)
        say(why, "not rendered yet\n");
    if (s.rendered && !s.validated)
        say(why, "not validated yet\n");
    /* A HAProxy of this controller serves this replica's traffic, whichever replica is the leader. */
    bool needs_haproxy = writer || !app->options.attach;
    if (s.validated && needs_haproxy && !a.running)
        say(why, writer ? "HAProxy does not run\n" : "HAProxy does not run: this replica does not lead\n");
    else if (s.validated && writer && !s.serving)
        say(why, "not live yet\n");
    bool held = s.rendered && !app->ever_ready && held_delays_start(s.held_back, clock_now_ns() - app->started_ns);
    if (why != NULL && held)
        buf_printf(why, "not rendered yet: %llu fragments wait, see held_back in /debug/state\n",
                   (unsigned long long)s.held_back);
    if (why != NULL && why->length > before && *s.problem != '\0')
        buf_printf(why, "%s%s%s\n", s.problem_line, *s.problem_line ? ": " : "", s.problem);
    bool ready = s.synced && s.rendered && s.validated && (!writer || s.serving) && (!needs_haproxy || a.running);
    ready = app_follows(app, why) && ready;
    ready = app_has_leader(app, why) && ready && !held;
    const char *lacks = app_admission_lacks(app);
    if (lacks != NULL)
        say(why, lacks);
    ready = ready && lacks == NULL;
    if (ready && s.failed > 0 && why != NULL)
        buf_printf(why, "%zu fragments of the templates fail: %zu keep their last accepted output, %zu have none\n",
                   s.failed, s.kept, s.failed - s.kept);
    if (ready && why != NULL)
        config_state_say(&app->config_state, why);
    return ready;
}

/* ---- logs about readiness ---- */

static void put_counts(const struct app *app, struct buf *out)
{
    for (size_t i = 0; i < app->config->kinds.length; i++) {
        const struct store_kind *kind = store_kind_by_name(app->store, app->config->kinds.items[i].name);
        buf_printf(out, "%s%s:%zu%s", i > 0 ? " " : "", app->config->kinds.items[i].name,
                   kind ? store_kind_objects(kind) : 0, kind != NULL && store_kind_is_synced(kind) ? "" : "…");
    }
}

struct addresses {
    const struct app *app;
    struct buf *out;
    unsigned count;
};

/* The first words after "bind" in frontends. */
static void put_addresses(void *ctx, struct section *s)
{
    struct addresses *a = ctx;
    CLEANUP(buf_done) struct buf text = {0};
    const char *from;

    if (strncmp(s->name, "frontend ", 9) != 0 && strncmp(s->name, "listen ", 7) != 0)
        return;
    if (!model_section_text(reconcile_model(a->app->reconcile), s, MODEL_ACCEPTED, &text, &from))
        return;
    for (const char *line = buf_str(&text); *line != '\0';) {
        size_t length = strcspn(line, "\n");
        if (strncmp(line, "bind ", 5) == 0 && a->count++ < ADDRESSES_MAX) {
            size_t word = strcspn(line + 5, " \n");
            buf_printf(a->out, "%s%s%.*s", a->out->length ? " " : "", line[5] == ':' ? "*" : "", (int)word, line + 5);
        }
        line += length + (line[length] == '\n');
    }
}

static void log_ready(struct app *app)
{
    CLEANUP(buf_done) struct buf objects = {0}, addresses = {0};
    struct reconcile_status s;
    struct addresses a = {.app = app, .out = &addresses};

    reconcile_status(app->reconcile, &s);
    put_counts(app, &objects);
    model_each_section(reconcile_model(app->reconcile), put_addresses, &a);
    const char *role = leader_may_write(app->leader) ? "leader" : "follower";
    log_info(app->ever_ready ? "Ready again" : "Ready", "address", buf_str(&addresses), "role", role, "generation",
             log_int((int64_t)s.generation), "objects", buf_str(&objects), "quarantined",
             log_int((int64_t)s.quarantined), "after", log_duration(clock_now_ns() - app->started_ns));
}

static void log_progress(struct app *app, const struct buf *why)
{
    CLEANUP(buf_done) struct buf objects = {0}, text = {0};
    int64_t now = clock_now_ns();
    uint64_t similar;

    buf_add(&text, why->data, why->length > 0 ? why->length - 1 : 0);
    if (now - app->started_ns < PROGRESS_NS || !log_lasting_pass(&app->progress, buf_str(&text), &similar))
        return;
    put_counts(app, &objects);
    log_info("Starting", "waits_for", buf_str(&text), "objects", buf_str(&objects), "after",
             log_duration(now - app->started_ns));
}

/* Needs some milliseconds for 100 MB, a few times in the life of the process. */
static void look_at_memory(struct app *app)
{
    int64_t begin = clock_now_ns();
    size_t before = resident_bytes();

    if (!resident_is_trim_due(&app->resident, before, begin))
        return;
    malloc_trim(0);
    int64_t end = clock_now_ns();
    size_t after = resident_bytes();
    resident_trimmed(&app->resident, after);
    log_debug("Memory was given back", "before_bytes", log_int((int64_t)before), "after_bytes", log_int((int64_t)after),
              "duration", log_duration(end - begin));
}

static void on_watch(uv_timer_t *timer)
{
    struct app *app = timer->data;
    CLEANUP(buf_done) struct buf why = {0};

    if (app->stopping || app->reconcile == NULL)
        return;
    bool ready = app_is_ready(app, &why);
    if (ready && !app->was_ready) {
        if (!app->ever_ready || app->is_unready_said)
            log_ready(app);
        app->ever_ready = true;
        uv_timer_start(timer, on_watch, WATCH_MS, WATCH_MS);
    } else if (!ready && app->was_ready) {
        uint64_t similar;
        app->is_unready_said = log_lasting_pass(&app->unready, buf_str(&why), &similar);
        if (app->is_unready_said)
            log_warn("No longer ready", "reason", buf_str(&why), "similar", log_int((int64_t)similar));
        app->started_ns = clock_now_ns();
    } else if (!ready && !app->ever_ready) {
        log_progress(app, &why);
    }
    app->was_ready = ready;
    look_at_memory(app);
}

void app_watch_ready(struct app *app)
{
    app->started_ns = clock_now_ns();
    uv_timer_start(&app->watch_timer, on_watch, WATCH_START_MS, WATCH_START_MS);
}

/* ---- metrics and the debug page ---- */

void app_collect(void *ctx)
{
    struct app *app = ctx;
    struct reconcile_status status;
    struct rusage usage;

    expiry_collect(app->expiry);
    for (size_t i = 0; i < store_kind_count(app->store); i++) {
        struct store_kind *kind = store_kind_at(app->store, i);
        const char *name = store_kind_spec(kind)->name;
        metric_set(metric_gauge(app->metrics, "haptic_resources", "Objects held, by kind.", "kind", name),
                   (double)store_kind_objects(kind));
        metric_set(metric_gauge(app->metrics, "haptic_resource_bytes", "Bytes of objects held, by kind.", "kind", name),
                   (double)store_kind_bytes(kind));
        metric_set(metric_gauge(app->metrics, "haptic_resources_synced", "1 when the kind was listed completely.",
                                "kind", name),
                   store_kind_is_synced(kind));
    }
    leader_collect(app->leader);
    fetcher_collect(app->fetcher);
    if (app->fleet != NULL)
        fleet_collect(app->fleet);
    reconcile_status(app->reconcile, &status);
    metric_set(metric_gauge(app->metrics, "haptic_quarantined_objects",
                            "Fragments in quarantine: HAProxy refuses their newest output."),
               (double)status.quarantined);
    metric_set(metric_gauge(app->metrics, "haptic_failed_objects", "Fragments whose template fails."),
               (double)status.failed);
    metric_set(metric_gauge(app->metrics, "haptic_conflicts",
                            "Keys that have no effect because an older object has the same key."),
               (double)status.conflicts);
    metric_set(metric_gauge(app->metrics, "haptic_warned_objects",
                            "Fragments that warn the owners of their objects; /debug/state lists them."),
               (double)status.warned);
    config_state_collect(&app->config_state, app->metrics);
    metric_set(metric_gauge(app->metrics, "haptic_pending_items", "Items that are rendered and not accepted yet."),
               (double)status.pending);
    metric_set(metric_gauge(app->metrics, "haptic_generation",
                            "Generation of the accepted configuration, counted by this process."),
               (double)status.generation);
    metric_set(metric_gauge(
                   app->metrics, "haptic_model_hash",
                   "First 48 bits of the hash of the accepted configuration; equal on replicas that render the same."),
               (double)(status.digest.high >> 16));
    metric_set(metric_gauge(app->metrics, "haptic_model_age_seconds", "Time since the accepted configuration changed."),
               status.accepted_ns ? (double)(clock_now_ns() - status.accepted_ns) / (double)NS_PER_S : 0);
    metric_set(metric_gauge(app->metrics, "haptic_ready", "1 when /readyz says so."), app_is_ready(app, NULL));
    getrusage(RUSAGE_SELF, &usage);
    metric_set(metric_counter(app->metrics, "process_cpu_seconds_total", "CPU time of this process."),
               (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                   (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6);
    metric_set(metric_gauge(app->metrics, "process_resident_memory_bytes", "Resident memory of this process."),
               (double)resident_bytes());
}

static void put_string(struct buf *out, const char *before, const char *text)
{
    buf_puts(out, before);
    if (json_write_string(out, text, strlen(text), NULL) < 0)
        buf_puts(out, "null"); /* only text that is not UTF-8 ends here */
}

/* Writes why a kind is not followed, and since when. Ends the kind's object. */
static void put_unfollowed(const struct app *app, const char *kind, struct buf *out)
{
    struct source_kube_status s;

    if (app->source_kube != NULL && source_kube_status(app->source_kube, kind, &s) && s.unfollowed_ns != 0) {
        buf_printf(out, ",\"unfollowed_seconds\":%lld", (long long)((clock_now_ns() - s.unfollowed_ns) / NS_PER_S));
        put_string(out, ",\"error\":", s.unfollowed_error);
    }
    buf_putc(out, '}');
}

void app_describe(const struct app *app, struct buf *out)
{
    struct reconcile_status s;
    struct agent_status a = {0};
    char hex[DIGEST_HEX_SIZE];

    if (app->reconcile == NULL) {
        put_string(out, "{\"ready\":false,\"problem\":", app->waits_for != NULL ? app->waits_for : "");
        buf_puts(out, "}\n");
        return;
    }
    reconcile_status(app->reconcile, &s);
    if (app->agent != NULL)
        agent_status(app->agent, &a);
    buf_printf(
        out,
        "{\"ready\":%s,\"synced\":%s,\"rendered\":%s,\"validated\":%s,\"live\":%s,\"generation\":%llu,\"hash\":\"%s\",",
        app_is_ready(app, NULL) ? "true" : "false", s.synced ? "true" : "false", s.rendered ? "true" : "false",
        s.validated ? "true" : "false", s.live ? "true" : "false", (unsigned long long)s.generation,
        digest_hex(s.digest, hex));
    buf_printf(out,
               "\"haproxy\":{\"running\":%s,\"version\":\"%s\",\"checked_by\":\"%s\",\"pid\":%d,\"reloads\":%llu,"
               "\"operations\":%llu,\"old_workers\":%u},",
               a.running ? "true" : "false", a.caps.text, app->caps.text, a.haproxy_pid, (unsigned long long)a.reloads,
               (unsigned long long)a.operations, a.workers_old);
    if (app->fleet != NULL) {
        buf_puts(out, "\"members\":");
        fleet_describe(app->fleet, out);
        buf_putc(out, ',');
    }
    buf_puts(out, "\"leader\":");
    leader_describe(app->leader, out);
    buf_puts(out, ",\"kinds\":{");
    for (size_t i = 0; i < store_kind_count(app->store); i++) {
        struct store_kind *kind = store_kind_at(app->store, i);
        put_string(out, i ? "," : "", store_kind_spec(kind)->name);
        buf_printf(out, ":{\"objects\":%zu,\"bytes\":%zu,\"synced\":%s", store_kind_objects(kind),
                   store_kind_bytes(kind), store_kind_is_synced(kind) ? "true" : "false");
        put_unfollowed(app, store_kind_spec(kind)->name, out);
    }
    buf_puts(out, "},\"config\":");
    config_state_describe(&app->config_state, app->config_source != NULL ? app_config_name(app) : NULL, out);
    put_string(out, ",\"problem\":", s.problem);
    put_string(out, ",\"problem_line\":", s.problem_line);
    buf_puts(out, ",\"status\":");
    status_writer_describe(app->status_writer, out);
    buf_puts(out, ",\"owned\":");
    owned_writer_describe(app->owned_writer, out);
    buf_puts(out, ",\"webhook\":");
    app_describe_admission(app, out);
    buf_puts(out, ",\"fetched\":");
    fetcher_describe(app->fetcher, out);
    buf_puts(out, ",\"held_back\":");
    reconcile_describe_held(app->reconcile, out);
    buf_printf(out, ",\"pending\":%zu,\"problems\":", s.pending);
    reconcile_describe(app->reconcile, out);
    buf_puts(out, "}\n");
}

void app_write_config(const struct app *app, struct buf *out)
{
    if (app->reconcile != NULL)
        model_write_config(reconcile_model(app->reconcile), MODEL_ACCEPTED, out, NULL);
}

const struct model *app_model(const struct app *app)
{
    return app->reconcile != NULL ? reconcile_model(app->reconcile) : NULL;
}

const struct generation_log *app_generations(const struct app *app)
{
    return app->reconcile != NULL ? reconcile_generations(app->reconcile) : NULL;
}

struct renderer *app_renderer(const struct app *app)
{
    return app->renderer;
}
