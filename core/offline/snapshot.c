/* One kind after the other, one namespace after the other: discovery, then a list page by page. */
#include "offline/snapshot.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "data/json.h"
#include "kube/discovery.h"
#include "kube/pager.h"
#include "offline/fake_secret.h"
#include "store/secret.h"

#define OBJECT_MAX ((size_t)8 << 20) /* the controller's own (controller/app.c) */
#define VALUES_MAX ((size_t)1 << 30)
#define OBJECTS_MAX 2000000U

struct taking {
    struct snapshot *snapshot;
    uv_loop_t *loop;
    struct kube_client *client;
    struct kube_discovery *discovery;
    struct fake_secrets fakes;
    struct json_prune prune;
    /* The kind at hand. */
    const struct config_kind *kind;
    size_t place;        /* in snapshot->kinds */
    size_t before;       /* objects that were there before its list began */
    char *of_kind;       /* "Ingress" */
    struct map seen;     /* ids of the kind that are taken already */
    struct map selected; /* names of namespaces; values are not used */
    bool waits, served, namespaced;
    const char *api_version; /* of the kind at hand: the first candidate that is served */
    struct err problem;      /* of the call at hand */
};

static struct snapshot_kind *at_hand(struct taking *t)
{
    return &t->snapshot->kinds.items[t->place];
}

static void wait_for(struct taking *t)
{
    while (t->waits)
        uv_run(t->loop, UV_RUN_ONCE);
}

/* ---- what is served ---- */

static void on_found(void *ctx, const struct kube_resource *resource, const struct err *err)
{
    struct taking *t = ctx;

    t->waits = false;
    if (err != NULL) {
        t->problem = *err;
        return;
    }
    t->served = resource->is_served;
    t->namespaced = resource->is_namespaced;
    free(t->of_kind);
    t->of_kind = xstrdup(resource->kind);
}

/* ---- objects ---- */

static void on_begin(void *ctx)
{
    struct taking *t = ctx;
    struct snapshot_kind *kind = at_hand(t);

    while (kind->objects.length > t->before) { /* a list that began anew */
        struct snapshot_object *last = &kind->objects.items[--kind->objects.length];
        map_del(&t->seen, last->id);
        free(last->id);
        free(last->json);
    }
}

static int write_other(struct taking *t, yyjson_val *object, struct buf *out, struct err *err)
{
    CLEANUP(buf_done) struct buf text = {.max = OBJECT_MAX};

    if (json_write(&text, object, &t->prune, err) < 0)
        return -1;
    if (json_str(object, "kind") != NULL) {
        buf_add(out, buf_str(&text), text.length);
        return 0;
    }
    buf_printf(out, "{\"apiVersion\":\"%s\",\"kind\":\"%s\",", t->api_version, t->of_kind);
    buf_add(out, buf_str(&text) + 1, text.length - 1);
    return 0;
}

/* Only values that were asked for are looked for in texts. */
static int ask_value(struct snapshot *s, const char *handle, struct vault_value *ret_value, struct err *err)
{
    return vault_get(s->vault, handle, ret_value, err);
}

/* A value is looked for in both of its forms. */
static int keep_encoded(struct snapshot *s, const char *key, const struct vault_value *value, struct vault_hold **hold,
                        struct err *err)
{
    CLEANUP(free_ptr) char *encoded = kube_base64_encode(value->bytes, value->length);
    struct vault_name name = {.namespace = "", .name = value->secret, .uid = "", .resource_version = "", .key = key};
    char handle[VAULT_HANDLE_LENGTH + 1];
    struct vault_value again;

    if (vault_put(s->vault, hold, &name, encoded, strcspn(encoded, "="), handle, err) < 0)
        return -1;
    return ask_value(s, handle, &again, err);
}

int snapshot_learn(struct snapshot *s, struct yyjson_val *object, struct err *err)
{
    CLEANUP(json_doc_done) struct yyjson_doc *doc = NULL;
    struct vault_hold *hold = NULL, *encoded = NULL;
    int result = 0;

    if (s->vault == NULL)
        return 0;
    if (secret_conceal(s->vault, object, &doc, &hold, err) < 0)
        return -1;
    struct yyjson_val *data = json_at(yyjson_doc_get_root(doc), "data"), *key, *handle;
    size_t at, max;
    yyjson_obj_foreach(data, at, max, key, handle)
    {
        struct vault_value value;
        if (result == 0)
            result = ask_value(s, yyjson_get_str(handle), &value, err);
        if (result == 0)
            result = keep_encoded(s, yyjson_get_str(key), &value, &encoded, err);
    }
    vec_push(&s->holds, hold);
    vec_push(&s->holds, encoded);
    return result;
}

