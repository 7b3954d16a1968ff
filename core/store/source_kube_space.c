/* A failure is reported when it begins, and not again while it lasts. So failures are remembered: that of a watch until
 * the watch works, that of an object (by its id) until the object is taken over, is deleted, or is missing in a
 * complete list.
 */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"
#include "data/json.h"
#include "store/source_kube_state.h"

void source_count(const struct source_kind *k, const char *name, const char *help, const char *reason)
{
    struct metrics *m = k->source->options.metrics;
    if (m)
        metric_add(metric_counter(m, name, help, "kind", k->name, "reason", reason), 1);
}

void source_count_event(struct source_kind *k, enum kube_watch_event_type type)
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

void source_count_failure(const struct source_kind *k, const char *reason)
{
    source_count(k, "haptic_watch_errors_total", "Failures of watches and of single objects.", reason);
}

void source_tell(const struct source_kind *k, const struct err *err, const char *reason, int64_t retry_in_ns)
{
    const struct source_kube *s = k->source;
    if (s->report)
        s->report(s->ctx, k->name, err, reason, retry_in_ns);
}

const struct space *source_failing_space(const struct source_kind *k, const char *text)
{
    for (size_t i = 0; i <= k->spaces.length; i++) {
        const struct space *sp = i < k->spaces.length ? k->spaces.items[i] : k->selector;
        if (sp && sp->error && (!text || strcmp(sp->error, text) == 0))
            return sp;
    }
    return NULL;
}

void source_space_fails(struct space *sp, const struct err *err, const char *reason, int64_t retry_in_ns)
{
    if (strcmp(reason, "absent") == 0 && store_kind_spec(sp->kind->kind)->is_optional) {
        source_space_is_well(sp);
        if (!sp->kind->has_told_absence)
            source_tell(sp->kind, err, "optional", retry_in_ns);
        sp->kind->has_told_absence = true;
        return;
    }
    bool is_known = source_failing_space(sp->kind, err->text) != NULL;
    free(sp->error);
    sp->error = xstrdup(err->text);
    sp->error_ns = clock_now_ns();
    sp->is_denied = err->kind == ERR_DENIED;
    sp->is_absent = strcmp(reason, "absent") == 0;
    if (sp->is_absent || !sp->failing_ns)
        sp->failing_ns = sp->is_absent ? 0 : sp->error_ns;
    source_count_failure(sp->kind, reason);
    if (!is_known)
        source_tell(sp->kind, err, reason, retry_in_ns);
}

void source_space_is_well(struct space *sp)
{
    sp->was_followed = true;
    sp->failing_ns = 0;
    if (!sp->error)
        return;
    free(sp->error);
    sp->error = NULL;
    if (!source_failing_space(sp->kind, NULL))
        source_tell(sp->kind, NULL, "", 0);
}

void source_object_fails(struct space *sp, const char *id, const struct err *err)
{
    source_count_failure(sp->kind, "object");
    if (faults_add(&sp->kind->faults, sp, sp->list, id, err->text))
        source_tell(sp->kind, err, "object", 0);
}

/* ---- lists of one namespace of several ---- */

bool source_is_shared(const struct space *sp)
{
    return sp->kind->is_shared;
}

char *source_id_of(const char *namespace, const char *name)
{
    return *namespace ? xasprintf("%s/%s", namespace, name) : xstrdup(name);
}

void source_item_free(struct text_item *item)
{
    if (item)
        free(item->json);
    free(item);
}

void source_listed_clear(struct space *sp)
{
    struct map_slot *slot;
    for (size_t it = 0; (slot = map_next(&sp->listed, &it));)
        source_item_free(slot->value);
    map_clear(&sp->listed);
}

void source_listed_add(struct space *sp, const char *namespace, const char *name, yyjson_val *object)
{
    CLEANUP(free_ptr) char *id = source_id_of(namespace, name);
    struct text_item *item = xcalloc(1, sizeof(*item));
    struct buf json = {0};
    struct err err;
    buf_init(&json, sp->kind->source->options.max_object_bytes);
    if (object && json_write(&json, object, NULL, &err) < 0) {
        err_wrap(&err, "%s %s", sp->kind->name, id);
        source_object_fails(sp, id, &err);
        buf_done(&json);
    } else if (object) {
        item->length = json.length;
        item->json = buf_steal(&json);
    }
    source_item_free(map_put(&sp->listed, id, item));
}

void source_apply_listed(struct space *sp)
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
            source_object_fails(sp, slot->key, &err);
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
    source_listed_clear(sp);
}

void source_commit_if_complete(struct source_kind *k)
{
    if (k->selector && !k->selector->is_listed)
        return;
    for (size_t i = 0; i < k->spaces.length; i++) {
        if (!k->spaces.items[i]->is_listed)
            return;
    }
    store_replace_commit(k->kind);
}

const struct space *source_unfollowed_space(const struct source_kind *k)
{
    const struct space *longest = NULL;
    for (size_t i = 0; i <= k->spaces.length; i++) {
        const struct space *sp = i < k->spaces.length ? k->spaces.items[i] : k->selector;
        if (sp && sp->error && !sp->is_absent && (!longest || sp->failing_ns < longest->failing_ns))
            longest = sp;
    }
    return longest;
}
