/* One connection: lines of JSON, each an event, a bookmark or an error. A streamed list is the same connection, whose
 * first events are the list, up to the bookmark that ends it. Nothing is read from it after it has failed: on_line()
 * says so to the stream, which may be the one that called.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "data/json.h"
#include "kube/path.h"
#include "kube/status.h"
#include "kube/watch_line.h"
#include "kube/watch_state.h"

#define STALL_LIST_NS (30 * NS_PER_S)   /* a streamed list has no reason to pause */
#define LIST_OBJECT_NS (10 * NS_PER_MS) /* and gets this much more for each object that it brought */
#define SHORT_NS NS_PER_S
#define GONE_CALM_NS (5 * NS_PER_S) /* 410 more often than this is a failure */
#define EVENT_OVERHEAD 64           /* {"type":"MODIFIED","object":} */

/* The server or what is before it ended the watch with an error, as an answer or as an event. */
static void stream_failed(struct kube_watch *w, const struct err *err, int64_t retry_after_ns)
{
    bool is_list = w->state == STREAM_LIST;
    if (is_list && (err->kind == ERR_INVALID || err->kind == ERR_DENIED)) {
        /* It does not know sendInitialEvents, or has it switched off. Or we may not watch: who may not list either is
         * told that first, it is the verb that everybody knows. */
        if (err->kind == ERR_INVALID)
            w->no_streaming_list = true;
        else
            w->streaming_failures = KUBE_WATCH_STREAM_LIST_TRIES;
        kube_watch_stop(w);
        if (!w->is_dead)
            kube_watch_list_again(w);
        return;
    }
    if (is_list)
        w->streaming_failures++;
    if (err->kind == ERR_NOTFOUND) {
        kube_discovery_forget(w->discovery, w->selection.api_version);
        kube_watch_forget_version(w);
    }
    if (err->kind == ERR_GONE) {
        int64_t now = clock_now_ns();
        bool is_calm = !is_list && (w->gone_ns == 0 || now - w->gone_ns > GONE_CALM_NS);
        w->gone_ns = now;
        kube_watch_forget_version(w);
        if (is_calm) {
            /* Quite normal after a compaction or a restart of the server: no error, a list. */
            kube_watch_stop(w);
            net_backoff_reset(&w->backoff);
            if (!w->is_dead)
                kube_watch_tell_restart(w, "gone");
            if (!w->is_dead)
                kube_watch_list_again(w);
            return;
        }
        kube_watch_tell_restart(w, "gone");
    } else {
        kube_watch_tell_restart(w, "error");
    }
    if (!w->is_dead)
        kube_watch_fail(w, err, is_list ? "list" : "watch", retry_after_ns);
}

static void on_stream_done(void *ctx, const struct kube_response *response, const struct err *err)
{
    struct kube_watch *w = ctx;
    struct err cut;
    kube_watch_enter(w);
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
        int64_t age_ns = clock_now_ns() - w->opened_ns;
        kube_watch_stop(w);
        kube_watch_tell_restart(w, "closed");
        if (!w->is_dead && age_ns < SHORT_NS)
            kube_watch_sleep(w, SHORT_NS - age_ns); /* a server that ends each watch is not asked without a pause */
        else if (!w->is_dead)
            kube_watch_open_stream(w, false);
    }
    kube_watch_leave(w);
}

static void set_version(struct kube_watch *w, const char *version)
{
    if (!version || !*version || (w->resource_version && strcmp(w->resource_version, version) == 0))
        return;
    char *copy = xstrdup(version);
    kube_watch_forget_version(w);
    w->resource_version = copy;
}

/* In a list that is streamed, only its end may be a bookmark. */
static bool take_bookmark(struct kube_watch *w, const struct watch_line *line)
{
    struct err err;
    w->events++;
    if (w->state == WATCH) {
        net_backoff_reset(&w->backoff);
        w->has_bookmarks = true;
        w->silent = 0;
        set_version(w, line->version);
    } else if (line->kind == LINE_LIST_END) {
        w->state = WATCH;
        kube_watch_list_complete(w, line->version);
    } else {
        err_set(&err, ERR_INVALID, "list %s: the server does not stream lists", w->label);
        stream_failed(w, &err, 0);
    }
    if (!w->is_dead && w->state == WATCH)
        kube_watch_tell_followed(w);
    return !w->is_dead && w->state == WATCH;
}

