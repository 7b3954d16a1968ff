/* Shares limit the rate (event_share.h); a table of what was said lately, keyed by a hash of object, reason and
 * note, keeps a controller that fails in a loop from filling etcd. A request has ten seconds. */
#include "kube/event.h"

#include <string.h>
#include <yyjson.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/digest.h"
#include "kube/event_share.h"
#include "kube/path.h"
#include "net/backoff.h"

#define REPEAT_NS (600 * NS_PER_S)
#define RECENT 512
#define IN_FLIGHT_MAX EVENT_SHARE_BURST_ALL /* a burst is not held back for want of a place */
#define DEADLINE_NS (10 * NS_PER_S)
#define NOTE_MAX 1024 /* of events.k8s.io */
#define CUT "…"
#define API_GROUPS 2

struct kube_events {
    struct kube_client *client;
    char *controller, *instance;
    struct metrics *metrics;
    struct event_shares shares;
    struct {
        struct digest digest;
        int64_t sent_ns;
    } recent[RECENT];
    size_t next_recent;
    struct kube_request *requests[IN_FLIGHT_MAX];
    bool uses_core;
    unsigned denials; /* in a row */
    bool is_denied;   /* told */
    void (*denied)(void *ctx, const struct err *err);
    void *denied_ctx;
    uint64_t sent, dropped;
};

struct event_call {
    struct kube_events *events;
    size_t slot;
};

static void tally(struct kube_events *e, const char *result)
{
    bool is_sent = strcmp(result, "sent") == 0;
    *(is_sent ? &e->sent : &e->dropped) += 1;
    if (e->metrics)
        metric_add(
            metric_counter(e->metrics, "haptic_kube_events_total", "Kubernetes Events by result.", "result", result),
            1);
}

static bool may_send(struct kube_events *e, const struct kube_event_object *o, const char *namespace,
                     const char *reason, const char *note)
{
    const char *parts[] = {o->api_version ? o->api_version : "",
                           o->kind ? o->kind : "",
                           o->namespace ? o->namespace : "",
                           o->name,
                           reason,
                           note};
    size_t lengths[ARRAY_LEN(parts)];
    int64_t now = clock_now_ns();
    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        lengths[i] = strlen(parts[i]);
    struct digest digest = digest_of_parts(ARRAY_LEN(parts), parts, lengths);
    for (size_t i = 0; i < RECENT; i++) {
        if (e->recent[i].sent_ns && digest_equal(e->recent[i].digest, digest) && now - e->recent[i].sent_ns < REPEAT_NS)
            return false;
    }
    if (!event_shares_take(&e->shares, namespace, now))
        return false;
    e->recent[e->next_recent].digest = digest;
    e->recent[e->next_recent].sent_ns = now;
    e->next_recent = (e->next_recent + 1) % RECENT;
    return true;
}

static yyjson_mut_val *reference(yyjson_mut_doc *doc, const struct kube_event_object *o)
{
    const struct {
        const char *key, *value;
    } fields[] = {{"apiVersion", o->api_version},
                  {"kind", o->kind},
                  {"namespace", o->namespace},
                  {"name", o->name},
                  {"uid", o->uid},
                  {"resourceVersion", o->resource_version}};
    yyjson_mut_val *v = yyjson_mut_obj(doc);
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        if (fields[i].value && *fields[i].value)
            yyjson_mut_obj_add_str(doc, v, fields[i].key, fields[i].value);
    }
    return v;
}

/* A note that is too long ends with a sign of it. It is not cut inside a character. malloc'ed. */
static char *note_text(const char *note)
{
    size_t n = NOTE_MAX - strlen(CUT);
    if (strlen(note) <= NOTE_MAX)
        return xstrdup(note);
    while (n > 0 && ((unsigned char)note[n] & 0xc0) == 0x80)
        n--;
    return xasprintf("%.*s" CUT, (int)n, note);
}

