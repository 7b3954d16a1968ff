/* A state machine in which exactly one thing is under way: a lookup, a list in pages, a stream, or a wait. Every way
 * to stop it goes through stop(), every failure through fail(), which stops, tells, and waits. Callbacks may free the
 * watch: what is entered from the loop counts its depth, and the outermost leave() does the freeing.
 *
 * The resourceVersion to go on from is that of the last event, whatever its type; it is only ever handed back to the
 * server. Events of one object are applied in the order in which they come, so repeated ones do no harm: the last one
 * wins.
 */
#include "kube/watch.h"

#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"
#include "data/json.h"
#include "kube/backoff.h"
#include "kube/path.h"
#include "kube/status.h"
#include "kube/stream.h"
#include "kube/timer.h"
#include "kube/watch_line.h"

#define STALL_LIST_NS (30 * NS_PER_S) /* a streamed list has no reason to pause */
#define ABSENT_BASE_NS (5 * NS_PER_S)
#define ABSENT_CAP_NS (30 * NS_PER_S)
#define UNREACHABLE_CAP_NS (3 * NS_PER_S)
#define SHORT_NS NS_PER_S
#define GONE_CALM_NS (5 * NS_PER_S) /* 410 more often than this is a failure */
#define EVENT_OVERHEAD 64           /* {"type":"MODIFIED","object":} */
#define STREAM_LIST_TRIES 2

enum state { IDLE, LOOKUP, PAGES, STREAM_LIST, WATCH, SLEEP };

struct kube_watch {
    struct kube_client *client;
    struct kube_discovery *discovery;
    const struct kube_watch_ops *ops;
    void *ctx;
    struct kube_selection selection;
    char *strings[5]; /* what selection points to */
    char *label;      /* "ingresses.networking.k8s.io in ns" */
    int64_t stall_ns;

    enum state state;
    struct kube_lookup *lookup;
    struct kube_pager *pager;
    struct kube_request *request;
    struct kube_stream stream;
    struct kube_timer *wake, *stall;
    struct kube_backoff backoff, absent_backoff;
    char *resource_version; /* NULL: a list comes first */
    int64_t opened_ns, last_bytes_ns, gone_ns;
    uint64_t events; /* on this connection */
    int64_t received_ns;

    bool is_list_open, has_failed;
    bool may_have_objects; /* told of any since the last complete list that was empty */
    bool is_empty_confirmed, is_absent, is_absence_confirmed;
    size_t listed;
    bool no_streaming_list;
    unsigned streaming_failures;

    unsigned depth;
    bool is_dead;
};

static void begin_list(struct kube_watch *w);
static void open_stream(struct kube_watch *w, bool is_list);
static void destroy(struct kube_watch *w);

static void enter(struct kube_watch *w)
{
    w->depth++;
}

static void leave(struct kube_watch *w)
{
    if (--w->depth == 0 && w->is_dead)
        destroy(w);
}

/* Nothing is under way afterwards. */
static void stop(struct kube_watch *w)
{
    w->lookup = kube_lookup_cancel(w->lookup);
    w->pager = kube_pager_cancel(w->pager);
    w->request = kube_request_cancel(w->request);
    kube_stream_reset(&w->stream);
    kube_timer_stop(w->stall);
    kube_timer_stop(w->wake);
    w->state = IDLE;
    if (w->is_list_open) {
        w->is_list_open = false;
        w->ops->list_end(w->ctx, false);
    }
}

static void sleep_for(struct kube_watch *w, int64_t delay_ns)
{
    w->state = SLEEP;
    kube_timer_start(w->wake, delay_ns);
}

static void tell_restart(struct kube_watch *w, const char *reason)
{
    if (w->ops->restart && !w->is_dead)
        w->ops->restart(w->ctx, reason);
}

static void forget_version(struct kube_watch *w)
{
    free(w->resource_version);
    w->resource_version = NULL;
}

static void tell_recovered(struct kube_watch *w)
{
    bool had_failed = w->has_failed;
    w->has_failed = false;
    if (had_failed && w->ops->recovered)
        w->ops->recovered(w->ctx);
}

