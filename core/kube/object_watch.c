/* The watch asks without a resourceVersion ("any"): the server sends the present object first, and no right to list is
 * needed. After the connection was lost it does the same again. */
#include "kube/object_watch.h"

#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"
#include "data/json.h"
#include "kube/path.h"
#include "kube/stream.h"
#include "kube/watch.h"
#include "net/backoff.h"
#include "net/timer.h"

#define DENIED_NS (60 * NS_PER_S)
#define ASK_DEADLINE_NS (5 * NS_PER_S)

struct object_watch {
    struct kube_client *client;
    struct object_watch_spec spec;
    char *strings[4]; /* what spec points to */
    char *what, *what_ask;
    struct kube_request *request, *ask;
    struct kube_stream stream;
    struct net_backoff backoff;
    struct net_timer *wake, *stall;
    int64_t last_bytes_ns, opened_ns; /* opened_ns 0: no answer yet */
    unsigned depth;
    bool has_told; /* the watch, since it was opened */
    bool is_denied, is_dead;
};

static void destroy(struct object_watch *w)
{
    kube_request_cancel(w->request);
    kube_request_cancel(w->ask);
    net_timer_free(w->wake);
    net_timer_free(w->stall);
    kube_stream_done(&w->stream);
    for (size_t i = 0; i < ARRAY_LEN(w->strings); i++)
        free(w->strings[i]);
    free(w->what);
    free(w->what_ask);
    free(w);
}

static void leave(struct object_watch *w)
{
    if (--w->depth == 0 && w->is_dead)
        destroy(w);
}

static void wait(struct object_watch *w, int64_t delay_ns)
{
    w->request = kube_request_cancel(w->request);
    w->ask = kube_request_cancel(w->ask);
    kube_stream_reset(&w->stream);
    net_timer_stop(w->stall);
    net_timer_start(w->wake, delay_ns);
}

static void fail(struct object_watch *w, int64_t retry_after_ns)
{
    if (w->opened_ns)
        net_backoff_lasted(&w->backoff, clock_now_ns() - w->opened_ns);
    wait(w, net_backoff_next(&w->backoff, retry_after_ns));
}

static bool on_line(void *ctx, const char *line, size_t length)
{
    struct object_watch *w = ctx;
    CLEANUP(json_doc_done) yyjson_doc *doc = NULL;
    const char *type = NULL;
    if (json_parse(line, length, w->spec.max_bytes, &doc, NULL) == 0)
        type = json_str(yyjson_doc_get_root(doc), "type");
    yyjson_val *object = json_at(yyjson_doc_get_root(doc), "object");
    bool is_bookmark = type && strcmp(type, "BOOKMARK") == 0;
    if (!type || strcmp(type, "ERROR") == 0 || (!is_bookmark && !json_str(object, "metadata", "name"))) {
        fail(w, 0);
        return false;
    }
    net_backoff_reset(&w->backoff);
    w->has_told = w->has_told || !is_bookmark;
    if (!is_bookmark)
        w->spec.changed(w->spec.ctx, strcmp(type, "DELETED") == 0 ? NULL : object);
    return !w->is_dead;
}

static bool on_line_too_long(void *ctx, const char *head, size_t length)
{
    (void)ctx;
    (void)head;
    (void)length;
    return true; /* nothing that we wrote */
}

static void on_data(void *ctx, const char *bytes, size_t length, int64_t received_ns)
{
    struct object_watch *w = ctx;
    w->last_bytes_ns = received_ns;
    w->depth++;
    kube_stream_feed(&w->stream, bytes, length);
    leave(w);
}

static void on_asked(void *ctx, const struct kube_response *response, const struct err *err)
{
    struct object_watch *w = ctx;
    (void)response;
    w->ask = NULL;
    w->depth++;
    if (err && err->kind == ERR_NOTFOUND && !w->has_told)
        w->spec.changed(w->spec.ctx, NULL);
    leave(w);
}

static void ask(struct object_watch *w)
{
    CLEANUP(buf_done) struct buf path = {0};
    kube_path_add(&path, w->spec.api_version, w->spec.namespace, w->spec.resource, w->spec.name);
    struct kube_call call = {.what = w->what_ask,
                             .path = path.data,
                             .deadline_ns = clock_now_ns() + ASK_DEADLINE_NS,
                             .max_response_bytes = w->spec.max_bytes,
                             .done = on_asked,
                             .ctx = w};
    w->ask = kube_request_start(w->client, &call);
}

