/* Failures are collected until the rendering is complete, and compared with those in force. If the store does not have
 * a kind as the candidate describes it, the candidate is rendered without objects of this kind, or with those of the
 * former selection. A failure then proves nothing and becomes a warning. The renderer must not be freed from within its
 * own callbacks, so a timer reports the outcome. */
#include "controller/candidate_render.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "controller/regression.h"
#include "controller/validate.h"
#include "net/timer.h"

#define FAILURES_MAX 1000
#define WARNED_MAX 5
#define DEATHS_MAX 2
#define NICENESS 15
#define CHECK_OUTPUT_BYTES ((size_t)8 << 20)

enum render_state { RENDER_RENDERING, RENDER_CHECKING, RENDER_ENDED };

struct candidate_render {
    struct candidate_render_spec spec;
    candidate_rendered *done;
    void *ctx;
    enum render_state state;
    struct renderer *renderer;
    struct net_timer *timer;
    struct model *model;
    struct metrics *metrics; /* for the validator; not exported */
    struct validator *validator;
    VEC(struct fragment_failure) failures; /* their strings are owned */
    uint64_t awaited;
    unsigned deaths;
    bool is_foreign; /* the store lacks kinds as the candidate describes them */
    size_t warned;
    unsigned questions; /* open questions where a refused line was written */
    struct verdict verdict;
    char *unjudged;
};

/* ---- the outcome ---- */

static void end(struct candidate_render *r)
{
    if (r->state == RENDER_ENDED)
        return;
    r->state = RENDER_ENDED;
    net_timer_start(r->timer, 0);
}

static void end_unjudged(struct candidate_render *r, const char *why)
{
    if (r->state == RENDER_ENDED)
        return;
    r->unjudged = xstrdup(why);
    end(r);
}

static void find_fault(struct candidate_render *r, bool denies, const char *code, const char *text)
{
    CLEANUP(free_ptr) char *message = xasprintf("%s: %s", code, text);

    if (denies && !r->is_foreign)
        verdict_deny(&r->verdict, 422, message);
    else if (r->warned++ < WARNED_MAX)
        verdict_warn(&r->verdict, message);
}

static void on_timer(void *ctx)
{
    struct candidate_render *r = ctx;
    struct verdict v = r->verdict;

    r->verdict = (struct verdict){0};
    r->done(r->ctx, &v, r->unjudged); /* the callback may have freed r */
}

/* ---- kinds ---- */

static const struct config_kind *find_kind(const struct config *c, const char *name)
{
    for (size_t i = 0; i < c->kinds.length; i++)
        if (strcmp(c->kinds.items[i].name, name) == 0)
            return &c->kinds.items[i];
    return NULL;
}

static void compare_kinds(struct candidate_render *r)
{
    CLEANUP(buf_done) struct buf names = {0};

    for (size_t i = 0; i < r->spec.next->kinds.length; i++) {
        const struct config_kind *k = &r->spec.next->kinds.items[i], *now = find_kind(r->spec.in_force, k->name);
        if (now == NULL || !config_kind_equal(k, now))
            buf_printf(&names, "%s%s", names.length > 0 ? ", " : "", k->name);
    }
    r->is_foreign = names.length > 0 || !config_ignores_equal(r->spec.in_force, r->spec.next);
    if (names.length == 0)
        return;
    CLEANUP(free_ptr)
    char *text = xasprintf(
        "rendered without objects of newly watched kinds (%s); the conditions will report their errors",
        buf_str(&names));
    verdict_warn(&r->verdict, text);
}

/* ---- HAProxy ---- */

struct question {
    struct candidate_render *render;
    bool denies;
    char *text;
};

static void on_explained(void *ctx, const char *where)
{
    struct question *q = ctx;
    struct candidate_render *r = q->render;
    CLEANUP(free_ptr) char *text = *where != '\0' ? xasprintf("%s: %s", where, q->text) : xstrdup(q->text);

    r->questions--;
    find_fault(r, q->denies, "HT0302", text);
    free(q->text);
    free(q);
    if (r->questions == 0 && r->verdict.is_denied)
        end(r);
}