static void on_object(void *ctx, yyjson_val *object, const char *namespace, const char *name, int64_t received_ns)
{
    struct taking *t = ctx;
    CLEANUP(buf_done) struct buf json = {.max = OBJECT_MAX};
    CLEANUP(free_ptr) char *id = xasprintf("%s/%s", namespace, name);
    struct snapshot_kind *kind = at_hand(t);
    bool secret = secret_is_kind(t->api_version, t->kind->resource);

    (void)received_ns;
    if (t->problem.kind != ERR_NONE || map_get(&t->seen, id) != NULL)
        return;
    int result = kind->objects.length >= OBJECTS_MAX
                     ? err_set(&t->problem, ERR_LIMIT, "more than %u objects", OBJECTS_MAX)
                 : secret ? snapshot_learn(t->snapshot, object, &t->problem)
                          : 0;
    if (result == 0)
        result = secret ? fake_secret_write(&t->fakes, object, &json, &t->problem)
                        : write_other(t, object, &json, &t->problem);
    if (result < 0) {
        (void)err_wrap(&t->problem, "%s %s", kind->label, id);
        return;
    }
    map_put(&t->seen, id, t);
    vec_push(&kind->objects, ((struct snapshot_object){.id = STEAL(id), .json = buf_steal(&json)}));
}

static void on_complete(void *ctx, const char *resource_version)
{
    (void)resource_version;
    ((struct taking *)ctx)->waits = false;
}

static void on_failed(void *ctx, const struct err *err, int64_t retry_after_ns)
{
    struct taking *t = ctx;

    (void)retry_after_ns;
    t->problem = *err;
    t->waits = false;
}

static const struct kube_pager_ops pager_ops = {on_begin, on_object, on_complete, on_failed};

static int take_list(struct taking *t, const char *namespace, struct err *err)
{
    const struct kube_selection selection = {.api_version = t->api_version,
                                             .resource = t->kind->resource,
                                             .namespace = namespace,
                                             .label_selector = t->kind->label_selector,
                                             .field_selector = t->kind->field_selector};

    t->before = at_hand(t)->objects.length;
    t->waits = true;
    kube_pager_start(t->client, &selection, &pager_ops, t);
    wait_for(t);
    if (t->problem.kind == ERR_NONE)
        return 0;
    *err = t->problem;
    return -1;
}

/* ---- places of kinds ---- */

static size_t place_of(struct snapshot *s, const char *label)
{
    size_t i = 0;

    while (i < s->kinds.length && strcmp(s->kinds.items[i].label, label) != 0)
        i++;
    if (i == s->kinds.length)
        vec_push(&s->kinds, ((struct snapshot_kind){.label = xstrdup(label)}));
    return i;
}

static int compare_objects(const void *a, const void *b)
{
    return strcmp(((const struct snapshot_object *)a)->id, ((const struct snapshot_object *)b)->id);
}

/* Which of its apiVersions is served; t->served: any. */
static int find_version(struct taking *t, struct err *err)
{
    const struct config_strings *versions = &t->kind->api_versions;
    size_t i = 0;

    do {
        t->api_version = versions->length > 0 ? versions->items[i] : t->kind->api_version;
        t->waits = true;
        (void)kube_discovery_find(t->discovery, t->api_version, t->kind->resource, on_found, t);
        wait_for(t);
    } while (t->problem.kind == ERR_NONE && !t->served && ++i < versions->length);
    if (t->problem.kind == ERR_NONE)
        return 0;
    *err = t->problem;
    return -1;
}

/* ---- namespaces that are selected by their labels ---- */

static void on_namespaces_begin(void *ctx)
{
    struct taking *t = ctx;

    map_clear(&t->selected);
}

static void on_namespace(void *ctx, yyjson_val *object, const char *namespace, const char *name, int64_t received_ns)
{
    struct taking *t = ctx;

    (void)object, (void)namespace, (void)received_ns;
    map_put(&t->selected, name, t);
}

