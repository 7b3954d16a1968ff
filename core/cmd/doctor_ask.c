/* A Pod is reached through the API server, which reaches it from where it runs; an address from here. */
#include "cmd/doctor_ask.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "cmd/version.h"
#include "data/json.h"
#include "kube/lease.h"
#include "kube/path.h"

#define DEADLINE_NS (10 * NS_PER_S)
#define ANSWER_MAX ((size_t)64 << 20)
#define LOG_LINES "5000"
#define POD_MAX 1000

/* ---- one question ---- */

struct question {
    bool is_over;
    long status;
    struct buf *body;
    struct err err;
};

static void on_answer(void *ctx, const struct kube_response *response, const struct err *err)
{
    struct question *q = ctx;

    q->is_over = true;
    q->status = response != NULL ? response->status : 0;
    if (response != NULL && response->body != NULL)
        buf_add(q->body, response->body, response->length);
    if (err != NULL)
        q->err = *err;
}

/* The caller wants the body of the answer, with any status. */
static void ask(uv_loop_t *loop, struct kube_client *client, const char *what, const char *path, struct question *q)
{
    const struct kube_call call = {.what = what,
                                   .path = path,
                                   .accept = "*/*",
                                   .deadline_ns = clock_now_ns() + DEADLINE_NS,
                                   .max_response_bytes = ANSWER_MAX,
                                   .done = on_answer,
                                   .ctx = q};

    kube_request_start(client, &call);
    while (!q->is_over)
        uv_run(loop, UV_RUN_ONCE);
}

/* The API server's own answer about a Pod that it does not reach, and not the Pod's. */
static bool is_status(const struct buf *body)
{
    return body->length > 0 && memmem(body->data, body->length < 200 ? body->length : 200, "\"Status\"", 8) != NULL;
}

/* ---- Pods ---- */

static void read_containers(struct yyjson_val *list, struct doctor_target *t)
{
    size_t at, max;
    struct yyjson_val *status;

    yyjson_arr_foreach(list, at, max, status)
    {
        const char *reason = json_str(status, "state", "waiting", "reason");
        if (reason == NULL)
            reason = json_str(status, "state", "terminated", "reason");
        t->restarts += json_int_or(0, status, "restartCount");
        if (reason != NULL && t->trouble == NULL) {
            const char *name = json_str(status, "name");
            t->trouble = xasprintf("container %s: %s", name ? name : "?", reason);
        }
    }
}

static void add_proxy_path(struct buf *path, const char *namespace, const char *pod, unsigned port, const char *rest)
{
    CLEANUP(free_ptr) char *name = xasprintf("%s:%u", pod, port);

    kube_path_add(path, "v1", namespace, "pods", name);
    buf_printf(path, "/proxy%s", rest);
}

static void ask_pod(struct cluster *c, const char *namespace, const char *pod, unsigned port, struct doctor_target *t)
{
    CLEANUP(buf_done) struct buf ready = {0}, metrics = {0};
    CLEANUP(free_ptr) char *what = xasprintf("ask %s/%s on port %u", namespace, pod, port);
    struct question q = {.body = &t->ready}, m = {.body = &t->metrics};

    add_proxy_path(&ready, namespace, pod, port, "/readyz");
    ask(&c->loop, c->client, what, buf_str(&ready), &q);
    if (q.status == 0 || is_status(&t->ready)) {
        t->unreachable = xstrdup(q.err.kind != ERR_NONE ? q.err.text : "no answer");
        buf_clear(&t->ready);
        return;
    }
    t->is_asked = true;
    t->is_ready = q.status == 200;
    add_proxy_path(&metrics, namespace, pod, port, "/metrics");
    ask(&c->loop, c->client, what, buf_str(&metrics), &m);
    if (m.status != 200)
        buf_clear(&t->metrics);
}

int doctor_ask_pods(struct cluster *c, const struct doctor_places *p, enum doctor_role role, struct doctor *d,
                    struct err *err)
{
    CLEANUP(buf_done) struct buf path = {0}, body = {0};
    CLEANUP(json_doc_done) struct yyjson_doc *doc = NULL;
    size_t at, max;
    struct yyjson_val *pod;

