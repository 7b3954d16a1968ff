/* One function, step(), looks at the level of everything and starts what can be started; every callback ends in it. Changes of the store are
 * gathered until the loop has read all that the sockets had, then one rendering is asked for: the first change after quiet is
 * handled at once, a burst becomes one rendering. */
#include "controller/reconcile.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "controller/problems.h"
#include "controller/settle.h"
#include "controller/validate.h"

#define RETRY_MIN_NS (500 * NS_PER_MS)
#define RETRY_MAX_NS (30 * NS_PER_S)
#define BACKGROUND_MIN_NS (5 * NS_PER_S)
#define RECHECK_NS (2 * NS_PER_S)

struct reconcile {
    uv_loop_t *loop;
    struct reconcile_config config;
    struct reconcile_ops ops;
    void *ctx;
    struct store *store;
    struct model *model;
    struct validator *validator;
    struct renderer *renderer;
    struct agent *agent;

    uv_check_t after_poll;
    uv_idle_t no_wait; /* keeps the loop from sleeping before after_poll */
    uv_timer_t drift, retry, background;
    int open_handles;
    bool stopped;

    bool dirty;          /* the store changed since the last request */
    bool rendered;       /* a complete rendering is in the model */
    bool compare_all;    /* deploy from scratch */
    const char *compare_why;
    bool was_writer;
    bool live;
    bool background_due; /* structural changes were accepted since the last whole check */
    bool rejected;       /* this rendering was checked and refused: do not check the same again */
    struct digest rejected_digest;
    char problem[1100];
    char deployed_problem[1100];
    uint64_t generation;
    struct digest accepted_digest;
    int64_t accepted_ns;
    int64_t last_check_ns;  /* duration */
    int64_t check_after_ns; /* the last check could not be made: not before this */
    int64_t retry_ns;

    /* When the oldest change in each stage arrived; 0: none. */
    int64_t changed_ns, rendering_ns, settled_ns, applying_ns;

    struct problems problems; /* fragments that fail */
    struct log_limit stale_limit, deployed_limit;
    int64_t drift_ns;

    struct metric *reconcile_duration, *render_failures, *quarantines, *deploy_failures, *structural, *checked;
};

struct explain_ctx {
    char *fragment, *owner_kind, *owner_id, *message;
    struct reconcile *r;
};

static void step(struct reconcile *r);

static void stage_move(int64_t *from, int64_t *to)
{
    if (*from != 0 && (*to == 0 || *from < *to))
        *to = *from;
    *from = 0;
}

/* ---- store ---- */

static void on_after_poll(uv_check_t *handle)
{
    struct reconcile *r = handle->data;

    uv_check_stop(&r->after_poll);
    uv_idle_stop(&r->no_wait);
    step(r);
}

static void on_no_wait(uv_idle_t *handle)
{
    (void)handle;
}

static void soon(struct reconcile *r)
{
    if (r->stopped)
        return;
    uv_check_start(&r->after_poll, on_after_poll);
    uv_idle_start(&r->no_wait, on_no_wait);
}

static void on_store(void *ctx, enum store_event event, struct store_kind *kind, struct object *now, struct object *before)
{
    struct reconcile *r = ctx;

    (void)kind;
    (void)now;
    (void)before;
    if (event != STORE_EVENT_SYNCED && r->changed_ns == 0) {
        int64_t received = r->ops.received_ns(r->ctx);
        r->changed_ns = received ? received : clock_now_ns();
    }
    r->dirty = true;
    soon(r);
}

/* ---- renderer ---- */

static bool is_message(enum contribution_kind kind)
{
    return kind == CONTRIBUTION_EVENT || kind == CONTRIBUTION_WARNING;
}

static bool had_message(const struct fragment *before, const struct contribution *c)
{
    for (size_t i = 0; before != NULL && i < before->count; i++)
        if (before->items[i].kind == c->kind && strcmp(before->items[i].key, c->key) == 0 && text_equal(before->items[i].text, c->text))
            return true;
    return false;
}

static void on_fragment(void *ctx, struct fragment *f)
{
    struct reconcile *r = ctx;
    struct fragment *before = model_fragment(r->model, f->id);

    for (size_t i = 0; i < f->count; i++) {
        const struct contribution *c = &f->items[i];
        if (is_message(c->kind) && !had_message(before, c))
            r->ops.notify(r->ctx, c->kind == CONTRIBUTION_WARNING, f->owner_kind, f->owner_id, c->key, c->text->bytes);
    }
    problems_clear(&r->problems, f->id);
    model_fragment_put(r->model, f);
}