static void fail(struct kube_watch *w, const struct err *err, const char *reason, int64_t retry_after_ns)
{
    struct err copy = *err; /* stop() may free what it lives in */
    stop(w);
    if (w->is_dead)
        return;
    /* Nobody's rights change within a second; and a refused request costs the server as much as a granted one. */
    int64_t least = copy.kind == ERR_DENIED ? 5 * NS_PER_S : 0;
    int64_t delay = kube_backoff_next(&w->backoff, retry_after_ns > least ? retry_after_ns : least);
    /* A connection that does not come about costs the server nothing; when it is back, so are we. */
    if (copy.sys && delay > UNREACHABLE_CAP_NS)
        delay = kube_random_between(UNREACHABLE_CAP_NS / 2, UNREACHABLE_CAP_NS);
    sleep_for(w, delay);
    w->has_failed = true;
    w->ops->error(w->ctx, &copy, reason, delay);
}

/* ---- lists ---- */

static void list_begin(void *ctx)
{
    struct kube_watch *w = ctx;
    enter(w);
    w->is_list_open = true;
    w->listed = 0;
    w->ops->list_begin(w->ctx);
    leave(w);
}

/* The list is whole; go on from resource_version with the connection that is open or a new one. */
static void list_complete(struct kube_watch *w, const char *resource_version)
{
    struct err err;
    if (w->listed == 0 && w->may_have_objects && !w->is_empty_confirmed) {
        w->is_empty_confirmed = true;
        err_set(&err, ERR_IO, "list %s: no objects, where there were some: asking again before this is believed",
                w->label);
        forget_version(w);
        fail(w, &err, "empty-list", 0);
        return;
    }
    w->is_empty_confirmed = w->is_absent = w->is_absence_confirmed = false;
    w->may_have_objects = w->listed > 0;
    char *version = xstrdup(resource_version);
    forget_version(w);
    w->resource_version = version;
    w->streaming_failures = 0;
    kube_backoff_reset(&w->absent_backoff);
    w->is_list_open = false;
    w->ops->list_end(w->ctx, true);
    if (!w->is_dead)
        tell_recovered(w);
}

static void on_page_object(void *ctx, yyjson_val *object, const char *namespace, const char *name, int64_t received_ns)
{
    struct kube_watch *w = ctx;
    struct kube_watch_event e = {
        .type = KUBE_LISTED, .object = object, .namespace = namespace, .name = name, .received_ns = received_ns};
    enter(w);
    w->listed++;
    w->ops->put(w->ctx, &e);
    leave(w);
}

static void tell_unreadable(struct kube_watch *w, const char *namespace, const char *name)
{
    struct err err;
    err_set(&err, ERR_LIMIT,
            "%s %s%s%s: the object is larger than the limit of %zu bytes; its last readable version stays in use",
            w->label, namespace, namespace[0] ? "/" : "", name[0] ? name : "(name not known)",
            w->selection.max_object_bytes);
    w->listed++; /* it is there */
    w->ops->unreadable(w->ctx, namespace, name, &err);
}

static void on_pages_complete(void *ctx, const char *resource_version)
{
    struct kube_watch *w = ctx;
    enter(w);
    w->pager = NULL;
    list_complete(w, resource_version);
    if (!w->is_dead && w->state == PAGES)
        open_stream(w, false);
    leave(w);
}

static void on_pages_failed(void *ctx, const struct err *err, int64_t retry_after_ns)
{
    struct kube_watch *w = ctx;
    enter(w);
    w->pager = NULL;
    if (err->kind == ERR_NOTFOUND)
        kube_discovery_forget(w->discovery, w->selection.api_version);
    fail(w, err, "list", retry_after_ns);
    leave(w);
}

static const struct kube_pager_ops pager_ops = {
    .begin = list_begin, .object = on_page_object, .complete = on_pages_complete, .failed = on_pages_failed};

static void begin_list(struct kube_watch *w)
{
    /* A list that must be believed is asked for in the plainest way. */
    if (!w->no_streaming_list && w->streaming_failures < STREAM_LIST_TRIES && !w->is_empty_confirmed) {
        list_begin(w);
        if (!w->is_dead)
            open_stream(w, true);
        return;
    }
    w->streaming_failures = 0;
    w->state = PAGES;
    w->pager = kube_pager_start(w->client, &w->selection, &pager_ops, w);
}

/* ---- streams ---- */