    kube_path_add(&path, "v1", p->namespace, "pods", NULL);
    kube_path_add_query(&path, "labelSelector", role == DOCTOR_CONTROLLER ? p->controllers : p->members);
    if (cluster_get(c, "list pods", buf_str(&path), &body, err) < 0 ||
        json_parse(buf_str(&body), body.length, ANSWER_MAX, &doc, err) < 0)
        return -1;
    yyjson_arr_foreach(json_at(yyjson_doc_get_root(doc), "items"), at, max, pod)
    {
        const char *name = json_str(pod, "metadata", "name"), *phase = json_str(pod, "status", "phase");
        if (name == NULL || d->targets.length >= POD_MAX)
            continue;
        struct doctor_target t = {
            .role = role, .name = xasprintf("%s/%s", p->namespace, name), .phase = xstrdup(phase ? phase : "Unknown")};
        read_containers(json_at(pod, "status", "containerStatuses"), &t);
        if (strcmp(t.phase, "Running") == 0)
            ask_pod(c, p->namespace, name, role == DOCTOR_CONTROLLER ? p->controller_port : p->member_port, &t);
        vec_push(&d->targets, t);
    }
    return 0;
}

/* ---- addresses ---- */

int doctor_ask_address(struct cluster *c, const char *url, struct doctor *d, struct err *err)
{
    const struct kube_client_options options = {.version = HAPTIC_VERSION, .http1_only = true};
    struct kube_config config = {
        .origin = xstrdup(url), .server = xstrdup(url), .namespace = xstrdup(""), .proxy_url = xstrdup("")};
    size_t length = strlen(url);

    if ((strncmp(url, "http://", 7) != 0 && strncmp(url, "https://", 8) != 0) || url[length - 1] == '/') {
        kube_config_done(&config);
        return err_set(err, ERR_INVALID, "--address %.128s: write http://HOST:PORT", url);
    }
    struct kube_client *client = kube_client_new(&c->loop, &config, &options);
    struct doctor_target t = {.role = DOCTOR_CONTROLLER, .name = xstrdup(url)};
    struct question ready = {.body = &t.ready}, metrics = {.body = &t.metrics}, state = {.body = &t.state};
    CLEANUP(json_doc_done) struct yyjson_doc *doc = NULL;
    struct err bad;

    ask(&c->loop, client, "/readyz", "/readyz", &ready);
    ask(&c->loop, client, "/metrics", "/metrics", &metrics);
    ask(&c->loop, client, "/debug/state", "/debug/state", &state);
    if (metrics.status != 200)
        buf_clear(&t.metrics);
    if (state.status != 200 || json_parse(buf_str(&t.state), t.state.length, ANSWER_MAX, &doc, &bad) < 0)
        buf_clear(&t.state);
    while (t.state.length > 0 && t.state.data[t.state.length - 1] == '\n')
        t.state.data[--t.state.length] = '\0';
    t.is_asked = ready.status != 0;
    if (!t.is_asked)
        t.unreachable = xstrdup(ready.err.text);
    /* The debug port has no /readyz: its state says the same. */
    t.is_ready = ready.status == 200 || (doc != NULL && json_bool_or(false, yyjson_doc_get_root(doc), "ready"));
    if (ready.status == 404)
        buf_clear(&t.ready);
    vec_push(&d->targets, t);
    kube_client_free(client);
    uv_run(&c->loop, UV_RUN_NOWAIT);
    return 0;
}

/* ---- the Lease ---- */

void doctor_ask_lease(struct cluster *c, const struct doctor_places *p, struct doctor *d)
{
    CLEANUP(buf_done) struct buf path = {0}, body = {0};
    struct question q = {.body = &body};
    struct lease_record record = {0};
    struct err err;

    kube_path_add(&path, "coordination.k8s.io/v1", p->namespace, "leases", p->lease);
    d->lease.name = xasprintf("%s/%s", p->namespace, p->lease);
    ask(&c->loop, c->client, "get lease", buf_str(&path), &q);
    d->lease.is_known = q.status == 200 || q.status == 404;
    if (q.status != 200 || lease_record_parse(&record, buf_str(&body), body.length, &err) < 0)
        return;
    d->lease.is_there = true;
    d->lease.holder = xstrdup(record.holder ? record.holder : "");
    d->lease.renew_time_us = record.renew_time_us;
    d->lease.duration_s = record.lease_duration_s;
    d->lease.transitions = record.transitions;
    lease_record_done(&record);
}

