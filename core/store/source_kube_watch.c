/* An object from a watch goes into the store at once, or into the list of its namespace while that list is incomplete.
 */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "store/source_kube_state.h"

static void on_list_begin(void *ctx)
{
    struct space *sp = ctx;
    sp->list++;
    if (source_is_shared(sp)) {
        source_listed_clear(sp);
        sp->is_listing = true;
    } else {
        store_replace_begin(sp->kind->kind);
    }
}

static void on_list_end(void *ctx, bool is_complete)
{
    struct space *sp = ctx;
    struct source_kind *k = sp->kind;
    bool was_listed = sp->is_listed;
    if (!source_is_shared(sp)) {
        if (is_complete)
            store_replace_commit(k->kind);
        else
            store_replace_abort(k->kind);
        sp->is_listed = sp->is_listed || is_complete;
        if (is_complete)
            faults_drop_old(&sp->kind->faults, sp, sp->list);
        return;
    }
    sp->is_listing = false;
    if (!is_complete) {
        source_listed_clear(sp);
        return;
    }
    source_apply_listed(sp);
    faults_drop_old(&sp->kind->faults, sp, sp->list);
    sp->is_listed = true;
    if (!was_listed && !store_kind_is_synced(k->kind))
        source_commit_if_complete(k);
}

/* During a replace of the kind, the present version is lost unless it is put again. */
static void keep_version(struct space *sp, const char *namespace, const char *name)
{
    CLEANUP(free_ptr) char *id = source_id_of(namespace, name);
    struct object *o = store_get(sp->kind->kind, id);
    bool is_changed;
    if (o) {
        CLEANUP(buf_done) struct buf text = {0};
        object_text(o, &text);
        /* The object was valid before, so only lack of space can refuse it. Then it is removed, and the error was
         * reported. */
        if (store_put_json(sp->kind->kind, buf_str(&text), text.length, &is_changed, NULL) < 0)
            source_count_failure(sp->kind, "object");
    }
}

static void on_put(void *ctx, const struct kube_watch_event *e)
{
    struct space *sp = ctx;
    struct source_kind *k = sp->kind;
    struct source_kube *s = k->source;
    struct err err;
    bool is_changed;
    k->event_ns = e->received_ns;
    source_count_event(k, e->type);
    if (source_is_shared(sp) && sp->is_listing) {
        source_listed_add(sp, e->namespace, e->name, e->object);
        return;
    }
    CLEANUP(free_ptr) char *id = source_id_of(e->namespace, e->name);
    s->received_ns = e->received_ns;
    if (store_put_value(k->kind, e->object, &is_changed, &err) < 0) {
        if (e->type == KUBE_LISTED)
            keep_version(sp, e->namespace, e->name);
        source_object_fails(sp, id, &err);
    } else {
        faults_remove(&k->faults, id);
        if (source_is_shared(sp))
            map_put(&sp->known, id, sp);
    }
    s->received_ns = 0;
}

static void on_del(void *ctx, const struct kube_watch_event *e)
{
    struct space *sp = ctx;
    struct source_kind *k = sp->kind;
    k->event_ns = e->received_ns;
    source_count_event(k, e->type);
    CLEANUP(free_ptr) char *id = source_id_of(e->namespace, e->name);
    faults_remove(&k->faults, id);
    if (source_is_shared(sp) && sp->is_listing) {
        source_item_free(map_del(&sp->listed, id));
        return;
    }
    k->source->received_ns = e->received_ns;
    store_delete(k->kind, e->namespace, e->name, NULL);
    map_del(&sp->known, id);
    k->source->received_ns = 0;
}

static void on_unreadable(void *ctx, const char *namespace, const char *name, const struct err *err)
{
    struct space *sp = ctx;
    if (*name && source_is_shared(sp) && sp->is_listing)
        source_listed_add(sp, namespace, name, NULL);
    else if (*name && !source_is_shared(sp))
        keep_version(sp, namespace, name);
    CLEANUP(free_ptr) char *id = source_id_of(namespace, name);
    source_object_fails(sp, id, err);
}