static const struct kube_pager_ops namespace_ops = {on_namespaces_begin, on_namespace, on_complete, on_failed};

static int take_selected(struct taking *t, struct err *err)
{
    const struct kube_selection selection = {
        .api_version = "v1", .resource = "namespaces", .label_selector = t->kind->namespace_selector};
    struct map_slot *slot;
    int result = 0;

    t->waits = true;
    kube_pager_start(t->client, &selection, &namespace_ops, t);
    wait_for(t);
    if (t->problem.kind != ERR_NONE) {
        *err = t->problem;
        return err_wrap(err, "namespaceSelector");
    }
    for (size_t it = 0; result == 0 && (slot = map_next(&t->selected, &it));)
        result = take_list(t, slot->key, err);
    return result;
}

/* ---- kinds ---- */

static int take_kind(struct taking *t, struct err *err)
{
    CLEANUP(buf_done) struct buf label = {0};
    const struct config_strings *namespaces = &t->kind->namespaces;

    if (find_version(t, err) < 0)
        return -1;
    kube_path_add_label(&label, t->api_version, t->kind->resource);
    if (!t->served) {
        vec_push(&t->snapshot->absent, buf_steal(&label));
        return 0;
    }
    t->place = place_of(t->snapshot, buf_str(&label));
    map_clear(&t->seen);
    for (size_t i = 0; i < at_hand(t)->objects.length; i++)
        map_put(&t->seen, at_hand(t)->objects.items[i].id, t);
    int result = 0;
    if (t->kind->namespace_selector != NULL)
        result = t->namespaced ? take_selected(t, err) : 0;
    else if (namespaces->length == 0 || !t->namespaced)
        result = take_list(t, NULL, err);
    for (size_t i = 0; t->namespaced && i < namespaces->length && result == 0; i++)
        result = take_list(t, namespaces->items[i], err);
    struct snapshot_kind *kind = at_hand(t);
    if (kind->objects.length > 0)
        qsort(kind->objects.items, kind->objects.length, sizeof(kind->objects.items[0]), compare_objects);
    return result;
}

int snapshot_take(uv_loop_t *loop, struct kube_client *client, const struct config *config, bool keep,
                  struct snapshot *s, struct err *err)
{
    struct taking t = {.snapshot = s, .loop = loop, .client = client};
    int result = json_prune_add(&t.prune, "metadata.managedFields", err);

    *s = (struct snapshot){.vault = keep ? vault_new(VALUES_MAX) : NULL};
    for (size_t i = 0; i < config->ignore_fields.length && result == 0; i++)
        if (strcmp(config->ignore_fields.items[i], "metadata.managedFields") != 0)
            result = json_prune_add(&t.prune, config->ignore_fields.items[i], err);
    t.discovery = kube_discovery_new(client);
    for (size_t i = 0; i < config->kinds.length && result == 0; i++) {
        t.kind = &config->kinds.items[i];
        if (!config_is_fetched(t.kind))
            result = take_kind(&t, err);
    }
    kube_discovery_free(t.discovery);
    json_prune_done(&t.prune);
    fake_secrets_done(&t.fakes);
    map_done(&t.seen);
    map_done(&t.selected);
    free(t.of_kind);
    if (result < 0)
        snapshot_done(s);
    return result;
}

void snapshot_done(struct snapshot *s)
{
    for (size_t i = 0; i < s->kinds.length; i++) {
        struct snapshot_kind *kind = &s->kinds.items[i];
        for (size_t j = 0; j < kind->objects.length; j++) {
            free(kind->objects.items[j].id);
            free(kind->objects.items[j].json);
        }
        vec_done(&kind->objects);
        free(kind->label);
    }
    vec_done(&s->kinds);
    for (size_t i = 0; i < s->absent.length; i++)
        free(s->absent.items[i]);
    vec_done(&s->absent);
    for (size_t i = 0; i < s->holds.length; i++)
        vault_release(s->holds.items[i]);
    vec_done(&s->holds);
    s->vault = vault_free(s->vault);
}

void snapshot_redact(struct snapshot *s, const char *text, size_t length, struct buf *out)
{
    vault_redact(s->vault, text, length, out);
}

size_t snapshot_objects(const struct snapshot *s)
{
    size_t count = 0;

    for (size_t i = 0; i < s->kinds.length; i++)
        count += s->kinds.items[i].objects.length;
    return count;
}