/* ---- for the bundle ---- */

void doctor_learn_secrets(struct cluster *c, const char *namespace, struct snapshot *s)
{
    CLEANUP(buf_done) struct buf path = {0}, body = {0};
    CLEANUP(json_doc_done) struct yyjson_doc *doc = NULL;
    struct question q = {.body = &body};
    size_t at, max;
    struct yyjson_val *secret;
    struct err err;

    kube_path_add(&path, "v1", namespace, "secrets", NULL);
    ask(&c->loop, c->client, "list secrets", buf_str(&path), &q);
    if (q.status == 200 && json_parse(buf_str(&body), body.length, ANSWER_MAX, &doc, &err) == 0)
        yyjson_arr_foreach(json_at(yyjson_doc_get_root(doc), "items"), at, max, secret)(void) !snapshot_learn(s, secret,
                                                                                                              &err);
    if (body.data != NULL)
        explicit_bzero(body.data, body.capacity);
}

static int archive_log(struct cluster *c, const char *namespace, const char *pod, const char *container, bool previous,
                       struct snapshot *s, struct archive *a, struct err *err)
{
    CLEANUP(buf_done) struct buf path = {0}, body = {0}, clean = {0};
    struct question q = {.body = &body};

    kube_path_add(&path, "v1", namespace, "pods", pod);
    buf_puts(&path, "/log");
    kube_path_add_query(&path, "container", container);
    kube_path_add_query(&path, "tailLines", LOG_LINES);
    kube_path_add_query(&path, "timestamps", "true");
    kube_path_add_query(&path, "previous", previous ? "true" : NULL);
    ask(&c->loop, c->client, "read the log", buf_str(&path), &q);
    if (q.status != 200 && previous) /* most containers have only one */
        return 0;
    if (q.status != 200) {
        buf_clear(&body);
        buf_printf(&body, "not available: %s\n", q.err.text);
    }
    snapshot_redact(s, buf_str(&body), body.length, &clean);
    CLEANUP(free_ptr)
    char *name = xasprintf("pods/%s/%s%s.log", pod, container, previous ? ".previous" : "");
    return archive_add(a, name, buf_str(&clean), clean.length, err);
}

int doctor_archive_logs(struct cluster *c, const struct doctor *d, struct snapshot *s, struct archive *a,
                        struct err *err)
{
    for (size_t i = 0; i < d->targets.length; i++) {
        const struct doctor_target *t = &d->targets.items[i];
        const char *slash = strchr(t->name, '/');
        if (t->phase == NULL || slash == NULL)
            continue;
        CLEANUP(free_ptr) char *namespace = xmemdup0(t->name, (size_t)(slash - t->name));
        CLEANUP(buf_done) struct buf path = {0}, body = {0};
        CLEANUP(json_doc_done) struct yyjson_doc *doc = NULL;
        struct question q = {.body = &body};
        size_t at, max;
        struct yyjson_val *container;

        kube_path_add(&path, "v1", namespace, "pods", slash + 1);
        ask(&c->loop, c->client, "get pod", buf_str(&path), &q);
        if (q.status != 200 || json_parse(buf_str(&body), body.length, ANSWER_MAX, &doc, err) < 0)
            continue;
        yyjson_arr_foreach(json_at(yyjson_doc_get_root(doc), "spec", "containers"), at, max, container)
        {
            const char *name = json_str(container, "name");
            if (name != NULL && (archive_log(c, namespace, slash + 1, name, false, s, a, err) < 0 ||
                                 archive_log(c, namespace, slash + 1, name, true, s, a, err) < 0))
                return -1;
        }
    }
    return 0;
}
