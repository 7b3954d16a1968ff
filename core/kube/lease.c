/* A request is wrapped only to turn the answer into a record. An update takes the JSON text as it was read and changes
 * the fields of the spec that we know, so that labels, annotations, strategy and whatever comes later survive it.
 *
 * The watch asks without a resourceVersion ("any"): the server sends the present object first, and no right to list is
 * needed. After the connection was lost it does the same again. */
#include "kube/lease.h"

#include <string.h>
#include <yyjson.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"
#include "data/json.h"
#include "kube/backoff.h"
#include "kube/path.h"
#include "kube/stream.h"
#include "kube/timer.h"
#include "kube/watch.h"

#define API_VERSION "coordination.k8s.io/v1"
#define LEASE_MAX ((size_t)2 << 20)
#define DENIED_NS (60 * NS_PER_S)

/* ---- records ---- */

void lease_record_done(struct lease_record *r)
{
    if (!r)
        return;
    free(r->holder);
    free(r->resource_version);
    free(r->json);
    *r = (struct lease_record){0};
}

void lease_record_copy(struct lease_record *ret_copy, const struct lease_record *r)
{
    *ret_copy = *r;
    ret_copy->holder = xstrdup(r->holder ? r->holder : "");
    ret_copy->resource_version = r->resource_version ? xstrdup(r->resource_version) : NULL;
    ret_copy->json = r->json ? xmemdup0(r->json, r->json_length) : NULL;
}

static int parse_time(yyjson_val *spec, const char *field, int64_t *ret_us, struct err *err)
{
    const char *text = json_str(spec, field);
    if (text && clock_parse_rfc3339(text, ret_us, err) < 0)
        return err_wrap(err, "spec.%s", field);
    return 0;
}

static int parse_value(struct lease_record *ret_record, yyjson_val *lease, struct err *err)
{
    struct lease_record r = {0};
    yyjson_val *spec = json_at(lease, "spec");
    const char *version = json_str(lease, "metadata", "resourceVersion"), *holder = json_str(spec, "holderIdentity");
    CLEANUP(buf_done) struct buf json = {0};
    if (!version)
        return err_set(err, ERR_IO, "the answer is no Lease (metadata.resourceVersion is missing)");
    if (parse_time(spec, "acquireTime", &r.acquire_time_us, err) < 0 ||
        parse_time(spec, "renewTime", &r.renew_time_us, err) < 0 || json_write(&json, lease, NULL, err) < 0)
        return -1;
    r.lease_duration_s = json_int_or(0, spec, "leaseDurationSeconds");
    r.transitions = json_int_or(0, spec, "leaseTransitions");
    r.holder = xstrdup(holder ? holder : "");
    r.resource_version = xstrdup(version);
    r.json_length = json.length;
    r.json = buf_steal(&json);
    *ret_record = r;
    return 0;
}

int lease_record_parse(struct lease_record *ret_record, const char *json, size_t length, struct err *err)
{
    CLEANUP(json_doc_done) yyjson_doc *doc = NULL;
    if (json_parse(json, length, LEASE_MAX, &doc, err) < 0)
        return -1;
    return parse_value(ret_record, yyjson_doc_get_root(doc), err);
}

static void put(yyjson_mut_doc *doc, yyjson_mut_val *object, const char *key, yyjson_mut_val *value)
{
    yyjson_mut_obj_remove_key(object, key);
    yyjson_mut_obj_add_val(doc, object, key, value);
}

static void put_time(yyjson_mut_doc *doc, yyjson_mut_val *spec, const char *key, int64_t us)
{
    char text[CLOCK_RFC3339_SIZE];
    put(doc, spec, key, us ? yyjson_mut_strcpy(doc, clock_format_micro(us, text)) : yyjson_mut_null(doc));
}

static yyjson_mut_val *child(yyjson_mut_doc *doc, yyjson_mut_val *object, const char *key)
{
    yyjson_mut_val *v = yyjson_mut_obj_get(object, key);
    if (!yyjson_mut_is_obj(v)) {
        v = yyjson_mut_obj(doc);
        put(doc, object, key, v);
    }
    return v;
}

