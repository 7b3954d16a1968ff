/* A want is an object that is asked for and whose text is not stored. One timer goes through all wants: it answers
 * those whose text has come, by the watch or by a request, and requests those that are due. */
#include "store/source_fetch.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/map.h"
#include "data/json.h"
#include "kube/path.h"
#include "net/backoff.h"
#include "net/timer.h"
#include "store/ask.h"

#define DEADLINE_NS (10 * NS_PER_S)
#define REFUSED_NS (30 * NS_PER_S)
#define TICK_NS (NS_PER_S / 4)

struct want {
    struct source_fetch *fetch;
    char *id, *namespace, *name;
    struct kube_request *request;
    int64_t due_ns;
    struct net_backoff backoff;
};

struct source_fetch {
    struct kube_client *client;
    struct store *store;
    struct store_kind *kind; /* may be removed when this is freed */
    char *kind_name;
    size_t max_object_bytes;
    struct metrics *metrics;
    source_fetch_outcome *outcome;
    void *ctx;
    struct map wants; /* id → struct want */
    size_t requests;
    struct net_timer *tick;
};

static void want_free(struct want *w)
{
    if (w->request != NULL) {
        kube_request_cancel(w->request);
        w->fetch->requests--;
    }
    free(w->id);
    free(w->namespace);
    free(w->name);
    free(w);
}

static void count(const struct source_fetch *f, const char *result)
{
    if (f->metrics != NULL)
        metric_add(metric_counter(f->metrics, "haptic_object_fetches_total",
                                  "Objects that were read because a template needs them.", "kind", f->kind_name,
                                  "result", result),
                   1);
}

static void answer(struct source_fetch *f, const char *id, const char *refusal)
{
    asks_answer(store_asks(f->store), f->kind_name, id, refusal);
}

/* The text is stored, or the object does not exist. */
static bool is_known(const struct source_fetch *f, const char *id)
{
    const struct object *o = store_get(f->kind, id);

    return o != NULL ? o->text_length > 0 : store_kind_is_synced(f->kind);
}

/* The want is answered and removed. */
static void settle(struct want *w)
{
    struct source_fetch *f = w->fetch;

    (void)map_del(&f->wants, w->id);
    f->outcome(f->ctx, w->id, NULL);
    answer(f, w->id, "");
    want_free(w);
}

static bool is_same(const struct want *w, yyjson_val *object)
{
    const char *namespace = json_str(object, "metadata", "namespace"), *name = json_str(object, "metadata", "name");

    return name != NULL && strcmp(name, w->name) == 0 && strcmp(namespace ? namespace : "", w->namespace) == 0;
}

/* It is tried again. When refusal is NULL, the asking templates continue to wait. */
static void fail(struct want *w, const struct err *err, const char *refusal, int64_t delay_ns)
{
    struct source_fetch *f = w->fetch;

    count(f, refusal != NULL ? "refused" : "failed");
    w->due_ns = clock_now_ns() + delay_ns;
    f->outcome(f->ctx, w->id, err);
    if (refusal != NULL)
        answer(f, w->id, refusal);
}

static void take(struct want *w, yyjson_val *object)
{
    struct err err;

    if (!is_same(w, object)) {
        err_set(&err, ERR_IO, "get %s %s: the answer is another object", store_kind_spec(w->fetch->kind)->resource,
                w->id);
        fail(w, &err, NULL, net_backoff_next(&w->backoff, 0));
    } else if (store_put_value(w->fetch->kind, object, NULL, &err) < 0) {
        fail(w, &err, "it cannot be taken over (it is too large, or not what it should be)",
             net_random_between(REFUSED_NS - NS_PER_S, REFUSED_NS + NS_PER_S));
    } else {
        count(w->fetch, "taken");
        if (is_known(w->fetch, w->id))
            settle(w);
        else
            w->due_ns = clock_now_ns() + NS_PER_S; /* the running list contains the object */
    }
}

static void gone(struct want *w)
{
    struct source_fetch *f = w->fetch;

    count(f, "absent");
    store_delete(f->kind, w->namespace, w->name, NULL);
    settle(w);
}

static void refused(struct want *w, const struct err *err)
{
    const struct store_kind_spec *spec = store_kind_spec(w->fetch->kind);
    CLEANUP(free_ptr)
    char *refusal = xasprintf("the controller may not read it: its account needs the verb get for %s%s%s",
                              spec->resource, *w->namespace ? " in the namespace " : "", w->namespace);

    fail(w, err, refusal, net_random_between(REFUSED_NS - NS_PER_S, REFUSED_NS + NS_PER_S));
}

