/* One function, step(), looks at the level of everything and starts what can be started; every callback ends in it.
 * Changes of the store are gathered until the loop has read all that the sockets had, then one rendering is asked for:
 * the first change after quiet is handled at once, a burst becomes one rendering.
 *
 * While a kind is not listed (a changed configuration describes it otherwise), what is rendered lacks its objects.
 * Nothing of that is accepted: settling waits for a rendering that was asked for after the list. */
#include "controller/reconcile.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "controller/ending.h"
#include "controller/reconcile_state.h"
#include "controller/regression.h"

/* Messages of HAProxy about ten thousand wrong objects. */
#define CHECK_OUTPUT_BYTES ((size_t)8 << 20)
#define NOTICES_LOOK_MS 250

void reconcile_stage_move(int64_t *from, int64_t *to)
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
    reconcile_step(r);
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
    soon(r);
}

/* ---- renderer ---- */

/* What a notice of a fragment is compared with. */
struct review {
    struct reconcile *r;
    struct messages messages;
};

static bool notice_is_true(void *ctx, const struct notice *n)
{
    const struct review *review = ctx;

    switch (n->kind) {
    case NOTICE_FAILURE:
        return problems_has(&review->r->problems, n->fragment_id, n->message);
    case NOTICE_WARNING:
        return messages_has(&review->messages, CONTRIBUTION_WARNING, n->reason, n->message);
    case NOTICE_EVENT:
        return messages_has(&review->messages, CONTRIBUTION_EVENT, n->reason, n->message);
    case NOTICE_CONFLICT:
    case NOTICE_GAIN:
        return conflicts_holds(&review->r->conflicts, n);
    case NOTICE_OVER:
        return reconcile_is_over(review->r, n, &review->messages);
    }
    return false;
}

static bool is_warning(const struct notice *n)
{
    return n->kind != NOTICE_EVENT && n->kind != NOTICE_GAIN && n->kind != NOTICE_OVER;
}

static void tell(struct reconcile *r, const struct notice *n)
{
    if (notices_pass(&r->notices)) {
        if (n->kind == NOTICE_FAILURE)
            log_warn(model_has_good(r->model, n->fragment_id)
                         ? "Template failed; the last good output of this object stays in force"
                         : "Template failed; this object has no output yet",
                     "fragment", n->fragment_id, "object_kind", n->owner_kind, "object", n->owner_id, "error",
                     n->message);
        else
            log_write(is_warning(n) ? LOG_WARN : LOG_INFO,
                      !is_warning(n)           ? "Message for an object's owner"
                      : *n->owner_kind == '\0' ? "Configuration has a problem"
                                               : "Object has a problem",
                      "reason", n->reason, "object_kind", n->owner_kind, "object", n->owner_id, "message", n->message,
                      (char *)NULL);
    }
    r->ops.notify(r->ctx, is_warning(n), n->owner_kind, n->owner_id, n->reason, n->message);
    reconcile_told(r, n);
}

/* It has lasted. A rendering without the object may still be to come, or have replaced everything. */
static void tell_if_true(void *ctx, const struct notice *n)
{
    struct reconcile *r = ctx;
    const struct store_kind *kind = store_kind_by_name(r->store, n->owner_kind);

    if (*n->owner_kind != '\0' && (kind == NULL || store_get(kind, n->owner_id) == NULL))
        return;
    struct review review = {.r = r};
    messages_init(&review.messages, model_fragment(r->model, n->fragment_id));
    if (notice_is_true(&review, n))
        tell(r, n);
    messages_done(&review.messages);
}

static void on_notices(uv_timer_t *timer)
{
    struct reconcile *r = timer->data;

    if (!notices_take(&r->notices, clock_now_ns(), tell_if_true, r))
        uv_timer_stop(timer);
    notices_sum_up(&r->notices);
}

static void start_notices(struct reconcile *r)
{
    if (!r->stopped && !uv_is_active((uv_handle_t *)&r->notice_timer))
        uv_timer_start(&r->notice_timer, on_notices, NOTICES_LOOK_MS, NOTICES_LOOK_MS);
}

/* Everything is listed before the first rendering: what that one complains of is no matter of milliseconds. */
static void tell_when_it_lasts(struct reconcile *r, const struct notice *n)
{
    if (!r->rendered) {
        tell(r, n);
        return;
    }
    notices_wait(&r->notices, n, clock_now_ns());
    start_notices(r);
}

static void tell_messages(struct reconcile *r, const struct fragment *f, const struct messages *now)
{
    struct messages before;

    messages_init(&before, model_fragment(r->model, f->id));
    for (size_t i = 0; i < now->items.length; i++) {
        const struct message *m = &now->items.items[i];
        if (messages_has(&before, m->kind, m->reason, m->text))
            continue;
        tell_when_it_lasts(r, &(struct notice){.kind = m->kind == CONTRIBUTION_WARNING ? NOTICE_WARNING : NOTICE_EVENT,
                                               .fragment_id = f->id,
                                               .owner_kind = f->owner_kind,
                                               .owner_id = f->owner_id,
                                               .reason = m->reason,
                                               .message = m->text});
    }
    messages_done(&before);
}