static bool take_object(struct kube_watch *w, struct watch_line *line)
{
    w->events++;
    line->event.received_ns = w->received_ns;
    if (w->state == WATCH) {
        net_backoff_reset(&w->backoff);
        kube_watch_tell_followed(w);
        if (w->is_dead || w->state != WATCH)
            return false;
        set_version(w, line->version);
    }
    if (line->event.type == KUBE_DELETED) {
        w->ops->del(w->ctx, &line->event);
    } else {
        w->may_have_objects = w->may_have_objects || w->state == WATCH;
        w->listed++;
        w->initial += line->event.type == KUBE_LISTED;
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

static bool on_line_too_long(void *ctx, const char *head, size_t length)
{
    struct kube_watch *w = ctx;
    struct kube_stream_name name;
    enum kube_watch_state before = w->state;
    kube_stream_find_name(head, length, &name);
    w->events++;
    tell_unreadable(w, name.namespace, name.name);
    return !w->is_dead && w->state == before;
}

static void on_data(void *ctx, const char *bytes, size_t length, int64_t received_ns)
{
    struct kube_watch *w = ctx;
    kube_watch_enter(w);
    w->last_bytes_ns = w->received_ns = received_ns;
    kube_stream_feed(&w->stream, bytes, length);
    kube_watch_leave(w);
}

/* When the server has had its time. A watch may be quiet, but for bookmarks. A streamed list must go on and end: a kind
 * that changes all the time keeps its connection busy with what was not asked for yet. */
static int64_t patience_end_ns(const struct kube_watch *w)
{
    if (w->state != STREAM_LIST)
        return w->last_bytes_ns + w->stall_ns;
    int64_t bound = w->stall_ns < STALL_LIST_NS ? w->stall_ns : STALL_LIST_NS;
    int64_t silence_ns = w->last_bytes_ns + bound,
            list_ns = w->opened_ns + bound + (int64_t)w->initial * LIST_OBJECT_NS;
    return silence_ns < list_ns ? silence_ns : list_ns;
}

static void list_stalled(struct kube_watch *w)
{
    char waited[DURATION_SIZE];
    struct err err;
    duration_format((clock_now_ns() - w->opened_ns) / NS_PER_S * NS_PER_S, waited);
    w->streaming_failures++;
    w->no_streaming_list = w->answered_ns != 0; /* a request without any answer says nothing of streams */
    if (!w->answered_ns)
        err_set(&err, ERR_TIMEOUT, "list %s: timeout: no answer within %s", w->label, waited);
    else
        err_set(&err, ERR_TIMEOUT,
                "list %s: timeout: the end of the streamed list did not come within %s (%zu objects came; does a proxy "
                "remove bookmarks?); lists are asked for in pages from now on",
                w->label, waited, w->initial);
    kube_watch_tell_restart(w, "stall");
    if (!w->is_dead)
        kube_watch_fail(w, &err, "stall", 0);
}

static void watch_stalled(struct kube_watch *w)
{
    char silent[DURATION_SIZE];
    struct err err;
    /* Connections die one by one. Where no bookmark ever came and the next one is as silent, the server is like
     * that. */
    bool is_usual = !w->has_bookmarks && w->answered_ns && w->silent > 0;
    w->silent += w->answered_ns != 0;
    w->is_doubted = true;
    if (!is_usual) {
        err_set(&err, ERR_TIMEOUT, "watch %s: timeout: the connection was silent for %s", w->label,
                duration_format((clock_now_ns() - w->last_bytes_ns) / NS_PER_S * NS_PER_S, silent));
        kube_watch_tell_restart(w, "stall");
        if (!w->is_dead)
            kube_watch_fail(w, &err, "stall", 0);
        return;
    }
    bool is_news = !w->is_silence_usual;
    w->is_silence_usual = true;
    kube_watch_stop(w);
    kube_watch_tell_restart(w, "silent");
    if (is_news && w->ops->silent && !w->is_dead)
        w->ops->silent(w->ctx, w->stall_ns);
    if (!w->is_dead)
        kube_watch_open_stream(w, false);
}

static void on_stall_timer(void *ctx)
{
    struct kube_watch *w = ctx;
    int64_t left_ns = patience_end_ns(w) - clock_now_ns();
    if (left_ns > 0) {
        net_timer_start(w->stall, left_ns);
        return;
    }
    kube_watch_enter(w);
    kube_client_distrust(w->client);
    if (w->state == STREAM_LIST)
        list_stalled(w);
    else
        watch_stalled(w);
    kube_watch_leave(w);
}

static void on_opened(void *ctx)
{
    struct kube_watch *w = ctx;
    w->answered_ns = clock_now_ns();
    if (w->state == WATCH && !w->is_followed)
        net_timer_start(w->settle, w->stall_ns / 2 < SHORT_NS ? w->stall_ns / 2 : SHORT_NS);
    if (w->state == WATCH && w->is_doubted)
        kube_watch_probe(w);
}

static void on_settled(void *ctx)
{
    struct kube_watch *w = ctx;
    kube_watch_enter(w);
    kube_watch_tell_followed(w);
    kube_watch_leave(w);
}

void kube_watch_open_stream(struct kube_watch *w, bool is_list)
{
    CLEANUP(buf_done) struct buf path = {0};
    CLEANUP(free_ptr) char *what = xasprintf("watch %s", w->label);
    char seconds[24];
    /* The server ends the watch then; spread, so that not all watches of all replicas come back together. */
    snprintf(seconds, sizeof(seconds), "%lld", (long long)net_random_between(300, 600));
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
    w->initial = 0;
    w->answered_ns = 0;
    w->opened_ns = w->last_bytes_ns = clock_now_ns();
    kube_stream_reset(&w->stream);
    net_timer_start(w->stall, patience_end_ns(w) - w->opened_ns);
    struct kube_call call = {
        .what = what, .path = path.data, .opened = on_opened, .data = on_data, .done = on_stream_done, .ctx = w};
    w->request = kube_request_start(w->client, &call);
}

void kube_watch_stream_init(struct kube_watch *w)
{
    w->stream = (struct kube_stream){.max_line_bytes = w->selection.max_object_bytes + EVENT_OVERHEAD,
                                     .line = on_line,
                                     .too_long = on_line_too_long,
                                     .ctx = w};
    w->stall = net_timer_new(kube_client_loop(w->client), on_stall_timer, w);
    w->settle = net_timer_new(kube_client_loop(w->client), on_settled, w);
}
