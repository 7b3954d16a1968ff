/* A file is checked twice a second. A resource is watched, and so is each library that its libraryRefs name. A version
 * that differs in its status only (such as our own write) has the same text. The text of a resource is its spec,
 * followed by the libraries as further documents. Nothing is reported before all of them have been seen. */
#include "controller/config_source.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/digest.h"
#include "data/json.h"
#include "kube/object_watch.h"

#define POLL_MS 500

#define LIBRARIES_MAX 50 /* more are an error of the configuration */

/* A library that the resource names. */
struct library {
    struct config_source *source;
    char *name;
    struct object_watch *watch;
    struct buf whole;     /* as last seen; empty: it does not exist */
    struct buf json;      /* kind, name and spec; empty: it does not exist */
    struct digest digest; /* of json */
    bool is_seen;         /* or known to be missing */
    bool is_named;        /* by the newest spec */
};

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
    struct buf json; /* the whole object; empty: it does not exist */
    struct buf spec;
    struct digest digest; /* of spec */
    bool is_missing;
    struct kube_client *client;
    VEC(struct library *) libraries;
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

/* ---- libraries of a resource ---- */

static struct library *library_free(struct library *l)
{
    object_watch_free(l->watch);
    free(l->name);
    buf_done(&l->whole);
    buf_done(&l->json);
    free(l);
    return NULL;
}

static bool all_seen(const struct config_source *s)
{
    for (size_t i = 0; i < s->libraries.length; i++)
        if (!s->libraries.items[i]->is_seen)
            return false;
    return true;
}

static int write_library(struct library *l, yyjson_val *object, struct err *err)
{
    yyjson_val *spec = yyjson_obj_get(object, "spec");

    buf_clear(&l->json);
    buf_clear(&l->whole);
    if (json_write(&l->whole, object, NULL, err) < 0)
        return -1;
    buf_puts(&l->json, "{\"kind\":\"" CONFIG_LIBRARY_KIND "\",\"metadata\":{\"name\":");
    if (json_write_string(&l->json, l->name, strlen(l->name), err) < 0)
        return -1;
    buf_puts(&l->json, "},\"spec\":");
    if (spec == NULL)
        buf_puts(&l->json, "{}");
    else if (json_write(&l->json, spec, NULL, err) < 0)
        return -1;
    return buf_try_add(&l->json, "}", 1, err);
}

static void on_library(void *ctx, yyjson_val *object)
{
    struct library *l = ctx;
    struct config_source *s = l->source;
    struct digest before = l->digest;
    bool again = !l->is_seen;
    struct err err;

    l->is_seen = true;
    if (object == NULL) {
        buf_clear(&l->json);
        buf_clear(&l->whole);
    } else if (write_library(l, object, &err) < 0) {
        s->ops.missing(s->ctx, err.text);
        return;
    }
    l->digest = digest_of(buf_str(&l->json), l->json.length);
    if (all_seen(s) && s->spec.length > 0 && (again || !digest_equal(before, l->digest)))
        s->ops.changed(s->ctx);
    if (s->ops.seen != NULL && all_seen(s))
        s->ops.seen(s->ctx);
}

static void on_library_denied(void *ctx, const struct err *err)
{
    struct library *l = ctx;
    CLEANUP(free_ptr) char *why = xasprintf(CONFIG_LIBRARY_KIND " %s: %s", l->name, err->text);

    l->source->ops.missing(l->source->ctx, why);
}

static void watch_library(struct config_source *s, const char *name)
{
    struct library *l = xcalloc(1, sizeof(*l));

    l->source = s;
    l->name = xstrdup(name);
    l->is_named = true;
    buf_init(&l->json, CONFIG_FILE_MAX);
    buf_init(&l->whole, 2 * CONFIG_FILE_MAX);
    const struct object_watch_spec watch = {.api_version = CONFIG_API_VERSION,
                                            .resource = CONFIG_LIBRARY_RESOURCE,
                                            .namespace = s->namespace,
                                            .name = l->name,
                                            .max_bytes = 2 * CONFIG_FILE_MAX,
                                            .asks_absence = true,
                                            .changed = on_library,
                                            .denied = on_library_denied,
                                            .ctx = l};
    l->watch = object_watch_new(s->client, &watch);
    vec_push(&s->libraries, l);
}

