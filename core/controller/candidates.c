/* Requests form a queue, and the first one is judged. Its parts (a request to the API server, the process of the tests,
 * the rendering) end with it. */
#include "controller/candidates.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "controller/admission.h"
#include "controller/candidate_text.h"
#include "controller/config_tests.h"
#include "data/json.h"
#include "kube/path.h"
#include "net/timer.h"

/* Each replica may be asked, and few people write configurations. */
#define QUEUE_MAX 4U
#define LIBRARY_GET_NS (5 * NS_PER_S)

enum candidates_state { CANDIDATES_RESTING, CANDIDATES_FETCHING, CANDIDATES_TESTING, CANDIDATES_RENDERING };

struct candidate_request {
    char *uid;
    struct candidate_text text;
    void (*done)(void *ctx, unsigned status, struct buf *body);
    void *ctx;
    int64_t begun_ns, deadline_ns;
};

struct candidates {
    struct candidates_spec spec;
    enum candidates_state state;
    VEC(struct candidate_request *) queue;
    struct net_timer *timer; /* the deadline of the first request */
    struct kube_request *request;
    struct config_tests *tests;
    struct candidate_render *render;
    struct config *config; /* of the first request, after it was read */
    unsigned long long allowed, denied, unjudged;
    char *last; /* the text of the last verdict; NULL: none yet */
    struct log_limit limit;
};

static void step(struct candidates *c);

static const char *label(const struct candidate_request *q)
{
    return q->text.is_library ? CONFIG_LIBRARY_RESOURCE : CONFIG_RESOURCE;
}

/* ---- answers ---- */

static void candidate_free(struct candidate_request *q)
{
    candidate_text_done(&q->text);
    free(q->uid);
    free(q);
}

static void count(struct candidates *c, const char *kind, const char *result, int64_t begun_ns)
{
    metric_add(metric_counter(c->spec.metrics, "haptic_webhook_requests_total", "Admission reviews that were answered.",
                              "kind", kind, "result", result),
               1);
    metric_observe_ns(metric_histogram(c->spec.metrics, "haptic_webhook_configuration_duration_seconds",
                                       "Time from the review of a configuration to its answer."),
                      clock_now_ns() - begun_ns);
}

static void send_answer(const char *uid, struct verdict *v, void (*done)(void *ctx, unsigned status, struct buf *body),
                        void *ctx)
{
    struct buf body = {0};

    review_answer(uid, v, &body);
    done(ctx, 200, &body);
    buf_done(&body);
    verdict_done(v);
}

/* Ends all parts of the first request. */
static struct candidate_request *take_first(struct candidates *c)
{
    struct candidate_request *q = c->queue.items[0];

    c->queue.length--;
    memmove(c->queue.items, c->queue.items + 1, c->queue.length * sizeof(*c->queue.items));
    c->request = kube_request_cancel(c->request);
    c->tests = config_tests_cancel(c->tests);
    c->render = candidate_render_free(c->render);
    c->config = config_free(c->config);
    c->state = CANDIDATES_RESTING;
    return q;
}

static void answer_judged(struct candidates *c, struct verdict *v)
{
    struct candidate_request *q = take_first(c);

    *(v->is_denied ? &c->denied : &c->allowed) += 1;
    count(c, label(q), v->is_denied ? "denied" : "allowed", q->begun_ns);
    log_info("The admission webhook checked a configuration", "kind", label(q), "object", q->text.name, "verdict",
             v->is_denied ? "denied" : "allowed", "error", buf_str(&v->message), "duration",
             log_duration(clock_now_ns() - q->begun_ns));
    free(c->last);
    c->last = xasprintf("%s %s: %s%s%s", label(q), q->text.name, v->is_denied ? "denied" : "allowed",
                        v->message.length > 0 ? ": " : "", buf_str(&v->message));
    send_answer(q->uid, v, q->done, q->ctx);
    candidate_free(q);
    step(c);
}

static void deny(struct candidates *c, const char *code, const char *text)
{
    CLEANUP(free_ptr) char *message = xasprintf("%s: %s", code, text);
    struct verdict v = {0};

    verdict_deny(&v, 422, message);
    answer_judged(c, &v);
}

