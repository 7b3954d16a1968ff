/* Two ways to take a list over. With one watch for the kind the store does it: replace_begin, puts that go aside,
 * commit. With a watch per namespace a list is kept aside here as text and applied when it is whole: puts for what is
 * in it, deletions for what was known of the namespace and is not. Until the first list of every namespace is there,
 * the store is in the middle of a replace, so that all this (and events that come meanwhile) goes aside too, and
 * becomes visible with one commit.
 *
 * What fails is remembered where it fails, so that it is told when it begins and not again while it goes on: the
 * failure of a watch in its space until the watch works, that of an object by its id until the object is taken over, is
 * deleted, or is missing in a whole list. */
#include "store/source_kube.h"

#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/digest.h"
#include "base/map.h"
#include "base/vec.h"
#include "data/json.h"
#include "kube/discovery.h"
#include "kube/watch.h"
#include "store/source_kube_faults.h"

#define OBJECT_BYTES_MAX ((size_t)8 << 20)

struct source_kind;

/* One watch of a kind. */
struct space {
    struct source_kind *kind;
    struct kube_watch *watch; /* NULL: not needed, the resource is cluster-scoped and another space watches it */
    bool is_listed;
    char *error;                  /* why the watch fails; NULL: it does not */
    int64_t error_ns, failing_ns; /* the last failure, and the first one since it worked */
    bool is_denied, is_absent;    /* what kind of failure it is */
    bool was_followed;
    uint64_t list; /* the number of the list at hand, or of the last one */
    /* Only where there are several: */
    struct map known;  /* ids of this space in the store; values are not used */
    struct map listed; /* id -> JSON text (struct text_item), or to keep what is there */
    bool is_listing;
};

/* JSON of a listed object; NULL json: it exists but could not be read. */
struct text_item {
    char *json;
    size_t length;
};

struct source_kind {
    struct source_kube *source;
    struct store_kind *kind;
    char *name;
    struct digest spec; /* of what the store says it should be */
    size_t space_count;
    struct space *spaces;
    struct faults faults;
    int64_t event_ns;
    struct metric *events[KUBE_DELETED + 1];
};

struct source_kube {
    struct kube_client *client;
    struct kube_discovery *discovery;
    struct store *store;
    struct source_kube_options options;
    source_kube_report *report;
    void *ctx;
    VEC(struct source_kind *) kinds;
    int64_t received_ns;
    bool has_told_silence;
};

/* ---- status and metrics ---- */

static void count(const struct source_kind *k, const char *name, const char *help, const char *reason)
{
    struct metrics *m = k->source->options.metrics;
    if (m)
        metric_add(metric_counter(m, name, help, "kind", k->name, "reason", reason), 1);
}

static void count_event(struct source_kind *k, enum kube_watch_event_type type)
{
    static const char *const names[] = {"listed", "added", "modified", "deleted"};
    struct metrics *m = k->source->options.metrics;
    if (!m)
        return;
    if (!k->events[type])
        k->events[type] = metric_counter(m, "haptic_watch_events_total", "Objects received from the API server.",
                                         "kind", k->name, "type", names[type]);
    metric_add(k->events[type], 1);
}

static void count_failure(const struct source_kind *k, const char *reason)
{
    count(k, "haptic_watch_errors_total", "Failures of watches and of single objects.", reason);
}

static void tell(const struct source_kind *k, const struct err *err, const char *reason, int64_t retry_in_ns)
{
    const struct source_kube *s = k->source;
    if (s->report)
        s->report(s->ctx, k->name, err, reason, retry_in_ns);
}

/* The first space whose watch fails (text NULL), or fails with this text. */
static const struct space *failing_space(const struct source_kind *k, const char *text)
{
    for (size_t i = 0; i < k->space_count; i++) {
        const struct space *sp = &k->spaces[i];
        if (sp->error && (!text || strcmp(sp->error, text) == 0))
            return sp;
    }
    return NULL;
}

/* What all namespaces have in common (no connection) is told once and not for each of them. */
static void space_fails(struct space *sp, const struct err *err, const char *reason, int64_t retry_in_ns)
{
    bool is_known = failing_space(sp->kind, err->text) != NULL;
    free(sp->error);
    sp->error = xstrdup(err->text);
    sp->error_ns = clock_now_ns();
    sp->is_denied = err->kind == ERR_DENIED;
    sp->is_absent = strcmp(reason, "absent") == 0;
    if (sp->is_absent || !sp->failing_ns)
        sp->failing_ns = sp->is_absent ? 0 : sp->error_ns;
    count_failure(sp->kind, reason);
    if (!is_known)
        tell(sp->kind, err, reason, retry_in_ns);
}

