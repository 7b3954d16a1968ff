/* A file is looked at twice a second. A resource is watched; a version that differs in its status only (our own, for
 * one) is no other text. */
#include "controller/config_source.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/digest.h"
#include "data/json.h"
#include "kube/object_watch.h"

#define POLL_MS 500

struct config_source {
    struct config_source_ops ops;
    void *ctx;
    char *name;
    /* a file */
    char *path;
    uv_fs_poll_t poll;
    /* a resource */
    char *namespace, *object_name;
    struct object_watch *watch;
    struct buf json; /* all of it; empty: there is none */
    struct buf spec;
    struct digest digest; /* of spec */
    bool is_missing;
};

/* ---- a file ---- */

static void on_poll(uv_fs_poll_t *poll, int status, const uv_stat_t *before, const uv_stat_t *now)
{
    struct config_source *s = poll->data;

    (void)before;
    (void)now;
    if (status < 0)
        s->ops.missing(s->ctx, uv_strerror(status));
    else
        s->ops.changed(s->ctx);
}

struct config_source *config_source_file(uv_loop_t *loop, const char *path, const struct config_source_ops *ops,
                                         void *ctx)
{
    struct config_source *s = xcalloc(1, sizeof(*s));

    s->ops = *ops;
    s->ctx = ctx;
    s->name = xstrdup(path);
    s->path = xstrdup(path);
    uv_fs_poll_init(loop, &s->poll);
    s->poll.data = s;
    uv_fs_poll_start(&s->poll, on_poll, path, POLL_MS);
    return s;
}

/* ---- a resource ---- */

static void on_object(void *ctx, yyjson_val *object)
{
    struct config_source *s = ctx;
    struct err err;

    buf_clear(&s->json);
    if (object == NULL) {
        if (!s->is_missing)
            s->ops.missing(s->ctx, "there is no such resource");
        s->is_missing = true;
        return;
    }
    struct digest before = s->digest;
    bool again = s->is_missing || s->spec.length == 0;
    s->is_missing = false;
    buf_clear(&s->spec);
    yyjson_val *spec = yyjson_obj_get(object, "spec");
    if (json_write(&s->json, object, NULL, &err) < 0 || (spec != NULL && json_write(&s->spec, spec, NULL, &err) < 0)) {
        s->ops.missing(s->ctx, err.text);
        return;
    }
    s->digest = digest_of(buf_str(&s->spec), s->spec.length);
    if (again || !digest_equal(before, s->digest))
        s->ops.changed(s->ctx); /* first: what was found of another text is no judgement of this one */
    if (s->ops.seen != NULL)
        s->ops.seen(s->ctx);
}

static void on_denied(void *ctx, const struct err *err)
{
    struct config_source *s = ctx;

    s->ops.missing(s->ctx, err->text);
}

struct config_source *config_source_resource(struct kube_client *client, const char *namespace, const char *name,
                                             const struct config_source_ops *ops, void *ctx)
{
    struct config_source *s = xcalloc(1, sizeof(*s));

    s->ops = *ops;
    s->ctx = ctx;
    s->namespace = xstrdup(namespace);
    s->object_name = xstrdup(name);
    s->name = xasprintf(CONFIG_KIND " %s/%s", namespace, name);
    buf_init(&s->json, 2 * CONFIG_FILE_MAX);
    buf_init(&s->spec, CONFIG_FILE_MAX);
    const struct object_watch_spec watch = {.api_version = CONFIG_API_VERSION,
                                            .resource = CONFIG_RESOURCE,
                                            .namespace = namespace,
                                            .name = name,
                                            .max_bytes = 2 * CONFIG_FILE_MAX,
                                            .asks_absence = true,
                                            .changed = on_object,
                                            .denied = on_denied,
                                            .ctx = s};
    s->watch = object_watch_new(client, &watch);
    return s;
}

/* ---- either ---- */

int config_source_load(struct config_source *s, struct config **ret_config, struct err *err)
{
    if (s->path != NULL)
        return config_load(s->path, ret_config, err);
    if (s->json.length == 0)
        return err_set(err, ERR_NOTFOUND, "%s: %s", s->name,
                       s->is_missing ? "there is no such resource" : "it was not read yet");
    if (s->spec.length == 0)
        return err_set(err, ERR_INVALID, "%s: spec: is missing", s->name);
    return config_parse_resource(s->name, buf_str(&s->spec), s->spec.length, ret_config, err);
}

const char *config_source_name(const struct config_source *s)
{
    return s->name;
}

bool config_source_object(const struct config_source *s, struct config_object *ret_object)
{
    if (s == NULL || s->json.length == 0)
        return false;
    *ret_object = (struct config_object){
        .namespace = s->namespace, .name = s->object_name, .json = buf_str(&s->json), .length = s->json.length};
    return true;
}

static void release(struct config_source *s)
{
    free(s->name);
    free(s->path);
    free(s->namespace);
    free(s->object_name);
    buf_done(&s->json);
    buf_done(&s->spec);
    free(s);
}

static void on_closed(uv_handle_t *handle)
{
    release(handle->data);
}

struct config_source *config_source_free(struct config_source *s)
{
    if (s == NULL)
        return NULL;
    if (s->path != NULL) {
        uv_fs_poll_stop(&s->poll);
        uv_close((uv_handle_t *)&s->poll, on_closed);
        return NULL;
    }
    object_watch_free(s->watch);
    release(s);
    return NULL;
}