static void on_gone(void *ctx, const char *fragment_id)
{
    struct reconcile *r = ctx;

    problems_clear(&r->problems, fragment_id);
    model_fragment_drop(r->model, fragment_id);
}

static void on_failed(void *ctx, const struct fragment_failure *f)
{
    struct reconcile *r = ctx;
    bool repeated = !problems_set(&r->problems, f->id, f->owner_kind, f->owner_id, f->message);

    metric_add(r->render_failures, 1);
    model_fragment_keep(r->model, f->id);
    if (repeated)
        return;
    log_warn("Template failed; the last good output of this object stays in force", "fragment", f->id, "object_kind",
             f->owner_kind, "object", f->owner_id, "error", f->message);
    r->ops.notify(r->ctx, true, f->owner_kind, f->owner_id, "TemplateFailed", f->message);
}

static void on_rendered(void *ctx, const struct render_stats *stats)
{
    struct reconcile *r = ctx;

    if (stats->complete) {
        model_replace_end(r->model);
        r->rendered = true;
        r->ops.program(r->ctx, true);
    }
    /* A fresh renderer reports everything in one render: what is not seen between here and there no longer exists. */
    model_replace_begin(r->model);
    stage_move(&r->rendering_ns, &r->settled_ns);
    log_debug("Rendered", "fragments_run", log_int((int64_t)stats->fragments_run), "fragments_total", log_int((int64_t)stats->fragments_total),
              "duration", log_duration(stats->duration_ns));
    step(r);
}

static void on_died(void *ctx, const struct renderer_death *death)
{
    struct reconcile *r = ctx;

    if (r->stopped)
        return;
    log_warn("Renderer died; a new one is started and the last good rendering stays in force", "reason", death->reason, "template",
             death->template_name, "object_kind", death->owner_kind, "object", death->owner_id);
    if (*death->fragment_id != '\0')
        r->ops.notify(r->ctx, true, death->owner_kind, death->owner_id, "RendererKilled", death->reason);
    if (*death->fragment_id != '\0') {
        CLEANUP(free_ptr) char *message = xasprintf("renderer killed while it ran: %s", death->reason);
        (void)problems_set(&r->problems, death->fragment_id, death->owner_kind, death->owner_id, message);
        model_fragment_keep(r->model, death->fragment_id);
    }
    r->dirty = true;
    soon(r);
}

static void on_program_failed(void *ctx, const char *message)
{
    struct reconcile *r = ctx;

    snprintf(r->problem, sizeof(r->problem), "%s", message);
    log_error("Templates do not load; the previous ones, if any, stay in force", "error", message);
    r->ops.program(r->ctx, false);
}

static const struct renderer_events renderer_events = {
    .fragment = on_fragment,
    .gone = on_gone,
    .failed = on_failed,
    .rendered = on_rendered,
    .died = on_died,
    .program_failed = on_program_failed,
};

const struct renderer_events *reconcile_renderer_events(void)
{
    return &renderer_events;
}

/* ---- settle: pending → accepted ---- */

static void note_accepted(struct reconcile *r)
{
    struct digest digest = model_digest(r->model, MODEL_ACCEPTED);

    if (digest_equal(digest, r->accepted_digest))
        return;
    r->accepted_digest = digest;
    r->accepted_ns = clock_now_ns();
    r->generation++;
}

static void on_background(uv_timer_t *timer)
{
    struct reconcile *r = timer->data;

    if (r->background_due && !validator_busy(r->validator)) {
        r->background_due = false;
        validator_run(r->validator);
    }
    step(r);
}

