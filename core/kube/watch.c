/* A state machine in which exactly one thing is under way: a lookup, a list in pages, a stream (watch_stream.c), or a
 * wait. How each of them ends is in watch_outcome.c.
 *
 * The resourceVersion to go on from is that of the last event, whatever its type; it is only ever handed back to the
 * server. Events of one object are applied in the order in which they come, so repeated ones do no harm: the last one
 * wins.
 */
#include "kube/watch.h"

#include <string.h>

#include "base/alloc.h"
#include "kube/path.h"
#include "kube/watch_state.h"

#define ABSENT_BASE_NS (5 * NS_PER_S)
#define ABSENT_CAP_NS (30 * NS_PER_S)

/* ---- lists ---- */

static void list_begin(void *ctx)
{
    struct kube_watch *w = ctx;
    kube_watch_enter(w);
    w->is_list_open = true;
    w->listed = 0;
    w->ops->list_begin(w->ctx);
    kube_watch_leave(w);
}

static void on_page_object(void *ctx, yyjson_val *object, const char *namespace, const char *name, int64_t received_ns)
{
    struct kube_watch *w = ctx;
    struct kube_watch_event e = {
        .type = KUBE_LISTED, .object = object, .namespace = namespace, .name = name, .received_ns = received_ns};
    kube_watch_enter(w);
    w->listed++;
    w->ops->put(w->ctx, &e);
    kube_watch_leave(w);
}

static void on_pages_complete(void *ctx, const char *resource_version)
{
    struct kube_watch *w = ctx;
    kube_watch_enter(w);
    w->pager = NULL;
    kube_watch_list_complete(w, resource_version);
    if (!w->is_dead && w->state == PAGES)
        kube_watch_open_stream(w, false);
    kube_watch_leave(w);
}

static void on_pages_failed(void *ctx, const struct err *err, int64_t retry_after_ns)
{
    struct kube_watch *w = ctx;
    kube_watch_enter(w);
    w->pager = NULL;
    if (err->kind == ERR_NOTFOUND)
        kube_discovery_forget(w->discovery, w->selection.api_version);
    kube_watch_fail(w, err, "list", retry_after_ns);
    kube_watch_leave(w);
}

static const struct kube_pager_ops pager_ops = {
    .begin = list_begin, .object = on_page_object, .complete = on_pages_complete, .failed = on_pages_failed};

static void begin_list(struct kube_watch *w)
{
    /* A list that must be believed is asked for in the plainest way. */
    if (!w->no_streaming_list && w->streaming_failures < KUBE_WATCH_STREAM_LIST_TRIES && !w->is_empty_confirmed) {
        list_begin(w);
        if (!w->is_dead)
            kube_watch_open_stream(w, true);
        return;
    }
    w->streaming_failures = 0;
    w->state = PAGES;
    w->pager = kube_pager_start(w->client, &w->selection, &pager_ops, w);
}

/* ---- what there is ---- */

static void on_absent(struct kube_watch *w)
{
    struct err err;
    kube_watch_forget_version(w);
    bool is_doubted = w->may_have_objects && !w->is_absence_confirmed;
    bool is_news = !w->is_absent && !is_doubted;
    err_set(&err, ERR_NOTFOUND, "%s in %s%s is not served (is its CRD installed?)%s", w->selection.resource,
            w->selection.api_version, w->versions ? " and the versions before it" : "",
            is_doubted ? "; its objects are kept until this is sure" : "");
    w->is_absence_confirmed = true;
    int64_t delay = net_backoff_next(&w->absent_backoff, ABSENT_BASE_NS);
    kube_watch_sleep(w, delay);
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

static void look_for_candidate(struct kube_watch *w);

static void on_found(void *ctx, const struct kube_resource *resource, const struct err *err)
{
    struct kube_watch *w = ctx;
    struct err unfit;
    kube_watch_enter(w);
    w->lookup = NULL;
    if (!err && !resource->is_served && kube_watch_versions_next(w)) {
        look_for_candidate(w);
    } else if (!err && !resource->is_served) {
        on_absent(w);
    } else if (!err && (!resource->can_list || !resource->can_watch)) {
        err_set(&unfit, ERR_INVALID, "%s: the API server cannot %s this resource", w->label,
                resource->can_list ? "watch" : "list");
        kube_watch_fail(w, &unfit, "discovery", ABSENT_CAP_NS);
    } else if (err && err->kind != ERR_DENIED) {
        kube_watch_fail(w, err, "discovery", 0);
    } else {
        /* Who may not discover may still be allowed to list: the list will say. */
        if (resource && !resource->is_namespaced)
            w->selection.namespace = NULL;
        kube_watch_versions_found(w);
        if (resource && w->ops->found)
            w->ops->found(w->ctx, resource);
        if (!w->is_dead)
            begin_list(w);
    }
    kube_watch_leave(w);
}

static void look_for_candidate(struct kube_watch *w)
{
    w->state = LOOKUP;
    w->lookup = kube_discovery_find(w->discovery, w->selection.api_version, w->selection.resource, on_found, w);
}

static void look_up(struct kube_watch *w)
{
    kube_watch_versions_begin(w);
    look_for_candidate(w);
}

static void on_wake(void *ctx)
{
    struct kube_watch *w = ctx;
    kube_watch_enter(w);
    if (w->state == RELIST)
        begin_list(w);
    else if (w->resource_version)
        kube_watch_open_stream(w, false);
    else
        look_up(w);
    kube_watch_leave(w);
}

static void on_earlier_version(struct kube_watch *w)
{
    kube_watch_enter(w);
    kube_watch_stop(w);
    kube_watch_forget_version(w);
    kube_watch_tell_restart(w, "version");
    if (!w->is_dead)
        look_up(w);
    kube_watch_leave(w);
}

/* ---- */

int kube_watch_new(struct kube_client *client, struct kube_discovery *discovery, const struct kube_watch_spec *spec,
                   const struct kube_watch_ops *ops, void *ctx, struct kube_watch **ret_watch, struct err *err)
{
    const struct kube_selection *s = &spec->selection;
    const char *given[] = {s->api_version, s->resource, s->namespace, s->label_selector, s->field_selector};
    if (kube_path_check(s->api_version, s->resource, err) < 0)
        return -1;
    for (const char *const *v = spec->api_versions; v && *v; v++)
        if (kube_path_check(*v, s->resource, err) < 0)
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
    w->backoff = (struct net_backoff){.base_ns = spec->backoff_base_ns ? spec->backoff_base_ns : 250 * NS_PER_MS,
                                      .cap_ns = spec->backoff_cap_ns ? spec->backoff_cap_ns : 15 * NS_PER_S};
    w->absent_backoff = (struct net_backoff){.base_ns = ABSENT_BASE_NS, .cap_ns = ABSENT_CAP_NS};
    w->wake = net_timer_new(kube_client_loop(client), on_wake, w);
    kube_watch_stream_init(w);
    kube_watch_versions_init(w, spec->api_versions, spec->versions_ns, on_earlier_version);
    kube_watch_sleep(w, 0);
    *ret_watch = w;
    return 0;
}

struct kube_watch *kube_watch_free(struct kube_watch *w)
{
    if (w) {
        w->is_dead = true;
        kube_watch_enter(w);
        kube_watch_leave(w);
    }
    return NULL;
}