/* The server or what is before it ended the watch with an error, as an answer or as an event. */
static void stream_failed(struct kube_watch *w, const struct err *err, int64_t retry_after_ns)
{
    bool is_list = w->state == STREAM_LIST;
    if (is_list && err->kind == ERR_INVALID) {
        /* It does not know sendInitialEvents, or has it switched off. */
        w->no_streaming_list = true;
        stop(w);
        if (!w->is_dead)
            begin_list(w);
        return;
    }
    if (is_list && err->kind == ERR_DENIED) {
        /* May not watch. Who may not list either is told that first: it is the verb that everybody knows. */
        w->streaming_failures = STREAM_LIST_TRIES;
        stop(w);
        if (!w->is_dead)
            begin_list(w);
        return;
    }
    if (is_list)
        w->streaming_failures++;
    if (err->kind == ERR_NOTFOUND) {
        kube_discovery_forget(w->discovery, w->selection.api_version);
        forget_version(w);
    }
    if (err->kind == ERR_GONE) {
        int64_t now = clock_now_ns();
        bool is_calm = !is_list && (w->gone_ns == 0 || now - w->gone_ns > GONE_CALM_NS);
        w->gone_ns = now;
        forget_version(w);
        if (is_calm) {
            /* Quite normal after a compaction or a restart of the server: no error, a list. */
            stop(w);
            kube_backoff_reset(&w->backoff);
            if (!w->is_dead)
                tell_restart(w, "gone");
            if (!w->is_dead)
                begin_list(w);
            return;
        }
        tell_restart(w, "gone");
    } else {
        tell_restart(w, "error");
    }
    if (!w->is_dead)
        fail(w, err, is_list ? "list" : "watch", retry_after_ns);
}

static void on_stream_done(void *ctx, const struct kube_response *response, const struct err *err)
{
    struct kube_watch *w = ctx;
    struct err cut;
    enter(w);
    w->request = NULL;
    bool is_list = w->state == STREAM_LIST;
    bool is_short = clock_now_ns() - w->opened_ns < SHORT_NS && w->events == 0;
    if (!err && (is_list || is_short)) {
        err_set(&cut, ERR_IO, "%s %s: the server ended the watch %s", is_list ? "list" : "watch", w->label,
                is_list ? "before the list was complete" : "at once");
        err = &cut;
    }
    if (err) {
        stream_failed(w, err, response->retry_after_ns);
    } else {
        kube_stream_reset(&w->stream);
        tell_restart(w, "closed");
        if (!w->is_dead)
            open_stream(w, false);
    }
    leave(w);
}

static void set_version(struct kube_watch *w, const char *version)
{
    if (!version || !*version || (w->resource_version && strcmp(w->resource_version, version) == 0))
        return;
    char *copy = xstrdup(version);
    forget_version(w);
    w->resource_version = copy;
}

/* In a list that is streamed, only its end may be a bookmark. */
static bool take_bookmark(struct kube_watch *w, const struct watch_line *line)
{
    struct err err;
    w->events++;
    if (w->state == WATCH) {
        set_version(w, line->version);
    } else if (line->kind == LINE_LIST_END) {
        w->state = WATCH;
        list_complete(w, line->version);
    } else {
        err_set(&err, ERR_INVALID, "list %s: the server does not stream lists", w->label);
        stream_failed(w, &err, 0);
    }
    if (!w->is_dead && w->state == WATCH)
        tell_recovered(w);
    return !w->is_dead && w->state == WATCH;
}

static bool take_object(struct kube_watch *w, struct watch_line *line)
{
    w->events++;
    line->event.received_ns = w->received_ns;
    if (w->state == WATCH) {
        kube_backoff_reset(&w->backoff);
        tell_recovered(w);
        if (w->is_dead || w->state != WATCH)
            return false;
        set_version(w, line->version);
    }
    if (line->event.type == KUBE_DELETED) {
        w->ops->del(w->ctx, &line->event);
    } else {
        w->may_have_objects = w->may_have_objects || w->state == WATCH;
        w->listed++;
        w->ops->put(w->ctx, &line->event);
    }
    return !w->is_dead && (w->state == WATCH || w->state == STREAM_LIST);
}

/* Does the stream go on? */
static bool take_line(struct kube_watch *w, yyjson_val *root)
{
    const char *what = w->state == STREAM_LIST ? "list" : "watch";
    struct watch_line line;
    struct err err;
    watch_line_read(root, w->state == STREAM_LIST, &line);
    if (line.kind == LINE_OBJECT)
        return take_object(w, &line);
    if (line.kind == LINE_BOOKMARK || line.kind == LINE_LIST_END)
        return take_bookmark(w, &line);
    if (line.kind == LINE_ERROR) {
        CLEANUP(free_ptr) char *tried = xasprintf("%s %s", what, w->label);
        kube_status_value_err(&err, tried, line.event.object);
    } else {
        w->events++;
        err_set(&err, ERR_IO, "%s %s: an event without type or object: the connection is not understood", what,
                w->label);
    }
    stream_failed(w, &err, 0);
    return false;
}

