/* The namespaces have a watch of their own, filtered by the server: a namespace whose labels no longer match is
 * reported as deleted. A selected namespace gets a space. A namespace that is no longer selected loses its space with
 * all objects.
 */
#include <string.h>

#include "base/alloc.h"
#include "store/source_kube_state.h"

/* Each namespace has a watch of its own. */
#define NAMESPACES_MAX 500

static void deselect(struct source_kind *k, const char *namespace)
{
    for (size_t i = 0; i < k->spaces.length; i++) {
        struct space *sp = k->spaces.items[i];
        struct map_slot *slot;
        if (strcmp(sp->namespace, namespace) != 0)
            continue;
        vec_swap_remove(&k->spaces, i);
        for (size_t it = 0; (slot = map_next(&sp->known, &it));) {
            const char *slash = strchr(slot->key, '/');
            faults_remove(&k->faults, slot->key);
            if (slash)
                store_delete(k->kind, namespace, slash + 1, NULL);
        }
        source_space_is_well(sp);
        source_space_free(sp);
        return;
    }
}

static void select_namespace(struct source_kind *k, const char *namespace)
{
    struct err err;
    if (k->spaces.length >= NAMESPACES_MAX) {
        if (!k->has_told_excess) {
            err_set(&err, ERR_LIMIT,
                    "namespaceSelector: more than %d namespaces fit; %s and others are left out: watch all namespaces, "
                    "and select objects by labelSelector",
                    NAMESPACES_MAX, namespace);
            source_tell(k, &err, "object", 0);
        }
        k->has_told_excess = true;
    } else if (source_space_add(k, namespace, &err) < 0) {
        source_tell(k, &err, "object", 0);
    }
}

static bool is_selected(const struct source_kind *k, const char *namespace)
{
    for (size_t i = 0; i < k->spaces.length; i++)
        if (strcmp(k->spaces.items[i]->namespace, namespace) == 0)
            return true;
    return false;
}

/* ---- events of the watch of namespaces ---- */

static void on_list_begin(void *ctx)
{
    struct space *sp = ctx;
    map_clear(&sp->known);
    sp->is_listing = true;
}

static void on_put(void *ctx, const struct kube_watch_event *e)
{
    struct space *sp = ctx;
    if (sp->is_listing)
        map_put(&sp->known, e->name, sp);
    else if (!is_selected(sp->kind, e->name))
        select_namespace(sp->kind, e->name);
}

static void on_del(void *ctx, const struct kube_watch_event *e)
{
    struct space *sp = ctx;
    if (sp->is_listing)
        map_del(&sp->known, e->name);
    else
        deselect(sp->kind, e->name);
    if (!sp->is_listing && !store_kind_is_synced(sp->kind->kind))
        source_commit_if_complete(sp->kind);
}

static void on_list_end(void *ctx, bool is_complete)
{
    struct space *sp = ctx;
    struct source_kind *k = sp->kind;
    struct map_slot *slot;
    sp->is_listing = false;
    for (size_t i = k->spaces.length; is_complete && i-- > 0;)
        if (!map_get(&sp->known, k->spaces.items[i]->namespace)) {
            CLEANUP(free_ptr) char *namespace = xstrdup(k->spaces.items[i]->namespace);
            deselect(k, namespace);
        }
    for (size_t it = 0; is_complete && (slot = map_next(&sp->known, &it));)
        if (!is_selected(k, slot->key))
            select_namespace(k, slot->key);
    map_clear(&sp->known);
    sp->is_listed = sp->is_listed || is_complete;
    if (is_complete && !store_kind_is_synced(k->kind))
        source_commit_if_complete(k);
}

static void on_unreadable(void *ctx, const char *namespace, const char *name, const struct err *err)
{
    struct space *sp = ctx;
    (void)namespace;
    if (*name && sp->is_listing && is_selected(sp->kind, name))
        map_put(&sp->known, name, sp);
    source_object_fails(sp, name, err);
}

static void on_error(void *ctx, const struct err *err, const char *reason, int64_t retry_in_ns)
{
    struct err wrapped = *err;
    err_wrap(&wrapped, "namespaceSelector");
    source_space_fails(ctx, &wrapped, reason, retry_in_ns);
}

static void on_followed(void *ctx)
{
    source_space_is_well(ctx);
}

static void on_restart(void *ctx, const char *reason)
{
    struct space *sp = ctx;
    source_count(sp->kind, "haptic_watch_restarts_total", "Watches opened anew and lists begun anew.", reason);
}

static const struct kube_watch_ops select_ops = {.list_begin = on_list_begin,
                                                 .list_end = on_list_end,
                                                 .put = on_put,
                                                 .del = on_del,
                                                 .unreadable = on_unreadable,
                                                 .error = on_error,
                                                 .followed = on_followed,
                                                 .restart = on_restart};

int source_select_new(struct source_kind *k, const char *selector, struct err *err)
{
    const struct source_kube *s = k->source;
    struct space *sp = k->selector = xcalloc(1, sizeof(*sp));
    struct kube_watch_spec watch = {.selection = {.api_version = "v1",
                                                  .resource = "namespaces",
                                                  .label_selector = selector,
                                                  .max_object_bytes = s->options.max_object_bytes},
                                    .no_streaming_list = s->options.no_streaming_list,
                                    .stall_ns = s->options.stall_ns};
    sp->kind = k;
    map_init(&sp->known, false);
    map_init(&sp->listed, false);
    return kube_watch_new(s->client, s->discovery, &watch, &select_ops, sp, &sp->watch, err);
}
