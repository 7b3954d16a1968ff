/* One function, step(), looks at the whole state and starts all work that can start. Every callback ends in it.
 * Changes of the store are collected until the loop has read all available input. Then one rendering is requested: the
 * first change after a pause is handled at once, and many changes together become one rendering.
 *
 * While a kind is not listed (because a changed configuration describes it differently), a rendering lacks its objects.
 * Such a rendering is not accepted: settling waits for a rendering that was requested after the list. */
#include "controller/reconcile.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "controller/reconcile_state.h"

/* The limit for messages when HAProxy complains about ten thousand wrong objects. */
#define CHECK_OUTPUT_BYTES ((size_t)8 << 20)

/* ---- store ---- */

static void on_store(void *ctx, enum store_event event, struct store_kind *kind, struct object *now,
                     struct object *before)
{
    struct reconcile *r = ctx;

    const struct object *changed = now ? now : before;
    if (changed != NULL)
        generation_log_trigger(&r->generations, store_kind_spec(kind)->name, changed->namespace, changed->name);
    if (event != STORE_EVENT_SYNCED && r->changed_ns == 0) {
        int64_t received = r->ops.received_ns(r->ctx);
        r->changed_ns = received ? received : clock_now_ns();
    }
    r->dirty = true;
    reconcile_soon(r);
}

static bool is_synced(const struct reconcile *r)
{
    return r->ops.is_synced ? r->ops.is_synced(r->ctx) : store_is_synced(r->store);
}

/* A missing list could contain any object. Without its objects, the rendering of output that was accepted earlier would
 * differ. */
static bool awaits_source(const struct reconcile *r)
{
    return r->restored && r->ops.is_readable != NULL && !r->ops.is_readable(r->ctx);
}

static void render(struct reconcile *r)
{
    if (awaits_source(r)) {
        if (!r->stands_in)
            log_error(
                "Manifests cannot be read: the configuration that was accepted before the start stays in force until they can be read");
        r->stands_in = true;
        return;
    }
    if (!is_synced(r)) {
        r->partial = r->rendered;
        r->whole = 0;
        return;
    }
    if (!r->dirty && !(r->partial && r->whole == 0))
        return;
    r->dirty = false;
    reconcile_stage_move(&r->changed_ns, &r->rendering_ns);
    generation_log_asked(&r->generations);
    r->requested = renderer_render(r->renderer);
    if (r->agent != NULL && r->live && r->ops.may_write(r->ctx))
        agent_expect(r->agent);
    if (r->whole == 0)
        r->whole = r->requested;
}

static void step(struct reconcile *r)
{
    if (r->stopped || r->renderer == NULL)
        return;
    render(r);
    reconcile_accept(r);
    reconcile_deploy(r);
    if (r->ops.stepped != NULL)
        r->ops.stepped(r->ctx);
}

static void compare_all(struct reconcile *r, const char *why)
{
    r->compare_all = true;
    r->compare_why = why;
    reconcile_step(r);
}

void reconcile_kick(struct reconcile *r)
{
    uv_timer_stop(&r->retry);
    reconcile_step(r);
}

void reconcile_compare_all(struct reconcile *r, const char *why)
{
    struct agent_status status = {0};

    /* These steps change nothing in the configuration that HAProxy serves: a reload that was waiting, or another
     * comparison. */
    if (r->agent)
        agent_status(r->agent, &status);
    r->live = r->live && status.known;
    uv_timer_stop(&r->retry);
    compare_all(r, why);
}

void reconcile_set_drift_interval(struct reconcile *r, int64_t interval_ns)
{
    r->drift_ns = interval_ns > 0 ? interval_ns : 60 * NS_PER_S;
    reconcile_start_drift(r, r->drift_ns);
}

/* ---- life ---- */

struct reconcile *reconcile_new(uv_loop_t *loop, const struct reconcile_config *config, struct store *store,
                                struct metrics *metrics, const struct reconcile_ops *ops, void *ctx)
{
    struct reconcile *r = xcalloc(1, sizeof(*r));

    r->loop = loop;
    r->config = *config;
    r->retry_backoff = (struct net_backoff){.base_ns = DEPLOY_RETRY_MIN_NS, .cap_ns = DEPLOY_RETRY_MAX_NS};
    r->ops = *ops;
    r->ctx = ctx;
    r->step = step;
    r->store = store;
    r->model = model_new();
    if (r->config.check.output_bytes == 0)
        r->config.check.output_bytes = CHECK_OUTPUT_BYTES;
    r->validator = validator_new(loop, &r->config.check, r->model, metrics, &reconcile_validator_events, r);
    problems_init(&r->problems);
    relief_init(&r->relief);
    relief_init(&r->released);
    held_init(&r->held, metrics);
    generation_log_init(&r->generations);
    r->dirty = true;
    r->compare_all = true;
    r->compare_why = "start";
    uv_check_init(loop, &r->after_poll);
    uv_idle_init(loop, &r->no_wait);
    uv_timer_init(loop, &r->drift);
    uv_timer_init(loop, &r->retry);
    uv_timer_init(loop, &r->background);
    uv_timer_init(loop, &r->recheck);
    uv_timer_init(loop, &r->notice_timer);
    r->notice_timer.data = r;
    r->after_poll.data = r->no_wait.data = r->drift.data = r->retry.data = r->background.data = r->recheck.data = r;
    r->reconcile_duration = metric_histogram(
        metrics, "haptic_reconciliation_duration_seconds",
        "Time from the arrival of a change to HAProxy's answer to the last command for it.");
    r->reconcile_own_duration = metric_histogram(
        metrics, "haptic_reconciliation_own_duration_seconds",
        "The same without the time from commands to HAProxy's answers to them. Not in a fleet.");
    r->render_failures = metric_counter(metrics, "haptic_template_failures_total",
                                        "Runs of a template that ended in an error.");
    r->quarantines = metric_counter(metrics, "haptic_quarantines_total", "Objects put into quarantine.");
    r->structural = metric_counter(metrics, "haptic_accepted_total", "Groups of changes accepted.", "by", "structure");
    r->checked = metric_counter(metrics, "haptic_validations_total", "Runs of haproxy -c.");
    reconcile_set_drift_interval(r, config->drift_interval_ns);
    store_listen(store, on_store, r);
    return r;
}

