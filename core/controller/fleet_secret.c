/* The Secret is checked when it changes, when this replica becomes leader, and once an hour. A write carries the
 * resourceVersion that was checked: when two replicas write, the API server refuses one of them, and that replica then
 * sees the other's Secret. */
#include "controller/fleet_secret.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "controller/fleet_keys.h"
#include "data/json.h"
#include "kube/blob.h"
#include "kube/object_watch.h"
#include "kube/path.h"
#include "net/timer.h"

#define SECRET_MAX ((size_t)2 << 20)
#define LOOK_NS (3600 * NS_PER_S)
#define AGAIN_NS (2 * NS_PER_S)
#define REQUEST_NS (10 * NS_PER_S)
#define OURS "haproxy-haptic.org/fleet-certificates"

enum secret_state { SECRET_UNKNOWN, SECRET_ABSENT, SECRET_OURS, SECRET_FOREIGN };

struct fleet_secret {
    struct kube_client *client;
    struct fleet_secret_spec spec;
    struct object_watch *watch;
    struct kube_request *request;
    struct net_timer *timer;
    enum secret_state state;
    char *resource_version;
    bool with_references, references_refused; /* of the last write; the API server wants more rights for them */
    struct fleet_keys keys;
    const char *making; /* the reason, as logged last; NULL: the certificates are written */
    struct log_limit limit;
};

static void wipe(struct buf *b)
{
    if (b->data)
        explicit_bzero(b->data, b->capacity);
    buf_done(b);
}

static void forget(struct fleet_secret *s)
{
    fleet_keys_done(&s->keys);
    free(s->resource_version);
    s->resource_version = NULL;
}

static const char *value(const struct fleet_secret *s, enum fleet_key key)
{
    return buf_str(&s->keys.values[key]);
}

/* ---- reading ---- */

static void read_values(struct fleet_secret *s, yyjson_val *secret)
{
    for (enum fleet_key i = 0; i < KEY_COUNT; i++) {
        const char *text = yyjson_get_str(yyjson_obj_get(yyjson_obj_get(secret, "data"), fleet_key_name(i)));
        struct kube_blob blob = {0};
        if (text && kube_blob_set_base64(&blob, text, NULL) == 0 && blob.bytes)
            buf_add(&s->keys.values[i], blob.bytes, blob.length);
        kube_blob_done(&blob);
    }
}

static void tell(struct fleet_secret *s)
{
    bool is_server = s->spec.is_webhook;
    const struct peer_identity identity = {.authority = value(s, CA_CRT),
                                           .certificate = value(s, is_server ? AGENT_CRT : CONTROLLER_CRT),
                                           .key = value(s, is_server ? AGENT_KEY : CONTROLLER_KEY)};
    if (*identity.authority && *identity.certificate && *identity.key)
        s->spec.changed(s->spec.ctx, &identity);
}

static void on_secret(void *ctx, yyjson_val *secret)
{
    struct fleet_secret *s = ctx;
    forget(s);
    s->state = SECRET_ABSENT;
    if (secret) {
        const char *version = json_str(secret, "metadata", "resourceVersion");
        s->state = json_str(secret, "metadata", "annotations", OURS) ? SECRET_OURS : SECRET_FOREIGN;
        s->resource_version = version ? xstrdup(version) : NULL;
        read_values(s, secret);
        tell(s);
    }
    fleet_secret_step(s);
}

static void on_denied(void *ctx, const struct err *err)
{
    const struct fleet_secret *s = ctx;
    log_error(
        s->spec.is_webhook
            ? "The Secret with the certificates of the webhook cannot be read; the webhook cannot be served without them"
            : "The Secret with the certificates of the fleet cannot be read; agents cannot be reached without them",
        "secret", s->spec.name, "error", err->text);
}

/* ---- writing ---- */

static void on_written(void *ctx, const struct kube_response *response, const struct err *err)
{
    struct fleet_secret *s = ctx;
    uint64_t similar;
    (void)response;
    s->request = NULL;
    if (!err) {
        log_info(s->spec.is_webhook ? "Wrote the certificates of the webhook" : "Wrote the certificates of the fleet",
                 "secret", s->spec.name);
        return; /* the watch brings them */
    }
    if (err->kind == ERR_DENIED && s->with_references)
        s->references_refused = true; /* certificates are more important than owners */
    else if (err->kind != ERR_CONFLICT && log_limit_pass(&s->limit, 60 * NS_PER_S, &similar))
        log_error(s->spec.is_webhook ? "The certificates of the webhook cannot be written"
                                     : "The certificates of the fleet cannot be written",
                  "secret", s->spec.name, "error", err->text, "similar", log_int((int64_t)similar));
    net_timer_start(s->timer, AGAIN_NS);
}

