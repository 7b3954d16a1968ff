/* The webhook configuration is compared with the authority when either of them changes, and when this replica becomes
 * leader. The watch reports our own writes, too. When another writer undoes a write, it is repeated after a pause. */
#include "controller/authority_writer.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/vec.h"
#include "data/json.h"
#include "kube/blob.h"
#include "kube/object_watch.h"
#include "kube/path.h"
#include "net/timer.h"

#define API_VERSION "admissionregistration.k8s.io/v1"
#define RESOURCE "validatingwebhookconfigurations"
#define MANAGER "haptic-webhook"
#define OBJECT_MAX ((size_t)2 << 20)
#define AGAIN_NS (5 * NS_PER_S)
#define REQUEST_NS (10 * NS_PER_S)

/* A webhook that points to our service. */
struct entry {
    char *name, *bundle; /* bundle is NULL when the webhook has none */
};

struct authority_writer {
    struct kube_client *client;
    struct authority_writer_spec spec;
    struct object_watch *watch;
    struct kube_request *request;
    struct net_timer *timer;
    char *bundle; /* base64; NULL: not known yet */
    VEC(struct entry) entries;
    struct log_limit limit;
};

static void clear_entries(struct authority_writer *w)
{
    for (size_t i = 0; i < w->entries.length; i++) {
        free(w->entries.items[i].name);
        free(w->entries.items[i].bundle);
    }
    vec_clear(&w->entries);
}

static bool is_ours(const struct authority_writer *w, yyjson_val *webhook)
{
    const char *service = json_str(webhook, "clientConfig", "service", "name"),
               *namespace = json_str(webhook, "clientConfig", "service", "namespace");

    return json_str(webhook, "name") != NULL && service != NULL && namespace != NULL &&
           strcmp(service, w->spec.service) == 0 && strcmp(namespace, w->spec.namespace) == 0;
}

static void on_object(void *ctx, yyjson_val *object)
{
    struct authority_writer *w = ctx;
    yyjson_val *webhook;
    size_t i, n;

    clear_entries(w);
    yyjson_arr_foreach(json_at(object, "webhooks"), i, n, webhook)
    {
        const char *bundle = json_str(webhook, "clientConfig", "caBundle");
        if (is_ours(w, webhook))
            vec_push(&w->entries, ((struct entry){.name = xstrdup(json_str(webhook, "name")),
                                                  .bundle = bundle != NULL ? xstrdup(bundle) : NULL}));
    }
    authority_writer_step(w);
}

static void on_denied(void *ctx, const struct err *err)
{
    const struct authority_writer *w = ctx;

    log_error("The ValidatingWebhookConfiguration cannot be read; the API server does not trust the webhook", "name",
              w->spec.name, "error", err->text);
}

static void on_written(void *ctx, const struct kube_response *response, const struct err *err)
{
    struct authority_writer *w = ctx;
    uint64_t similar;

    (void)response;
    w->request = NULL;
    if (err == NULL)
        log_info("Wrote the certificate authority of the webhook", "name", w->spec.name);
    else if (log_limit_pass(&w->limit, 60 * NS_PER_S, &similar))
        log_error("The certificate authority of the webhook cannot be written", "name", w->spec.name, "error",
                  err->text, "similar", log_int((int64_t)similar));
    net_timer_start(w->timer, AGAIN_NS);
}

static void put_webhook(struct buf *json, const char *name, const char *bundle)
{
    buf_puts(json, json->data[json->length - 1] == '[' ? "{\"name\":" : ",{\"name\":");
    if (json_write_string(json, name, strlen(name), NULL) < 0)
        buf_puts(json, "\"\"");
    buf_printf(json, ",\"clientConfig\":{\"caBundle\":\"%s\"}}", bundle);
}

/* Server-side apply needs all fields of this manager, so webhooks that are right already are included. */
static void write_bundle(struct authority_writer *w)
{
    CLEANUP(buf_done) struct buf path = {0}, json = {0};

    kube_path_add(&path, API_VERSION, NULL, RESOURCE, w->spec.name);
    kube_path_add_query(&path, "fieldManager", MANAGER);
    kube_path_add_query(&path, "force", "true");
    buf_puts(&json,
             "{\"apiVersion\":\"" API_VERSION "\",\"kind\":\"ValidatingWebhookConfiguration\",\"metadata\":{\"name\":");
    if (json_write_string(&json, w->spec.name, strlen(w->spec.name), NULL) < 0)
        buf_puts(&json, "\"\"");
    buf_puts(&json, "},\"webhooks\":[");
    for (size_t i = 0; i < w->entries.length; i++)
        put_webhook(&json, w->entries.items[i].name, w->bundle);
    buf_puts(&json, "]}");
    const struct kube_call call = {.what = "apply the webhook's authority",
                                   .method = "PATCH",
                                   .path = buf_str(&path),
                                   .body = buf_str(&json),
                                   .body_length = json.length,
                                   .content_type = "application/apply-patch+yaml",
                                   .deadline_ns = clock_now_ns() + REQUEST_NS,
                                   .done = on_written,
                                   .ctx = w};
    w->request = kube_request_start(w->client, &call);
}

static bool is_outdated(const struct authority_writer *w)
{
    for (size_t i = 0; i < w->entries.length; i++)
        if (w->entries.items[i].bundle == NULL || strcmp(w->entries.items[i].bundle, w->bundle) != 0)
            return true;
    return false;
}

void authority_writer_step(struct authority_writer *w)
{
    if (w->bundle != NULL && is_outdated(w) && w->request == NULL && !net_timer_is_set(w->timer) &&
        w->spec.may_write(w->spec.ctx))
        write_bundle(w);
}

static void on_timer(void *ctx)
{
    authority_writer_step(ctx);
}

void authority_writer_set(struct authority_writer *w, const char *authority)
{
    char *bundle = kube_base64_encode(authority, strlen(authority));

    if (w->bundle != NULL && strcmp(bundle, w->bundle) == 0) {
        free(bundle);
        return;
    }
    free(w->bundle);
    w->bundle = bundle;
    authority_writer_step(w);
}

struct authority_writer *authority_writer_new(struct kube_client *client, const struct authority_writer_spec *spec)
{
    struct authority_writer *w = xcalloc(1, sizeof(*w));

    w->client = client;
    w->spec = *spec;
    w->timer = net_timer_new(kube_client_loop(client), on_timer, w);
    const struct object_watch_spec watch = {.api_version = API_VERSION,
                                            .resource = RESOURCE,
                                            .name = spec->name,
                                            .max_bytes = OBJECT_MAX,
                                            .changed = on_object,
                                            .denied = on_denied,
                                            .ctx = w};
    w->watch = object_watch_new(client, &watch);
    return w;
}

struct authority_writer *authority_writer_free(struct authority_writer *w)
{
    if (w == NULL)
        return NULL;
    object_watch_free(w->watch);
    kube_request_cancel(w->request);
    net_timer_free(w->timer);
    clear_entries(w);
    vec_done(&w->entries);
    free(w->bundle);
    free(w);
    return NULL;
}
