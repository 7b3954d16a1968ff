/* The Pod's state is kept, and judged when it changes and when another tenure begins. A Pod that is gone is judged
 * once, because a later Pod of its name is another one. When holder_see() is called, the judgement waits for the next
 * turn of the loop. */
#include "controller/holder.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "data/json.h"
#include "kube/object_watch.h"
#include "net/timer.h"

#define POD_MAX ((size_t)4 << 20)
#define NAME_MAX_LENGTH 253

enum pod_state {
    POD_UNKNOWN, /* not seen, or without a state of its container */
    POD_RUNNING, /* since_us */
    POD_ENDED,   /* its container, at until_us */
    POD_FINISHED,
    POD_DELETED
};

struct holder {
    struct kube_client *client;
    char *namespace, *identity;
    const struct holder_ops *ops;
    void *ctx;
    struct object_watch *watch;
    struct net_timer *judge;
    char *name; /* the Pod that is watched; NULL: none */
    int64_t acquire_us;
    bool is_told; /* gone() was called for this tenure */
    bool was_seen, is_denied;
    enum pod_state state;
    int64_t since_us, until_us;
    char *detail; /* "Failed (Evicted)", "OOMKilled" */
};

/* ---- the state of a Pod ---- */

static int64_t time_of(yyjson_val *state, const char *field)
{
    const char *text = json_str(state, field);
    int64_t us;
    return text && clock_parse_rfc3339(text, &us, NULL) == 0 ? us : 0;
}

static yyjson_val *status_of_container(yyjson_val *pod)
{
    yyjson_val *statuses = json_at(pod, "status", "containerStatuses"), *status;
    const char *name = json_str(pod, "metadata", "annotations", "kubectl.kubernetes.io/default-container");
    yyjson_arr_iter it = yyjson_arr_iter_with(statuses);
    if (!name)
        return yyjson_arr_size(statuses) == 1 ? yyjson_arr_get_first(statuses) : NULL;
    while ((status = yyjson_arr_iter_next(&it))) {
        const char *its = json_str(status, "name");
        if (its && strcmp(its, name) == 0)
            return status;
    }
    return NULL;
}

static void set_detail(struct holder *h, char *text)
{
    free(h->detail);
    h->detail = text;
}

static void read_container(struct holder *h, yyjson_val *status)
{
    yyjson_val *running = json_at(status, "state", "running"), *ended = json_at(status, "state", "terminated");
    if (running) {
        h->state = POD_RUNNING;
        h->since_us = time_of(running, "startedAt");
        return;
    }
    if (!ended)
        ended = json_at(status, "lastState", "terminated"); /* the kubelet is about to restart it */
    if (!ended)
        return;
    const char *reason = json_str(ended, "reason");
    h->state = POD_ENDED;
    h->until_us = time_of(ended, "finishedAt");
    set_detail(h, xstrdup(reason ? reason : "no reason given"));
}

static void read_pod(struct holder *h, yyjson_val *pod)
{
    const char *phase = json_str(pod, "status", "phase"), *reason = json_str(pod, "status", "reason");
    h->state = POD_UNKNOWN;
    h->was_seen = true;
    if (phase && (strcmp(phase, "Failed") == 0 || strcmp(phase, "Succeeded") == 0)) {
        h->state = POD_FINISHED;
        set_detail(h, reason ? xasprintf("%s (%s)", phase, reason) : xstrdup(phase));
        return;
    }
    read_container(h, status_of_container(pod));
}

/* The reason why the tenure's process has ended; NULL: as far as is known it has not. The caller frees the text. */
static char *end_of(const struct holder *h)
{
    switch (h->state) {
    case POD_UNKNOWN:
        return NULL;
    case POD_RUNNING:
        return h->since_us > h->acquire_us ? xstrdup("its container was started again") : NULL;
    case POD_ENDED: /* the time is cut to seconds */
        return h->until_us && h->acquire_us <= h->until_us + 1000000
                   ? xasprintf("its container has ended: %s", h->detail)
                   : NULL;
    case POD_FINISHED:
        return xasprintf("its Pod's phase is %s", h->detail);
    case POD_DELETED:
        return xstrdup("its Pod was deleted");
    }
    return NULL;
}

static void judge(void *ctx)
{
    struct holder *h = ctx;
    bool is_news = h->name && !h->is_told && h->acquire_us != 0;
    CLEANUP(free_ptr) char *why = is_news ? end_of(h) : NULL;
    if (h->state == POD_DELETED)
        h->state = POD_UNKNOWN;
    if (!why)
        return;
    CLEANUP(free_ptr) char *name = xstrdup(h->name);
    h->is_told = true;
    h->ops->gone(h->ctx, name, h->acquire_us, why); /* this may free h */
}

static void on_pod(void *ctx, yyjson_val *pod)
{
    struct holder *h = ctx;
    if (pod)
        read_pod(h, pod);
    else if (h->was_seen)
        h->state = POD_DELETED;
    judge(h);
}

static void on_denied(void *ctx, const struct err *err)
{
    struct holder *h = ctx;
    if (h->is_denied)
        return;
    h->is_denied = true;
    h->ops->denied(h->ctx, err);
}

/* ---- the choice of the Pod ---- */

static bool is_pod_name(const char *name)
{
    size_t length = strlen(name);
    if (length == 0 || length > NAME_MAX_LENGTH)
        return false;
    for (size_t i = 0; i < length; i++) {
        bool is_inner = i > 0 && i + 1 < length;
        if (!islower((unsigned char)name[i]) && !isdigit((unsigned char)name[i]) &&
            !(is_inner && (name[i] == '-' || name[i] == '.')))
            return false;
    }
    return true;
}

static void unwatch(struct holder *h)
{
    h->watch = object_watch_free(h->watch);
    free(h->name);
    h->name = NULL;
    h->state = POD_UNKNOWN;
    h->was_seen = false;
    net_timer_stop(h->judge);
}

void holder_see(struct holder *h, const char *holder, int64_t acquire_us)
{
    bool is_wanted = is_pod_name(holder) && strcmp(holder, h->identity) != 0;
    bool is_same = h->name && strcmp(h->name, holder) == 0;
    if (is_same && acquire_us == h->acquire_us)
        return;
    if (!is_same)
        unwatch(h);
    h->acquire_us = acquire_us;
    h->is_told = false;
    if (!is_wanted)
        return;
    net_timer_start(h->judge, 0);
    if (is_same)
        return;
    h->name = xstrdup(holder);
    const struct object_watch_spec spec = {.api_version = "v1",
                                           .resource = "pods",
                                           .namespace = h->namespace,
                                           .name = h->name,
                                           .max_bytes = POD_MAX,
                                           .asks_absence = true,
                                           .changed = on_pod,
                                           .denied = on_denied,
                                           .ctx = h};
    h->watch = object_watch_new(h->client, &spec);
}

struct holder *holder_new(struct kube_client *client, const char *namespace, const char *identity,
                          const struct holder_ops *ops, void *ctx)
{
    struct holder *h = xcalloc(1, sizeof(*h));
    h->client = client;
    h->namespace = xstrdup(namespace);
    h->identity = xstrdup(identity);
    h->ops = ops;
    h->ctx = ctx;
    h->judge = net_timer_new(kube_client_loop(client), judge, h);
    return h;
}

struct holder *holder_free(struct holder *h)
{
    if (!h)
        return NULL;
    unwatch(h);
    net_timer_free(h->judge);
    set_detail(h, NULL);
    free(h->namespace);
    free(h->identity);
    free(h);
    return NULL;
}
