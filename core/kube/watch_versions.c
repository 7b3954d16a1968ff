/* The candidates of a watch, which one is in use, and a timer that looks for those before it. A lookup beside the
 * stream changes nothing until it has found one: then the watch stops and looks up from the first candidate, as at its
 * start.
 */
#include <string.h>

#include "base/alloc.h"
#include "kube/path.h"
#include "kube/watch_state.h"

#define LOOK_NS (30 * NS_PER_S)

struct watch_versions {
    char **names;
    size_t count;
    size_t at;     /* in use, or being looked up */
    size_t looked; /* for the timer: being looked for, below at */
    int64_t every_ns;
    void (*earlier)(struct kube_watch *w);
    struct net_timer *timer;
    struct kube_lookup *lookup;
};

static void use(struct kube_watch *w, size_t at)
{
    struct watch_versions *v = w->versions;
    v->at = at;
    w->selection.api_version = v->names[at];
    free(w->label);
    w->label = kube_selection_label(&w->selection);
}

static void look(struct kube_watch *w);

static void on_looked(void *ctx, const struct kube_resource *resource, const struct err *err)
{
    struct kube_watch *w = ctx;
    struct watch_versions *v = w->versions;
    v->lookup = NULL;
    if (err || !resource->is_served) {
        if (!err && ++v->looked < v->at)
            look(w);
        else
            net_timer_start(v->timer, v->every_ns);
        return;
    }
    v->earlier(w);
}

static void look(struct kube_watch *w)
{
    struct watch_versions *v = w->versions;
    v->lookup = kube_discovery_find(w->discovery, v->names[v->looked], w->selection.resource, on_looked, w);
}

static void on_timer(void *ctx)
{
    struct kube_watch *w = ctx;
    w->versions->looked = 0;
    look(w);
}

void kube_watch_versions_init(struct kube_watch *w, const char *const *api_versions, int64_t every_ns,
                              void (*earlier)(struct kube_watch *w))
{
    size_t count = 0;
    while (api_versions && api_versions[count])
        count++;
    if (count < 2)
        return;
    struct watch_versions *v = w->versions = xcalloc(1, sizeof(*v));
    v->names = xcalloc(count, sizeof(*v->names));
    for (; v->count < count; v->count++)
        v->names[v->count] = xstrdup(api_versions[v->count]);
    v->every_ns = every_ns ? every_ns : LOOK_NS;
    v->earlier = earlier;
    v->timer = net_timer_new(kube_client_loop(w->client), on_timer, w);
    use(w, 0);
}

void kube_watch_versions_done(struct kube_watch *w)
{
    struct watch_versions *v = w->versions;
    if (!v)
        return;
    kube_lookup_cancel(v->lookup);
    net_timer_free(v->timer);
    for (size_t i = 0; i < v->count; i++)
        free(v->names[i]);
    free(v->names);
    free(v);
    w->versions = NULL;
}

void kube_watch_versions_begin(struct kube_watch *w)
{
    if (!w->versions)
        return;
    w->versions->lookup = kube_lookup_cancel(w->versions->lookup);
    net_timer_stop(w->versions->timer);
    use(w, 0);
}

bool kube_watch_versions_next(struct kube_watch *w)
{
    if (!w->versions || w->versions->at + 1 == w->versions->count)
        return false;
    use(w, w->versions->at + 1);
    return true;
}

void kube_watch_versions_found(struct kube_watch *w)
{
    if (w->versions && w->versions->at > 0)
        net_timer_start(w->versions->timer, w->versions->every_ns);
}