static void on_read(void *ctx, const struct kube_response *response, const struct err *err)
{
    struct want *w = ctx;
    struct source_fetch *f = w->fetch;
    CLEANUP(json_doc_done) yyjson_doc *doc = NULL;
    struct err why;

    f->requests--;
    w->request = NULL;
    net_timer_start(f->tick, 0);
    if (is_known(f, w->id))
        settle(w); /* the watch was faster */
    else if (err == NULL && json_parse(response->body, response->length, f->max_object_bytes, &doc, &why) < 0)
        fail(w, &why, NULL, net_backoff_next(&w->backoff, 0));
    else if (err == NULL)
        take(w, yyjson_doc_get_root(doc));
    else if (err->kind == ERR_NOTFOUND)
        gone(w);
    else if (response->status == 403)
        refused(w, err);
    else
        fail(w, err, NULL, net_backoff_next(&w->backoff, response->retry_after_ns));
}

static void read_now(struct want *w)
{
    struct source_fetch *f = w->fetch;
    const struct store_kind_spec *spec = store_kind_spec(f->kind);
    CLEANUP(buf_done) struct buf path = {0};
    CLEANUP(free_ptr) char *what = xasprintf("get %s %s", spec->resource, w->id);

    kube_path_add(&path, spec->api_version, *w->namespace ? w->namespace : NULL, spec->resource, w->name);
    struct kube_call call = {.what = what,
                             .path = path.data,
                             .deadline_ns = clock_now_ns() + DEADLINE_NS,
                             .max_response_bytes = f->max_object_bytes,
                             .done = on_read,
                             .ctx = w};
    w->request = kube_request_start(f->client, &call);
    f->requests++;
}

static void tick(void *ctx)
{
    struct source_fetch *f = ctx;
    int64_t now_ns = clock_now_ns(), next_ns = INT64_MAX;
    struct map_slot *slot;

    for (size_t it = 0; (slot = map_next(&f->wants, &it));) {
        struct want *w = slot->value;
        if (w->request != NULL)
            continue;
        if (is_known(f, w->id)) {
            settle(w);
            it = 0; /* an answer may cause further questions */
            continue;
        }
        if (w->due_ns <= now_ns && f->requests < SOURCE_FETCHES_MAX && store_get(f->kind, w->id) != NULL)
            read_now(w);
        else if (w->due_ns < next_ns)
            next_ns = w->due_ns;
    }
    if (next_ns < INT64_MAX)
        net_timer_start(f->tick, next_ns - now_ns > TICK_NS ? TICK_NS : next_ns > now_ns ? next_ns - now_ns : TICK_NS);
}

static void on_ask(void *ctx, const char *kind, const char *id, bool is_asked)
{
    struct source_fetch *f = ctx;
    struct want *w = map_get(&f->wants, id);
    const char *slash = strchr(id, '/');

    (void)kind;
    if (!is_asked) {
        if (w != NULL) {
            (void)map_del(&f->wants, id);
            f->outcome(f->ctx, id, NULL);
            want_free(w);
        }
        store_drop_text(f->kind, id);
        return;
    }
    if (is_known(f, id)) {
        answer(f, id, "");
        return;
    }
    if (w != NULL)
        return;
    w = xcalloc(1, sizeof(*w));
    *w = (struct want){.fetch = f,
                       .id = xstrdup(id),
                       .namespace = xmemdup0(id, slash != NULL ? (size_t)(slash - id) : 0),
                       .name = xstrdup(slash != NULL ? slash + 1 : id),
                       .backoff = {.base_ns = 250 * NS_PER_MS, .cap_ns = 15 * NS_PER_S}};
    map_put(&f->wants, id, w);
    net_timer_start(f->tick, 0);
}

struct source_fetch *source_fetch_new(struct kube_client *client, struct store *store, struct store_kind *kind,
                                      size_t max_object_bytes, struct metrics *metrics, source_fetch_outcome *outcome,
                                      void *ctx)
{
    struct source_fetch *f = xcalloc(1, sizeof(*f));

    *f = (struct source_fetch){.client = client,
                               .store = store,
                               .kind = kind,
                               .kind_name = xstrdup(store_kind_spec(kind)->name),
                               .max_object_bytes = max_object_bytes,
                               .metrics = metrics,
                               .outcome = outcome,
                               .ctx = ctx};
    map_init(&f->wants, false);
    f->tick = net_timer_new(kube_client_loop(client), tick, f);
    asks_serve(store_asks(store), f->kind_name, on_ask, f);
    return f;
}

struct source_fetch *source_fetch_free(struct source_fetch *f)
{
    struct map_slot *slot;

    if (f == NULL)
        return NULL;
    asks_serve(store_asks(f->store), f->kind_name, NULL, NULL);
    for (size_t it = 0; (slot = map_next(&f->wants, &it));)
        want_free(slot->value);
    map_done(&f->wants);
    net_timer_free(f->tick);
    free(f->kind_name);
    free(f);
    return NULL;
}
