/* The states of a name:
 *
 *   due ──get──► known ──a watch is free──► watched ──the watch is refused──► known, without a watch
 *    ▲             │                          │
 *    └──its time───┴──────────────────────────┘  (watched ones, too: each ten minutes, whatever their watch says)
 *
 * Each name without a running request is in the agenda, with the time at which it is to be read or forgotten. One timer
 * fires at the first of these times. When the limit of running requests is reached, an answer continues instead of the
 * timer. */
#include "store/source_named.h"

#include <stdlib.h>
#include <string.h>

#include "base/agenda.h"
#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/map.h"
#include "data/json.h"
#include "kube/object_watch.h"
#include "kube/path.h"
#include "net/backoff.h"
#include "net/timer.h"
#include "store/ask.h"

/* docs/libraries.md names these. */
#define NAMES_MAX 10000
#define WATCHES_MAX 200
#define HERE_NS (60 * NS_PER_S)
#define ABSENT_NS (10 * NS_PER_S)
#define WATCHED_NS (600 * NS_PER_S)
#define REFUSED_NS (30 * NS_PER_S)
#define KEEP_NS (60 * NS_PER_S)

#define REQUESTS_MAX 16
/* The limit of requests a second for all names that are read repeatedly. */
#define READS_PER_S 10
#define DEADLINE_NS (10 * NS_PER_S)

struct place {
    size_t names, watches;
};

struct name {
    struct agenda_entry entry; /* the first field, so that an entry can be cast to its name */
    struct source_named *source;
    char *id, *namespace, *name;
    struct place *place; /* of its namespace */
    struct kube_request *request;
    struct object_watch *watch;
    int64_t due_ns;      /* when it is to be read */
    int64_t unwanted_ns; /* since when no template asks; 0: one does */
    struct net_backoff backoff;
    bool has_room; /* within the limits */
    bool is_known, is_here;
    bool has_changed; /* since the request began */
};

struct source_named {
    struct kube_client *client;
    struct store *store;
    struct store_kind *kind; /* may be removed when this is freed */
    char *kind_name;
    size_t max_object_bytes;
    struct metrics *metrics;
    const struct source_named_ops *ops;
    void *ctx;
    struct map names;  /* id → struct name */
    struct map places; /* namespace → struct place */
    size_t roomy, watches, requests;
    int64_t failing_ns;
    struct agenda agenda;
    struct net_timer *timer;
};

static const struct store_kind_spec *spec_of(const struct source_named *s)
{
    return store_kind_spec(s->kind);
}

/* ---- limits ---- */

static struct place *place_of(struct source_named *s, const char *namespace)
{
    struct place *p = map_get(&s->places, namespace);

    if (p == NULL) {
        p = xcalloc(1, sizeof(*p));
        map_put(&s->places, namespace, p);
    }
    return p;
}

/* Room for one more: no namespace has more than what is left afterwards. */
static bool fits(size_t all, size_t own, size_t max)
{
    return all < max && own + 1 <= max - all;
}

static void take_room(struct name *n)
{
    struct source_named *s = n->source;

    if (n->has_room || !fits(s->roomy, n->place->names, NAMES_MAX))
        return;
    n->has_room = true;
    n->place->names++;
    s->roomy++;
}

static void end_watch(struct name *n)
{
    if (n->watch == NULL)
        return;
    n->watch = object_watch_free(n->watch);
    n->place->watches--;
    n->source->watches--;
}

/* ---- what is known ---- */

static void name_free(struct name *n)
{
    struct source_named *s = n->source;

    agenda_remove(&s->agenda, &n->entry);
    end_watch(n);
    if (n->request != NULL) {
        kube_request_cancel(n->request);
        s->requests--;
    }
    if (n->has_room) {
        n->place->names--;
        s->roomy--;
    }
    free(n->id);
    free(n->namespace);
    free(n->name);
    free(n);
}