static void add_value(struct buf *json, bool first, const char *name, const struct buf *bytes)
{
    char *text = kube_base64_encode(buf_str(bytes), bytes->length);
    buf_printf(json, "%s\"%s\":\"%s\"", first ? "" : ",", name, text);
    explicit_bzero(text, strlen(text));
    free(text);
}

static void write_secret(struct fleet_secret *s, const struct fleet_keys *keys)
{
    CLEANUP(wipe) struct buf json = {0};
    CLEANUP(buf_done) struct buf path = {0};
    bool is_new = s->state == SECRET_ABSENT;
    kube_path_add(&path, "v1", s->spec.namespace, "secrets", is_new ? NULL : s->spec.name);
    buf_printf(&json,
               "{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"type\":\"Opaque\",\"metadata\":{\"name\":\"%s\","
               "\"namespace\":\"%s\",\"annotations\":{\"" OURS "\":\"true\"}",
               s->spec.name, s->spec.namespace);
    const char *references = s->spec.references && !s->references_refused ? s->spec.references(s->spec.ctx) : NULL;
    s->with_references = references != NULL;
    if (references)
        buf_printf(&json, ",\"ownerReferences\":%s", references);
    if (s->resource_version)
        buf_printf(&json, ",\"resourceVersion\":\"%s\"", s->resource_version);
    buf_puts(&json, "},\"data\":{");
    for (enum fleet_key i = 0; i < KEY_COUNT; i++)
        if (keys->values[i].length)
            add_value(&json, i == 0, fleet_key_name(i), &keys->values[i]);
    buf_puts(&json, "}}");
    const struct kube_call call = {.what = is_new ? "create the Secret with certificates"
                                                  : "update the Secret with certificates",
                                   .method = is_new ? "POST" : "PUT",
                                   .path = buf_str(&path),
                                   .body = buf_str(&json),
                                   .body_length = json.length,
                                   .deadline_ns = clock_now_ns() + REQUEST_NS,
                                   .done = on_written,
                                   .ctx = s};
    s->request = kube_request_start(s->client, &call);
}

void fleet_secret_step(struct fleet_secret *s)
{
    struct fleet_keys next = {0};
    const char *why = "";
    struct err err;
    bool may = s->state == SECRET_ABSENT || s->state == SECRET_OURS;
    if (s->request || !may || !s->spec.may_write(s->spec.ctx))
        return;
    int due = fleet_keys_next(&s->keys, s->spec.agent_name, (int64_t)time(NULL), &next, &why, &err);
    if (due != 0 && s->making != why)
        log_info(s->spec.is_webhook ? "Making the certificates of the webhook" : "Making the certificates of the fleet",
                 "secret", s->spec.name, "why", why);
    s->making = due != 0 ? why : NULL;
    if (due < 0)
        log_error("The certificates cannot be made", "secret", s->spec.name, "error", err.text);
    if (due > 0)
        write_secret(s, &next);
    fleet_keys_done(&next);
}

static void on_timer(void *ctx)
{
    struct fleet_secret *s = ctx;
    net_timer_start(s->timer, LOOK_NS);
    fleet_secret_step(s);
}

/* ---- life ---- */

struct fleet_secret *fleet_secret_new(struct kube_client *client, const struct fleet_secret_spec *spec)
{
    struct fleet_secret *s = xcalloc(1, sizeof(*s));
    s->client = client;
    s->spec = *spec;
    s->timer = net_timer_new(kube_client_loop(client), on_timer, s);
    net_timer_start(s->timer, LOOK_NS);
    const struct object_watch_spec watch = {.api_version = "v1",
                                            .resource = "secrets",
                                            .namespace = spec->namespace,
                                            .name = spec->name,
                                            .max_bytes = SECRET_MAX,
                                            .asks_absence = true,
                                            .changed = on_secret,
                                            .denied = on_denied,
                                            .ctx = s};
    s->watch = object_watch_new(client, &watch);
    return s;
}

struct fleet_secret *fleet_secret_free(struct fleet_secret *s)
{
    if (!s)
        return NULL;
    object_watch_free(s->watch);
    kube_request_cancel(s->request);
    net_timer_free(s->timer);
    forget(s);
    free(s);
    return NULL;
}
