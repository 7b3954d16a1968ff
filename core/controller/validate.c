/* A run is a loop of checks. The queue holds sets of suspects, all of them quarantined. While the queue is empty,
 * everything rendered is checked, and a fragment that HAProxy names is quarantined. Otherwise the output without the
 * suspects (the base) must be accepted first. Then the sets are tested one by one, each together with the base. A set
 * that is refused is split. When its first half is accepted, the other half must be refused, which needs no check.
 * Output that is rendered during the run becomes a set of its own, so a refusal is always caused by the set under test.
 *
 * An idle run mostly checks output that is accepted and live already. Its text is collected in slices, so no change
 * waits for the text of the whole configuration. It needs no evidence: a refusal is asked again by an urgent run.
 */
#include "controller/validate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/map.h"
#include "controller/accuse.h"
#include "haproxy/draft.h"

#define CHECKS_MAX 40
#define SLICE_NS (NS_PER_MS / 2)
#define BETWEEN_SLICES_MS 1
#define HELD_MS 50 /* while another draft is collected */

struct suspect {
    char *id;
    struct fragment *version; /* the version that was checked or held back; referenced */
    bool is_new;              /* while it is held back, it has nothing in use */
};

struct suspects {
    VEC(struct suspect) items;
    bool refused;  /* HAProxy has refused the set */
    unsigned pair; /* both halves of a refused set have the same number; 0: none */
    char *message; /* HAProxy's, when refused */
};

struct validator {
    uv_loop_t *loop;
    struct check_config config;
    struct model *model;
    struct validator_events events;
    void *ctx;
    struct check *check;
    struct draft *draft; /* of an idle run, until its check begins */
    uv_timer_t *slices;
    struct evidence evidence;
    VEC(struct suspects) queue; /* the last one is next */
    struct suspects testing;    /* the set under test; empty: the check tests the base */
    bool doubt;                 /* the last check died: first test whether the base can be checked */
    unsigned pairs;
    bool busy, idle;
    unsigned checks;
    int64_t begun_ns;
    char problem[1100];
    struct metric *duration, *failures;
};

static void next_check(struct validator *v);
static void run(struct validator *v, bool idle);

/* ---- sets of suspects ---- */

static void suspect_done(struct suspect *s)
{
    free(s->id);
    fragment_unref(s->version);
}

static void suspects_done(struct suspects *set)
{
    for (size_t i = 0; i < set->items.length; i++)
        suspect_done(&set->items.items[i]);
    vec_done(&set->items);
    free(set->message);
    *set = (struct suspects){0};
}

/* Releases suspects that are gone, or whose output has changed since they were held back. The new output is checked as
 * any other. */
static void suspects_refresh(struct validator *v, struct suspects *set)
{
    size_t kept = 0;

    for (size_t i = 0; i < set->items.length; i++) {
        struct suspect *s = &set->items.items[i];
        if (model_fragment(v->model, s->id) == s->version) {
            set->items.items[kept++] = *s;
            continue;
        }
        model_release(v->model, s->id);
        suspect_done(s);
    }
    set->items.length = kept;
}

static void suspects_hold(struct validator *v, const struct suspects *set, const char *message)
{
    for (size_t i = 0; i < set->items.length; i++)
        if (model_quarantine_reason(v->model, set->items.items[i].id) == NULL)
            (void)!model_quarantine(v->model, set->items.items[i].id, message);
}

static void suspects_release(struct validator *v, const struct suspects *set)
{
    for (size_t i = 0; i < set->items.length; i++)
        model_release(v->model, set->items.items[i].id);
}

struct gathering {
    struct validator *v;
    struct map seen;
    struct suspects found;
};

/* Gathers only fragments that can be held back without a change of the live configuration. */
static void gather(void *ctx, struct item *item)
{
    struct gathering *g = ctx;
    const struct fragment *f = item->winner;

    if (f == NULL || *f->owner_id == '\0' || map_get(&g->seen, f->id) != NULL)
        return;
    map_put(&g->seen, f->id, g);
    enum model_hold hold = model_hold(g->v->model, f->id);
    if (hold != MODEL_HOLD_NOTHING)
        vec_push(&g->found.items, ((struct suspect){.id = xstrdup(f->id),
                                                    .version = fragment_ref(model_fragment(g->v->model, f->id)),
                                                    .is_new = hold == MODEL_HOLD_NEW}));
}

/* Sorts the oldest objects to the end: they are tested first, and of two that exclude each other the older one stays.
 */
static int compare_age(const void *a, const void *b)
{
    const struct suspect *x = a, *y = b;

    return fragment_compare(y->version, x->version);
}