static void settle(struct reconcile *r)
{
    if (!r->rendered)
        return;
    struct settled settled;
    bool left = settle_structural(r->model, r->agent, &settled);
    r->background_due = r->background_due || settled.beyond_servers;
    metric_add(r->structural, settled.groups);
    note_accepted(r);
    if (left && !validator_busy(r->validator)) {
        struct digest digest = model_digest(r->model, MODEL_RENDERED);
        if ((r->rejected && digest_equal(digest, r->rejected_digest)) || clock_now_ns() < r->check_after_ns)
            return;
        r->background_due = false;
        validator_run(r->validator);
    } else if (r->background_due && !uv_is_active((uv_handle_t *)&r->background)) {
        int64_t wait = r->last_check_ns * 20 > BACKGROUND_MIN_NS ? r->last_check_ns * 20 : BACKGROUND_MIN_NS;
        uv_timer_start(&r->background, on_background, (uint64_t)(wait / NS_PER_MS), 0);
    }
}

static void on_explained(void *ctx, const char *where)
{
    struct explain_ctx *e = ctx;

    log_warn("Object quarantined: HAProxy refuses what its template made; its last good output stays in force", "object_kind", e->owner_kind,
             "object", e->owner_id, "fragment", e->fragment, "template_line", where, "error", e->message);
    free(e->fragment);
    free(e->owner_kind);
    free(e->owner_id);
    free(e->message);
    free(e);
}

static void on_quarantined(void *ctx, const struct fragment *f, enum contribution_kind kind, const char *scope, const char *key, unsigned line,
                           const char *message)
{
    struct reconcile *r = ctx;
    struct explain_ctx *e = xmalloc(sizeof(*e));

    metric_add(r->quarantines, 1);
    *e = (struct explain_ctx){
        .fragment = xstrdup(f->id), .owner_kind = xstrdup(f->owner_kind), .owner_id = xstrdup(f->owner_id), .message = xstrdup(message), .r = r};
    r->ops.notify(r->ctx, true, f->owner_kind, f->owner_id, "Quarantined", message);
    renderer_explain(r->renderer, f->id, kind, scope, key, line, on_explained, e);
}

static void on_validated(void *ctx, const struct validation *v)
{
    struct reconcile *r = ctx;

    r->last_check_ns = v->checks > 0 ? v->duration_ns / v->checks : 0;
    metric_add(r->checked, v->checks);
    r->rejected = !v->accepted && !v->inconclusive;
    if (v->accepted) {
        r->problem[0] = '\0';
    } else {
        bool repeated = strcmp(r->problem, v->problem) == 0;
        r->rejected_digest = model_digest(r->model, MODEL_RENDERED);
        if (v->inconclusive) {
            r->check_after_ns = clock_now_ns() + RECHECK_NS;
            uv_timer_start(&r->background, on_background, (uint64_t)(RECHECK_NS / NS_PER_MS), 0);
        }
        if (!repeated && v->inconclusive)
            log_error("The rendered configuration cannot be checked; the last accepted one stays in force", "error", v->problem, "retry_in",
                      log_duration(RECHECK_NS));
        else if (!repeated)
            log_error("HAProxy refuses the rendered configuration; the last accepted one stays in force", "error", v->problem, "checks",
                      log_int(v->checks));
        snprintf(r->problem, sizeof(r->problem), "%s", v->problem);
    }
    note_accepted(r);
    step(r);
}

/* ---- deploy: accepted → live ---- */

static void on_retry(uv_timer_t *timer)
{
    step(timer->data);
}

