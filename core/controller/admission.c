/* The renderer of the webhook gets each change of the store at once, and renders it a moment later or with the next
 * request. So it is usually up to date when a candidate comes, and a new failure is caused by the candidate. Findings
 * are collected until the rendering is complete, because a fragment may run again when an object that it asked for has
 * come. admission_judge.c then judges them. */
#include "controller/admission.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "controller/admission_state.h"
#include "data/json.h"

#define QUEUE_MAX 64U
#define QUEUE_BYTES_MAX ((size_t)16 << 20)
/* The limit for all waiting requests together; a request beyond it is answered without a verdict. */
#define RATE_PER_S 100
#define RATE_BURST 200
#define CATCH_UP_NS NS_PER_S
#define NICENESS 10
/* A process that could not load the templates may have lacked processor time. */
#define LOAD_AGAIN_NS (5 * NS_PER_S)
/* The time limit of a request is twice that of its rendering. */
#define RENDER_SHARE 2

/* ---- answers ---- */

static const char *label_of(const struct admission_request *q)
{
    return q->object != NULL ? store_kind_spec(q->object->kind)->name : "";
}

static void count(struct admission *a, const struct admission_request *q, const char *result)
{
    metric_add(metric_counter(a->spec.metrics, "haptic_webhook_requests_total", "Admission reviews that were answered.",
                              "kind", label_of(q), "result", result),
               1);
    metric_observe_ns(metric_histogram(a->spec.metrics, "haptic_webhook_request_duration_seconds",
                                       "Time from an admission review to its answer."),
                      clock_now_ns() - q->begun_ns);
}

static void answer(struct admission_request *q, struct verdict *v)
{
    struct buf body = {0};

    review_answer(q->uid, v, &body);
    q->done(q->ctx, 200, &body);
    buf_done(&body);
    verdict_done(v);
    object_unref(q->object);
    free(q->uid);
    free(q);
}

static void answer_judged(struct admission *a, struct admission_request *q, struct verdict *v)
{
    uint64_t similar;

    count(a, q, v->is_denied ? "denied" : "allowed");
    *(v->is_denied ? &a->denied : &a->allowed) += 1;
    if (v->is_denied) {
        free(a->last_denied);
        a->last_denied = xasprintf("%s %s: %s", label_of(q), q->object->id, buf_str(&v->message));
    }
    if (v->is_denied && log_limit_pass(&a->denied_limit, NS_PER_S / 10, &similar))
        log_info("Admission denied", "kind", label_of(q), "object", q->object->id, "error", buf_str(&v->message),
                 "duration", log_duration(clock_now_ns() - q->begun_ns), "similar", log_int((int64_t)similar));
    answer(q, v);
}

/* reason is a label of the metric; why is text for people. */
static void answer_unjudged(struct admission *a, struct admission_request *q, const char *reason, const char *why)
{
    struct verdict v = {0};
    uint64_t similar;

    if (a->spec.fails_closed) {
        CLEANUP(free_ptr) char *text = xasprintf("the object could not be checked in time (%s); try again", why);
        verdict_deny(&v, 503, text);
    } else {
        CLEANUP(free_ptr)
        char *text = xasprintf("not checked (%s): after the rendering, Events report what is wrong with the object",
                               why);
        verdict_warn(&v, text);
    }
    a->unjudged++;
    count(a, q, a->spec.fails_closed ? "unjudged_denied" : "unjudged_allowed");
    metric_add(metric_counter(a->spec.metrics, "haptic_webhook_unjudged_total",
                              "Admission reviews that could not be checked: rate, queue, deadline, renderer.", "reason",
                              reason),
               1);
    if (log_limit_pass(&a->unjudged_limit, 10 * NS_PER_S, &similar))
        log_warn("The admission webhook could not check an object", "verdict",
                 a->spec.fails_closed ? "denied" : "allowed", "kind", label_of(q), "reason", why, "similar",
                 log_int((int64_t)similar));
    answer(q, &v);
}

/* ---- the queue ---- */

