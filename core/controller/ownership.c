/* One round asks for the owners. Then it reads the metadata of each object and patches what differs, one request after
 * the other:
 *
 *   RESTING ──due, or a step──► LOOKING ──all owners──► READING ◄──► MARKING
 *      ▲                           │ (no owner, or not the leader)      │
 *      └───────────────────────────┴────────────all objects─────────────┘
 *
 * A strategic merge patch changes single references, found by their uid, even if other writers change the object at the
 * same time. The patch contains the object's own uid, so it never creates an object. */
#include "controller/ownership.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "data/json.h"
#include "kube/path.h"
#include "net/backoff.h"
#include "net/timer.h"

#define OWNERS_MAX 4
#define OBJECT_MAX ((size_t)2 << 20)
#define LOOK_NS (600 * NS_PER_S)
#define AGAIN_NS (2 * NS_PER_S) /* after a failure; longer each time, up to LOOK_NS */
#define TELL_NS (3600 * NS_PER_S)
#define REQUEST_NS (10 * NS_PER_S)
/* Plain JSON is for an answer that is no object of the kind, such as 404. */
#define METADATA_ONLY "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=1,application/json"

enum ownership_state { OWNERSHIP_RESTING, OWNERSHIP_LOOKING, OWNERSHIP_READING, OWNERSHIP_MARKING };

struct owner {
    char *api_version, *resource, *name;
    char *kind, *uid; /* NULL: as far as is known it does not exist */
};

struct ownership {
    struct kube_client *client;
    struct ownership_spec spec;
    struct net_timer *timer;
    struct kube_request *request;
    enum ownership_state state;
    size_t at;                     /* of the owners or objects */
    bool is_due_again, has_failed; /* in this round: another step was requested; a request failed */
    struct owner owners[OWNERS_MAX];
    size_t owner_count;
    struct buf references; /* empty: not known yet */
    struct net_backoff backoff;
    struct log_limit limit;
};

static void owner_done(struct owner *owner)
{
    free(owner->api_version);
    free(owner->resource);
    free(owner->name);
    free(owner->kind);
    free(owner->uid);
    *owner = (struct owner){0};
}

/* ---- the list ---- */

static const char *last_slash(const char *text, const char *end)
{
    while (end > text && end[-1] != '/')
        end--;
    return end > text ? end - 1 : NULL;
}

/* "apps/v1/deployments/haptic-controller" */
static int parse_owner(const char *text, size_t length, struct owner *ret_owner, struct err *err)
{
    const char *name = last_slash(text, text + length), *resource = name ? last_slash(text, name) : NULL;
    struct owner owner = {0};

    if (resource == NULL || name + 1 == text + length)
        return err_set(err, ERR_INVALID, "\"%.*s\" is not APIVERSION/RESOURCES/NAME, as in apps/v1/deployments/web",
                       (int)(length < 200 ? length : 200), text);
    owner.api_version = xmemdup0(text, (size_t)(resource - text));
    owner.resource = xmemdup0(resource + 1, (size_t)(name - resource - 1));
    owner.name = xmemdup0(name + 1, (size_t)(text + length - name - 1));
    if (kube_path_check(owner.api_version, owner.resource, err) < 0) {
        owner_done(&owner);
        return -1;
    }
    if (owner.name[strspn(owner.name, "abcdefghijklmnopqrstuvwxyz0123456789-.")] != '\0') {
        (void)err_set(err, ERR_INVALID, "\"%.64s\" is no name of an object", owner.name);
        owner_done(&owner);
        return -1;
    }
    *ret_owner = owner;
    return 0;
}

static int parse_owners(const char *text, struct owner owners[OWNERS_MAX], size_t *ret_count, struct err *err)
{
    size_t count = 0, length;
    int result = 0;

    do {
        length = strcspn(text, ",");
        if (count == OWNERS_MAX)
            result = err_set(err, ERR_LIMIT, "more than %d owners", OWNERS_MAX);
        else if ((result = parse_owner(text, length, &owners[count], err)) == 0)
            count++;
        text += length;
    } while (result == 0 && *text++ == ',');
    *ret_count = count;
    return result;
}

