/* A failed fragment concerns only the object that it runs for. So a candidate is denied for failures of its own
 * fragments, and for failures of fragments without an object when only the candidate can have caused them. An object
 * that fails already may still be changed: otherwise its owner could not even remove a finalizer. */
#include "controller/admission_state.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "controller/conflicts.h"
#include "controller/messages.h"
#include "data/json.h"
#include "data/selector.h"

#define FINDINGS_MAX 200
#define CONFLICTS_MAX 5

/* ---- which objects ---- */

static const struct config_kind *kind_of(const struct config *c, const struct review *review)
{
    for (size_t i = 0; c != NULL && i < c->kinds.length; i++) {
        const struct config_kind *k = &c->kinds.items[i];
        bool has_version = review_has_version(review, k->api_version);
        for (size_t j = 0; j < k->api_versions.length && !has_version; j++)
            has_version = review_has_version(review, k->api_versions.items[j]);
        if (k->is_reviewed && has_version && strcmp(k->resource, review->resource) == 0)
            return k;
    }
    return NULL;
}

static bool is_in(const struct config_strings *names, const char *name)
{
    for (size_t i = 0; i < names->length; i++)
        if (strcmp(names->items[i], name) == 0)
            return true;
    return names->length == 0;
}

static bool selects(const struct config_kind *k, yyjson_val *object)
{
    struct label_selector *labels = NULL;
    struct field_selector *fields = NULL;
    struct err err;
    bool selected = label_selector_compile(k->label_selector, &labels, &err) == 0 &&
                    field_selector_compile(k->field_selector, &fields, &err) == 0 &&
                    label_selector_matches(labels, json_at(object, "metadata", "labels")) &&
                    field_selector_matches(fields, object);

    label_selector_free(labels);
    field_selector_free(fields);
    return selected;
}

/* True for an object that would be rendered. */
static bool is_concerned(const struct admission *a, const struct config_kind *k, const struct review *review)
{
    const char *namespace = json_str(review->object, "metadata", "namespace");

    namespace = namespace != NULL ? namespace : "";
    return (strcmp(review->operation, "CREATE") == 0 || strcmp(review->operation, "UPDATE") == 0) &&
           *review->subresource == '\0' && review->object != NULL &&
           json_at(review->object, "metadata", "deletionTimestamp") == NULL && is_in(&k->namespaces, namespace) &&
           selects(k, review->object) &&
           (a->spec.is_followed == NULL || a->spec.is_followed(a->spec.ctx, k->name, namespace));
}

bool admission_take(struct admission *a, const struct review *review, struct object **ret_object, struct verdict *v)
{
    const struct config_kind *k = kind_of(a->spec.config(a->spec.ctx), review);
    struct store_kind *kind = k != NULL ? store_kind_by_name(a->spec.store, k->name) : NULL;
    struct object *object = NULL, *old = NULL;
    struct err err, ignored;

    if (kind == NULL || !is_concerned(a, k, review))
        return false;
    if (json_str(review->object, "metadata", "name") == NULL)
        return false; /* the API server generates the name later; no other error is possible without it */
    if (store_make_object(kind, review->object, &object, &err) < 0) {
        bool was_so = review->old_object != NULL && store_make_object(kind, review->old_object, &old, &ignored) < 0;
        object_unref(old);
        if (was_so)
            verdict_warn(v, err.text);
        else
            verdict_deny(v, 422, err.text);
        return false;
    }
    const struct object *now = store_get(kind, object->id);
    if (now != NULL && now->text_length > 0 && object_equal(object, now)) {
        object_unref(object);
        return false;
    }
    *ret_object = object;
    return true;
}

bool admission_is_held(const struct admission *a, const struct render_stats *stats)
{
    const char *namespace = a->queue.items[0]->object->namespace;

    for (size_t i = 0; i < stats->held_count; i++)
        if (strcmp(stats->held[i].namespace_name, namespace) == 0)
            return true;
    return false;
}

/* ---- findings ---- */

static void finding_done(struct admission_finding *f)
{
    fragment_unref(f->fragment);
    free(f->id);
    free(f->owner_kind);
    free(f->owner_id);
    free(f->message);
}

void admission_forget_findings(struct admission *a)
{
    for (size_t i = 0; i < a->findings.length; i++)
        finding_done(&a->findings.items[i]);
    vec_done(&a->findings);
}

static bool owns(const struct object *o, const char *owner_kind, const char *owner_id)
{
    return strcmp(store_kind_spec(o->kind)->name, owner_kind) == 0 && strcmp(o->id, owner_id) == 0;
}

/* The fragment has run again: removes its earlier finding. */
static void drop_finding(struct admission *a, const char *fragment_id)
{
    for (size_t i = 0; i < a->findings.length; i++)
        if (strcmp(a->findings.items[i].id, fragment_id) == 0) {
            finding_done(&a->findings.items[i]);
            vec_swap_remove(&a->findings, i);
            return;
        }
}

void admission_on_fragment(void *ctx, struct fragment *f)
{
    struct admission *a = ctx;

    problems_clear(&a->problems, f->id);
    if (a->state != ADMISSION_JUDGING)
        return;
    drop_finding(a, f->id);
    if (a->findings.length < FINDINGS_MAX && owns(a->queue.items[0]->object, f->owner_kind, f->owner_id))
        vec_push(&a->findings, ((struct admission_finding){.fragment = fragment_ref(f), .id = xstrdup(f->id)}));
}