static struct admission_request *queue_take(struct admission *a)
{
    struct admission_request *q = a->queue.items[0];

    a->queue.length--;
    memmove(a->queue.items, a->queue.items + 1, a->queue.length * sizeof(*a->queue.items));
    a->queue_bytes -= q->object->packed_length;
    return q;
}

static void set_timer(struct admission *a)
{
    int64_t now = clock_now_ns();

    if (a->queue.length > 0) {
        int64_t left = a->queue.items[0]->deadline_ns - now;
        net_timer_start(a->timer, left > 0 ? left : 0);
    } else if (a->dirty && a->state == ADMISSION_RESTING) {
        net_timer_start(a->timer, CATCH_UP_NS);
    } else if (!a->has_program && a->program.length > 0) {
        net_timer_start(a->timer, LOAD_AGAIN_NS);
    } else {
        net_timer_stop(a->timer);
    }
}

/* ---- the renderer ---- */

static void catch_up(struct admission *a)
{
    a->dirty = false;
    a->state = ADMISSION_CATCHING_UP;
    a->awaited = renderer_render(a->renderer);
}

/* From now on the renderer does not see the candidate. */
static void forget_candidate(struct admission *a)
{
    admission_forget_findings(a);
    (void)renderer_pretend(a->renderer, NULL);
    a->dirty = true;
}

static void judge(struct admission *a)
{
    struct admission_request *q = a->queue.items[0];

    a->open_needs = renderer_open_needs(a->renderer);
    a->stirred = a->dirty;
    a->dirty = false;
    if (!renderer_pretend(a->renderer, q->object)) {
        catch_up(a); /* the process has just ended: the next one starts with all objects */
        return;
    }
    a->state = ADMISSION_JUDGING;
    a->awaited = renderer_render(a->renderer);
}

static void go_on(struct admission *a)
{
    if (a->state == ADMISSION_RESTING && a->queue.length > 0) {
        if (a->dirty)
            catch_up(a);
        else
            judge(a);
    }
    set_timer(a);
}

/* Answers requests whose deadline has passed. The result of a rendering that is under way is ignored. */
static void expire(struct admission *a, int64_t now)
{
    while (a->queue.length > 0 && a->queue.items[0]->deadline_ns <= now) {
        bool is_judged = a->state == ADMISSION_JUDGING;
        const char *reason = a->state == ADMISSION_AWAY ? "renderer" : "deadline";
        if (is_judged) {
            forget_candidate(a);
            catch_up(a);
        }
        answer_unjudged(a, queue_take(a), reason,
                        a->state == ADMISSION_AWAY ? "the templates are not rendered yet"
                                                   : "the time limit has passed");
    }
}

static void load(struct admission *a)
{
    a->has_program = true;
    renderer_set_limits(a->renderer, &a->limits);
    renderer_set_program(a->renderer, buf_str(&a->program), a->program.length);
    if (a->state == ADMISSION_AWAY)
        a->awaited = renderer_render(a->renderer);
}

static void on_timer(void *ctx)
{
    struct admission *a = ctx;

    if (!a->has_program && a->program.length > 0)
        load(a);
    expire(a, clock_now_ns());
    if (a->state == ADMISSION_RESTING && a->dirty)
        catch_up(a);
    go_on(a);
}

static void on_rendered(void *ctx, const struct render_stats *stats)
{
    struct admission *a = ctx;

    if (stats->request < a->awaited)
        return;
    if (a->state == ADMISSION_AWAY || a->state == ADMISSION_CATCHING_UP) {
        a->state = ADMISSION_RESTING;
        if (a->queue.length > 0)
            judge(a); /* what has changed in the meantime is rendered with it */
        set_timer(a);
        return;
    }
    if (a->state != ADMISSION_JUDGING || stats->unfinished || renderer_open_needs(a->renderer) > a->open_needs ||
        admission_is_held(a, stats))
        return;
    struct verdict v = {0};
    admission_judge(a, a->queue.items[0]->object, &v);
    struct admission_request *q = queue_take(a);
    forget_candidate(a);
    a->state = ADMISSION_RESTING;
    answer_judged(a, q, &v);
    go_on(a);
}