int ownership_check(const char *owners, struct err *err)
{
    struct owner parsed[OWNERS_MAX] = {0};
    size_t count;
    int result = parse_owners(owners, parsed, &count, err);

    for (size_t i = 0; i < count; i++)
        owner_done(&parsed[i]);
    return result;
}

/* ---- what belongs to an owner ---- */

/* The Lease, then the Secrets. The name is NULL when the object does not exist. */
static const char *object_name(const struct ownership *o, size_t at, const char **ret_api_version,
                               const char **ret_resource)
{
    *ret_api_version = at == 0 ? "coordination.k8s.io/v1" : "v1";
    *ret_resource = at == 0 ? "leases" : "secrets";
    return at == 0 ? o->spec.lease_name(o->spec.ctx) : o->spec.secrets[at - 1];
}

/* The Lease is the leader's. A Secret that this program made has an annotation or a label. */
static bool is_ours(size_t at, yyjson_val *object)
{
    const char *made_by = json_str(object, "metadata", "labels", "app.kubernetes.io/managed-by");

    return at == 0 || json_str(object, "metadata", "annotations", "haproxy-haptic.org/fleet-certificates") != NULL ||
           (made_by != NULL && strcmp(made_by, "haptic") == 0);
}

static void put_text(struct buf *json, const char *name, const char *text)
{
    buf_printf(json, "\"%s\":", name);
    if (json_write_string(json, text, strlen(text), NULL) < 0)
        buf_puts(json, "\"\"");
}

static void put_reference(struct buf *json, const struct owner *owner)
{
    buf_puts(json, json->data[json->length - 1] == '[' ? "{" : ",{");
    put_text(json, "apiVersion", owner->api_version);
    buf_putc(json, ',');
    put_text(json, "kind", owner->kind);
    buf_putc(json, ',');
    put_text(json, "name", owner->name);
    buf_putc(json, ',');
    put_text(json, "uid", owner->uid);
    buf_putc(json, '}');
}

/* For an owner that was created again since then. */
static bool is_outdated(const struct owner *owner, yyjson_val *reference)
{
    const char *kind = json_str(reference, "kind"), *name = json_str(reference, "name"),
               *uid = json_str(reference, "uid");

    return owner->uid != NULL && kind != NULL && name != NULL && uid != NULL && strcmp(kind, owner->kind) == 0 &&
           strcmp(name, owner->name) == 0 && strcmp(uid, owner->uid) != 0;
}

static bool has_reference(yyjson_val *references, const char *uid)
{
    yyjson_val *reference;
    size_t i, n;

    yyjson_arr_foreach(references, i, n, reference)
    {
        const char *there = json_str(reference, "uid");
        if (there != NULL && strcmp(there, uid) == 0)
            return true;
    }
    return false;
}

/* The change of an object's references; empty: none is needed. */
static void compare(const struct ownership *o, yyjson_val *object, struct buf *changes)
{
    yyjson_val *references = json_at(object, "metadata", "ownerReferences"), *reference;
    size_t i, n;

    buf_putc(changes, '[');
    for (size_t at = 0; at < o->owner_count; at++) {
        const struct owner *owner = &o->owners[at];
        if (owner->uid != NULL && !has_reference(references, owner->uid))
            put_reference(changes, owner);
        yyjson_arr_foreach(references, i, n, reference)
        {
            if (!is_outdated(owner, reference))
                continue;
            buf_puts(changes, changes->data[changes->length - 1] == '[' ? "{" : ",{");
            put_text(changes, "uid", json_str(reference, "uid"));
            buf_puts(changes, ",\"$patch\":\"delete\"}");
        }
    }
    buf_putc(changes, ']');
    if (changes->length == 2)
        buf_clear(changes);
}

/* ---- a round ---- */

static void look(struct ownership *o);
static void read_next(struct ownership *o);