static void on_applied(void *ctx, const struct agent_result *result)
{
    struct reconcile *r = ctx;
    uint64_t suppressed;

    if (result->err == NULL) {
        r->retry_ns = 0;
        r->deployed_problem[0] = '\0';
        r->live = result->reload_after_ns == 0;
        if (r->applying_ns != 0 && r->live)
            metric_observe_ns(r->reconcile_duration, clock_now_ns() - r->applying_ns);
        if (r->live)
            r->applying_ns = 0;
        else
            stage_move(&r->applying_ns, &r->settled_ns);
        if (!r->live)
            log_info("A reload waits", "reason", result->reload_reason ? result->reload_reason : "", "wait",
                     log_duration(result->reload_after_ns));
        if (result->reloaded)
            log_info("Deployed with a reload", "reason", result->reload_reason ? result->reload_reason : "", "generation",
                     log_int((int64_t)r->generation), "duration", log_duration(result->duration_ns));
        else if (result->operations > 0 && log_limit_pass(&r->deployed_limit, NS_PER_S, &suppressed))
            log_info("Deployed without a reload", "operations", log_int(result->operations), "generation", log_int((int64_t)r->generation),
                     "duration", log_duration(result->duration_ns), "similar", log_int((int64_t)suppressed));
    } else if (result->err->kind == ERR_STALE) {
        r->live = false;
        stage_move(&r->applying_ns, &r->settled_ns);
        r->compare_all = true;
        r->compare_why = "refused as stale";
        if (log_limit_pass(&r->stale_limit, NS_PER_S, &suppressed))
            log_warn("Deployment refused: a newer leader has written", "error", result->err->text, "highest_transitions",
                     log_int(result->highest.transitions), "holder", result->highest.holder ? result->highest.holder : "");
        r->ops.refused_stale(r->ctx, result->highest.transitions);
    } else {
        r->live = false;
        metric_add(r->deploy_failures, 1);
        stage_move(&r->applying_ns, &r->settled_ns);
        r->compare_all = true;
        r->compare_why = "the last deployment failed";
        r->retry_ns = r->retry_ns == 0 ? RETRY_MIN_NS : r->retry_ns * 2 > RETRY_MAX_NS ? RETRY_MAX_NS : r->retry_ns * 2;
        if (strcmp(r->deployed_problem, result->err->text) != 0)
            log_warn("Deployment failed; it is tried again", "error", result->err->text, "retry_in", log_duration(r->retry_ns));
        snprintf(r->deployed_problem, sizeof(r->deployed_problem), "%s", result->err->text);
        if (!r->stopped)
            uv_timer_start(&r->retry, on_retry, (uint64_t)(r->retry_ns / NS_PER_MS), 0);
    }
    if (!r->stopped)
        step(r);
}

static void deploy(struct reconcile *r)
{
    bool writer = r->rendered && r->ops.may_write(r->ctx);

    if (writer && !r->was_writer) {
        r->compare_all = true;
        r->compare_why = "this replica may write now";
        log_info("Started Deployer", "identity", r->config.identity, "generation", log_int((int64_t)r->generation));
        log_info("Started DeploymentScheduler", "drift_prevention_interval", log_duration(r->drift_ns));
    }
    if (!writer && r->was_writer)
        log_info("Stopped Deployer and DeploymentScheduler: this replica does not lead", "identity", r->config.identity);
    r->was_writer = writer;
    if (!writer) {
        /* What changes meanwhile is found by the comparison from scratch that begins each term. */
        struct model_changes dropped = {0};
        model_take_changes(r->model, &dropped);
        model_changes_done(&dropped);
        r->live = false;
        return;
    }
    if (agent_busy(r->agent) || uv_is_active((uv_handle_t *)&r->retry) || model_is_empty(r->model, MODEL_ACCEPTED))
        return;
    struct model_changes changes = {0};
    model_take_changes(r->model, &changes);
    if (changes.items.length == 0 && !r->compare_all) {
        model_changes_done(&changes);
        if (r->live)
            r->settled_ns = 0; /* the change had no effect on the output */
        return;
    }
    struct fence fence = {
        .transitions = r->ops.fence_transitions(r->ctx), .generation = r->generation, .holder = r->config.identity};
    bool all = r->compare_all;
    stage_move(&r->settled_ns, &r->applying_ns);
    r->compare_all = false;
    if (all)
        log_debug("Comparing everything with HAProxy", "why", r->compare_why);
    if (!agent_apply(r->agent, all ? NULL : &changes, &fence, on_applied, r))
        r->compare_all = true;
    model_changes_done(&changes);
}

static void step(struct reconcile *r)
{
    if (r->stopped || r->renderer == NULL)
        return;
    if (r->dirty && store_is_synced(r->store)) {
        r->dirty = false;
        stage_move(&r->changed_ns, &r->rendering_ns);
        renderer_render(r->renderer);
    }
    settle(r);
    deploy(r);
}

static void on_drift(uv_timer_t *timer)
{
    reconcile_compare_all(timer->data, "drift interval");
}

void reconcile_kick(struct reconcile *r)
{
    step(r);
}

void reconcile_compare_all(struct reconcile *r, const char *why)
{
    r->compare_all = true;
    r->compare_why = why;
    step(r);
}

void reconcile_set_drift_interval(struct reconcile *r, int64_t interval_ns)
{
    r->drift_ns = interval_ns > 0 ? interval_ns : 60 * NS_PER_S;
    uint64_t ms = (uint64_t)(r->drift_ns / NS_PER_MS);

    uv_timer_start(&r->drift, on_drift, ms, ms);
}