static void accuse(struct candidate_render *r, const struct conviction *c, bool denies)
{
    struct question *q = xmalloc(sizeof(*q));
    const char *owner = c->fragment->owner_id, *blank = *owner != '\0' ? " " : "";

    *q = (struct question){.render = r,
                           .denies = denies,
                           .text = xasprintf("HAProxy refuses the output of its templates%s%s%s%s: %s",
                                             *owner != '\0' ? " for " : "", c->fragment->owner_kind, blank, owner,
                                             c->message)};
    r->questions++;
    renderer_explain(r->renderer, c->fragment->id, c->kind, c->scope, c->key, c->line, on_explained, q);
}

/* A fragment that is in quarantine already is no reason to deny the candidate. */
static void on_quarantined(void *ctx, const struct conviction *c)
{
    struct candidate_render *r = ctx;

    accuse(r, c, model_quarantine_reason(r->spec.model, c->fragment->id) == NULL);
}

static void on_refused(void *ctx, const struct conviction *c)
{
    accuse(ctx, c, true);
}

static void on_validated(void *ctx, const struct validation *v)
{
    struct candidate_render *r = ctx;

    switch (v->outcome) {
    case VALIDATION_ACCEPTED:
        break;
    case VALIDATION_UNFINISHED: /* so many checks have named somebody */
        if (r->questions == 0 && !r->verdict.is_denied)
            end_unjudged(r, "HAProxy refuses too many parts of the output");
        break;
    case VALIDATION_REFUSED:
        if (!r->verdict.is_denied && r->questions == 0)
            find_fault(r, true, "HT0302", v->problem);
        break;
    case VALIDATION_INCONCLUSIVE:
        end_unjudged(r, *v->problem != '\0' ? v->problem : "HAProxy's check did not end");
        return;
    }
    if (r->questions == 0)
        end(r);
}

static void begin_check(struct candidate_render *r)
{
    static const struct validator_events events = {
        .quarantined = on_quarantined, .refused = on_refused, .done = on_validated};

    r->state = RENDER_CHECKING;
    r->spec.check.output_bytes = CHECK_OUTPUT_BYTES;
    r->spec.check.niceness = NICENESS;
    r->metrics = metrics_new();
    r->validator = validator_new(r->spec.loop, &r->spec.check, r->model, r->metrics, &events, r);
    validator_run(r->validator);
}

/* ---- events of the renderer ---- */

static void failures_done(struct candidate_render *r)
{
    for (size_t i = 0; i < r->failures.length; i++) {
        const struct fragment_failure *f = &r->failures.items[i];
        free((char *)(uintptr_t)f->id);
        free((char *)(uintptr_t)f->template_name);
        free((char *)(uintptr_t)f->owner_kind);
        free((char *)(uintptr_t)f->owner_id);
        free((char *)(uintptr_t)f->message);
    }
    vec_done(&r->failures);
}

static void on_fragment(void *ctx, struct fragment *f)
{
    struct candidate_render *r = ctx;

    if (r->state == RENDER_RENDERING)
        model_fragment_put(r->model, f);
}

static void on_gone(void *ctx, const char *fragment_id)
{
    struct candidate_render *r = ctx;

    if (r->state == RENDER_RENDERING)
        model_fragment_drop(r->model, fragment_id);
}

static void on_waits(void *ctx, const char *fragment_id)
{
    (void)ctx;
    (void)fragment_id;
}

static void on_failed(void *ctx, const struct fragment_failure *f)
{
    struct candidate_render *r = ctx;

    if (r->state != RENDER_RENDERING || r->failures.length >= FAILURES_MAX)
        return;
    vec_push(&r->failures, ((struct fragment_failure){.id = xstrdup(f->id),
                                                      .template_name = xstrdup(f->template_name),
                                                      .owner_kind = xstrdup(f->owner_kind),
                                                      .owner_id = xstrdup(f->owner_id),
                                                      .owner_created_s = f->owner_created_s,
                                                      .message = xstrdup(f->message)}));
}