/* The process ended while it judged the first request. If another object or no object is to blame, the next process
 * judges the request again. */
static void judge_death(struct admission *a, const struct renderer_death *death)
{
    CLEANUP(buf_done) struct buf why = {0};
    struct verdict v = {0};
    struct admission_request *q = a->queue.items[0];

    switch (admission_judge_death(a, q->object, death, &v, &why)) {
    case BLAME_DENIED:
        answer_judged(a, queue_take(a), &v);
        return;
    case BLAME_TOO_LATE:
        answer_unjudged(a, queue_take(a), "deadline", buf_str(&why));
        return;
    case BLAME_NONE:
        if (q->was_shown)
            answer_unjudged(a, queue_take(a), "renderer", "the renderer ended");
        else
            q->was_shown = true;
        return;
    }
}

static void on_died(void *ctx, const struct renderer_death *death)
{
    struct admission *a = ctx;
    bool was_judging = a->state == ADMISSION_JUDGING;

    problems_done(&a->problems);
    problems_init(&a->problems);
    admission_forget_findings(a);
    if (a->state != ADMISSION_AWAY)
        catch_up(a);
    if (was_judging)
        judge_death(a, death);
    set_timer(a);
}

static void on_replaced(void *ctx)
{
    struct admission *a = ctx;

    problems_done(&a->problems);
    problems_init(&a->problems);
    admission_forget_findings(a);
    if (a->state == ADMISSION_JUDGING)
        catch_up(a); /* the new process has not seen the candidate */
}

static void on_program_failed(void *ctx, const char *message)
{
    struct admission *a = ctx;
    uint64_t similar;

    if (log_limit_pass(&a->load_limit, 60 * NS_PER_S, &similar))
        log_warn("The renderer of the admission webhook does not load the templates; objects are not checked", "error",
                 message, "similar", log_int((int64_t)similar));
    a->state = ADMISSION_AWAY;
    a->has_program = false;
    admission_forget_findings(a);
    while (a->queue.length > 0)
        answer_unjudged(a, queue_take(a), "renderer", "the templates do not load");
    set_timer(a);
}

static void on_store_event(void *ctx, enum store_event event, struct store_kind *kind, struct object *now,
                           struct object *before)
{
    struct admission *a = ctx;

    (void)kind;
    (void)now;
    (void)before;
    if (event == STORE_EVENT_SYNCED || a->dirty)
        return;
    a->dirty = true;
    if (a->state == ADMISSION_RESTING)
        set_timer(a);
}

/* ---- requests ---- */

static bool spend_rate(struct admission *a, int64_t now)
{
    double earned = (double)(now - a->rate_ns) * RATE_PER_S / (double)NS_PER_S;

    a->rate_ns = now;
    a->rate = a->rate + earned < RATE_BURST ? a->rate + earned : RATE_BURST;
    if (a->rate < 1)
        return false;
    a->rate -= 1;
    return true;
}

/* Owns the request from here on. */
static void enqueue(struct admission *a, struct admission_request *q)
{
    if (!a->has_program) {
        answer_unjudged(a, q, "renderer", "the templates are not rendered yet");
        return;
    }
    if (a->queue.length >= QUEUE_MAX || a->queue_bytes + q->object->packed_length > QUEUE_BYTES_MAX) {
        answer_unjudged(a, q, "queue", "too many objects wait");
        return;
    }
    vec_push(&a->queue, q);
    a->queue_bytes += q->object->packed_length;
    go_on(a);
}

static void answer_error(void (*done)(void *ctx, unsigned status, struct buf *body), void *ctx, const char *text)
{
    struct buf body = {0};

    buf_printf(&body, "%s\n", text);
    done(ctx, 400, &body);
    buf_done(&body);
}