char *lease_record_write(const struct lease_record *r, const char *namespace, const char *name)
{
    yyjson_doc *old = r->json ? yyjson_read(r->json, r->json_length, 0) : NULL;
    yyjson_mut_doc *doc = old ? yyjson_doc_mut_copy(old, NULL) : yyjson_mut_doc_new(NULL);
    yyjson_doc_free(old);
    yyjson_mut_val *root = yyjson_mut_doc_get_root(doc);
    if (!root) {
        root = yyjson_mut_obj(doc);
        yyjson_mut_doc_set_root(doc, root);
    }
    put(doc, root, "apiVersion", yyjson_mut_str(doc, API_VERSION));
    put(doc, root, "kind", yyjson_mut_str(doc, "Lease"));
    yyjson_mut_val *metadata = child(doc, root, "metadata");
    put(doc, metadata, "name", yyjson_mut_str(doc, name));
    put(doc, metadata, "namespace", yyjson_mut_str(doc, namespace));
    if (r->resource_version)
        put(doc, metadata, "resourceVersion", yyjson_mut_str(doc, r->resource_version));
    yyjson_mut_val *spec = child(doc, root, "spec");
    put(doc, spec, "holderIdentity", yyjson_mut_str(doc, r->holder ? r->holder : ""));
    put(doc, spec, "leaseDurationSeconds", yyjson_mut_sint(doc, r->lease_duration_s));
    put(doc, spec, "leaseTransitions", yyjson_mut_sint(doc, r->transitions));
    put_time(doc, spec, "acquireTime", r->acquire_time_us);
    put_time(doc, spec, "renewTime", r->renew_time_us);
    char *text = yyjson_mut_write(doc, 0, NULL);
    yyjson_mut_doc_free(doc);
    if (!text)
        abort();
    return text;
}

/* ---- requests ---- */

struct lease_call {
    char *what;
    lease_done *done;
    void *ctx;
};

static void on_answer(void *ctx, const struct kube_response *response, const struct err *err)
{
    struct lease_call *call = ctx;
    CLEANUP(lease_record_done) struct lease_record record = {0};
    struct err bad;
    if (!err && lease_record_parse(&record, response->body, response->length, &bad) < 0) {
        bad.kind = ERR_IO;
        err_wrap(&bad, "%s", call->what);
        err = &bad;
    }
    call->done(call->ctx, err ? NULL : &record, response, err);
}

static void call_free(void *ctx)
{
    struct lease_call *call = ctx;
    free(call->what);
    free(call);
}

static struct kube_request *start(struct kube_client *c, const char *verb, const char *method, const char *namespace,
                                  const char *name, const struct lease_record *record, int64_t deadline_ns,
                                  lease_done *done, void *ctx)
{
    struct lease_call *call = xcalloc(1, sizeof(*call));
    CLEANUP(buf_done) struct buf path = {0};
    CLEANUP(free_ptr) char *body = record ? lease_record_write(record, namespace, name) : NULL;
    *call = (struct lease_call){xasprintf("%s %s/%s", verb, namespace, name), done, ctx};
    kube_path_add(&path, API_VERSION, namespace, "leases", strcmp(method, "POST") == 0 ? NULL : name);
    struct kube_call request = {.what = call->what,
                                .method = method,
                                .path = path.data,
                                .body = body,
                                .body_length = body ? strlen(body) : 0,
                                .deadline_ns = deadline_ns,
                                .max_response_bytes = LEASE_MAX,
                                .done = on_answer,
                                .ctx = call,
                                .free_ctx = call_free};
    return kube_request_start(c, &request);
}

struct kube_request *lease_get(struct kube_client *c, const char *namespace, const char *name, int64_t deadline_ns,
                               lease_done *done, void *ctx)
{
    return start(c, "lease get", "GET", namespace, name, NULL, deadline_ns, done, ctx);
}

struct kube_request *lease_create(struct kube_client *c, const char *namespace, const char *name,
                                  const struct lease_record *record, int64_t deadline_ns, lease_done *done, void *ctx)
{
    return start(c, "lease create", "POST", namespace, name, record, deadline_ns, done, ctx);
}

struct kube_request *lease_update(struct kube_client *c, const char *namespace, const char *name,
                                  const struct lease_record *record, int64_t deadline_ns, lease_done *done, void *ctx)
{
    return start(c, "lease update", "PUT", namespace, name, record, deadline_ns, done, ctx);
}

/* ---- the watch ---- */

struct lease_watch {
    struct kube_client *client;
    char *namespace, *name;
    void (*changed)(void *ctx, const struct lease_record *record);
    void (*denied)(void *ctx, const struct err *err);
    void *ctx;
    struct kube_request *request;
    struct kube_stream stream;
    struct kube_backoff backoff;
    struct kube_timer *wake, *stall;
    int64_t last_bytes_ns;
    bool is_denied, is_busy, is_dead;
};

static void destroy(struct lease_watch *w)
{
    kube_request_cancel(w->request);
    kube_timer_free(w->wake);
    kube_timer_free(w->stall);
    kube_stream_done(&w->stream);
    free(w->namespace);
    free(w->name);
    free(w);
}

static void wait(struct lease_watch *w, int64_t delay_ns)
{
    w->request = kube_request_cancel(w->request);
    kube_stream_reset(&w->stream);
    kube_timer_stop(w->stall);
    kube_timer_start(w->wake, delay_ns);
}