static bool on_line(void *ctx, const char *line, size_t length)
{
    struct kube_watch *w = ctx;
    CLEANUP(json_doc_done) yyjson_doc *doc = NULL;
    struct err err;
    if (json_parse(line, length, w->stream.max_line_bytes, &doc, &err) < 0) {
        err_wrap(&err, "watch %s", w->label);
        err.kind = ERR_IO; /* what the server sends is no input of ours: another connection may do better */
        stream_failed(w, &err, 0);
        return false;
    }
    return take_line(w, yyjson_doc_get_root(doc));
}

static bool on_line_too_long(void *ctx, const char *head, size_t length)
{
    struct kube_watch *w = ctx;
    struct kube_stream_name name;
    enum state before = w->state;
    kube_stream_find_name(head, length, &name);
    w->events++;
    tell_unreadable(w, name.namespace, name.name);
    return !w->is_dead && w->state == before;
}

static void on_data(void *ctx, const char *bytes, size_t length, int64_t received_ns)
{
    struct kube_watch *w = ctx;
    enter(w);
    w->last_bytes_ns = w->received_ns = received_ns;
    kube_stream_feed(&w->stream, bytes, length);
    leave(w);
}

static int64_t stall_bound(const struct kube_watch *w)
{
    return w->state == STREAM_LIST && w->stall_ns > STALL_LIST_NS ? STALL_LIST_NS : w->stall_ns;
}

static void on_stall_timer(void *ctx)
{
    struct kube_watch *w = ctx;
    struct err err;
    int64_t silent_ns = clock_now_ns() - w->last_bytes_ns;
    if (silent_ns < stall_bound(w)) {
        kube_timer_start(w->stall, stall_bound(w) - silent_ns);
        return;
    }
    enter(w);
    bool is_list = w->state == STREAM_LIST;
    if (is_list)
        w->streaming_failures++;
    kube_client_distrust(w->client);
    char silent[DURATION_SIZE];
    err_set(&err, ERR_TIMEOUT, "%s %s: timeout: the connection was silent for %s", is_list ? "list" : "watch", w->label,
            duration_format(silent_ns / NS_PER_S * NS_PER_S, silent));
    tell_restart(w, "stall");
    if (!w->is_dead)
        fail(w, &err, "stall", 0);
    leave(w);
}

static void open_stream(struct kube_watch *w, bool is_list)
{
    CLEANUP(buf_done) struct buf path = {0};
    CLEANUP(free_ptr) char *what = xasprintf("watch %s", w->label);
    char seconds[24];
    /* The server ends the watch then; spread, so that not all watches of all replicas come back together. */
    snprintf(seconds, sizeof(seconds), "%lld", (long long)kube_random_between(300, 600));
    kube_selection_add_path(&path, &w->selection);
    kube_path_add_query(&path, "watch", "1");
    kube_path_add_query(&path, "allowWatchBookmarks", "true");
    kube_path_add_query(&path, "timeoutSeconds", seconds);
    if (is_list) {
        kube_path_add_query(&path, "sendInitialEvents", "true");
        kube_path_add_query(&path, "resourceVersionMatch", "NotOlderThan");
    } else {
        kube_path_add_query(&path, "resourceVersion", w->resource_version);
    }
    w->state = is_list ? STREAM_LIST : WATCH;
    w->events = 0;
    w->opened_ns = w->last_bytes_ns = clock_now_ns();
    kube_stream_reset(&w->stream);
    kube_timer_start(w->stall, stall_bound(w));
    struct kube_call call = {.what = what, .path = path.data, .data = on_data, .done = on_stream_done, .ctx = w};
    w->request = kube_request_start(w->client, &call);
}

/* ---- what there is ---- */

static void on_absent(struct kube_watch *w)
{
    struct err err;
    forget_version(w);
    bool is_doubted = w->may_have_objects && !w->is_absence_confirmed;
    bool is_news = !w->is_absent && !is_doubted;
    err_set(&err, ERR_NOTFOUND, "%s in %s is not served (is its CRD installed?)%s", w->selection.resource,
            w->selection.api_version, is_doubted ? "; its objects are kept until this is sure" : "");
    w->is_absence_confirmed = true;
    int64_t delay = kube_backoff_next(&w->absent_backoff, ABSENT_BASE_NS);
    sleep_for(w, delay);
    if (is_news) {
        w->is_absent = true;
        w->may_have_objects = false;
        w->ops->list_begin(w->ctx);
        if (!w->is_dead)
            w->ops->list_end(w->ctx, true);
    }
    if (!w->is_dead && (is_news || is_doubted))
        w->ops->error(w->ctx, &err, "absent", delay);
}