static void on_fragment(void *ctx, struct fragment *f)
{
    struct review review = {.r = ctx};
    struct reconcile *r = ctx;

    messages_init(&review.messages, f);
    if (review.messages.items.length > 0)
        tell_messages(r, f, &review.messages);
    problems_clear(&r->problems, f->id);
    problems_warn(&r->problems, f);
    if (r->ops.heard != NULL)
        r->ops.heard(r->ctx, model_fragment(r->model, f->id), f);
    model_fragment_put(r->model, f);
    notices_review(&r->notices, f->id, notice_is_true, &review);
    reconcile_relieve(r, f->id, &review.messages);
    messages_done(&review.messages);
}

static void on_gone(void *ctx, const char *fragment_id)
{
    struct reconcile *r = ctx;

    problems_clear(&r->problems, fragment_id);
    problems_unwarn(&r->problems, fragment_id);
    if (r->ops.heard != NULL)
        r->ops.heard(r->ctx, model_fragment(r->model, fragment_id), NULL);
    model_fragment_drop(r->model, fragment_id);
    notices_review(&r->notices, fragment_id, NULL, NULL);
    reconcile_relieve(r, fragment_id, NULL);
}

/* Its turn has not come: what there is of it stays. */
static void on_waits(void *ctx, const char *fragment_id)
{
    struct reconcile *r = ctx;

    problems_keep(&r->problems, fragment_id);
    model_fragment_await(r->model, fragment_id);
}

static void on_failed(void *ctx, const struct fragment_failure *f)
{
    struct reconcile *r = ctx;
    CLEANUP(free_ptr) char *joined = ending_cause(&r->problems, f);
    const char *message = joined != NULL ? joined : f->message;
    bool repeated = !problems_set(&r->problems, f->id, f->owner_kind, f->owner_id, message);

    metric_add(r->render_failures, 1);
    model_fragment_keep(r->model, f->id);
    if (repeated)
        return;
    struct review review = {.r = r};
    messages_init(&review.messages, model_fragment(r->model, f->id));
    notices_review(&r->notices, f->id, notice_is_true, &review);
    messages_done(&review.messages);
    tell_when_it_lasts(r, &(struct notice){.kind = NOTICE_FAILURE,
                                           .fragment_id = f->id,
                                           .owner_kind = f->owner_kind,
                                           .owner_id = f->owner_id,
                                           .reason = "TemplateFailed",
                                           .message = message});
}

/* From here on everything is reported anew: what is not seen before the next complete rendering no longer exists. */
static void replace_begin(struct reconcile *r)
{
    model_replace_begin(r->model);
    problems_replace_begin(&r->problems);
}

static void on_replaced(void *ctx)
{
    struct reconcile *r = ctx;

    r->took_over = true;
    if (r->rendered)
        snprintf(r->generations.asked, sizeof(r->generations.asked), "new templates");
    replace_begin(r);
}

/* The first rendering after a start: which objects live on what an earlier process had accepted. */
static void tell_kept(struct reconcile *r)
{
    CLEANUP(buf_done) struct buf objects = {0};
    struct problems_kept kept;

    problems_kept(&r->problems, r->model, &objects, &kept);
    if (kept.count > 0)
        log_error("Templates fail for objects that had output before the start; what was accepted of them stays in "
                  "force",
                  "fragments", log_int((int64_t)kept.count), "failing", log_int((int64_t)problems_count(&r->problems)),
                  "objects", buf_str(&objects), "error", kept.message);
}

void reconcile_tell_later(struct reconcile *r, const struct notice *n)
{
    notices_wait(&r->notices, n, clock_now_ns());
    start_notices(r);
}

static void tell_conflict(void *ctx, const struct notice *n)
{
    reconcile_tell_later(ctx, n);
}

static void on_rendered(void *ctx, const struct render_stats *stats)
{
    struct reconcile *r = ctx;

    if (stats->complete) {
        model_replace_end(r->model);
        problems_replace_end(&r->problems, r->model);
        if (r->ops.reviewed != NULL)
            r->ops.reviewed(r->ctx);
        reconcile_relieve_gone(r);
        r->rendered = true;
        if (r->restored)
            tell_kept(r);
        r->restored = r->stands_in = false;
    }
    r->rendered_request = stats->request;
    if (r->rendered)
        conflicts_update(&r->conflicts, r->model, tell_conflict, r);
    replace_begin(r);
    held_update(&r->held, stats, clock_now_ns());
    generation_log_rendered(&r->generations, stats->fragments_run, stats->duration_ns, model_pending(r->model));
    if (r->partial && r->whole != 0 && stats->request >= r->whole && !stats->unfinished)
        r->partial = false;
    reconcile_stage_move(&r->rendering_ns, &r->settled_ns);
    log_debug("Rendered", "fragments_run", log_int((int64_t)stats->fragments_run), "fragments_total",
              log_int((int64_t)stats->fragments_total), "duration", log_duration(stats->duration_ns));
    notices_sum_up(&r->notices);
    if (stats->complete && r->took_over) { /* not when the same templates have been rendered from nothing */
        r->took_over = false;
        r->program_problem[0] = '\0';
        r->ops.program(r->ctx, NULL);
    }
    reconcile_step(r);
}