/* Removes a request from the queue. */
static void answer_unjudged(struct candidates *c, struct candidate_request *q, const char *reason, const char *why)
{
    struct verdict v = {0};
    uint64_t similar;
    CLEANUP(free_ptr)
    char *text = xasprintf(c->spec.fails_closed ? "the configuration could not be checked (%s); try again"
                                                : "not checked (%s): the conditions of the resource will report errors",
                           why);

    if (c->spec.fails_closed)
        verdict_deny(&v, 503, text);
    else
        verdict_warn(&v, text);
    c->unjudged++;
    count(c, label(q), c->spec.fails_closed ? "unjudged_denied" : "unjudged_allowed", q->begun_ns);
    metric_add(metric_counter(c->spec.metrics, "haptic_webhook_unjudged_total",
                              "Admission reviews that could not be checked: rate, queue, deadline, renderer.", "reason",
                              reason),
               1);
    if (log_limit_pass(&c->limit, 10 * NS_PER_S, &similar))
        log_warn("The admission webhook could not check a configuration", "object", q->text.name, "verdict",
                 c->spec.fails_closed ? "denied" : "allowed", "reason", why, "similar", log_int((int64_t)similar));
    free(c->last);
    c->last = xasprintf("%s %s: not checked: %s", label(q), q->text.name, why);
    send_answer(q->uid, &v, q->done, q->ctx);
    candidate_free(q);
}

static void give_up(struct candidates *c, const char *reason, const char *why)
{
    CLEANUP(free_ptr) char *copy = xstrdup(why); /* why may belong to something that is freed here */

    answer_unjudged(c, take_first(c), reason, copy);
    step(c);
}

/* ---- steps of a candidate ---- */

static void on_render_done(void *ctx, struct verdict *v, const char *unjudged)
{
    struct candidates *c = ctx;

    if (unjudged != NULL) {
        verdict_done(v);
        give_up(c, "renderer", unjudged);
        return;
    }
    for (size_t i = 0; i < c->config->warnings.length; i++)
        verdict_warn(v, c->config->warnings.items[i]);
    answer_judged(c, v);
}

static void render(struct candidates *c)
{
    CLEANUP(buf_done) struct buf program = {0};
    struct candidate_render_spec spec = {0};
    struct verdict v = {0};
    struct err err;

    if (!c->spec.base(c->spec.ctx, &spec)) {
        verdict_warn(&v, "read and tested only: no configuration is in force yet, so it was not rendered");
        answer_judged(c, &v);
        return;
    }
    if (c->spec.program(c->spec.ctx, c->config, &program, &err) < 0) {
        deny(c, "HT0201", err.text);
        return;
    }
    spec.loop = c->spec.loop;
    spec.executable = c->spec.executable;
    spec.next = c->config;
    spec.program = buf_str(&program);
    spec.program_length = program.length;
    c->state = CANDIDATES_RENDERING;
    c->render = candidate_render_start(&spec, on_render_done, c);
}

static void on_tested(void *ctx, enum config_tests_outcome outcome, const char *message)
{
    struct candidates *c = ctx;

    c->tests = NULL;
    switch (outcome) {
    case CONFIG_TESTS_PASSED:
        render(c);
        return;
    case CONFIG_TESTS_FAILED: {
        CLEANUP(free_ptr) char *text = xstrdup(message);
        deny(c, "HT0501", text);
        return;
    }
    case CONFIG_TESTS_NOT_RUN:
        give_up(c, "tests", message);
        return;
    }
}

static void test(struct candidates *c)
{
    struct err err;
    const struct config_tests_spec spec = {.executable = c->spec.executable,
                                           .haproxy_binary = c->spec.haproxy_binary,
                                           .extra_context = c->spec.extra_context,
                                           .name = config_source_name(c->spec.source),
                                           .text = c->config->tested_text,
                                           .length = c->config->tested_length};

    if (c->config->tested_text == NULL) {
        render(c);
        return;
    }
    c->state = CANDIDATES_TESTING;
    c->tests = config_tests_start(c->spec.loop, &spec, on_tested, c, &err);
    if (c->tests == NULL)
        give_up(c, "tests", err.text);
}

static void on_library(void *ctx, const struct kube_response *response, const struct err *err)
{
    struct candidates *c = ctx;
    struct candidate_text *t = &c->queue.items[0]->text;

    c->request = NULL;
    if (err != NULL && err->kind != ERR_NOTFOUND) {
        give_up(c, "library", err->text);
        return;
    }
    candidate_text_add(t, t->missing, err == NULL ? response->body : NULL, err == NULL ? response->length : 0);
    c->state = CANDIDATES_RESTING;
    step(c);
}