static void measure(const struct source_named *s, size_t watched, size_t others)
{
    static const char help[] = "Objects that are read because something refers to them, by how they are followed.";

    if (s->metrics == NULL)
        return;
    metric_set(
        metric_gauge(s->metrics, "haptic_referenced_objects", help, "kind", s->kind_name, "followed_by", "watch"),
        (double)watched);
    metric_set(metric_gauge(s->metrics, "haptic_referenced_objects", help, "kind", s->kind_name, "followed_by", "get"),
               (double)others);
}

static void answer(const struct name *n, const char *refusal)
{
    asks_answer(store_asks(n->source->store), n->source->kind_name, n->id, refusal);
}

static bool is_same_name(const struct name *n, yyjson_val *object)
{
    const char *namespace = json_str(object, "metadata", "namespace"), *name = json_str(object, "metadata", "name");

    return namespace != NULL && name != NULL && strcmp(namespace, n->namespace) == 0 && strcmp(name, n->name) == 0;
}

/* object is NULL when it does not exist. */
static void take(struct name *n, yyjson_val *object)
{
    struct source_named *s = n->source;
    struct err err;
    bool is_good = true;

    if (object != NULL && !is_same_name(n, object))
        return;
    s->failing_ns = 0;
    net_backoff_reset(&n->backoff);
    if (object == NULL)
        store_delete(s->kind, n->namespace, n->name, NULL);
    else
        is_good = store_put_value(s->kind, object, NULL, &err) == 0;
    n->is_here = object != NULL;
    s->ops->event(s->ctx);
    s->ops->outcome(s->ctx, n->id, is_good ? NULL : &err);
    if (is_good || n->is_known) {
        n->is_known = true;
        answer(n, ""); /* an object that cannot be taken over keeps its last good version */
    } else {
        answer(n, "it cannot be taken over (it is too large, or not what it should be)");
    }
}

/* ---- what is due ---- */

static void arm(struct source_named *s)
{
    const struct name *n = (const struct name *)agenda_first(&s->agenda);

    if (n == NULL || (s->requests >= REQUESTS_MAX && n->unwanted_ns == 0)) {
        net_timer_stop(s->timer);
        return;
    }
    int64_t wait_ns = n->entry.at_ns - clock_now_ns();
    net_timer_start(s->timer, wait_ns > 0 ? wait_ns : 0);
}

/* A condition has changed that decides when the name is due. */
static void plan(struct name *n)
{
    struct source_named *s = n->source;

    if (n->unwanted_ns != 0)
        agenda_set(&s->agenda, &n->entry, n->unwanted_ns + KEEP_NS);
    else if (n->request != NULL)
        agenda_remove(&s->agenda, &n->entry);
    else
        agenda_set(&s->agenda, &n->entry, n->due_ns);
    measure(s, s->watches, s->names.count - s->watches);
    arm(s);
}

/* ---- a watch ---- */

/* Valid until the next reading. */
static int64_t interval_ns(const struct name *n)
{
    const struct source_named *s = n->source;
    int64_t base = n->watch != NULL ? WATCHED_NS : n->is_here ? HERE_NS : ABSENT_NS;
    int64_t least = (int64_t)(s->names.count - s->watches) * (NS_PER_S / READS_PER_S);

    if (n->watch == NULL && base < least)
        base = least;
    return net_random_between(base - base / 8, base + base / 8);
}

static void on_watched(void *ctx, yyjson_val *object)
{
    struct name *n = ctx;

    n->has_changed = true;
    take(n, object);
}

/* The name is read repeatedly instead, and its watch is tried again after the next reading. */
static void on_watch_denied(void *ctx, const struct err *err)
{
    struct name *n = ctx;

    (void)err;
    end_watch(n);
    n->due_ns = clock_now_ns() + interval_ns(n);
    plan(n);
}

static void begin_watch(struct name *n)
{
    struct source_named *s = n->source;
    const struct store_kind_spec *spec = spec_of(s);

    if (n->watch != NULL || n->unwanted_ns != 0 || !fits(s->watches, n->place->watches, WATCHES_MAX))
        return;
    struct object_watch_spec watch = {.api_version = spec->api_version,
                                      .resource = spec->resource,
                                      .namespace = n->namespace,
                                      .name = n->name,
                                      .max_bytes = s->max_object_bytes,
                                      .asks_absence = true,
                                      .changed = on_watched,
                                      .denied = on_watch_denied,
                                      .ctx = n};
    n->watch = object_watch_new(s->client, &watch);
    n->place->watches++;
    s->watches++;
}