static void judge_failures(struct candidate_render *r)
{
    CLEANUP(buf_done) struct buf why = {0};

    if (regression_find(r->spec.model, r->spec.problems, r->failures.items, r->failures.length, &why))
        find_fault(r, true, "HT0202", buf_str(&why));
    for (size_t i = 0; i < r->failures.length; i++) {
        const struct fragment_failure *f = &r->failures.items[i];
        if (problems_has(r->spec.problems, f->id, f->message))
            continue;
        if (*f->owner_id == '\0' || !r->verdict.is_denied)
            find_fault(r, *f->owner_id == '\0', "HT0202", f->message);
    }
}

static void on_rendered(void *ctx, const struct render_stats *stats)
{
    struct candidate_render *r = ctx;

    if (r->state != RENDER_RENDERING || stats->request < r->awaited || stats->unfinished ||
        renderer_open_needs(r->renderer) > 0)
        return;
    judge_failures(r);
    if (r->verdict.is_denied)
        end(r);
    else
        begin_check(r);
}

static void on_died(void *ctx, const struct renderer_death *death)
{
    struct candidate_render *r = ctx;
    bool is_time = strcmp(death->reason, "deadline") == 0, is_memory = strcmp(death->reason, "memory") == 0;
    const char *place = *death->place != '\0' ? death->place : death->template_name;

    if (r->state != RENDER_RENDERING)
        return;
    failures_done(r);
    if (is_time || is_memory) {
        CLEANUP(free_ptr)
        char *text = xasprintf("%s%sa template took more %s than templatingSettings.%s allows%s%s%s%s", place,
                               *place != '\0' ? ": " : "", is_time ? "time" : "memory",
                               is_time ? "renderTimeout" : "renderMemoryBytes",
                               *death->owner_id != '\0' ? ", for " : "", death->owner_kind,
                               *death->owner_id != '\0' ? " " : "", death->owner_id);
        find_fault(r, true, "HT0203", text);
        end(r);
    } else if (++r->deaths >= DEATHS_MAX) {
        CLEANUP(free_ptr) char *text = xasprintf("the renderer of its templates ended: %s", death->reason);
        end_unjudged(r, text);
    }
}

static void on_program_failed(void *ctx, const char *message)
{
    struct candidate_render *r = ctx;
    CLEANUP(free_ptr) char *text = xasprintf("HT0201: its templates do not load: %s", message);

    verdict_deny(&r->verdict, 422, text); /* independent of the objects */
    end(r);
}

static const struct renderer_events renderer_events = {.fragment = on_fragment,
                                                       .gone = on_gone,
                                                       .waits = on_waits,
                                                       .failed = on_failed,
                                                       .rendered = on_rendered,
                                                       .died = on_died,
                                                       .program_failed = on_program_failed};

/* ---- life ---- */

struct candidate_render *candidate_render_start(const struct candidate_render_spec *spec, candidate_rendered *done,
                                                void *ctx)
{
    struct candidate_render *r = xcalloc(1, sizeof(*r));
    const struct renderer_limits limits = {.deadline_ns = spec->next->render_timeout_ns,
                                           .memory_bytes = (size_t)spec->next->render_memory_bytes,
                                           .output_bytes = (size_t)spec->next->render_output_bytes,
                                           .niceness = NICENESS};

    r->spec = *spec;
    r->done = done;
    r->ctx = ctx;
    r->timer = net_timer_new(spec->loop, on_timer, r);
    r->model = model_new();
    compare_kinds(r);
    r->renderer = renderer_new(spec->loop, spec->store, spec->executable, &limits, &renderer_events, r, NULL);
    renderer_set_program(r->renderer, spec->program, spec->program_length);
    r->awaited = renderer_render(r->renderer);
    return r;
}

struct candidate_render *candidate_render_free(struct candidate_render *r)
{
    if (r == NULL)
        return NULL;
    r->state = RENDER_ENDED;
    r->renderer = renderer_free(r->renderer); /* this answers open questions */
    r->validator = validator_free(r->validator);
    r->metrics = metrics_free(r->metrics);
    r->model = model_free(r->model);
    r->timer = net_timer_free(r->timer);
    failures_done(r);
    verdict_done(&r->verdict);
    free(r->unjudged);
    free(r);
    return NULL;
}