static void on_found(void *ctx, const struct kube_resource *resource, const struct err *err)
{
    struct kube_watch *w = ctx;
    struct err unfit;
    enter(w);
    w->lookup = NULL;
    if (!err && !resource->is_served) {
        on_absent(w);
    } else if (!err && (!resource->can_list || !resource->can_watch)) {
        err_set(&unfit, ERR_INVALID, "%s: the API server cannot %s this resource", w->label,
                resource->can_list ? "watch" : "list");
        fail(w, &unfit, "discovery", ABSENT_CAP_NS);
    } else if (err && err->kind != ERR_DENIED) {
        fail(w, err, "discovery", 0);
    } else {
        /* Who may not discover may still be allowed to list: the list will say. */
        if (resource && !resource->is_namespaced)
            w->selection.namespace = NULL;
        if (resource && w->ops->found)
            w->ops->found(w->ctx, resource);
        if (!w->is_dead)
            begin_list(w);
    }
    leave(w);
}

static void look_up(struct kube_watch *w)
{
    w->state = LOOKUP;
    w->lookup = kube_discovery_find(w->discovery, w->selection.api_version, w->selection.resource, on_found, w);
}

static void on_wake(void *ctx)
{
    struct kube_watch *w = ctx;
    enter(w);
    if (w->resource_version)
        open_stream(w, false);
    else
        look_up(w);
    leave(w);
}

/* ---- */

int kube_watch_new(struct kube_client *client, struct kube_discovery *discovery, const struct kube_watch_spec *spec,
                   const struct kube_watch_ops *ops, void *ctx, struct kube_watch **ret_watch, struct err *err)
{
    const struct kube_selection *s = &spec->selection;
    const char *given[] = {s->api_version, s->resource, s->namespace, s->label_selector, s->field_selector};
    if (kube_path_check(s->api_version, s->resource, err) < 0)
        return -1;
    struct kube_watch *w = xcalloc(1, sizeof(*w));
    for (size_t i = 0; i < ARRAY_LEN(given); i++)
        w->strings[i] = given[i] ? xstrdup(given[i]) : NULL;
    w->selection = (struct kube_selection){w->strings[0], w->strings[1], w->strings[2],
                                           w->strings[3], w->strings[4], s->max_object_bytes};
    w->label = kube_selection_label(s);
    w->client = client;
    w->discovery = discovery;
    w->ops = ops;
    w->ctx = ctx;
    w->no_streaming_list = spec->no_streaming_list;
    w->stall_ns = spec->stall_ns ? spec->stall_ns : KUBE_WATCH_STALL_NS;
    w->backoff = (struct kube_backoff){.base_ns = spec->backoff_base_ns ? spec->backoff_base_ns : 250 * NS_PER_MS,
                                       .cap_ns = spec->backoff_cap_ns ? spec->backoff_cap_ns : 15 * NS_PER_S};
    w->absent_backoff = (struct kube_backoff){.base_ns = ABSENT_BASE_NS, .cap_ns = ABSENT_CAP_NS};
    w->stream = (struct kube_stream){.max_line_bytes = s->max_object_bytes + EVENT_OVERHEAD,
                                     .line = on_line,
                                     .too_long = on_line_too_long,
                                     .ctx = w};
    w->wake = kube_timer_new(kube_client_loop(client), on_wake, w);
    w->stall = kube_timer_new(kube_client_loop(client), on_stall_timer, w);
    sleep_for(w, 0);
    *ret_watch = w;
    return 0;
}

static void destroy(struct kube_watch *w)
{
    w->lookup = kube_lookup_cancel(w->lookup);
    w->pager = kube_pager_cancel(w->pager);
    w->request = kube_request_cancel(w->request);
    kube_timer_free(w->wake);
    kube_timer_free(w->stall);
    kube_stream_done(&w->stream);
    for (size_t i = 0; i < ARRAY_LEN(w->strings); i++)
        free(w->strings[i]);
    free(w->label);
    free(w->resource_version);
    free(w);
}

struct kube_watch *kube_watch_free(struct kube_watch *w)
{
    if (w) {
        w->is_dead = true;
        enter(w);
        leave(w);
    }
    return NULL;
}