static void space_is_well(struct space *sp)
{
    sp->was_followed = true;
    sp->failing_ns = 0;
    if (!sp->error)
        return;
    free(sp->error);
    sp->error = NULL;
    if (!failing_space(sp->kind, NULL))
        tell(sp->kind, NULL, "", 0);
}

static void object_fails(struct space *sp, const char *id, const struct err *err)
{
    count_failure(sp->kind, "object");
    if (faults_add(&sp->kind->faults, sp, sp->list, id, err->text))
        tell(sp->kind, err, "object", 0);
}

/* ---- lists of one namespace of several ---- */

static bool is_shared(const struct space *sp)
{
    return sp->kind->space_count > 1;
}

static char *id_of(const char *namespace, const char *name)
{
    return *namespace ? xasprintf("%s/%s", namespace, name) : xstrdup(name);
}

static void item_free(struct text_item *item)
{
    if (item)
        free(item->json);
    free(item);
}

static void listed_clear(struct space *sp)
{
    struct map_slot *slot;
    for (size_t it = 0; (slot = map_next(&sp->listed, &it));)
        item_free(slot->value);
    map_clear(&sp->listed);
}

/* object NULL: it is there, but keep the version at hand. */
static void listed_add(struct space *sp, const char *namespace, const char *name, yyjson_val *object)
{
    CLEANUP(free_ptr) char *id = id_of(namespace, name);
    struct text_item *item = xcalloc(1, sizeof(*item));
    struct buf json = {0};
    struct err err;
    buf_init(&json, sp->kind->source->options.max_object_bytes);
    if (object && json_write(&json, object, NULL, &err) < 0) {
        err_wrap(&err, "%s %s", sp->kind->name, id);
        object_fails(sp, id, &err);
        buf_done(&json);
    } else if (object) {
        item->length = json.length;
        item->json = buf_steal(&json);
    }
    item_free(map_put(&sp->listed, id, item));
}

static void apply_listed(struct space *sp)
{
    struct source_kind *k = sp->kind;
    struct map_slot *slot;
    struct err err;
    for (size_t it = 0; (slot = map_next(&sp->listed, &it));) {
        const struct text_item *item = slot->value;
        bool is_changed;
        if (!item->json)
            continue;
        if (store_put_json(k->kind, item->json, item->length, &is_changed, &err) < 0)
            object_fails(sp, slot->key, &err);
        else
            faults_remove(&k->faults, slot->key);
    }
    for (size_t it = 0; (slot = map_next(&sp->known, &it));) {
        const char *slash = strchr(slot->key, '/');
        if (map_get(&sp->listed, slot->key))
            continue;
        CLEANUP(free_ptr) char *namespace = xmemdup0(slot->key, slash ? (size_t)(slash - slot->key) : 0);
        store_delete(k->kind, namespace, slash ? slash + 1 : slot->key, NULL);
    }
    map_clear(&sp->known);
    for (size_t it = 0; (slot = map_next(&sp->listed, &it));)
        map_put(&sp->known, slot->key, sp);
    listed_clear(sp);
}

static void commit_if_complete(struct source_kind *k)
{
    for (size_t i = 0; i < k->space_count; i++) {
        if (!k->spaces[i].is_listed)
            return;
    }
    store_replace_commit(k->kind);
}

/* ---- what a watch says ---- */

