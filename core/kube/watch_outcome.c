/* Every way to stop a watch goes through kube_watch_stop(), every failure through kube_watch_fail(), which stops,
 * tells, and waits. Callbacks may free the watch: what is entered from the loop counts its depth, and the outermost
 * kube_watch_leave() does the freeing. */
#include <stdlib.h>

#include "base/alloc.h"
#include "kube/watch_state.h"

#define UNREACHABLE_CAP_NS (3 * NS_PER_S)

static void destroy(struct kube_watch *w)
{
    w->lookup = kube_lookup_cancel(w->lookup);
    w->pager = kube_pager_cancel(w->pager);
    w->request = kube_request_cancel(w->request);
    w->probe = kube_request_cancel(w->probe);
    net_timer_free(w->wake);
    net_timer_free(w->stall);
    net_timer_free(w->settle);
    kube_stream_done(&w->stream);
    kube_watch_versions_done(w);
    for (size_t i = 0; i < ARRAY_LEN(w->strings); i++)
        free(w->strings[i]);
    free(w->label);
    free(w->resource_version);
    free(w);
}

void kube_watch_enter(struct kube_watch *w)
{
    w->depth++;
}

void kube_watch_leave(struct kube_watch *w)
{
    if (--w->depth == 0 && w->is_dead)
        destroy(w);
}

void kube_watch_stop(struct kube_watch *w)
{
    w->lookup = kube_lookup_cancel(w->lookup);
    w->pager = kube_pager_cancel(w->pager);
    w->request = kube_request_cancel(w->request);
    w->probe = kube_request_cancel(w->probe);
    kube_stream_reset(&w->stream);
    net_timer_stop(w->stall);
    net_timer_stop(w->settle);
    net_timer_stop(w->wake);
    w->state = IDLE;
    if (w->is_list_open) {
        w->is_list_open = false;
        w->ops->list_end(w->ctx, false);
    }
}

void kube_watch_sleep(struct kube_watch *w, int64_t delay_ns)
{
    w->state = SLEEP;
    net_timer_start(w->wake, delay_ns);
}

void kube_watch_list_again(struct kube_watch *w)
{
    w->state = RELIST;
    net_timer_start(w->wake, 0);
}

void kube_watch_tell_restart(struct kube_watch *w, const char *reason)
{
    if (w->ops->restart && !w->is_dead)
        w->ops->restart(w->ctx, reason);
}

void kube_watch_forget_version(struct kube_watch *w)
{
    free(w->resource_version);
    w->resource_version = NULL;
}

void kube_watch_tell_followed(struct kube_watch *w)
{
    bool is_news = !w->is_followed;
    w->is_followed = true;
    if (is_news && w->ops->followed)
        w->ops->followed(w->ctx);
}

void kube_watch_fail(struct kube_watch *w, const struct err *err, const char *reason, int64_t retry_after_ns)
{
    struct err copy = *err; /* kube_watch_stop() may free what it lives in */
    if (w->state == WATCH && w->answered_ns)
        net_backoff_lasted(&w->backoff, clock_now_ns() - w->answered_ns);
    w->is_doubted = true;
    kube_watch_stop(w);
    if (w->is_dead)
        return;
    /* Nobody's rights change within a second; and a refused request costs the server as much as a granted one. */
    int64_t least = copy.kind == ERR_DENIED ? 5 * NS_PER_S : 0;
    int64_t delay = net_backoff_next(&w->backoff, retry_after_ns > least ? retry_after_ns : least);
    /* A connection that does not come about costs the server nothing; when it is back, so are we. */
    if (copy.sys && delay > UNREACHABLE_CAP_NS)
        delay = net_random_between(UNREACHABLE_CAP_NS / 2, UNREACHABLE_CAP_NS);
    kube_watch_sleep(w, delay);
    w->is_followed = false;
    w->ops->error(w->ctx, &copy, reason, delay);
}

void kube_watch_list_complete(struct kube_watch *w, const char *resource_version)
{
    struct err err;
    if (w->listed == 0 && w->may_have_objects && !w->is_empty_confirmed) {
        w->is_empty_confirmed = true;
        err_set(&err, ERR_IO, "list %s: no objects, where there were some: asking again before this is believed",
                w->label);
        kube_watch_forget_version(w);
        kube_watch_fail(w, &err, "empty-list", 0);
        return;
    }
    w->is_empty_confirmed = w->is_absent = w->is_absence_confirmed = false;
    w->may_have_objects = w->listed > 0;
    char *version = xstrdup(resource_version);
    kube_watch_forget_version(w);
    w->resource_version = version;
    w->streaming_failures = 0;
    net_backoff_reset(&w->absent_backoff);
    w->is_list_open = false;
    w->is_doubted = false;
    w->ops->list_end(w->ctx, true);
}
