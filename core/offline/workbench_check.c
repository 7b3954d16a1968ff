/* One validator for each HAProxy that is asked, as the controller has it. Where a refused line was written is asked of
 * the renderer; the finding waits for the answer. */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "controller/place.h"
#include "controller/validate.h"
#include "offline/template_place.h"
#include "offline/workbench_state.h"

/* The controller's own limit (controller/reconcile.c). */
#define CHECK_OUTPUT_BYTES ((size_t)8 << 20)

struct question {
    struct workbench *w;
    char *object, *message;
};

/* Where the line was written has come: the finding has its place. */
static void on_explained(void *ctx, const char *where)
{
    struct question *q = ctx;
    struct workbench *w = q->w;
    CLEANUP(free_ptr)
    char *message = *where ? xasprintf("%s: %s", where, q->message) : xstrdup(q->message);

    template_finding(w->config, w->findings, q->object ? FINDING_REFUSED_OBJECT : FINDING_REFUSED, q->object, w->with,
                     message);
    free(q->object);
    free(q->message);
    free(q);
    w->questions--;
    uv_stop(w->loop);
}

static void ask_where(struct workbench *w, const struct conviction *c, char *object)
{
    struct question *q = xmalloc(sizeof(*q));

    *q = (struct question){.w = w, .object = object, .message = xstrdup(c->message)};
    w->questions++;
    renderer_explain(w->renderer, c->fragment->id, c->kind, c->scope, c->key, c->line, on_explained, q);
}

static void on_quarantined(void *ctx, const struct conviction *c)
{
    struct workbench *w = ctx;

    w->is_faulty = true;
    ask_where(ctx, c, workbench_object_name(c->fragment->owner_kind, c->fragment->owner_id));
}

/* The run will end as refused: this says it with a place. */
static void on_refused(void *ctx, const struct conviction *c)
{
    struct workbench *w = ctx;

    w->refused = w->is_faulty = true;
    ask_where(w, c, NULL);
}

static void on_validated(void *ctx, const struct validation *v)
{
    struct workbench *w = ctx;

    if ((v->outcome == VALIDATION_REFUSED && !w->refused) || v->outcome == VALIDATION_INCONCLUSIVE)
        template_finding(w->config, w->findings, v->outcome == VALIDATION_REFUSED ? FINDING_REFUSED : FINDING_UNCHECKED,
                         NULL, w->with, *v->problem ? v->problem : "the check did not end");
    w->is_faulty = w->is_faulty || v->outcome != VALIDATION_ACCEPTED;
    w->validated = v->outcome != VALIDATION_UNFINISHED;
    uv_stop(w->loop);
}

static void release(void *ctx, const struct fragment *f, const char *reason)
{
    VEC(char *) *ids = ctx;

    (void)reason;
    vec_push(ids, xstrdup(f->id));
}

/* Another HAProxy judges everything again. */
static void release_all(struct workbench *w)
{
    VEC(char *) ids = {0};

    model_each_quarantined(w->model, release, &ids);
    for (size_t i = 0; i < ids.length; i++) {
        model_release(w->model, ids.items[i]);
        free(ids.items[i]);
    }
    vec_done(&ids);
}

/* Each program is asked once: that takes 20 ms. */
static int probe(const struct workbench *w, const char *binary, struct haproxy_caps *ret_caps, struct err *err)
{
    if (w->probed == NULL || strcmp(w->probed, binary) != 0)
        return place_probe(binary, ret_caps, err);
    *ret_caps = w->caps;
    return 0;
}

int workbench_validate(struct workbench *w, const char *haproxy_binary, struct err *err)
{
    static const struct validator_events events = {
        .quarantined = on_quarantined, .refused = on_refused, .done = on_validated};
    CLEANUP(free_ptr) char *binary = NULL;
    struct haproxy_caps caps;

    if (place_find_program(haproxy_binary, &binary, err) < 0 || probe(w, binary, &caps, err) < 0)
        return -1;
    release_all(w);
    w->with = xasprintf("HAProxy %s", caps.text);
    const struct check_config check = {
        .binary = binary, .vault = store_vault(w->store), .output_bytes = CHECK_OUTPUT_BYTES};
    struct metrics *metrics = metrics_new();
    struct validator *validator = validator_new(w->loop, &check, w->model, metrics, &events, w);

    workbench_begin(w, "checking with HAProxy");
    w->validated = w->refused = false;
    while (!w->validated || w->questions > 0) {
        if (!w->validated && !validator_busy(validator))
            validator_run(validator);
        uv_run(w->loop, UV_RUN_DEFAULT);
    }
    workbench_end(w);
    validator_free(validator);
    metrics_free(metrics);
    free(w->with);
    w->with = NULL;
    return 0;
}