/* Watches exactly the libraries that the spec names. The reader of the spec reports errors in the list. */
static void watch_libraries(struct config_source *s, yyjson_val *spec)
{
    yyjson_val *item;
    size_t i, n;

    for (size_t j = 0; j < s->libraries.length; j++)
        s->libraries.items[j]->is_named = false;
    yyjson_arr_foreach(config_refs_of(spec), i, n, item)
    {
        const char *name = json_str(item, "name");
        size_t j = 0;
        if (name == NULL || *name == '\0' || strchr(name, '/') != NULL || i >= LIBRARIES_MAX)
            continue;
        while (j < s->libraries.length && strcmp(s->libraries.items[j]->name, name) != 0)
            j++;
        if (j < s->libraries.length)
            s->libraries.items[j]->is_named = true;
        else
            watch_library(s, name);
    }
    size_t kept = 0;
    for (size_t j = 0; j < s->libraries.length; j++) {
        if (s->libraries.items[j]->is_named)
            s->libraries.items[kept++] = s->libraries.items[j];
        else
            library_free(s->libraries.items[j]);
    }
    s->libraries.length = kept;
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
    watch_libraries(s, spec);
    if (all_seen(s) && (again || !digest_equal(before, s->digest)))
        s->ops.changed(s->ctx); /* first, because findings about an earlier text must not be reported for this one */
    if (s->ops.seen != NULL && all_seen(s))
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
    s->client = client;
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

/* ---- files and resources ---- */

int config_source_load(struct config_source *s, struct config **ret_config, struct err *err)
{
    if (s->path != NULL)
        return config_load_file(s->path, ret_config, err);
    if (s->json.length == 0)
        return err_set(err, ERR_NOTFOUND, "%s: %s", s->name,
                       s->is_missing ? "there is no such resource" : "it was not read yet");
    if (s->spec.length == 0)
        return err_set(err, ERR_INVALID, "%s: spec: is missing", s->name);
    CLEANUP(buf_done) struct buf text = {.max = 2 * CONFIG_FILE_MAX};
    if (!all_seen(s))
        return err_set(err, ERR_NOTFOUND, "%s: its libraries were not read yet", s->name);
    buf_add(&text, buf_str(&s->spec), s->spec.length);
    for (size_t i = 0; i < s->libraries.length; i++) {
        const struct buf *json = &s->libraries.items[i]->json;
        if (json->length > 0 &&
            (buf_try_add(&text, "\n---\n", 5, err) < 0 || buf_try_add(&text, buf_str(json), json->length, err) < 0))
            return err_wrap(err, "%s: its libraries", s->name);
    }
    return config_parse_resource(s->name, buf_str(&text), text.length, ret_config, err);
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

void config_source_identity(const struct config_source *s, struct config_object *ret_object)
{
    *ret_object = (struct config_object){0};
    if (s != NULL && s->path == NULL)
        *ret_object = (struct config_object){.namespace = s->namespace, .name = s->object_name};
}

bool config_source_library(const struct config_source *s, size_t i, struct config_object *ret_object)
{
    if (i >= s->libraries.length)
        return false;
    const struct library *l = s->libraries.items[i];
    *ret_object = (struct config_object){
        .namespace = s->namespace, .name = l->name, .json = buf_str(&l->whole), .length = l->whole.length};
    return true;
}

static void release(struct config_source *s)
{
    free(s->name);
    free(s->path);
    free(s->namespace);
    free(s->object_name);
    for (size_t i = 0; i < s->libraries.length; i++)
        library_free(s->libraries.items[i]);
    vec_done(&s->libraries);
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