static void on_list_begin(void *ctx)
{
    struct space *sp = ctx;
    sp->list++;
    if (is_shared(sp)) {
        listed_clear(sp);
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
    if (!is_shared(sp)) {
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
        listed_clear(sp);
        return;
    }
    apply_listed(sp);
    faults_drop_old(&sp->kind->faults, sp, sp->list);
    sp->is_listed = true;
    if (!was_listed && !store_kind_is_synced(k->kind))
        commit_if_complete(k);
}

/* While the kind is replaced, the version at hand is lost unless it is put again. */
static void keep_version(struct space *sp, const char *namespace, const char *name)
{
    CLEANUP(free_ptr) char *id = id_of(namespace, name);
    struct object *o = store_get(sp->kind->kind, id);
    bool is_changed;
    if (o) {
        object_ref(o);
        /* What was good once can only fail for want of room; then it is gone, and the error was told. */
        if (store_put_json(sp->kind->kind, o->json, o->json_length, &is_changed, NULL) < 0)
            count_failure(sp->kind, "object");
        object_unref(o);
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
    count_event(k, e->type);
    if (is_shared(sp) && sp->is_listing) {
        listed_add(sp, e->namespace, e->name, e->object);
        return;
    }
    CLEANUP(free_ptr) char *id = id_of(e->namespace, e->name);
    s->received_ns = e->received_ns;
    if (store_put_value(k->kind, e->object, &is_changed, &err) < 0) {
        if (e->type == KUBE_LISTED)
            keep_version(sp, e->namespace, e->name);
        object_fails(sp, id, &err);
    } else {
        faults_remove(&k->faults, id);
        if (is_shared(sp))
            map_put(&sp->known, id, sp);
    }
    s->received_ns = 0;
}

static void on_del(void *ctx, const struct kube_watch_event *e)
{
    struct space *sp = ctx;
    struct source_kind *k = sp->kind;
    k->event_ns = e->received_ns;
    count_event(k, e->type);
    CLEANUP(free_ptr) char *id = id_of(e->namespace, e->name);
    faults_remove(&k->faults, id);
    if (is_shared(sp) && sp->is_listing) {
        item_free(map_del(&sp->listed, id));
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
    if (*name && is_shared(sp) && sp->is_listing)
        listed_add(sp, namespace, name, NULL);
    else if (*name && !is_shared(sp))
        keep_version(sp, namespace, name);
    CLEANUP(free_ptr) char *id = id_of(namespace, name);
    object_fails(sp, id, err);
}

static void on_error(void *ctx, const struct err *err, const char *reason, int64_t retry_in_ns)
{
    struct space *sp = ctx;
    space_fails(sp, err, reason, retry_in_ns);
}

static void on_followed(void *ctx)
{
    space_is_well(ctx);
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
    tell(sp->kind, &err, "silent", every_ns);
}

static void on_restart(void *ctx, const char *reason)
{
    struct space *sp = ctx;
    count(sp->kind, "haptic_watch_restarts_total", "Watches opened anew and lists begun anew.", reason);
}

static void on_found(void *ctx, const struct kube_resource *resource)
{
    struct space *sp = ctx;
    struct source_kind *k = sp->kind;
    store_kind_set_object_kind(k->kind, resource->kind);
    if (resource->is_namespaced || sp == &k->spaces[0] || sp->is_listed)
        return;
    /* Several namespaces were wanted of something that is in none: the first watch sees all of it. */
    sp->watch = kube_watch_free(sp->watch);
    sp->is_listed = true;
    space_is_well(sp);
    if (k->spaces[0].is_listed && !store_kind_is_synced(k->kind))
        commit_if_complete(k);
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

/* ---- kinds ---- */

static struct digest digest_of_spec(const struct store_kind_spec *spec)
{
    VEC(const char *) parts = {0};
    VEC(size_t) lengths = {0};
    const char *fixed[] = {spec->name, spec->api_version, spec->resource, spec->label_selector, spec->field_selector};
    for (size_t i = 0; i < ARRAY_LEN(fixed); i++)
        vec_push(&parts, fixed[i] ? fixed[i] : "");
    for (const char *const *n = spec->namespaces; n && *n; n++)
        vec_push(&parts, *n);
    for (size_t i = 0; i < parts.length; i++)
        vec_push(&lengths, strlen(parts.items[i]));
    struct digest d = digest_of_parts(parts.length, parts.items, lengths.items);
    vec_done(&parts);
    vec_done(&lengths);
    return d;
}

static void kind_free(struct source_kind *k)
{
    for (size_t i = 0; i < k->space_count; i++) {
        struct space *sp = &k->spaces[i];
        kube_watch_free(sp->watch);
        free(sp->error);
        listed_clear(sp);
        map_done(&sp->listed);
        map_done(&sp->known);
    }
    faults_done(&k->faults);
    free(k->spaces);
    free(k->name);
    free(k);
}

static int kind_add(struct source_kube *s, struct store_kind *kind, struct err *err)
{
    const struct store_kind_spec *spec = store_kind_spec(kind);
    struct source_kind *k = xcalloc(1, sizeof(*k));
    k->source = s;
    k->kind = kind;
    k->name = xstrdup(spec->name);
    k->spec = digest_of_spec(spec);
    while (spec->namespaces && spec->namespaces[k->space_count])
        k->space_count++;
    bool is_everywhere = k->space_count == 0;
    k->space_count += is_everywhere;
    k->spaces = xcalloc(k->space_count, sizeof(*k->spaces));
    if (k->space_count > 1)
        store_replace_begin(kind);
    for (size_t i = 0; i < k->space_count; i++) {
        struct space *sp = &k->spaces[i];
        struct kube_watch_spec watch = {.selection = {.api_version = spec->api_version,
                                                      .resource = spec->resource,
                                                      .namespace = is_everywhere ? NULL : spec->namespaces[i],
                                                      .label_selector = spec->label_selector,
                                                      .field_selector = spec->field_selector,
                                                      .max_object_bytes = s->options.max_object_bytes},
                                        .no_streaming_list = s->options.no_streaming_list,
                                        .stall_ns = s->options.stall_ns};
        sp->kind = k;
        map_init(&sp->known, false);
        map_init(&sp->listed, false);
        if (kube_watch_new(s->client, s->discovery, &watch, &watch_ops, sp, &sp->watch, err) < 0) {
            err_wrap(err, "watched resource \"%s\"", k->name);
            if (k->space_count > 1)
                store_replace_abort(kind);
            kind_free(k);
            return -1;
        }
    }
    vec_push(&s->kinds, k);
    return 0;
}

/* A kind that was removed and added again may have the same name and even address, but it is not synced; one that is
 * still in its first list looks the same, so that list begins again. */
static bool is_current(const struct source_kube *s, const struct source_kind *k)
{
    struct store_kind *now = store_kind_by_name(s->store, k->name);
    return now == k->kind && store_kind_is_synced(now) && digest_equal(k->spec, digest_of_spec(store_kind_spec(now)));
}

int source_kube_reload(struct source_kube *s, struct err *err)
{
    for (size_t i = s->kinds.length; i-- > 0;) {
        struct source_kind *k = s->kinds.items[i];
        if (!is_current(s, k)) {
            kind_free(k);
            vec_swap_remove(&s->kinds, i);
        }
    }
    for (size_t i = 0; i < store_kind_count(s->store); i++) {
        struct store_kind *kind = store_kind_at(s->store, i);
        bool is_watched = false;
        for (size_t j = 0; j < s->kinds.length; j++)
            is_watched = is_watched || s->kinds.items[j]->kind == kind;
        if (!is_watched && kind_add(s, kind, err) < 0)
            return -1;
    }
    return 0;
}

int source_kube_new(struct kube_client *client, struct store *store, const struct source_kube_options *options,
                    source_kube_report *report, void *ctx, struct source_kube **ret_source, struct err *err)
{
    struct source_kube *s = xcalloc(1, sizeof(*s));
    s->client = client;
    s->store = store;
    if (options)
        s->options = *options;
    if (!s->options.max_object_bytes)
        s->options.max_object_bytes = OBJECT_BYTES_MAX;
    s->report = report;
    s->ctx = ctx;
    s->discovery = kube_discovery_new(client);
    if (source_kube_reload(s, err) < 0) {
        source_kube_free(s);
        return -1;
    }
    *ret_source = s;
    return 0;
}

struct source_kube *source_kube_free(struct source_kube *s)
{
    if (!s)
        return NULL;
    for (size_t i = 0; i < s->kinds.length; i++)
        kind_free(s->kinds.items[i]);
    vec_done(&s->kinds);
    kube_discovery_free(s->discovery);
    free(s);
    return NULL;
}

/* The space that has missed changes for the longest time; NULL: none. */
static const struct space *unfollowed_space(const struct source_kind *k)
{
    const struct space *longest = NULL;
    for (size_t i = 0; i < k->space_count; i++) {
        const struct space *sp = &k->spaces[i];
        if (sp->error && !sp->is_absent && (!longest || sp->failing_ns < longest->failing_ns))
            longest = sp;
    }
    return longest;
}

bool source_kube_status(const struct source_kube *s, const char *kind, struct source_kube_status *ret_status)
{
    for (size_t i = 0; i < s->kinds.length; i++) {
        const struct source_kind *k = s->kinds.items[i];
        if (strcmp(k->name, kind) == 0) {
            const struct space *failing = failing_space(k, NULL);
            const struct fault *fault = faults_latest(&k->faults);
            const struct space *stale = unfollowed_space(k);
            *ret_status = (struct source_kube_status){.is_synced = store_kind_is_synced(k->kind),
                                                      .last_error = failing ? failing->error
                                                                    : fault ? fault->text
                                                                            : NULL,
                                                      .last_error_ns = failing ? failing->error_ns
                                                                       : fault ? fault->since_ns
                                                                               : 0,
                                                      .last_event_ns = k->event_ns};
            if (stale) {
                ret_status->unfollowed_ns = stale->failing_ns;
                ret_status->unfollowed_error = stale->error;
                ret_status->is_denied = stale->is_denied;
                ret_status->was_never_followed = !stale->was_followed;
            }
            return true;
        }
    }
    return false;
}

int64_t source_kube_received_ns(const struct source_kube *s)
{
    return s->received_ns;
}