/* Holds back every fragment with pending output. False when there is none. */
static bool hold_pending(struct validator *v, const char *message, bool refused)
{
    struct gathering g = {.v = v};

    map_init(&g.seen, false);
    model_each_pending(v->model, gather, &g);
    map_done(&g.seen);
    if (g.found.items.length == 0) {
        vec_done(&g.found.items);
        return false;
    }
    qsort(g.found.items.items, g.found.items.length, sizeof(*g.found.items.items), compare_age);
    suspects_hold(v, &g.found, message);
    g.found.refused = refused;
    g.found.message = xstrdup(message);
    vec_push(&v->queue, g.found);
    return true;
}

static void queue_clear(struct validator *v, bool release)
{
    for (size_t i = 0; i < v->queue.length; i++) {
        if (release)
            suspects_release(v, &v->queue.items[i]);
        suspects_done(&v->queue.items[i]);
    }
    vec_done(&v->queue);
}

/* ---- convictions ---- */

static void tell_quarantined(struct validator *v, const struct fragment *f, const struct accusation *a,
                             const char *message, bool left_out)
{
    const struct contribution *first = f->count > 0 ? &f->items[0] : NULL;
    struct conviction c = {.fragment = f, .scope = "", .key = "", .message = message, .left_out = left_out};

    if (a != NULL) {
        c.kind = a->kind;
        c.scope = a->scope;
        c.key = a->key;
        c.line = a->line;
    } else if (first != NULL) {
        c.kind = first->kind;
        c.scope = first->scope;
        c.key = first->key;
    }
    v->events.quarantined(v->ctx, &c);
}

/* Quarantines the accused fragment. False when that is not possible. */
static bool convict(struct validator *v, const struct accusation *a)
{
    struct fragment *f = model_fragment(v->model, a->fragment_id);
    enum model_hold hold = model_hold(v->model, a->fragment_id);

    if (f == NULL)
        return false;
    if (*f->owner_id == '\0' && hold != MODEL_HOLD_GOOD) {
        /* The fragment is a part of the templates themselves: the configuration would be incomplete without it. */
        if (v->problem[0] == '\0') {
            snprintf(v->problem, sizeof(v->problem), "%s: %s", f->id, a->message);
            const struct conviction c = {.fragment = f,
                                         .kind = a->kind,
                                         .scope = a->scope,
                                         .key = a->key,
                                         .line = a->line,
                                         .message = a->message};
            if (v->events.refused != NULL)
                v->events.refused(v->ctx, &c);
        }
        return false;
    }
    fragment_ref(f);
    bool changed = model_convict(v->model, a->fragment_id, a->kind, a->scope, a->key, a->message);
    if (changed)
        tell_quarantined(v, f, a, a->message, hold != MODEL_HOLD_GOOD);
    fragment_unref(f);
    return changed;
}

/* A single fragment that was refused is in quarantine already: reports it. */
static void convict_last(struct validator *v, const struct suspects *set)
{
    const struct suspect *s = &set->items.items[0];

    tell_quarantined(v, s->version, NULL, set->message, s->is_new);
}

/* ---- bisection ---- */

static void split(struct validator *v, struct suspects *set)
{
    struct suspects rest = {0};
    size_t half = set->items.length / 2;

    /* The older half, at the end of the list, is tested first. */
    for (size_t i = 0; i < half; i++)
        vec_push(&rest.items, set->items.items[i]);
    memmove(set->items.items, set->items.items + half, (set->items.length - half) * sizeof(*set->items.items));
    set->items.length -= half;
    set->refused = false;
    rest.pair = set->pair = ++v->pairs;
    rest.message = xstrdup(set->message);
    vec_push(&v->queue, rest);
    vec_push(&v->queue, *set);
    *set = (struct suspects){0};
}

/* Releases the next set for a test. False when there is none. */
static bool take_set(struct validator *v)
{
    while (v->queue.length > 0) {
        struct suspects set = v->queue.items[--v->queue.length];
        size_t before = set.items.length;
        suspects_refresh(v, &set);
        if (set.items.length < before) {
            set.refused = false; /* the cause may have been a fragment that is gone */
            set.pair = 0;
        }
        if (set.items.length == 0) {
            suspects_done(&set);
        } else if (set.refused && set.items.length == 1) {
            convict_last(v, &set);
            suspects_done(&set);
        } else if (set.refused) {
            split(v, &set);
        } else {
            suspects_release(v, &set);
            v->testing = set;
            return true;
        }
    }
    return false;
}

static void set_passed(struct validator *v)
{
    struct suspects *next = v->queue.length > 0 ? &v->queue.items[v->queue.length - 1] : NULL;

    if (next != NULL && v->testing.pair != 0 && next->pair == v->testing.pair)
        next->refused = true;
    suspects_done(&v->testing);
}