void admission_on_gone(void *ctx, const char *fragment_id)
{
    struct admission *a = ctx;

    problems_clear(&a->problems, fragment_id);
    drop_finding(a, fragment_id);
}

void admission_on_waits(void *ctx, const char *fragment_id)
{
    (void)ctx;
    (void)fragment_id;
}

void admission_on_failed(void *ctx, const struct fragment_failure *f)
{
    struct admission *a = ctx;

    if (a->state != ADMISSION_JUDGING) {
        (void)problems_set(&a->problems, f->id, f->owner_kind, f->owner_id, f->message);
        return;
    }
    drop_finding(a, f->id);
    if (a->findings.length < FINDINGS_MAX)
        vec_push(&a->findings,
                 ((struct admission_finding){.id = xstrdup(f->id),
                                             .owner_kind = xstrdup(f->owner_kind),
                                             .owner_id = xstrdup(f->owner_id),
                                             .message = xstrdup(f->message),
                                             .was_known = problems_has(&a->problems, f->id, f->message)}));
}

/* ---- the verdict ---- */

static void warn_of_conflicts(const struct model *m, const struct fragment *f, struct verdict *v)
{
    size_t found = 0;

    for (size_t i = 0; i < f->count && found < CONFLICTS_MAX; i++) {
        const struct contribution *c = &f->items[i];
        const struct item *item = NULL;
        if (c->kind == CONTRIBUTION_MAP_ENTRY && *c->key != '\0')
            item = model_map_item(m, c->scope, c->key);
        else if (c->kind == CONTRIBUTION_CRT_LIST)
            item = model_list_item(m, c->scope, c->key);
        CLEANUP(free_ptr) char *message = item != NULL ? conflicts_foresee(m, item, f, c) : NULL;
        CLEANUP(free_ptr) char *text = message != NULL ? xasprintf("HT0402: %s", message) : NULL;
        if (text != NULL) {
            verdict_warn(v, text);
            found++;
        }
    }
}

static void judge_fragment(const struct admission *a, const struct fragment *f, struct verdict *v)
{
    const struct model *model = a->spec.model != NULL ? a->spec.model(a->spec.ctx) : NULL;
    struct messages messages;

    messages_init(&messages, f);
    for (size_t i = 0; i < messages.items.length; i++) {
        const struct message *m = &messages.items.items[i];
        if (m->kind != CONTRIBUTION_WARNING)
            continue;
        CLEANUP(free_ptr) char *text = xasprintf("%s: %s", m->reason, m->text);
        verdict_warn(v, text);
    }
    messages_done(&messages);
    if (model != NULL)
        warn_of_conflicts(model, f, v);
}

static bool is_same_namespace(const struct object *o, const char *owner_id)
{
    size_t length = strlen(o->namespace);

    return length > 0 && strncmp(owner_id, o->namespace, length) == 0 && owner_id[length] == '/';
}

/* About other objects, the answer contains only what the candidate's owner may know. */
static void judge_failure(const struct admission *a, const struct object *o, const struct admission_finding *f,
                          struct verdict *v)
{
    bool is_own = owns(o, f->owner_kind, f->owner_id);
    CLEANUP(free_ptr) char *text = NULL;

    if (is_own && f->was_known)
        text = xasprintf("HT0202: this object fails as before: %s", f->message);
    else if (is_own)
        text = xasprintf("HT0202: %s. Correct the object, or the named line of the template", f->message);
    else if (*f->owner_id == '\0' && !f->was_known)
        text = xasprintf("HT0202: with this object, a template for all objects fails: %s", f->message);
    else if (!f->was_known && is_same_namespace(o, f->owner_id))
        text = xasprintf("HT0202: with this object, %s %s fails: %s", f->owner_kind, f->owner_id, f->message);
    if (text == NULL)
        return;
    if (!f->was_known && (is_own || (*f->owner_id == '\0' && !a->stirred && !a->dirty)))
        verdict_deny(v, 422, text);
    else
        verdict_warn(v, text);
}

void admission_judge(const struct admission *a, const struct object *candidate, struct verdict *v)
{
    for (size_t i = 0; i < a->findings.length; i++) {
        const struct admission_finding *f = &a->findings.items[i];
        if (f->fragment != NULL)
            judge_fragment(a, f->fragment, v);
        else
            judge_failure(a, candidate, f, v);
    }
}

enum admission_blame admission_judge_death(const struct admission *a, const struct object *candidate,
                                           const struct renderer_death *death, struct verdict *v, struct buf *why)
{
    bool is_time = strcmp(death->reason, "deadline") == 0, is_memory = strcmp(death->reason, "memory") == 0;
    const char *colon = *death->place != '\0' ? ": " : "";

    if (*death->fragment_id == '\0' || !owns(candidate, death->owner_kind, death->owner_id) || (!is_time && !is_memory))
        return BLAME_NONE;
    if (is_time && !a->deadline_is_full) {
        buf_printf(why, "%s%sa template had not ended for this object after %s", death->place, colon,
                   log_duration(a->limits.deadline_ns));
        return BLAME_TOO_LATE;
    }
    CLEANUP(free_ptr)
    char *text = is_time ? xasprintf("HT0203: %s%sa template had not ended for this object after %s "
                                     "(templatingSettings.renderTimeout)",
                                     death->place, colon, log_duration(a->limits.deadline_ns))
                         : xasprintf("HT0203: for this object, %s took more than %zu bytes of memory "
                                     "(templatingSettings.renderMemoryBytes)",
                                     death->template_name, a->limits.memory_bytes);
    verdict_deny(v, 422, text);
    return BLAME_DENIED;
}