void admission_review(struct admission *a, const char *body, size_t length,
                      void (*done)(void *ctx, unsigned status, struct buf *body), void *ctx)
{
    CLEANUP(json_doc_done) struct yyjson_doc *doc = NULL;
    struct review review;
    struct verdict v = {0};
    struct err err;
    int64_t now = clock_now_ns();

    if (json_parse(body, length, ADMISSION_BODY_MAX, &doc, &err) < 0 ||
        review_read(yyjson_doc_get_root(doc), &review, &err) < 0) {
        metric_add(metric_counter(a->spec.metrics, "haptic_webhook_requests_total",
                                  "Admission reviews that were answered.", "kind", "", "result", "malformed"),
                   1);
        answer_error(done, ctx, err.text);
        return;
    }
    struct admission_request *q = xcalloc(1, sizeof(*q));
    *q = (struct admission_request){
        .uid = xstrdup(review.uid), .done = done, .ctx = ctx, .begun_ns = now, .deadline_ns = now + a->spec.timeout_ns};
    if (!spend_rate(a, now)) {
        answer_unjudged(a, q, "rate", "too many requests");
        return;
    }
    if (admission_take(a, &review, &q->object, &v)) {
        enqueue(a, q);
        return;
    }
    count(a, q, v.is_denied ? "denied" : "allowed");
    *(v.is_denied ? &a->denied : &a->allowed) += 1;
    answer(q, &v);
}

void admission_describe(const struct admission *a, struct buf *out)
{
    static const char *const states[] = {"away", "resting", "catching up", "judging"};

    buf_printf(out, "{\"state\":\"%s\",\"waiting\":%zu,\"allowed\":%llu,\"denied\":%llu,\"unjudged\":%llu,",
               states[a->state], a->queue.length, a->allowed, a->denied, a->unjudged);
    buf_puts(out, "\"last_denied\":");
    if (a->last_denied == NULL || json_write_string(out, a->last_denied, strlen(a->last_denied), NULL) < 0)
        buf_puts(out, "null");
    buf_putc(out, '}');
}

/* ---- life ---- */

bool admission_can_judge(const struct admission *a)
{
    return a->has_program;
}

void admission_set_program(struct admission *a, const char *json, size_t length, const struct renderer_limits *limits)
{
    struct renderer_limits l = *limits;
    int64_t most = a->spec.timeout_ns / RENDER_SHARE;

    a->deadline_is_full = l.deadline_ns > 0 && l.deadline_ns <= most;
    l.deadline_ns = a->deadline_is_full ? l.deadline_ns : most;
    l.niceness = NICENESS;
    a->limits = l;
    buf_clear(&a->program);
    buf_add(&a->program, json, length);
    load(a);
}

static const struct renderer_events renderer_events = {.fragment = admission_on_fragment,
                                                       .gone = admission_on_gone,
                                                       .waits = admission_on_waits,
                                                       .failed = admission_on_failed,
                                                       .rendered = on_rendered,
                                                       .replaced = on_replaced,
                                                       .died = on_died,
                                                       .program_failed = on_program_failed};

struct admission *admission_new(const struct admission_spec *spec)
{
    struct admission *a = xcalloc(1, sizeof(*a));
    const struct renderer_limits limits = {.niceness = NICENESS};

    a->spec = *spec;
    a->rate = RATE_BURST;
    a->rate_ns = clock_now_ns();
    problems_init(&a->problems);
    a->timer = net_timer_new(spec->loop, on_timer, a);
    a->renderer = renderer_new(spec->loop, spec->store, spec->executable, &limits, &renderer_events, a, NULL);
    store_listen(spec->store, on_store_event, a);
    return a;
}

struct admission *admission_free(struct admission *a)
{
    if (a == NULL)
        return NULL;
    store_unlisten(a->spec.store, on_store_event, a);
    admission_forget_findings(a);
    while (a->queue.length > 0)
        answer_unjudged(a, queue_take(a), "renderer", "the controller stops");
    vec_done(&a->queue);
    a->renderer = renderer_free(a->renderer);
    a->timer = net_timer_free(a->timer);
    problems_done(&a->problems);
    buf_done(&a->program);
    free(a->last_denied);
    free(a);
    return NULL;
}