static void rest(struct ownership *o)
{
    int64_t delay_ns = LOOK_NS;

    o->state = OWNERSHIP_RESTING;
    if (o->has_failed)
        delay_ns = net_backoff_next(&o->backoff, 0);
    else
        net_backoff_reset(&o->backoff);
    net_timer_start(o->timer, o->is_due_again ? 0 : delay_ns);
}

static void complain(struct ownership *o, const char *resource, const char *name, const struct err *err)
{
    uint64_t similar;

    o->has_failed = true;
    if (log_limit_pass(&o->limit, TELL_NS, &similar))
        log_warn("The owner of an object cannot be set: it will stay when the installation is removed", "resource",
                 resource, "name", name, "error", err->text, "similar", log_int((int64_t)similar));
}

static void ask(struct ownership *o, const char *what, const char *path, const char *patch, kube_done *done)
{
    const struct kube_call call = {.what = what,
                                   .method = patch != NULL ? "PATCH" : "GET",
                                   .path = path,
                                   .body = patch,
                                   .body_length = patch != NULL ? strlen(patch) : 0,
                                   .content_type = patch != NULL ? "application/strategic-merge-patch+json" : NULL,
                                   .accept = o->state == OWNERSHIP_LOOKING ? NULL : METADATA_ONLY,
                                   .deadline_ns = clock_now_ns() + REQUEST_NS,
                                   .max_response_bytes = OBJECT_MAX,
                                   .done = done,
                                   .ctx = o};
    o->request = kube_request_start(o->client, &call);
}

static void on_marked(void *ctx, const struct kube_response *response, const struct err *err)
{
    struct ownership *o = ctx;
    const char *api_version, *resource, *name = object_name(o, o->at, &api_version, &resource);

    (void)response;
    o->request = NULL;
    if (err == NULL && name != NULL)
        log_info("The object will be removed together with the installation", "resource", resource, "name", name);
    else if (err != NULL && err->kind == ERR_CONFLICT)
        o->has_failed = true; /* since it was read, another object got this name */
    else if (err != NULL && err->kind != ERR_NOTFOUND)
        complain(o, resource, name != NULL ? name : "", err);
    o->at++;
    read_next(o);
}

static void mark(struct ownership *o, const char *path, const char *uid, const char *changes)
{
    CLEANUP(buf_done) struct buf patch = {0};

    buf_puts(&patch, "{\"metadata\":{");
    put_text(&patch, "uid", uid);
    buf_printf(&patch, ",\"ownerReferences\":%s}}", changes);
    o->state = OWNERSHIP_MARKING;
    ask(o, "write the owners of an object", path, buf_str(&patch), on_marked);
}

static void on_read(void *ctx, const struct kube_response *response, const struct err *err)
{
    struct ownership *o = ctx;
    const char *api_version, *resource, *name = object_name(o, o->at, &api_version, &resource);
    CLEANUP(json_doc_done) yyjson_doc *doc = NULL;
    CLEANUP(buf_done) struct buf changes = {0}, path = {0};
    struct err bad;

    o->request = NULL;
    if (err == NULL && json_parse(response->body, response->length, OBJECT_MAX, &doc, &bad) < 0)
        err = &bad;
    if (err != NULL && err->kind != ERR_NOTFOUND)
        complain(o, resource, name != NULL ? name : "", err);
    yyjson_val *object = yyjson_doc_get_root(doc);
    const char *uid = json_str(object, "metadata", "uid");
    if (name != NULL && uid != NULL && is_ours(o->at, object))
        compare(o, object, &changes);
    if (changes.length > 0 && o->spec.may_write(o->spec.ctx)) {
        kube_path_add(&path, api_version, o->spec.namespace, resource, name);
        mark(o, buf_str(&path), uid, buf_str(&changes));
        return;
    }
    o->at++;
    read_next(o);
}

