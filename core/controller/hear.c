/* Handles what the renderer reports: fragments go into the model, failures into the table of problems, and people are
 * told. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "controller/ending.h"
#include "controller/reconcile_state.h"
#include "controller/regression.h"

static void tell_messages(struct reconcile *r, const struct fragment *f, const struct messages *now)
{
    struct messages before;

    messages_init(&before, model_fragment(r->model, f->id));
    for (size_t i = 0; i < now->items.length; i++) {
        const struct message *m = &now->items.items[i];
        if (messages_has(&before, m->kind, m->reason, m->text))
            continue;
        reconcile_tell(r, &(struct notice){.kind = m->kind == CONTRIBUTION_WARNING ? NOTICE_WARNING : NOTICE_EVENT,
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
    struct reconcile *r = ctx;
    struct messages messages;

    messages_init(&messages, f);
    if (messages.items.length > 0)
        tell_messages(r, f, &messages);
    problems_clear(&r->problems, f->id);
    problems_warn(&r->problems, f);
    if (r->ops.heard != NULL)
        r->ops.heard(r->ctx, model_fragment(r->model, f->id), f);
    model_fragment_put(r->model, f);
    reconcile_review(r, f->id, &messages);
    reconcile_relieve(r, f->id, &messages);
    messages_done(&messages);
}

static void on_gone(void *ctx, const char *fragment_id)
{
    struct reconcile *r = ctx;

    problems_clear(&r->problems, fragment_id);
    problems_unwarn(&r->problems, fragment_id);
    if (r->ops.heard != NULL)
        r->ops.heard(r->ctx, model_fragment(r->model, fragment_id), NULL);
    model_fragment_drop(r->model, fragment_id);
    reconcile_review(r, fragment_id, NULL);
    reconcile_relieve(r, fragment_id, NULL);
}

/* The fragment has not run yet: its former output stays. */
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
    CLEANUP(messages_done) struct messages messages = {0};
    messages_init(&messages, model_fragment(r->model, f->id));
    reconcile_review(r, f->id, &messages);
    reconcile_tell(r, &(struct notice){.kind = NOTICE_FAILURE,
                                       .fragment_id = f->id,
                                       .owner_kind = f->owner_kind,
                                       .owner_id = f->owner_id,
                                       .reason = "TemplateFailed",
                                       .message = message});
}

void reconcile_replace_begin(struct reconcile *r)
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
    reconcile_replace_begin(r);
}

/* After the first rendering of a process: reports the objects that are served by output of an earlier process. */
static void tell_kept(struct reconcile *r)
{
    CLEANUP(buf_done) struct buf objects = {0};
    struct problems_kept kept;

    problems_kept(&r->problems, r->model, &objects, &kept);
    if (kept.count > 0)
        log_error("Templates fail for objects that had output before the start; their accepted output stays in force",
                  "fragments", log_int((int64_t)kept.count), "failing", log_int((int64_t)problems_count(&r->problems)),
                  "objects", buf_str(&objects), "error", kept.message);
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
    reconcile_replace_begin(r);
    held_update(&r->held, stats, clock_now_ns());
    generation_log_rendered(&r->generations, stats->fragments_run, stats->duration_ns, model_pending(r->model));
    if (r->partial && r->whole != 0 && stats->request >= r->whole && !stats->unfinished)
        r->partial = false;
    reconcile_stage_move(&r->rendering_ns, &r->settled_ns);
    log_debug("Rendered", "fragments_run", log_int((int64_t)stats->fragments_run), "fragments_total",
              log_int((int64_t)stats->fragments_total), "duration", log_duration(stats->duration_ns));
    notices_sum_up(&r->notices);
    if (stats->complete && r->took_over) { /* not when the same templates were rendered from the beginning */
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
        log_warn("Renderer died with the templates of a new configuration; the previous templates stay in force",
                 "reason", death->reason, "template", death->template_name, "place", death->place, "object_kind",
                 death->owner_kind, "object", death->owner_id);
        return;
    }
    CLEANUP(free_ptr) char *message = ending_message(&r->config, death);
    log_warn("Renderer died; a new one is started and the last good rendering stays in force", "reason", death->reason,
             "template", death->template_name, "object_kind", death->owner_kind, "object", death->owner_id, "error",
             *death->fragment_id != '\0' ? message : death->reason);
    reconcile_replace_begin(r);
    if (*death->fragment_id != '\0') {
        (void)problems_set(&r->problems, death->fragment_id, death->owner_kind, death->owner_id, message);
        model_fragment_keep(r->model, death->fragment_id);
        r->ops.notify(r->ctx, true, death->owner_kind, death->owner_id, "RendererKilled", message);
        relief_note(&r->relief, death->fragment_id, death->owner_kind, death->owner_id, "RendererKilled");
    }
    r->dirty = true;
    reconcile_soon(r);
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
    /* The directory may be older than what was accepted last; HAProxy starts with the directory. */
    r->stands_in = r->restored;
    reconcile_step(r);
}

/* New templates that fail for objects which had output are refused. The former templates continue to serve these
 * objects. */
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