/* ---- a reading ---- */

static void refused(struct name *n, const struct err *err)
{
    const struct store_kind_spec *spec = spec_of(n->source);

    n->due_ns = clock_now_ns() + net_random_between(REFUSED_NS - NS_PER_S, REFUSED_NS + NS_PER_S);
    n->source->ops->outcome(n->source->ctx, n->id, err);
    if (n->is_known)
        return; /* its last state stays */
    CLEANUP(free_ptr)
    char *refusal = xasprintf("the controller may not read it: its account needs the verbs get and watch for %s in the "
                              "namespace %s, or for this name",
                              spec->resource, n->namespace);
    answer(n, refusal);
}

static void failed(struct name *n, const struct err *err)
{
    struct source_named *s = n->source;
    int64_t now_ns = clock_now_ns();

    if (s->failing_ns == 0)
        s->failing_ns = now_ns;
    n->due_ns = now_ns + net_backoff_next(&n->backoff, 0);
    s->ops->outcome(s->ctx, n->id, err);
}

static void on_read(void *ctx, const struct kube_response *response, const struct err *err)
{
    struct name *n = ctx;
    struct source_named *s = n->source;
    CLEANUP(json_doc_done) yyjson_doc *doc = NULL;
    struct err why;

    s->requests--;
    n->request = NULL;
    if (err == NULL && json_parse(response->body, response->length, s->max_object_bytes, &doc, &why) < 0) {
        failed(n, &why);
    } else if (err == NULL || err->kind == ERR_NOTFOUND) {
        if (!n->has_changed) /* its watch has newer information */
            take(n, err == NULL ? yyjson_doc_get_root(doc) : NULL);
        begin_watch(n);
        n->due_ns = clock_now_ns() + interval_ns(n);
    } else if (response->status == 403) {
        refused(n, err);
    } else {
        failed(n, err);
    }
    plan(n);
}

static void read_now(struct name *n)
{
    struct source_named *s = n->source;
    const struct store_kind_spec *spec = spec_of(s);
    CLEANUP(buf_done) struct buf path = {0};
    CLEANUP(free_ptr) char *what = xasprintf("get %s %s", spec->resource, n->id);

    kube_path_add(&path, spec->api_version, n->namespace, spec->resource, n->name);
    struct kube_call call = {.what = what,
                             .path = path.data,
                             .deadline_ns = clock_now_ns() + DEADLINE_NS,
                             .max_response_bytes = s->max_object_bytes,
                             .done = on_read,
                             .ctx = n};
    n->has_changed = false;
    n->request = kube_request_start(s->client, &call);
    s->requests++;
    plan(n);
}

/* ---- the timer ---- */

static void forget(struct name *n)
{
    struct source_named *s = n->source;

    store_delete(s->kind, n->namespace, n->name, NULL);
    s->ops->outcome(s->ctx, n->id, NULL);
    map_del(&s->names, n->id);
    name_free(n);
}

static void on_timer(void *ctx)
{
    struct source_named *s = ctx;
    int64_t now_ns = clock_now_ns();
    struct name *n;

    while ((n = (struct name *)agenda_first(&s->agenda)) != NULL && n->entry.at_ns <= now_ns) {
        if (n->unwanted_ns != 0) {
            forget(n);
            continue;
        }
        if (s->requests >= REQUESTS_MAX)
            break;
        take_room(n);
        if (n->has_room) {
            read_now(n);
            continue;
        }
        n->due_ns = now_ns + ABSENT_NS;
        plan(n);
        answer(n, "as many objects as may be are referred to already; this one waits until others are not any more");
    }
    measure(s, s->watches, s->names.count - s->watches);
    arm(s);
}

/* ---- names that templates ask for ---- */