static bool on_line(void *ctx, const char *line, size_t length)
{
    struct lease_watch *w = ctx;
    CLEANUP(json_doc_done) yyjson_doc *doc = NULL;
    CLEANUP(lease_record_done) struct lease_record record = {0};
    const char *type = NULL;
    if (json_parse(line, length, LEASE_MAX, &doc, NULL) == 0)
        type = json_str(yyjson_doc_get_root(doc), "type");
    if (type && strcmp(type, "BOOKMARK") == 0)
        return true;
    yyjson_val *object = json_at(yyjson_doc_get_root(doc), "object");
    if (!type || strcmp(type, "ERROR") == 0 || parse_value(&record, object, NULL) < 0) {
        wait(w, kube_backoff_next(&w->backoff, 0));
        return false;
    }
    kube_backoff_reset(&w->backoff);
    w->is_denied = false;
    w->changed(w->ctx, strcmp(type, "DELETED") == 0 ? NULL : &record);
    return !w->is_dead;
}

static bool on_line_too_long(void *ctx, const char *head, size_t length)
{
    (void)ctx;
    (void)head;
    (void)length;
    return true; /* no Lease of ours; polling will say what is wrong with it */
}

static void on_data(void *ctx, const char *bytes, size_t length, int64_t received_ns)
{
    struct lease_watch *w = ctx;
    w->last_bytes_ns = received_ns;
    w->is_busy = true;
    kube_stream_feed(&w->stream, bytes, length);
    w->is_busy = false;
    if (w->is_dead)
        destroy(w);
}

static void on_end(void *ctx, const struct kube_response *response, const struct err *err)
{
    struct lease_watch *w = ctx;
    w->request = NULL;
    bool is_news = err && err->kind == ERR_DENIED && !w->is_denied;
    if (err && err->kind == ERR_DENIED)
        wait(w, DENIED_NS);
    else
        wait(w, kube_backoff_next(&w->backoff, response->retry_after_ns));
    if (is_news) {
        w->is_denied = true;
        w->denied(w->ctx, err); /* may free the watch */
    }
}

static void on_stall(void *ctx)
{
    struct lease_watch *w = ctx;
    int64_t silent_ns = clock_now_ns() - w->last_bytes_ns;
    if (silent_ns < KUBE_WATCH_STALL_NS) {
        kube_timer_start(w->stall, KUBE_WATCH_STALL_NS - silent_ns);
    } else {
        kube_client_distrust(w->client);
        wait(w, 0);
    }
}

static void open_watch(void *ctx)
{
    struct lease_watch *w = ctx;
    CLEANUP(buf_done) struct buf path = {0};
    CLEANUP(free_ptr) char *what = xasprintf("lease watch %s/%s", w->namespace, w->name);
    CLEANUP(free_ptr) char *selector = xasprintf("metadata.name=%s", w->name);
    char seconds[24];
    snprintf(seconds, sizeof(seconds), "%lld", (long long)kube_random_between(300, 600));
    kube_path_add(&path, API_VERSION, w->namespace, "leases", NULL);
    kube_path_add_query(&path, "watch", "1");
    kube_path_add_query(&path, "allowWatchBookmarks", "true");
    kube_path_add_query(&path, "fieldSelector", selector);
    kube_path_add_query(&path, "timeoutSeconds", seconds);
    w->last_bytes_ns = clock_now_ns();
    kube_timer_start(w->stall, KUBE_WATCH_STALL_NS);
    struct kube_call call = {.what = what, .path = path.data, .data = on_data, .done = on_end, .ctx = w};
    w->request = kube_request_start(w->client, &call);
}

struct lease_watch *lease_watch(struct kube_client *c, const char *namespace, const char *name,
                                void (*changed)(void *ctx, const struct lease_record *record),
                                void (*denied)(void *ctx, const struct err *err), void *ctx)
{
    struct lease_watch *w = xcalloc(1, sizeof(*w));
    w->client = c;
    w->namespace = xstrdup(namespace);
    w->name = xstrdup(name);
    w->changed = changed;
    w->denied = denied;
    w->ctx = ctx;
    w->stream = (struct kube_stream){
        .max_line_bytes = LEASE_MAX, .line = on_line, .too_long = on_line_too_long, .ctx = w};
    w->backoff = (struct kube_backoff){.base_ns = 250 * NS_PER_MS, .cap_ns = 5 * NS_PER_S};
    w->wake = kube_timer_new(kube_client_loop(c), open_watch, w);
    w->stall = kube_timer_new(kube_client_loop(c), on_stall, w);
    open_watch(w);
    return w;
}

struct lease_watch *lease_watch_free(struct lease_watch *w)
{
    if (w && w->is_busy)
        w->is_dead = true;
    else if (w)
        destroy(w);
    return NULL;
}
