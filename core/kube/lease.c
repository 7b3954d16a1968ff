/* A request is wrapped only to turn the answer into a record. An update takes the JSON text as it was read and changes
 * the fields of the spec that we know, so that labels, annotations, strategy and whatever comes later survive it. */
#include "kube/lease.h"

#include <string.h>
#include <yyjson.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"
#include "data/json.h"
#include "kube/object_watch.h"
#include "kube/path.h"

#define API_VERSION "coordination.k8s.io/v1"
#define LEASE_MAX ((size_t)2 << 20)

/* ---- records ---- */

void lease_record_done(struct lease_record *r)
{
    if (!r)
        return;
    free(r->holder);
    free(r->resource_version);
    free(r->uid);
    free(r->json);
    *r = (struct lease_record){0};
}

void lease_record_copy(struct lease_record *ret_copy, const struct lease_record *r)
{
    *ret_copy = *r;
    ret_copy->holder = xstrdup(r->holder ? r->holder : "");
    ret_copy->resource_version = r->resource_version ? xstrdup(r->resource_version) : NULL;
    ret_copy->uid = r->uid ? xstrdup(r->uid) : NULL;
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
    const char *uid = json_str(lease, "metadata", "uid");
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
    r.uid = uid ? xstrdup(uid) : NULL;
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
    struct object_watch *watch;
    void (*changed)(void *ctx, const struct lease_record *record);
    void (*denied)(void *ctx, const struct err *err);
    void *ctx;
    bool is_busy, is_dead;
};

static void watch_done(struct lease_watch *w)
{
    object_watch_free(w->watch);
    free(w);
}

static void on_changed(void *ctx, yyjson_val *object)
{
    struct lease_watch *w = ctx;
    CLEANUP(lease_record_done) struct lease_record record = {0};
    if (object && parse_value(&record, object, NULL) < 0)
        return; /* polling says what is wrong with it */
    w->is_busy = true;
    w->changed(w->ctx, object ? &record : NULL);
    w->is_busy = false;
    if (w->is_dead)
        watch_done(w);
}

static void on_denied(void *ctx, const struct err *err)
{
    struct lease_watch *w = ctx;
    w->denied(w->ctx, err);
}

struct lease_watch *lease_watch(struct kube_client *c, const char *namespace, const char *name,
                                void (*changed)(void *ctx, const struct lease_record *record),
                                void (*denied)(void *ctx, const struct err *err), void *ctx)
{
    struct lease_watch *w = xcalloc(1, sizeof(*w));
    const struct object_watch_spec spec = {.api_version = API_VERSION,
                                           .resource = "leases",
                                           .namespace = namespace,
                                           .name = name,
                                           .max_bytes = LEASE_MAX,
                                           .changed = on_changed,
                                           .denied = on_denied,
                                           .ctx = w};
    w->changed = changed;
    w->denied = denied;
    w->ctx = ctx;
    w->watch = object_watch_new(c, &spec);
    return w;
}

struct lease_watch *lease_watch_free(struct lease_watch *w)
{
    if (w && w->is_busy)
        w->is_dead = true;
    else if (w)
        watch_done(w);
    return NULL;
}