static bool is_label(const char *text, size_t length, size_t max, bool has_dots)
{
    if (length == 0 || length > max)
        return false;
    for (size_t i = 0; i < length; i++) {
        char c = text[i];
        bool is_inner = i > 0 && i < length - 1;
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (is_inner && (c == '-' || (has_dots && c == '.')))))
            return false;
    }
    return true;
}

/* Names become parts of URLs and selectors: a text that is no name has no object. */
static const char *slash_of(const char *id)
{
    const char *slash = strchr(id, '/');

    return slash != NULL && is_label(id, (size_t)(slash - id), 63, false) &&
                   is_label(slash + 1, strlen(slash + 1), 253, true)
               ? slash
               : NULL;
}

static bool is_in_namespaces(const struct source_named *s, const char *namespace)
{
    const char *const *list = spec_of(s)->namespaces;

    for (; list != NULL && *list != NULL; list++)
        if (strcmp(*list, namespace) == 0)
            return true;
    return spec_of(s)->namespaces == NULL;
}

static void on_ask(void *ctx, const char *kind, const char *id, bool is_asked)
{
    struct source_named *s = ctx;
    struct name *n = map_get(&s->names, id);

    if (!is_asked) {
        if (n != NULL) {
            n->unwanted_ns = clock_now_ns();
            plan(n);
        }
        return;
    }
    if (n != NULL) {
        n->unwanted_ns = 0;
        if (n->is_known)
            answer(n, "");
        else
            n->due_ns = 0;
        plan(n);
        return;
    }
    const char *slash = slash_of(id);
    CLEANUP(free_ptr) char *namespace = slash != NULL ? xmemdup0(id, (size_t)(slash - id)) : NULL;
    if (namespace == NULL) {
        asks_answer(store_asks(s->store), kind, id, "");
        return;
    }
    if (!is_in_namespaces(s, namespace)) {
        asks_answer(store_asks(s->store), kind, id,
                    "its namespace is not among those that the controller watches for this kind");
        return;
    }
    n = xcalloc(1, sizeof(*n));
    n->source = s;
    n->id = xstrdup(id);
    n->namespace = xstrdup(namespace);
    n->name = xstrdup(slash + 1);
    n->place = place_of(s, namespace);
    n->backoff = (struct net_backoff){.base_ns = NS_PER_S, .cap_ns = HERE_NS};
    map_put(&s->names, id, n);
    plan(n);
}

/* ---- life ---- */

struct source_named *source_named_new(struct kube_client *client, struct store *store, struct store_kind *kind,
                                      size_t max_object_bytes, struct metrics *metrics,
                                      const struct source_named_ops *ops, void *ctx)
{
    struct source_named *s = xcalloc(1, sizeof(*s));

    s->client = client;
    s->store = store;
    s->kind = kind;
    s->kind_name = xstrdup(store_kind_spec(kind)->name);
    s->max_object_bytes = max_object_bytes;
    s->metrics = metrics;
    s->ops = ops;
    s->ctx = ctx;
    map_init(&s->names, false);
    map_init(&s->places, false);
    s->timer = net_timer_new(kube_client_loop(client), on_timer, s);
    if (!store_kind_is_synced(kind)) {
        store_replace_begin(kind);
        store_replace_commit(kind);
    }
    asks_serve(store_asks(store), s->kind_name, on_ask, s);
    return s;
}

struct source_named *source_named_free(struct source_named *s)
{
    struct map_slot *slot;

    if (s == NULL)
        return NULL;
    asks_serve(store_asks(s->store), s->kind_name, NULL, NULL);
    measure(s, 0, 0);
    for (size_t it = 0; (slot = map_next(&s->names, &it));)
        name_free(slot->value);
    for (size_t it = 0; (slot = map_next(&s->places, &it));)
        free(slot->value);
    map_done(&s->names);
    map_done(&s->places);
    agenda_done(&s->agenda);
    net_timer_free(s->timer);
    free(s->kind_name);
    free(s);
    return NULL;
}

int64_t source_named_failing_ns(const struct source_named *s)
{
    return s->failing_ns;
}

size_t source_named_count(const struct source_named *s)
{
    return s->names.count;
}