/* Holds the set under test back again. */
static void set_back(struct validator *v, bool refused, const char *message)
{
    struct suspects set = v->testing;

    v->testing = (struct suspects){0};
    size_t before = set.items.length;
    suspects_refresh(v, &set);
    set.refused = refused && set.items.length == before;
    set.pair = 0;
    if (set.items.length == 0) {
        suspects_done(&set);
        return;
    }
    suspects_hold(v, &set, message);
    if (refused) {
        free(set.message);
        set.message = xstrdup(message);
    }
    vec_push(&v->queue, set);
}

/* Convicts the fragments of the set that HAProxy named; the others are tested again. False when it named none of them.
 */
static bool set_named(struct validator *v, const struct accusations *accusations)
{
    struct map named = {0};
    size_t kept = 0, before = v->testing.items.length;

    for (size_t i = 0; i < accusations->items.length; i++)
        (void)map_put(&named, accusations->items.items[i].fragment_id, &accusations->items.items[i]);
    for (size_t i = 0; i < before; i++) {
        struct suspect *s = &v->testing.items.items[i];
        const struct accusation *a = map_get(&named, s->id);
        if (a != NULL && convict(v, a))
            suspect_done(s);
        else
            v->testing.items.items[kept++] = *s;
    }
    v->testing.items.length = kept;
    map_done(&named);
    return kept < before;
}

/* ---- the run ---- */

static void finish(struct validator *v, enum validation_outcome outcome)
{
    if (outcome == VALIDATION_ACCEPTED)
        v->problem[0] = '\0';
    struct validation result = {.outcome = outcome,
                                .problem = v->problem,
                                .checks = v->checks,
                                .duration_ns = clock_now_ns() - v->begun_ns,
                                .idle = v->idle};
    v->draft = draft_free(v->draft);
    evidence_done(&v->evidence);
    v->busy = false;
    v->events.done(v->ctx, &result);
}

/* The whole output, or the base without the suspects, was refused. True when something was done about it. */
static bool search(struct validator *v, const struct accusations *accusations, const char *message, bool died)
{
    bool progress = accusations->superseded;

    for (size_t i = 0; i < accusations->items.length; i++)
        progress = convict(v, &accusations->items.items[i]) || progress;
    if (!progress && v->queue.length == 0) {
        progress = hold_pending(v, message, true);
        v->doubt = died;
    } else if (!progress) {
        /* The refusal does not depend on the suspects. */
        queue_clear(v, true);
    }
    return progress;
}

static void refused(struct validator *v, const struct check_result *result)
{
    const char *message = result->err != NULL ? result->err->text
                          : result->count > 0 ? result->messages[0].text
                                              : "haproxy -c failed without a message";
    struct accusations accusations;

    if (result->err == NULL)
        metric_add(v->failures, 1);
    accuse(&v->evidence, v->model, result->messages, result->count, &accusations);
    model_check_end(v->model, false);
    v->problem[0] = '\0';
    bool progress = true;
    if (v->testing.items.length > 0) {
        bool named = set_named(v, &accusations);
        set_back(v, !named && !accusations.superseded, message);
        v->doubt = result->err != NULL;
    } else {
        progress = search(v, &accusations, message, result->err != NULL);
    }
    accusations_done(&accusations);
    if (v->problem[0] == '\0')
        snprintf(v->problem, sizeof(v->problem), "%s", message);
    if (progress)
        next_check(v);
    else
        finish(v, result->err != NULL ? VALIDATION_INCONCLUSIVE : VALIDATION_REFUSED);
}

/* Continues an idle run as an urgent one. */
static void run_again(struct validator *v)
{
    model_check_end(v->model, false);
    run(v, false);
}

static void on_check(void *ctx, const struct check_result *result)
{
    struct validator *v = ctx;

    v->check = NULL;
    if (v->idle && (result->err != NULL || !result->ok)) {
        run_again(v);
        return;
    }
    if (!v->idle)
        metric_observe_ns(v->duration, result->duration_ns);
    if (result->err != NULL && result->err->kind == ERR_SYS) {
        snprintf(v->problem, sizeof(v->problem), "%s", result->err->text);
        model_check_end(v->model, false);
        set_back(v, false, v->problem);
        finish(v, VALIDATION_INCONCLUSIVE);
        return;
    }
    if (result->err != NULL || !result->ok) {
        refused(v, result);
        return;
    }
    model_check_end(v->model, true);
    if (v->testing.items.length > 0)
        set_passed(v);
    else
        v->doubt = false;
    if (v->queue.length > 0)
        next_check(v);
    else
        finish(v, VALIDATION_ACCEPTED);
}