static void on_opened(void *ctx)
{
    struct object_watch *w = ctx;
    w->opened_ns = clock_now_ns();
    w->is_denied = false;
    if (w->spec.asks_absence && !w->ask)
        ask(w);
}

static void on_end(void *ctx, const struct kube_response *response, const struct err *err)
{
    struct object_watch *w = ctx;
    w->request = NULL;
    bool is_denied = err && err->kind == ERR_DENIED, is_news = is_denied && !w->is_denied;
    w->is_denied = w->is_denied || is_denied;
    if (is_denied)
        wait(w, DENIED_NS);
    else
        fail(w, response->retry_after_ns);
    w->depth++;
    if (is_news)
        w->spec.denied(w->spec.ctx, err);
    leave(w);
}

static void on_stall(void *ctx)
{
    struct object_watch *w = ctx;
    int64_t silent_ns = clock_now_ns() - w->last_bytes_ns;
    if (silent_ns < KUBE_WATCH_STALL_NS) {
        net_timer_start(w->stall, KUBE_WATCH_STALL_NS - silent_ns);
    } else {
        kube_client_distrust(w->client);
        wait(w, 0);
    }
}

static void open_watch(void *ctx)
{
    struct object_watch *w = ctx;
    CLEANUP(buf_done) struct buf path = {0};
    CLEANUP(free_ptr) char *selector = xasprintf("metadata.name=%s", w->spec.name);
    char seconds[24];
    snprintf(seconds, sizeof(seconds), "%lld", (long long)net_random_between(300, 600));
    kube_path_add(&path, w->spec.api_version, w->spec.namespace, w->spec.resource, NULL);
    kube_path_add_query(&path, "watch", "1");
    kube_path_add_query(&path, "allowWatchBookmarks", "true");
    kube_path_add_query(&path, "fieldSelector", selector);
    kube_path_add_query(&path, "timeoutSeconds", seconds);
    w->opened_ns = 0;
    w->has_told = false;
    w->last_bytes_ns = clock_now_ns();
    net_timer_start(w->stall, KUBE_WATCH_STALL_NS);
    struct kube_call call = {
        .what = w->what, .path = path.data, .opened = on_opened, .data = on_data, .done = on_end, .ctx = w};
    w->request = kube_request_start(w->client, &call);
}

struct object_watch *object_watch_new(struct kube_client *client, const struct object_watch_spec *spec)
{
    struct object_watch *w = xcalloc(1, sizeof(*w));
    const char *given[] = {spec->api_version, spec->resource, spec->namespace, spec->name};
    for (size_t i = 0; i < ARRAY_LEN(given); i++)
        w->strings[i] = given[i] ? xstrdup(given[i]) : NULL;
    w->client = client;
    w->spec = *spec;
    w->spec.api_version = w->strings[0];
    w->spec.resource = w->strings[1];
    w->spec.namespace = w->strings[2];
    w->spec.name = w->strings[3];
    w->what = xasprintf("watch %s %s%s%s", spec->resource, spec->namespace ? spec->namespace : "",
                        spec->namespace ? "/" : "", spec->name);
    w->what_ask = xasprintf("get %s %s%s%s", spec->resource, spec->namespace ? spec->namespace : "",
                            spec->namespace ? "/" : "", spec->name);
    w->stream = (struct kube_stream){
        .max_line_bytes = spec->max_bytes, .line = on_line, .too_long = on_line_too_long, .ctx = w};
    w->backoff = (struct net_backoff){.base_ns = 250 * NS_PER_MS, .cap_ns = 5 * NS_PER_S};
    w->wake = net_timer_new(kube_client_loop(client), open_watch, w);
    w->stall = net_timer_new(kube_client_loop(client), on_stall, w);
    open_watch(w);
    return w;
}

struct object_watch *object_watch_free(struct object_watch *w)
{
    if (w) {
        w->is_dead = true;
        w->depth++;
        leave(w);
    }
    return NULL;
}