static void read_next(struct ownership *o)
{
    CLEANUP(buf_done) struct buf path = {0};
    const char *api_version, *resource, *name = NULL;

    for (; o->at <= o->spec.secret_count; o->at++)
        if ((name = object_name(o, o->at, &api_version, &resource)) != NULL)
            break;
    if (name == NULL || !o->spec.may_write(o->spec.ctx)) {
        rest(o);
        return;
    }
    o->state = OWNERSHIP_READING;
    kube_path_add(&path, api_version, o->spec.namespace, resource, name);
    ask(o, "read the owners of an object", buf_str(&path), NULL, on_read);
}

/* While no owner exists, the former references count: an object that is made then must be deleted with the
 * installation, too. */
static void set_references(struct ownership *o)
{
    CLEANUP(buf_done) struct buf json = {0};

    buf_putc(&json, '[');
    for (size_t i = 0; i < o->owner_count; i++)
        if (o->owners[i].uid != NULL)
            put_reference(&json, &o->owners[i]);
    buf_putc(&json, ']');
    if (json.length == 2) {
        rest(o);
        return;
    }
    buf_clear(&o->references);
    buf_add(&o->references, json.data, json.length);
    o->at = 0;
    read_next(o);
}

static void on_owner(void *ctx, const struct kube_response *response, const struct err *err)
{
    struct ownership *o = ctx;
    struct owner *owner = &o->owners[o->at];
    CLEANUP(json_doc_done) yyjson_doc *doc = NULL;
    struct err bad;

    o->request = NULL;
    if (err == NULL && json_parse(response->body, response->length, OBJECT_MAX, &doc, &bad) < 0)
        err = &bad;
    const char *kind = json_str(yyjson_doc_get_root(doc), "kind"),
               *uid = json_str(yyjson_doc_get_root(doc), "metadata", "uid");
    if (err != NULL && err->kind != ERR_NOTFOUND) {
        complain(o, owner->resource, owner->name, err);
        rest(o);
        return;
    }
    free(owner->kind);
    free(owner->uid);
    owner->kind = kind != NULL ? xstrdup(kind) : NULL;
    owner->uid = kind != NULL && uid != NULL ? xstrdup(uid) : NULL;
    o->at++;
    look(o);
}

static void look(struct ownership *o)
{
    CLEANUP(buf_done) struct buf path = {0};

    if (o->at == o->owner_count) {
        set_references(o);
        return;
    }
    const struct owner *owner = &o->owners[o->at];
    o->state = OWNERSHIP_LOOKING;
    kube_path_add(&path, owner->api_version, o->spec.namespace, owner->resource, owner->name);
    ask(o, "read an owner", buf_str(&path), NULL, on_owner);
}

void ownership_step(struct ownership *o)
{
    o->is_due_again = true;
    if (o->state == OWNERSHIP_RESTING)
        net_timer_start(o->timer, 0);
}

static void on_timer(void *ctx)
{
    struct ownership *o = ctx;

    o->is_due_again = o->has_failed = false;
    o->at = 0;
    look(o);
}

/* ---- life ---- */

const char *ownership_references(const struct ownership *o)
{
    return o->references.length > 0 ? o->references.data : NULL;
}

struct ownership *ownership_new(struct kube_client *client, const struct ownership_spec *spec)
{
    struct ownership *o = xcalloc(1, sizeof(*o));
    struct err err;

    o->client = client;
    o->spec = *spec;
    o->backoff = (struct net_backoff){.base_ns = AGAIN_NS, .cap_ns = LOOK_NS};
    if (parse_owners(spec->owners, o->owners, &o->owner_count, &err) < 0)
        log_error("The list of owners cannot be read", "owners", spec->owners, "error", err.text);
    o->timer = net_timer_new(kube_client_loop(client), on_timer, o);
    net_timer_start(o->timer, 0);
    return o;
}

struct ownership *ownership_free(struct ownership *o)
{
    if (o == NULL)
        return NULL;
    kube_request_cancel(o->request);
    net_timer_free(o->timer);
    for (size_t i = 0; i < OWNERS_MAX; i++)
        owner_done(&o->owners[i]);
    buf_done(&o->references);
    free(o);
    return NULL;
}
