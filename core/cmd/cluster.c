#include "cmd/cluster.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "cmd/version.h"
#include "controller/config_source.h"
#include "data/json.h"
#include "kube/path.h"

#define DEADLINE_NS (30 * NS_PER_S)
#define ANSWER_MAX ((size_t)512 << 20)

bool cluster_set(struct cluster *c, int id, const char *value)
{
    switch (id) {
    case CLUSTER_KUBECONFIG:
        c->overrides.kubeconfig = value;
        return true;
    case CLUSTER_CONTEXT:
        c->overrides.context = value;
        return true;
    case CLUSTER_SERVER:
        c->overrides.server = value;
        return true;
    default:
        return false;
    }
}

int cluster_open(struct cluster *c, struct err *err)
{
    const struct kube_client_options options = {.version = HAPTIC_VERSION};
    struct kube_config config;

    if (kube_config_load(&config, &c->overrides, err) < 0)
        return -1;
    (void)cluster_open_alone(c);
    c->client = kube_client_new(&c->loop, &config, &options);
    return 0;
}

int cluster_open_alone(struct cluster *c)
{
    uv_loop_init(&c->loop);
    c->is_open = true;
    return 0;
}

void cluster_close(struct cluster *c)
{
    if (!c->is_open)
        return;
    if (c->client != NULL)
        c->client = kube_client_free(c->client);
    c->is_open = false;
    uv_run(&c->loop, UV_RUN_DEFAULT);
    uv_loop_close(&c->loop);
}

struct answer {
    bool is_there;
    struct buf *body;
    struct err err;
};

static void on_answer(void *ctx, const struct kube_response *response, const struct err *err)
{
    struct answer *a = ctx;

    a->is_there = true;
    if (err != NULL)
        a->err = *err;
    else
        buf_add(a->body, response->body, response->length);
}

static int get(struct cluster *c, struct kube_client *client, const char *what, const char *path, struct buf *body,
               struct err *err)
{
    struct answer a = {.body = body};
    const struct kube_call call = {.what = what,
                                   .path = path,
                                   .accept = "*/*",
                                   .deadline_ns = clock_now_ns() + DEADLINE_NS,
                                   .max_response_bytes = ANSWER_MAX,
                                   .retries = 2,
                                   .done = on_answer,
                                   .ctx = &a};

    kube_request_start(client, &call);
    while (!a.is_there)
        uv_run(&c->loop, UV_RUN_ONCE);
    if (a.err.kind == ERR_NONE)
        return 0;
    *err = a.err;
    return -1;
}

int cluster_get(struct cluster *c, const char *what, const char *path, struct buf *body, struct err *err)
{
    return get(c, c->client, what, path, body, err);
}

int cluster_fetch(struct cluster *c, const char *url, const char *path, struct buf *body, struct err *err)
{
    const struct kube_client_options options = {.version = HAPTIC_VERSION, .http1_only = true};
    size_t length = strlen(url);

    if ((strncmp(url, "http://", 7) != 0 && strncmp(url, "https://", 8) != 0) || url[length - 1] == '/')
        return err_set(err, ERR_INVALID, "%.128s: write http://HOST:PORT", url);
    struct kube_config config = {
        .origin = xstrdup(url), .server = xstrdup(url), .namespace = xstrdup(""), .proxy_url = xstrdup("")};
    struct kube_client *client = kube_client_new(&c->loop, &config, &options);
    int result = get(c, client, path, path, body, err);
    kube_client_free(client);
    uv_run(&c->loop, UV_RUN_NOWAIT);
    return result;
}

int cluster_config(struct cluster *c, const char *resource, struct config **ret_config, struct buf *ret_object,
                   struct err *err)
{
    CLEANUP(buf_done) struct buf path = {0}, spec = {0};
    CLEANUP(json_doc_done) struct yyjson_doc *doc = NULL;
    const char *slash = strchr(resource, '/'), *name = slash ? slash + 1 : resource;
    CLEANUP(free_ptr)
    char *namespace = slash ? xmemdup0(resource, (size_t)(slash - resource))
                            : xstrdup(kube_client_config(c->client)->namespace);

    if (*namespace == '\0' || *name == '\0' || strchr(name, '/') != NULL)
        return err_set(err, ERR_INVALID, "--config-resource %.128s: write NAMESPACE/NAME", resource);
    kube_path_add(&path, CONFIG_API_VERSION, namespace, CONFIG_RESOURCE, name);
    CLEANUP(free_ptr) char *what = xasprintf(CONFIG_KIND " %s/%s", namespace, name);
    if (cluster_get(c, what, buf_str(&path), ret_object, err) < 0 ||
        json_parse(buf_str(ret_object), ret_object->length, CONFIG_FILE_MAX, &doc, err) < 0)
        return -1;
    struct yyjson_val *value = json_at(yyjson_doc_get_root(doc), "spec");
    if (value != NULL && json_write(&spec, value, NULL, err) < 0)
        return -1;
    if (value == NULL)
        buf_puts(&spec, "{}");
    return config_parse_resource(what, buf_str(&spec), spec.length, ret_config, err);
}