static void fetch(struct candidates *c, const char *name)
{
    CLEANUP(buf_done) struct buf path = {0};
    CLEANUP(free_ptr) char *what = xasprintf("get " CONFIG_LIBRARY_KIND " %s", name);
    struct config_object own;

    config_source_identity(c->spec.source, &own);
    kube_path_add(&path, CONFIG_API_VERSION, own.namespace, CONFIG_LIBRARY_RESOURCE, name);
    const struct kube_call call = {.what = what,
                                   .path = buf_str(&path),
                                   .deadline_ns = clock_now_ns() + LIBRARY_GET_NS,
                                   .max_response_bytes = 2 * CONFIG_FILE_MAX,
                                   .done = on_library,
                                   .ctx = c};
    c->state = CANDIDATES_FETCHING;
    c->request = kube_request_start(c->spec.client, &call);
}

/* Starts with the first request, or continues after a library has come. */
static void step(struct candidates *c)
{
    CLEANUP(buf_done) struct buf text = {.max = 2 * CONFIG_FILE_MAX};
    const char *missing;
    struct err err;

    if (c->queue.length == 0) {
        net_timer_stop(c->timer);
        return;
    }
    if (c->state != CANDIDATES_RESTING)
        return;
    int64_t left = c->queue.items[0]->deadline_ns - clock_now_ns();
    net_timer_start(c->timer, left > 0 ? left : 0);
    if (candidate_text_write(&c->queue.items[0]->text, c->spec.source, &text, &missing, &err) < 0)
        deny(c, "HT0103", err.text);
    else if (missing != NULL)
        fetch(c, missing);
    else if (config_parse_resource(config_source_name(c->spec.source), buf_str(&text), text.length, &c->config, &err) <
             0)
        deny(c, "HT0103", err.text);
    else
        test(c);
}

static void on_timer(void *ctx)
{
    struct candidates *c = ctx;
    static const char *const doing[] = {"the time limit has passed", "its libraries were not read in time",
                                        "its tests had not ended in time", "it was not rendered and checked in time"};

    if (c->queue.length > 0)
        give_up(c, "deadline", doing[c->state]);
}

/* ---- requests ---- */

void candidates_review(struct candidates *c, const char *body, size_t length,
                       void (*done)(void *ctx, unsigned status, struct buf *body), void *ctx)
{
    CLEANUP(json_doc_done) struct yyjson_doc *doc = NULL;
    struct review review;
    struct verdict v = {0};
    struct err err;
    bool concerns;
    int64_t now = clock_now_ns();

    if (json_parse(body, length, ADMISSION_BODY_MAX, &doc, &err) < 0 ||
        review_read(yyjson_doc_get_root(doc), &review, &err) < 0) {
        struct buf text = {0};
        count(c, "", "malformed", now);
        buf_printf(&text, "%s\n", err.text);
        done(ctx, 400, &text);
        buf_done(&text);
        return;
    }
    struct candidate_request *q = xcalloc(1, sizeof(*q));
    *q = (struct candidate_request){
        .uid = xstrdup(review.uid), .done = done, .ctx = ctx, .begun_ns = now, .deadline_ns = now + c->spec.timeout_ns};
    int read = candidate_text_init(&q->text, c->spec.source, &review, &concerns, &err);
    if (read < 0)
        verdict_deny(&v, 422, err.text);
    if (read < 0 || !concerns) {
        count(c, review.resource, v.is_denied ? "denied" : "allowed", now);
        send_answer(q->uid, &v, done, ctx);
        candidate_free(q);
        return;
    }
    if (c->queue.length >= QUEUE_MAX) {
        answer_unjudged(c, q, "queue", "too many configurations wait");
        return;
    }
    vec_push(&c->queue, q);
    step(c);
}

void candidates_describe(const struct candidates *c, struct buf *out)
{
    static const char *const states[] = {"resting", "fetching libraries", "testing", "rendering"};

    buf_printf(out, "{\"state\":\"%s\",\"waiting\":%zu,\"allowed\":%llu,\"denied\":%llu,\"unjudged\":%llu,\"last\":",
               states[c->state], c->queue.length, c->allowed, c->denied, c->unjudged);
    if (c->last == NULL || json_write_string(out, c->last, strlen(c->last), NULL) < 0)
        buf_puts(out, "null");
    buf_putc(out, '}');
}

/* ---- life ---- */

struct candidates *candidates_new(const struct candidates_spec *spec)
{
    struct candidates *c = xcalloc(1, sizeof(*c));

    c->spec = *spec;
    c->timer = net_timer_new(spec->loop, on_timer, c);
    return c;
}

struct candidates *candidates_free(struct candidates *c)
{
    if (c == NULL)
        return NULL;
    while (c->queue.length > 0)
        answer_unjudged(c, take_first(c), "renderer", "the controller stops");
    vec_done(&c->queue);
    c->timer = net_timer_free(c->timer);
    free(c->last);
    free(c);
    return NULL;
}