/* ---- life ---- */

struct reconcile *reconcile_new(uv_loop_t *loop, const struct reconcile_config *config, struct store *store, struct metrics *metrics,
                                const struct reconcile_ops *ops, void *ctx)
{
    static const struct validator_events validator_events = {.quarantined = on_quarantined, .done = on_validated};
    struct reconcile *r = xcalloc(1, sizeof(*r));

    r->loop = loop;
    r->config = *config;
    r->ops = *ops;
    r->ctx = ctx;
    r->store = store;
    r->model = model_new();
    r->validator = validator_new(loop, &config->check, r->model, metrics, &validator_events, r);
    problems_init(&r->problems);
    r->dirty = true;
    r->compare_all = true;
    r->compare_why = "start";
    uv_check_init(loop, &r->after_poll);
    uv_idle_init(loop, &r->no_wait);
    uv_timer_init(loop, &r->drift);
    uv_timer_init(loop, &r->retry);
    uv_timer_init(loop, &r->background);
    r->after_poll.data = r->no_wait.data = r->drift.data = r->retry.data = r->background.data = r;
    r->reconcile_duration = metric_histogram(metrics, "haptic_reconciliation_duration_seconds",
                                             "From the watch bytes of a change to HAProxy's answer to the last command for it.");
    r->render_failures = metric_counter(metrics, "haptic_template_failures_total", "Runs of a template that ended in an error.");
    r->quarantines = metric_counter(metrics, "haptic_quarantines_total", "Objects put into quarantine.");
    r->deploy_failures = metric_counter(metrics, "haptic_deployment_failures_total", "Deployments that failed.");
    r->structural = metric_counter(metrics, "haptic_accepted_total", "Groups of changes accepted.", "by", "structure");
    r->checked = metric_counter(metrics, "haptic_validations_total", "Runs of haproxy -c.");
    reconcile_set_drift_interval(r, config->drift_interval_ns);
    store_listen(store, on_store, r);
    return r;
}

struct model *reconcile_model(struct reconcile *r)
{
    return r->model;
}

void reconcile_attach(struct reconcile *r, struct renderer *renderer, struct agent *agent)
{
    r->renderer = renderer;
    r->agent = agent;
    soon(r);
}

static void on_closed(uv_handle_t *handle)
{
    struct reconcile *r = handle->data;

    if (--r->open_handles == 0)
        free(r);
}

void reconcile_stop(struct reconcile *r)
{
    if (r->stopped)
        return;
    r->stopped = true;
    store_unlisten(r->store, on_store, r);
    uv_check_stop(&r->after_poll);
    uv_idle_stop(&r->no_wait);
    uv_timer_stop(&r->drift);
    uv_timer_stop(&r->retry);
    uv_timer_stop(&r->background);
}

struct reconcile *reconcile_free(struct reconcile *r)
{
    if (r == NULL)
        return NULL;
    reconcile_stop(r);
    validator_free(r->validator);
    problems_done(&r->problems);
    r->model = model_free(r->model);
    uv_handle_t *handles[] = {(uv_handle_t *)&r->after_poll, (uv_handle_t *)&r->no_wait, (uv_handle_t *)&r->drift,
                              (uv_handle_t *)&r->retry, (uv_handle_t *)&r->background};
    r->open_handles = ARRAY_LEN(handles);
    for (size_t i = 0; i < ARRAY_LEN(handles); i++)
        uv_close(handles[i], on_closed);
    return NULL;
}

void reconcile_status(const struct reconcile *r, struct reconcile_status *ret_status)
{
    *ret_status = (struct reconcile_status){
        .synced = store_is_synced(r->store),
        .rendered = r->rendered,
        .validated = r->rendered && !model_is_empty(r->model, MODEL_ACCEPTED),
        .live = r->live,
        .generation = r->generation,
        .digest = r->accepted_digest,
        .accepted_ns = r->accepted_ns,
        .quarantined = model_quarantined(r->model),
        .failed = problems_count(&r->problems),
        .pending = model_pending(r->model),
        .problem = r->problem[0] ? r->problem : r->deployed_problem,
    };
}

void reconcile_describe(const struct reconcile *r, struct buf *out)
{
    problems_describe(&r->problems, r->model, out);
}