static char *body_of(const struct kube_events *e, const struct kube_event_object *o, const char *namespace,
                     const char *type, const char *reason, const char *action, const char *note)
{
    char time[CLOCK_RFC3339_SIZE];
    CLEANUP(free_ptr)
    char *name = xasprintf("%.200s.%016llx", o->name, (unsigned long long)net_random_between(0, INT64_MAX));
    CLEANUP(free_ptr) char *words = note_text(note);
    yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
    yyjson_mut_val *root = yyjson_mut_obj(doc), *metadata = yyjson_mut_obj(doc);
    yyjson_mut_doc_set_root(doc, root);
    yyjson_mut_obj_add_str(doc, root, "apiVersion", e->uses_core ? "v1" : "events.k8s.io/v1");
    yyjson_mut_obj_add_str(doc, root, "kind", "Event");
    yyjson_mut_obj_add_val(doc, root, "metadata", metadata);
    yyjson_mut_obj_add_str(doc, metadata, "name", name);
    yyjson_mut_obj_add_str(doc, metadata, "namespace", namespace);
    yyjson_mut_obj_add_str(doc, root, "eventTime", clock_format_micro(clock_wall_us(), time));
    yyjson_mut_obj_add_str(doc, root, e->uses_core ? "reportingComponent" : "reportingController", e->controller);
    yyjson_mut_obj_add_str(doc, root, "reportingInstance", e->instance);
    yyjson_mut_obj_add_str(doc, root, "action", action);
    yyjson_mut_obj_add_str(doc, root, "reason", reason);
    yyjson_mut_obj_add_str(doc, root, "type", type);
    yyjson_mut_obj_add_str(doc, root, e->uses_core ? "message" : "note", words);
    yyjson_mut_obj_add_val(doc, root, e->uses_core ? "involvedObject" : "regarding", reference(doc, o));
    char *text = yyjson_mut_write(doc, 0, NULL);
    yyjson_mut_doc_free(doc);
    return text; /* NULL when a string is not UTF-8 */
}

static void on_answer(void *ctx, const struct kube_response *response, const struct err *err)
{
    struct event_call *call = ctx;
    (void)response;
    struct kube_events *e = call->events;
    e->requests[call->slot] = NULL;
    if (err && (err->kind == ERR_DENIED || err->kind == ERR_NOTFOUND))
        e->uses_core = !e->uses_core; /* the next one tries the other API group */
    tally(e, err ? "failed" : "sent");
    bool is_denied = err && err->kind == ERR_DENIED;
    e->denials = is_denied ? e->denials + 1 : 0;
    e->is_denied = e->is_denied && err;
    if (e->denials < API_GROUPS || e->is_denied)
        return;
    e->is_denied = true;
    if (e->denied)
        e->denied(e->denied_ctx, err);
}

void kube_event_send(struct kube_events *e, const struct kube_event_object *object, const char *type,
                     const char *reason, const char *action, const char *note)
{
    /* An Event about a cluster-scoped object lives in "default". */
    const char *namespace = object->namespace && *object->namespace ? object->namespace : "default";
    size_t slot = 0;
    while (slot < IN_FLIGHT_MAX && e->requests[slot])
        slot++;
    if (slot == IN_FLIGHT_MAX || !may_send(e, object, namespace, reason, note)) {
        tally(e, "held_back");
        return;
    }
    CLEANUP(free_ptr) char *body = body_of(e, object, namespace, type, reason, action, note);
    if (!body) {
        tally(e, "failed");
        return;
    }
    CLEANUP(buf_done) struct buf path = {0};
    kube_path_add(&path, e->uses_core ? "v1" : "events.k8s.io/v1", namespace, "events", NULL);
    struct event_call *call = xcalloc(1, sizeof(*call));
    *call = (struct event_call){e, slot};
    struct kube_call request = {.what = "create event",
                                .method = "POST",
                                .path = path.data,
                                .body = body,
                                .body_length = strlen(body),
                                .deadline_ns = clock_now_ns() + DEADLINE_NS,
                                .done = on_answer,
                                .ctx = call,
                                .free_ctx = free};
    e->requests[slot] = kube_request_start(e->client, &request);
}

uint64_t kube_events_sent(const struct kube_events *e)
{
    return e->sent;
}

uint64_t kube_events_dropped(const struct kube_events *e)
{
    return e->dropped;
}

struct kube_events *kube_events_new(struct kube_client *client, const char *controller, const char *instance,
                                    struct metrics *metrics)
{
    struct kube_events *e = xcalloc(1, sizeof(*e));
    e->client = client;
    e->controller = xstrdup(controller);
    e->instance = xstrdup(instance);
    e->metrics = metrics;
    event_shares_begin(&e->shares, clock_now_ns());
    return e;
}

void kube_events_on_denied(struct kube_events *e, void (*denied)(void *ctx, const struct err *err), void *ctx)
{
    e->denied = denied;
    e->denied_ctx = ctx;
}

struct kube_events *kube_events_free(struct kube_events *e)
{
    if (!e)
        return NULL;
    for (size_t i = 0; i < IN_FLIGHT_MAX; i++)
        kube_request_cancel(e->requests[i]);
    free(e->controller);
    free(e->instance);
    free(e);
    return NULL;
}