void reconcile_restored(struct reconcile *r)
{
    reconcile_replace_begin(r);
    r->restored = r->check_due = true;
    r->accepted_digest = model_digest(r->model, MODEL_ACCEPTED);
    r->accepted_ns = clock_now_ns();
}

const struct problems *reconcile_problems(const struct reconcile *r)
{
    return &r->problems;
}

struct model *reconcile_model(struct reconcile *r)
{
    return r->model;
}

void reconcile_attach(struct reconcile *r, struct renderer *renderer, struct agent *agent)
{
    r->renderer = renderer;
    r->agent = agent;
    reconcile_soon(r);
}

void reconcile_attach_fleet(struct reconcile *r, struct renderer *renderer, struct fleet *fleet)
{
    r->renderer = renderer;
    r->fleet = fleet;
    r->judge = judge_new(r->model, r->config.check.vault);
    reconcile_soon(r);
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
    uv_timer_stop(&r->recheck);
    uv_timer_stop(&r->notice_timer);
}

struct reconcile *reconcile_free(struct reconcile *r)
{
    if (r == NULL)
        return NULL;
    reconcile_stop(r);
    validator_free(r->validator);
    relief_done(&r->relief);
    relief_done(&r->released);
    problems_done(&r->problems);
    notices_done(&r->notices);
    conflicts_done(&r->conflicts);
    held_done(&r->held);
    generation_log_done(&r->generations);
    r->judge = judge_free(r->judge);
    r->model = model_free(r->model);
    uv_handle_t *handles[] = {(uv_handle_t *)&r->after_poll,  (uv_handle_t *)&r->no_wait,    (uv_handle_t *)&r->drift,
                              (uv_handle_t *)&r->retry,       (uv_handle_t *)&r->background, (uv_handle_t *)&r->recheck,
                              (uv_handle_t *)&r->notice_timer};
    r->open_handles = ARRAY_LEN(handles);
    for (size_t i = 0; i < ARRAY_LEN(handles); i++)
        uv_close(handles[i], on_closed);
    return NULL;
}

void reconcile_status(const struct reconcile *r, struct reconcile_status *ret_status)
{
    struct problems_kept kept;

    problems_kept(&r->problems, r->model, NULL, &kept);
    *ret_status = (struct reconcile_status){
        .synced = is_synced(r),
        .rendered = r->rendered,
        .validated = r->rendered && !model_is_empty(r->model, MODEL_ACCEPTED),
        .live = r->live && !r->reload_waits,
        .serving = r->live,
        .generation = r->generation,
        .digest = r->accepted_digest,
        .accepted_ns = r->accepted_ns,
        .quarantined = model_quarantined(r->model),
        .failed = problems_count(&r->problems),
        .warned = problems_warned(&r->problems),
        .kept = kept.count,
        .conflicts = conflicts_count(&r->conflicts),
        .pending = model_pending(r->model),
        .problem_line = r->program_problem[0] ? "" : r->problem_line,
        .held_back = r->held.by_size + r->held.by_time,
        .awaits_source = awaits_source(r),
        .problem = r->program_problem[0] ? r->program_problem
                   : r->problem[0]       ? r->problem
                                         : r->deployed_problem,
    };
}

enum reconcile_verdict reconcile_verdict(const struct reconcile *r, char **ret_problem)
{
    if (!r->rendered || r->partial)
        return RECONCILE_OPEN;
    if (r->refused && digest_equal(model_digest(r->model, MODEL_RENDERED), r->refused_digest)) {
        *ret_problem = xstrdup(r->problem);
        return RECONCILE_REFUSED;
    }
    if (model_pending(r->model) > 0 || r->unfinished || r->check_due || validator_busy(r->validator))
        return RECONCILE_OPEN;
    return RECONCILE_ACCEPTED;
}

uint64_t reconcile_generation(const struct reconcile *r)
{
    return r->generation;
}

uint64_t reconcile_live_generation(const struct reconcile *r)
{
    return r->live_generation;
}

uint64_t reconcile_requested(const struct reconcile *r)
{
    return r->requested;
}

uint64_t reconcile_rendered(const struct reconcile *r)
{
    return r->rendered_request;
}

void reconcile_describe(const struct reconcile *r, struct buf *out)
{
    problems_describe(&r->problems, r->model, out);
    bool first = out->data[out->length - 2] == '[';
    out->length--; /* without the comma at the end of the list */
    conflicts_describe(&r->conflicts, first, out);
    buf_putc(out, ']');
}

void reconcile_describe_held(const struct reconcile *r, struct buf *out)
{
    held_describe(&r->held, out);
}

struct generation_log *reconcile_generations(struct reconcile *r)
{
    return &r->generations;
}
