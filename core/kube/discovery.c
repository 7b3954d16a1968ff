/* Each lookup is attached to its apiVersion and is answered from a timer of the next turn or when the document has
 * come. Answering takes one lookup out at a time, because its callback may start and cancel others. */
#include "kube/discovery.h"

#include <string.h>
#include <yyjson.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/map.h"
#include "data/json.h"
#include "kube/path.h"
#include "net/timer.h"

#define DEADLINE_NS (30 * NS_PER_S)
#define DOCUMENT_MAX ((size_t)16 << 20)

struct group_version {
    struct kube_discovery *discovery;
    char *api_version;
    yyjson_doc *doc; /* NULL: not known, or not served */
    bool is_known;
    struct kube_request *request;
    struct kube_lookup *lookups;
};

struct kube_lookup {
    struct group_version *gv;
    struct kube_lookup *next;
    uint64_t round; /* in which it was asked: those of the present one are answered in a later one */
    char *resource;
    kube_discovery_done *done;
    void *ctx;
};

struct kube_discovery {
    struct kube_client *client;
    struct map versions; /* apiVersion -> struct group_version */
    struct net_timer *soon;
    uint64_t round;
};

static yyjson_val *resource_of(const struct group_version *gv, const char *resource)
{
    yyjson_val *item;
    yyjson_arr_iter it = yyjson_arr_iter_with(json_at(yyjson_doc_get_root(gv->doc), "resources"));
    while ((item = yyjson_arr_iter_next(&it))) {
        const char *name = json_str(item, "name");
        if (name && strcmp(name, resource) == 0)
            return item;
    }
    return NULL;
}

static bool has_verb(yyjson_val *resource, const char *verb)
{
    yyjson_val *item;
    yyjson_arr_iter it = yyjson_arr_iter_with(json_at(resource, "verbs"));
    while ((item = yyjson_arr_iter_next(&it))) {
        if (yyjson_equals_str(item, verb))
            return true;
    }
    return false;
}

static void lookup_free(struct kube_lookup *l)
{
    free(l->resource);
    free(l);
}

/* Those asked before this round; what the callbacks ask is behind them in the list. */
static void answer(struct group_version *gv, const struct err *err, uint64_t round)
{
    while (gv->lookups && gv->lookups->round < round) {
        struct kube_lookup *l = gv->lookups;
        gv->lookups = l->next;
        yyjson_val *v = resource_of(gv, l->resource);
        const char *kind = json_str(v, "kind");
        struct kube_resource resource = {.is_served = v != NULL,
                                         .is_namespaced = json_bool_or(false, v, "namespaced"),
                                         .can_list = has_verb(v, "list"),
                                         .can_watch = has_verb(v, "watch"),
                                         .kind = kind ? kind : "",
                                         .api_version = gv->api_version};
        kube_discovery_done *done = l->done;
        void *ctx = l->ctx;
        lookup_free(l);
        done(ctx, err ? NULL : &resource, err);
    }
}

static void on_document(void *ctx, const struct kube_response *response, const struct err *err)
{
    struct group_version *gv = ctx;
    struct err bad;
    gv->request = NULL;
    yyjson_doc_free(gv->doc);
    gv->doc = NULL;
    gv->is_known = false;
    if (err && err->kind == ERR_NOTFOUND) {
        err = NULL; /* an apiVersion without resources */
    } else if (!err) {
        if (json_parse(response->body, response->length, DOCUMENT_MAX, &gv->doc, &bad) < 0 ||
            !yyjson_is_arr(json_at(yyjson_doc_get_root(gv->doc), "resources"))) {
            if (gv->doc)
                err_set(&bad, ERR_IO, "the answer is no APIResourceList");
            err_wrap(&bad, "discover %s", gv->api_version);
            err = &bad;
        } else {
            gv->is_known = true;
        }
    }
    answer(gv, err, ++gv->discovery->round);
}

static void ask(struct group_version *gv)
{
    CLEANUP(buf_done) struct buf path = {0};
    CLEANUP(free_ptr) char *what = xasprintf("discover %s", gv->api_version);
    kube_path_add_version(&path, gv->api_version);
    struct kube_call call = {.what = what,
                             .path = path.data,
                             .deadline_ns = clock_now_ns() + DEADLINE_NS,
                             .max_response_bytes = DOCUMENT_MAX,
                             .done = on_document,
                             .ctx = gv};
    gv->request = kube_request_start(gv->discovery->client, &call);
}

static void answer_known(void *ctx)
{
    struct kube_discovery *d = ctx;
    struct map_slot *slot;
    uint64_t round = ++d->round;
    for (size_t it = 0; (slot = map_next(&d->versions, &it));) {
        struct group_version *gv = slot->value;
        if (!gv->request && gv->lookups && gv->lookups->round < round) {
            answer(gv, NULL, round);
            it = 0; /* a callback may have added an apiVersion, which ends the walk over the table */
        }
    }
}

struct kube_lookup *kube_discovery_find(struct kube_discovery *d, const char *api_version, const char *resource,
                                        kube_discovery_done *done, void *ctx)
{
    struct group_version *gv = map_get(&d->versions, api_version);
    if (!gv) {
        gv = xcalloc(1, sizeof(*gv));
        gv->discovery = d;
        gv->api_version = xstrdup(api_version);
        map_put(&d->versions, api_version, gv);
    }
    struct kube_lookup *l = xmalloc(sizeof(*l)), **end = &gv->lookups;
    *l = (struct kube_lookup){.gv = gv, .round = d->round, .resource = xstrdup(resource), .done = done, .ctx = ctx};
    while (*end)
        end = &(*end)->next;
    *end = l;
    if (!gv->request) {
        if (gv->is_known && resource_of(gv, resource))
            net_timer_start(d->soon, 0);
        else
            ask(gv);
    }
    return l;
}

struct kube_lookup *kube_lookup_cancel(struct kube_lookup *l)
{
    if (l) {
        struct kube_lookup **p = &l->gv->lookups;
        while (*p && *p != l)
            p = &(*p)->next;
        if (*p)
            *p = l->next;
        lookup_free(l);
    }
    return NULL;
}

void kube_discovery_forget(struct kube_discovery *d, const char *api_version)
{
    struct group_version *gv = map_get(&d->versions, api_version);
    if (gv)
        gv->is_known = false;
}

struct kube_discovery *kube_discovery_new(struct kube_client *client)
{
    struct kube_discovery *d = xcalloc(1, sizeof(*d));
    d->client = client;
    map_init(&d->versions, false);
    d->soon = net_timer_new(kube_client_loop(client), answer_known, d);
    return d;
}

struct kube_discovery *kube_discovery_free(struct kube_discovery *d)
{
    if (!d)
        return NULL;
    struct map_slot *slot;
    for (size_t it = 0; (slot = map_next(&d->versions, &it));) {
        struct group_version *gv = slot->value;
        kube_request_cancel(gv->request);
        while (gv->lookups)                  /* each leaves the list as it goes */
            kube_lookup_cancel(gv->lookups); /* NOLINT(clang-analyzer-unix.Malloc) */
        yyjson_doc_free(gv->doc);
        free(gv->api_version);
        free(gv);
    }
    map_done(&d->versions);
    net_timer_free(d->soon);
    free(d);
    return NULL;
}