static void begin_check(struct validator *v)
{
    struct disk_files files = {0};

    v->checks++;
    model_check_begin(v->model);
    evidence_done(&v->evidence);
    v->config.idle = v->idle;
    if (v->draft) {
        v->check = check_start_composed(v->loop, &v->config, draft_files, STEAL(v->draft), on_check, v);
        return;
    }
    evidence_collect(&v->evidence, v->model, &files);
    v->check = check_start(v->loop, &v->config, &files, on_check, v);
}

static void next_check(struct validator *v)
{
    if (v->events.must_wait != NULL && v->events.must_wait(v->ctx)) {
        v->problem[0] = '\0';
        finish(v, VALIDATION_INCONCLUSIVE);
        return;
    }
    if (v->checks >= CHECKS_MAX) {
        CLEANUP(free_ptr) char *last = xstrdup(v->problem);
        snprintf(v->problem, sizeof(v->problem), "no end after %d checks, %zu objects are held back meanwhile: %s",
                 CHECKS_MAX, validator_suspects(v), last);
        finish(v, VALIDATION_UNFINISHED);
        return;
    }
    if (v->queue.length > 0) {
        (void)hold_pending(v, "held back while the cause of a refusal is searched", false);
        /* Checks the base first, if it is not accepted yet, and then the sets. */
        if (model_pending(v->model) == 0 && !v->doubt && !take_set(v)) {
            finish(v, VALIDATION_ACCEPTED);
            return;
        }
    }
    begin_check(v);
}

/* ---- idle runs ---- */

/* When the text cannot be collected in slices, an ordinary check makes it at once. */
static void on_slice(uv_timer_t *timer)
{
    struct validator *v = timer->data;
    struct err err;
    bool is_done;

    if (!v->draft && model_parts_are_held(v->model)) {
        uv_timer_start(timer, on_slice, HELD_MS, 0);
        return;
    }
    if (!v->draft)
        v->draft = draft_begin(v->model, v->config.vault);
    int rc = draft_step(v->draft, SLICE_NS, &is_done, &err);
    if (rc == 0 && !is_done) {
        uv_timer_start(timer, on_slice, BETWEEN_SLICES_MS, 0);
        return;
    }
    model_review_gone(v->model);
    if (rc < 0 || model_pending(v->model) > 0 || draft_end(v->draft, &err) < 0)
        v->draft = draft_free(v->draft);
    next_check(v);
}

static void collect_end(struct validator *v)
{
    uv_timer_stop(v->slices);
    v->draft = draft_free(v->draft);
}

static void run(struct validator *v, bool idle)
{
    v->busy = true;
    v->idle = idle;
    v->checks = 0;
    v->begun_ns = clock_now_ns();
    v->problem[0] = '\0';
    if (idle && model_pending(v->model) == 0)
        uv_timer_start(v->slices, on_slice, 0, 0);
    else
        next_check(v);
}

void validator_run(struct validator *v)
{
    collect_end(v);
    if (v->check != NULL) {
        check_cancel(STEAL(v->check));
        model_check_end(v->model, false);
    }
    run(v, false);
}

void validator_run_idle(struct validator *v)
{
    /* A search that continues is urgent. */
    run(v, v->queue.length == 0);
}

bool validator_is_idle(const struct validator *v)
{
    return v->busy && v->idle;
}

bool validator_busy(const struct validator *v)
{
    return v->busy;
}

size_t validator_suspects(const struct validator *v)
{
    size_t count = v->testing.items.length;

    for (size_t i = 0; i < v->queue.length; i++)
        count += v->queue.items[i].items.length;
    return count;
}

/* ---- life ---- */

struct validator *validator_new(uv_loop_t *loop, const struct check_config *config, struct model *model,
                                struct metrics *metrics, const struct validator_events *events, void *ctx)
{
    struct validator *v = xcalloc(1, sizeof(*v));

    v->loop = loop;
    v->config = *config;
    v->model = model;
    v->events = *events;
    v->ctx = ctx;
    v->slices = xcalloc(1, sizeof(*v->slices));
    uv_timer_init(loop, v->slices);
    v->slices->data = v;
    v->duration = metric_histogram(metrics, "haptic_validation_duration_seconds",
                                   "Duration of one haproxy -c of a whole configuration.");
    v->failures = metric_counter(metrics, "haptic_validation_failures_total",
                                 "Configurations that haproxy -c refused.");
    return v;
}

static void on_closed(uv_handle_t *handle)
{
    free(handle);
}

struct validator *validator_free(struct validator *v)
{
    if (v == NULL)
        return NULL;
    collect_end(v);
    uv_close((uv_handle_t *)v->slices, on_closed);
    if (v->check != NULL)
        check_cancel(v->check);
    queue_clear(v, false);
    suspects_done(&v->testing);
    evidence_done(&v->evidence);
    free(v);
    return NULL;
}
