/* Moves rendered items from pending to accepted: harmless changes at once, the others after a check by HAProxy. This
 * file decides when to check. The validator decides which fragment is to blame. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "controller/reconcile_state.h"
#include "controller/settle.h"

#define BACKGROUND_MIN_NS (5 * NS_PER_S)
#define RECHECK_NS (2 * NS_PER_S)      /* after a check that could not be made */
#define REFUSED_MAX_NS (10 * NS_PER_S) /* between checks while HAProxy refuses parts of the templates themselves */
#define REFUSED_DOUBLINGS 6
#define UNFINISHED_MAX_NS (30 * NS_PER_S) /* between two runs that search for the refused fragments */
#define CHECK_SHARE 20                    /* background checks take one part in so many of the time */

struct explain_ctx {
    char *fragment, *owner_kind, *owner_id, *message;
    bool left_out;
};

/* checks is 0 when the structure alone was enough, without a check by HAProxy. */
static void note_accepted(struct reconcile *r, unsigned checks, int64_t check_ns)
{
    struct digest digest = model_digest(r->model, MODEL_ACCEPTED);

    if (digest_equal(digest, r->accepted_digest))
        return;
    r->accepted_digest = digest;
    r->accepted_ns = clock_now_ns();
    r->generation++;
    generation_log_accepted(&r->generations, r->generation, model_pending(r->model), checks, check_ns);
}

static void on_background(uv_timer_t *timer)
{
    struct reconcile *r = timer->data;

    if (r->background_due && !r->partial && !validator_busy(r->validator)) {
        r->background_due = false;
        validator_run_idle(r->validator);
    }
    reconcile_step(r);
}

static void on_recheck(uv_timer_t *timer)
{
    reconcile_step(timer->data);
}

/* True while it is too early for another check. Then the timer calls again. */
static bool check_waits(struct reconcile *r)
{
    int64_t wait = r->check_after_ns - clock_now_ns();

    if (wait <= 0)
        return false;
    uv_timer_start(&r->recheck, on_recheck, (uint64_t)(wait / NS_PER_MS) + 1, 0);
    return true;
}

static bool is_structural(const void *ctx, struct item *const *items, size_t count)
{
    const struct reconcile *r = ctx;

    return r->agent != NULL ? agent_is_structural(r->agent, items, count)
                            : r->judge != NULL && judge_is_structural(r->judge, items, count);
}

void reconcile_accept(struct reconcile *r)
{
    if (r->stands_in && r->check_due && !validator_busy(r->validator) && !check_waits(r))
        validator_run(r->validator);
    if (!r->rendered || r->partial)
        return;
    struct settled settled;
    if (r->judge != NULL)
        judge_set_dynamic_backends(r->judge, fleet_takes_backends(r->fleet));
    model_review_gone(r->model);
    if (model_pending(r->model) > 0 && r->agent != NULL)
        agent_judge_begin(r->agent);
    else if (model_pending(r->model) > 0 && r->judge != NULL)
        judge_begin(r->judge);
    bool left = settle_structural(r->model, is_structural, r, &settled);
    model_review_gone(r->model);
    r->background_due = r->background_due || settled.beyond_servers;
    metric_add(r->structural, settled.groups);
    note_accepted(r, 0, 0);
    reconcile_relieve_released(r);
    if ((left || r->unfinished || r->check_due) && (!validator_busy(r->validator) || validator_is_idle(r->validator))) {
        if (r->refused && digest_equal(model_digest(r->model, MODEL_RENDERED), r->refused_digest))
            return;
        if (check_waits(r))
            return;
        r->background_due = false;
        validator_run(r->validator);
    } else if (r->background_due && !uv_is_active((uv_handle_t *)&r->background)) {
        int64_t wait = r->last_check_ns * CHECK_SHARE > BACKGROUND_MIN_NS ? r->last_check_ns * CHECK_SHARE
                                                                          : BACKGROUND_MIN_NS;
        uv_timer_start(&r->background, on_background, (uint64_t)(wait / NS_PER_MS), 0);
    }
}

static const char *quarantine_title(const struct explain_ctx *e)
{
    if (*e->owner_id == '\0')
        return "Part of the templates quarantined: HAProxy refuses it; its last good output stays in force";
    return e->left_out ? "Object quarantined: HAProxy refuses its output; it is left out until its output changes"
                       : "Object quarantined: HAProxy refuses its output; its last good output stays in force";
}

static void on_explained(void *ctx, const char *where)
{
    struct explain_ctx *e = ctx;

    log_warn(quarantine_title(e), "object_kind", e->owner_kind, "object", e->owner_id, "fragment", e->fragment,
             "template_line", where, "error", e->message);
    free(e->fragment);
    free(e->owner_kind);
    free(e->owner_id);
    free(e->message);
    free(e);
}

