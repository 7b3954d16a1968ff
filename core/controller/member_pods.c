/* Each namespace has a table of the Pods that are members. A running list fills a table of its own, which replaces the
 * other when it is complete. Nothing is reported before every namespace was listed once; otherwise members would leave
 * and return. */
#include "controller/member_pods.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/map.h"
#include "base/vec.h"
#include "data/json.h"
#include "kube/discovery.h"
#include "kube/watch.h"

#define POD_MAX ((size_t)4 << 20)
#define MEMBERS_MAX 10000

struct space {
    struct member_pods *pods;
    struct kube_watch *watch;
    struct map known, listed; /* name of a Pod → its address, a C string */
    bool is_listing, was_listed;
};

struct member_pods {
    struct kube_discovery *discovery;
    uint16_t port;
    VEC(struct space *) spaces;
    VEC(char *) namespaces;
    void (*changed)(void *ctx, const struct fleet_seat *seats, size_t count);
    void (*report)(void *ctx, const char *kind, const struct err *err, const char *reason, int64_t retry_in_ns);
    void *ctx;
};

static void table_clear(struct map *m)
{
    const struct map_slot *slot;
    for (size_t it = 0; (slot = map_next(m, &it));)
        free(slot->value);
    map_clear(m);
}

static void add_seats(const struct member_pods *p, size_t at, struct fleet_seat **seats, size_t *count, size_t *room)
{
    const struct map_slot *slot;
    for (size_t it = 0; *count < MEMBERS_MAX && (slot = map_next(&p->spaces.items[at]->known, &it));) {
        if (*count == *room) {
            *room = *room ? *room * 2 : 16;
            *seats = xreallocarray(*seats, *room, sizeof(**seats));
        }
        struct fleet_seat *s = &(*seats)[(*count)++];
        memset(s, 0, sizeof(*s));
        s->name = xasprintf("%s/%s", p->namespaces.items[at], slot->key);
        s->address.port = p->port;
        snprintf(s->address.host, sizeof(s->address.host), "%s", (const char *)slot->value);
    }
}

static void tell(struct member_pods *p)
{
    struct fleet_seat *seats = NULL;
    size_t count = 0, room = 0;
    for (size_t i = 0; i < p->spaces.length; i++)
        if (!p->spaces.items[i]->was_listed)
            return;
    for (size_t i = 0; i < p->spaces.length; i++)
        add_seats(p, i, &seats, &count, &room);
    p->changed(p->ctx, seats, count);
    for (size_t i = 0; i < count; i++)
        free((char *)(uintptr_t)seats[i].name);
    free(seats);
}

/* The Pod's address, while the Pod is a member. */
static const char *address_of(yyjson_val *pod)
{
    const char *phase = json_str(pod, "status", "phase"), *address = json_str(pod, "status", "podIP");
    bool runs = phase && strcmp(phase, "Running") == 0 && !json_str(pod, "metadata", "deletionTimestamp");
    return runs && address && *address && strlen(address) < PEER_HOST_SIZE ? address : NULL;
}

/* True when a member was added, removed or changed. */
static bool set(struct map *m, const char *name, const char *address)
{
    const char *before = map_get(m, name);
    if ((!before && !address) || (before && address && strcmp(before, address) == 0))
        return false;
    free(map_del(m, name));
    if (address)
        (void)map_put(m, name, xstrdup(address));
    return true;
}

static void on_list_begin(void *ctx)
{
    struct space *s = ctx;
    table_clear(&s->listed);
    s->is_listing = true;
}

static void on_list_end(void *ctx, bool is_complete)
{
    struct space *s = ctx;
    s->is_listing = false;
    if (!is_complete)
        return;
    struct map former = s->known;
    s->known = s->listed;
    s->listed = former;
    table_clear(&s->listed);
    s->was_listed = true;
    tell(s->pods);
}

static void on_put(void *ctx, const struct kube_watch_event *e)
{
    struct space *s = ctx;
    if (set(s->is_listing ? &s->listed : &s->known, e->name, address_of(e->object)) && !s->is_listing)
        tell(s->pods);
}

static void on_del(void *ctx, const struct kube_watch_event *e)
{
    struct space *s = ctx;
    if (set(s->is_listing ? &s->listed : &s->known, e->name, NULL) && !s->is_listing)
        tell(s->pods);
}

static void on_unreadable(void *ctx, const char *namespace, const char *name, const struct err *err)
{
    struct space *s = ctx;
    (void)namespace;
    (void)name;
    s->pods->report(s->pods->ctx, "members", err, "list", 0);
}

static void on_error(void *ctx, const struct err *err, const char *reason, int64_t retry_in_ns)
{
    struct space *s = ctx;
    s->pods->report(s->pods->ctx, "members", err, reason, retry_in_ns);
}

static void on_followed(void *ctx)
{
    struct space *s = ctx;
    s->pods->report(s->pods->ctx, "members", NULL, "", 0);
}

static int space_add(struct member_pods *p, struct kube_client *client, const struct member_pods_spec *spec,
                     const char *namespace, struct err *err)
{
    static const struct kube_watch_ops ops = {.list_begin = on_list_begin,
                                              .list_end = on_list_end,
                                              .put = on_put,
                                              .del = on_del,
                                              .unreadable = on_unreadable,
                                              .error = on_error,
                                              .followed = on_followed};
    const struct kube_watch_spec watch = {.selection = {.api_version = "v1",
                                                        .resource = "pods",
                                                        .namespace = namespace,
                                                        .label_selector = spec->selector,
                                                        .max_object_bytes = POD_MAX},
                                          .stall_ns = spec->stall_ns};
    struct space *s = xcalloc(1, sizeof(*s));
    s->pods = p;
    map_init(&s->known, false);
    map_init(&s->listed, false);
    vec_push(&p->spaces, s);
    return kube_watch_new(client, p->discovery, &watch, &ops, s, &s->watch, err);
}

int member_pods_new(struct kube_client *client, const struct member_pods_spec *spec, struct member_pods **ret_pods,
                    struct err *err)
{
    struct member_pods *p = xcalloc(1, sizeof(*p));
    p->discovery = kube_discovery_new(client);
    p->port = spec->port;
    p->changed = spec->changed;
    p->report = spec->report;
    p->ctx = spec->ctx;
    int result = 0;
    for (const char *at = spec->namespaces; result == 0 && *at != '\0';) {
        size_t length = strcspn(at, ",");
        vec_push(&p->namespaces, xmemdup0(at, length));
        result = space_add(p, client, spec, p->namespaces.items[p->namespaces.length - 1], err);
        at += length + (at[length] == ',');
    }
    if (result < 0) {
        member_pods_free(p);
        return -1;
    }
    *ret_pods = p;
    return 0;
}

struct member_pods *member_pods_free(struct member_pods *p)
{
    if (!p)
        return NULL;
    for (size_t i = 0; i < p->spaces.length; i++) {
        struct space *s = p->spaces.items[i];
        if (s->watch)
            kube_watch_free(s->watch);
        table_clear(&s->known);
        table_clear(&s->listed);
        map_done(&s->known);
        map_done(&s->listed);
        free(s);
    }
    for (size_t i = 0; i < p->namespaces.length; i++)
        free(p->namespaces.items[i]);
    vec_done(&p->spaces);
    vec_done(&p->namespaces);
    kube_discovery_free(p->discovery);
    free(p);
    return NULL;
}