static void on_died(void *ctx, const struct renderer_death *death)
{
    struct reconcile *r = ctx;

    if (r->stopped)
        return;
    if (death->is_trial) {
        log_warn("Renderer died with the templates of a new configuration; those in force serve on", "reason",
                 death->reason, "template", death->template_name, "place", death->place, "object_kind",
                 death->owner_kind, "object", death->owner_id);
        return;
    }
    CLEANUP(free_ptr) char *message = ending_message(&r->config, death);
    log_warn("Renderer died; a new one is started and the last good rendering stays in force", "reason", death->reason,
             "template", death->template_name, "object_kind", death->owner_kind, "object", death->owner_id, "error",
             *death->fragment_id != '\0' ? message : death->reason);
    replace_begin(r);
    if (*death->fragment_id != '\0') {
        (void)problems_set(&r->problems, death->fragment_id, death->owner_kind, death->owner_id, message);
        model_fragment_keep(r->model, death->fragment_id);
        r->ops.notify(r->ctx, true, death->owner_kind, death->owner_id, "RendererKilled", message);
        relief_note(&r->relief, death->fragment_id, death->owner_kind, death->owner_id, "RendererKilled");
    }
    r->dirty = true;
    soon(r);
}

static void on_program_failed(void *ctx, const char *message)
{
    struct reconcile *r = ctx;

    if (r->objected) {
        r->objected = false;
        snprintf(r->program_problem, sizeof(r->program_problem), "new configuration refused: %s", message);
        r->ops.program(r->ctx, message);
        return;
    }
    snprintf(r->program_problem, sizeof(r->program_problem), "templates do not load: %s", message);
    log_error("Templates do not load; the previous ones, if any, stay in force", "error", message);
    r->ops.program(r->ctx, r->program_problem);
    /* The directory may be older than what was accepted last; HAProxy starts with it. */
    r->stands_in = r->restored;
    reconcile_step(r);
}

/* New templates that fail for objects which had output are refused: the old ones serve these objects. */
static char *on_objection(void *ctx, const struct fragment_failure *failures, size_t count)
{
    struct reconcile *r = ctx;
    struct buf why = {0};

    r->objected = regression_find(r->model, &r->problems, failures, count, &why);
    return r->objected ? buf_steal(&why) : NULL;
}

static const struct renderer_events renderer_events = {
    .fragment = on_fragment,
    .gone = on_gone,
    .waits = on_waits,
    .failed = on_failed,
    .rendered = on_rendered,
    .replaced = on_replaced,
    .died = on_died,
    .program_failed = on_program_failed,
    .objection = on_objection,
};

const struct renderer_events *reconcile_renderer_events(void)
{
    return &renderer_events;
}

static bool is_synced(const struct reconcile *r)
{
    return r->ops.is_synced ? r->ops.is_synced(r->ctx) : store_is_synced(r->store);
}

static void render(struct reconcile *r)
{
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

void reconcile_step(struct reconcile *r)
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

static void on_drift(uv_timer_t *timer)
{
    compare_all(timer->data, "drift interval");
}

void reconcile_kick(struct reconcile *r)
{
    uv_timer_stop(&r->retry);
    reconcile_step(r);
}

void reconcile_compare_all(struct reconcile *r, const char *why)
{
    struct agent_status status = {0};

    /* A reload whose turn has come, or one more look, takes nothing away from what HAProxy serves. */
    if (r->agent)
        agent_status(r->agent, &status);
    r->live = r->live && status.known;
    uv_timer_stop(&r->retry);
    compare_all(r, why);
}

void reconcile_set_drift_interval(struct reconcile *r, int64_t interval_ns)
{
    r->drift_ns = interval_ns > 0 ? interval_ns : 60 * NS_PER_S;
    uint64_t ms = (uint64_t)(r->drift_ns / NS_PER_MS);

    uv_timer_start(&r->drift, on_drift, ms, ms);
}

/* ---- life ---- */

struct reconcile *reconcile_new(uv_loop_t *loop, const struct reconcile_config *config, struct store *store,
                                struct metrics *metrics, const struct reconcile_ops *ops, void *ctx)
{
    struct reconcile *r = xcalloc(1, sizeof(*r));

    r->loop = loop;
    r->config = *config;
    r->ops = *ops;
    r->ctx = ctx;
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
        "From the watch bytes of a change to HAProxy's answer to the last command for it.");
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
    replace_begin(r);
    r->restored = r->check_due = true;
    r->accepted_digest = model_digest(r->model, MODEL_ACCEPTED);
    r->accepted_ns = clock_now_ns();
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

void reconcile_attach_fleet(struct reconcile *r, struct renderer *renderer, struct fleet *fleet)
{
    r->renderer = renderer;
    r->fleet = fleet;
    r->judge = judge_new(r->model, r->config.check.vault);
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
    out->length--; /* the end of the list */
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