static void on_quarantined(void *ctx, const struct conviction *c)
{
    struct reconcile *r = ctx;
    const struct fragment *f = c->fragment;

    metric_add(r->quarantines, 1);
    r->ops.notify(r->ctx, true, f->owner_kind, f->owner_id, "Quarantined", c->message);
    reconcile_told_quarantine(r, f);
    if (!notices_pass(&r->notices))
        return;
    struct explain_ctx *e = xmalloc(sizeof(*e));
    *e = (struct explain_ctx){.fragment = xstrdup(f->id),
                              .owner_kind = xstrdup(f->owner_kind),
                              .owner_id = xstrdup(f->owner_id),
                              .message = xstrdup(c->message),
                              .left_out = c->left_out};
    renderer_explain(r->renderer, f->id, c->kind, c->scope, c->key, c->line, on_explained, e);
}

/* ---- a part of the templates ---- */

struct refused_ctx {
    struct reconcile *r;
    char *fragment, *message;
};

static void on_refused_explained(void *ctx, const char *where)
{
    struct refused_ctx *e = ctx;

    log_error("HAProxy refuses a part of the templates themselves", "fragment", e->fragment, "template_line", where,
              "error", e->message);
    if (*where != '\0')
        snprintf(e->r->problem_line, sizeof(e->r->problem_line), "%s", where);
    free(e->fragment);
    free(e->message);
    free(e);
}

/* Logs each message once: while nothing changes, every check gives the same refusal. */
static void on_refused(void *ctx, const struct conviction *c)
{
    struct reconcile *r = ctx;
    CLEANUP(free_ptr) char *text = xasprintf("%s: %s", c->fragment->id, c->message);

    if (strncmp(r->refused_text, text, sizeof(r->refused_text) - 1) == 0)
        return;
    snprintf(r->refused_text, sizeof(r->refused_text), "%s", text);
    r->problem_line[0] = '\0';
    struct refused_ctx *e = xmalloc(sizeof(*e));
    *e = (struct refused_ctx){.r = r, .fragment = xstrdup(c->fragment->id), .message = xstrdup(c->message)};
    renderer_explain(r->renderer, c->fragment->id, c->kind, c->scope, c->key, c->line, on_refused_explained, e);
}

static int64_t clamp(int64_t value, int64_t min, int64_t max)
{
    return value < min ? min : value > max ? max : value;
}

/* Sets how long the next check has to wait after this outcome. */
static void note_outcome(struct reconcile *r, const struct validation *v)
{
    int64_t wait = 0;

    r->refused = v->outcome == VALIDATION_REFUSED;
    r->refusals = r->refused ? r->refusals + 1 : 0;
    r->unfinished = v->outcome == VALIDATION_UNFINISHED;
    switch (v->outcome) {
    case VALIDATION_ACCEPTED:
        break;
    case VALIDATION_REFUSED:
        r->refused_digest = model_digest(r->model, MODEL_RENDERED);
        /* Changes of other objects cause new renderings, and HAProxy refuses each of them for the same reason. */
        wait = clamp(r->last_check_ns << (r->refusals < REFUSED_DOUBLINGS ? r->refusals : REFUSED_DOUBLINGS), 0,
                     REFUSED_MAX_NS);
        break;
    case VALIDATION_UNFINISHED:
        wait = clamp(r->last_check_ns * CHECK_SHARE, NS_PER_S, UNFINISHED_MAX_NS);
        break;
    case VALIDATION_INCONCLUSIVE:
        r->background_due = true;
        wait = *v->problem != '\0' ? RECHECK_NS : 0;
        break;
    }
    r->check_after_ns = wait > 0 ? clock_now_ns() + wait : 0;
}

static void on_validated(void *ctx, const struct validation *v)
{
    static const char *const titles[] = {
        [VALIDATION_ACCEPTED] = "",
        [VALIDATION_REFUSED] = "HAProxy refuses the rendered configuration; the last accepted one stays in force",
        [VALIDATION_UNFINISHED] =
            "HAProxy refuses the rendered configuration; the search for the objects that cause it continues",
        [VALIDATION_INCONCLUSIVE] =
            "The rendered configuration cannot be checked; the last accepted one stays in force",
    };
    struct reconcile *r = ctx;

    if (!v->idle) /* the duration of an idle check says nothing about HAProxy */
        r->last_check_ns = v->checks > 0 ? v->duration_ns / v->checks : 0;
    metric_add(r->checked, v->checks);
    r->check_due = false; /* whatever the outcome: refused fragments are quarantined, all others continue */
    note_outcome(r, v);
    if (v->outcome != VALIDATION_ACCEPTED && *v->problem != '\0' && strcmp(r->problem, v->problem) != 0)
        log_error(titles[v->outcome], "error", v->problem, "checks", log_int(v->checks));
    snprintf(r->problem, sizeof(r->problem), "%s", v->problem);
    if (*v->problem == '\0')
        r->refused_text[0] = r->problem_line[0] = '\0';
    notices_sum_up(&r->notices);
    uint64_t before = r->generation;
    note_accepted(r, v->checks, v->duration_ns);
    if (v->outcome == VALIDATION_REFUSED)
        generation_log_refused(&r->generations, r->generation, v->checks, v->duration_ns, v->problem);
    r->checked_since = r->checked_since || r->generation != before;
    reconcile_step(r);
}

static bool must_wait(void *ctx)
{
    const struct reconcile *r = ctx;

    return r->partial;
}

const struct validator_events reconcile_validator_events = {
    .quarantined = on_quarantined, .refused = on_refused, .done = on_validated, .must_wait = must_wait};
