/* A list is taken over in one of two ways. With one watch for the kind, the store does it: replace_begin, puts into a
 * second table, commit. With a watch per namespace, the list is kept here as text and applied when it is complete: puts
 * for its objects, deletions for known objects of the namespace that it lacks. Until the first list of every namespace
 * is complete, the store is within a replace. So all these objects (and those of events in the meantime) go into the
 * second table, and become visible with one commit.
 */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "store/source_kube_state.h"

#define OBJECT_BYTES_MAX ((size_t)8 << 20)

/* ---- objects that are followed by name ---- */

static void on_outcome(void *ctx, const char *id, const struct err *err)
{
    struct source_kind *k = ctx;
    if (!err) {
        faults_remove(&k->faults, id);
        return;
    }
    const char *reason = err->kind == ERR_INVALID || err->kind == ERR_LIMIT ? "object" : "unread";
    source_count_failure(k, reason);
    if (faults_add(&k->faults, k, 0, id, err->text))
        source_tell(k, err, reason, 0);
}

static void on_event(void *ctx)
{
    struct source_kind *k = ctx;
    k->event_ns = clock_now_ns();
}

static const struct source_named_ops named_ops = {.outcome = on_outcome, .event = on_event};

/* ---- kinds ---- */

static void kind_free(struct source_kind *k)
{
    for (size_t i = 0; i < k->spaces.length; i++)
        source_space_free(k->spaces.items[i]);
    source_space_free(k->selector);
    source_named_free(k->named);
    source_fetch_free(k->fetch);
    faults_done(&k->faults);
    vec_done(&k->spaces);
    free(k->name);
    free(k);
}

static int spaces_add(struct source_kind *k, const struct store_kind_spec *spec, struct err *err)
{
    if (spec->namespace_selector)
        return source_select_new(k, spec->namespace_selector, err);
    if (!spec->namespaces || !spec->namespaces[0])
        return source_space_add(k, NULL, err);
    for (const char *const *n = spec->namespaces; *n; n++)
        if (source_space_add(k, *n, err) < 0)
            return -1;
    return 0;
}

static int kind_add(struct source_kube *s, struct store_kind *kind, struct err *err)
{
    const struct store_kind_spec *spec = store_kind_spec(kind);
    struct source_kind *k = xcalloc(1, sizeof(*k));
    k->source = s;
    k->kind = kind;
    k->name = xstrdup(spec->name);
    k->spec = store_kind_spec_digest(spec);
    if (spec->is_referenced) {
        k->named = source_named_new(s->client, s->store, kind, s->options.max_object_bytes, s->options.metrics,
                                    &named_ops, k);
        vec_push(&s->kinds, k);
        return 0;
    }
    k->is_shared = spec->namespace_selector || (spec->namespaces && spec->namespaces[0] && spec->namespaces[1]);
    if (k->is_shared)
        store_replace_begin(kind);
    if (spaces_add(k, spec, err) < 0) {
        err_wrap(err, "watched resource \"%s\"", k->name);
        if (k->is_shared)
            store_replace_abort(kind);
        kind_free(k);
        return -1;
    }
    if (spec->is_on_demand)
        k->fetch = source_fetch_new(s->client, s->store, kind, s->options.max_object_bytes, s->options.metrics,
                                    on_outcome, k);
    vec_push(&s->kinds, k);
    return 0;
}

/* A kind that was removed and added again may have the same name and even the same address, but it is not synced. A
 * kind within its first list looks the same, so that list starts again. */
static bool is_current(const struct source_kube *s, const struct source_kind *k)
{
    struct store_kind *now = store_kind_by_name(s->store, k->name);
    return now == k->kind && store_kind_is_synced(now) &&
           digest_equal(k->spec, store_kind_spec_digest(store_kind_spec(now)));
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
        bool is_watched = store_kind_is_own(kind);
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

bool source_kube_status(const struct source_kube *s, const char *kind, struct source_kube_status *ret_status)
{
    for (size_t i = 0; i < s->kinds.length; i++) {
        const struct source_kind *k = s->kinds.items[i];
        if (strcmp(k->name, kind) == 0) {
            const struct space *failing = source_failing_space(k, NULL);
            const struct fault *fault = faults_latest(&k->faults);
            const struct space *stale = source_unfollowed_space(k);
            *ret_status = (struct source_kube_status){.is_synced = store_kind_is_synced(k->kind),
                                                      .last_error = failing ? failing->error
                                                                    : fault ? fault->text
                                                                            : NULL,
                                                      .last_error_ns = failing ? failing->error_ns
                                                                       : fault ? fault->since_ns
                                                                               : 0,
                                                      .last_event_ns = k->event_ns,
                                                      .is_idle = k->named && source_named_count(k->named) == 0};
            if (k->named && source_named_failing_ns(k->named)) {
                ret_status->unfollowed_ns = source_named_failing_ns(k->named);
                ret_status->unfollowed_error = fault ? fault->text : "none of its objects can be read";
            }
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

bool source_kube_follows(const struct source_kube *s, const char *kind, const char *namespace)
{
    for (size_t i = 0; i < s->kinds.length; i++) {
        const struct source_kind *k = s->kinds.items[i];
        if (strcmp(k->name, kind) != 0)
            continue;
        bool is_there = k->selector == NULL;
        for (size_t j = 0; j < k->spaces.length && !is_there; j++)
            is_there = k->spaces.items[j]->namespace && strcmp(k->spaces.items[j]->namespace, namespace) == 0;
        return is_there;
    }
    return false;
}