static void on_error(void *ctx, const struct err *err, const char *reason, int64_t retry_in_ns)
{
    struct space *sp = ctx;
    source_space_fails(sp, err, reason, retry_in_ns);
}

static void on_followed(void *ctx)
{
    source_space_is_well(ctx);
}

static void on_silent(void *ctx, int64_t every_ns)
{
    struct space *sp = ctx;
    struct source_kube *s = sp->kind->source;
    char every[DURATION_SIZE];
    struct err err;
    if (s->has_told_silence)
        return;
    s->has_told_silence = true;
    duration_format(every_ns, every);
    err_set(
        &err, ERR_TIMEOUT,
        "the API server sends no bookmarks within %s (does a proxy remove them?): a connection that died is noticed "
        "by no other means than opening another one every %s",
        every, every);
    source_tell(sp->kind, &err, "silent", every_ns);
}

static void on_restart(void *ctx, const char *reason)
{
    struct space *sp = ctx;
    source_count(sp->kind, "haptic_watch_restarts_total", "Watches opened anew and lists begun anew.", reason);
}

static void on_found(void *ctx, const struct kube_resource *resource)
{
    struct space *sp = ctx;
    struct source_kind *k = sp->kind;
    struct err err;
    k->has_told_absence = false;
    store_kind_set_object_kind(k->kind, resource->kind);
    if (strcmp(store_kind_spec(k->kind)->api_version, resource->api_version) != 0)
        log_info("The API server has another version of a kind", "resource", k->name, "apiVersion",
                 resource->api_version);
    store_kind_set_api_version(k->kind, resource->api_version);
    if (resource->is_namespaced || (!k->selector && sp == k->spaces.items[0]) || sp->is_listed)
        return;
    /* Several namespaces were requested for a cluster-scoped kind: the first watch sees all of it. */
    sp->watch = kube_watch_free(sp->watch);
    sp->is_listed = true;
    if (k->selector) {
        err_set(&err, ERR_INVALID,
                "watched resource \"%s\": %s have no namespace that namespaceSelector could select: "
                "remove it, or select by labelSelector",
                k->name, store_kind_spec(k->kind)->resource);
        source_space_fails(sp, &err, "discovery", 0);
    } else {
        source_space_is_well(sp);
    }
    if ((k->selector || k->spaces.items[0]->is_listed) && !store_kind_is_synced(k->kind))
        source_commit_if_complete(k);
}

static const struct kube_watch_ops watch_ops = {.list_begin = on_list_begin,
                                                .list_end = on_list_end,
                                                .put = on_put,
                                                .del = on_del,
                                                .unreadable = on_unreadable,
                                                .error = on_error,
                                                .followed = on_followed,
                                                .restart = on_restart,
                                                .silent = on_silent,
                                                .found = on_found};

void source_space_free(struct space *sp)
{
    if (!sp)
        return;
    kube_watch_free(sp->watch);
    free(sp->error);
    free(sp->namespace);
    source_listed_clear(sp);
    map_done(&sp->listed);
    map_done(&sp->known);
    free(sp);
}

int source_space_add(struct source_kind *k, const char *namespace, struct err *err)
{
    const struct source_kube *s = k->source;
    const struct store_kind_spec *spec = store_kind_spec(k->kind);
    struct space *sp = xcalloc(1, sizeof(*sp));
    struct kube_watch_spec watch = {
        .selection = {.api_version = spec->api_versions ? spec->api_versions[0] : spec->api_version,
                      .resource = spec->resource,
                      .namespace = namespace,
                      .label_selector = spec->label_selector,
                      .field_selector = spec->field_selector,
                      .max_object_bytes = s->options.max_object_bytes},
        .api_versions = spec->api_versions,
        .no_streaming_list = s->options.no_streaming_list,
        .stall_ns = s->options.stall_ns};
    sp->kind = k;
    sp->namespace = namespace ? xstrdup(namespace) : NULL;
    map_init(&sp->known, false);
    map_init(&sp->listed, false);
    if (kube_watch_new(s->client, s->discovery, &watch, &watch_ops, sp, &sp->watch, err) < 0) {
        source_space_free(sp);
        return -1;
    }
    vec_push(&k->spaces, sp);
    return 0;
}
