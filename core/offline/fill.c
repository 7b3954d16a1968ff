/* The store is not changed while it is walked: what is missing is gathered first. Ports and hosts of one thing that
 * several Ingresses name come together. */
#include "offline/fill.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "data/certificate_make.h"
#include "data/json.h"

/* What one kind of thing lacks: id → struct wanted. */
struct wanted {
    char *namespace, *name, *by;
    VEC(char *) values; /* ports "80" or "http"; hosts */
};

struct wants {
    VEC(struct wanted *) items; /* in the order in which they were met */
};

struct filling {
    struct workbench *w;
    struct store_kind *services, *slices, *secrets;
    struct wants ports, hosts;
    struct buf *said;
};

static void wants_done(struct wants *list)
{
    for (size_t i = 0; i < list->items.length; i++) {
        struct wanted *x = list->items.items[i];
        for (size_t j = 0; j < x->values.length; j++)
            free(x->values.items[j]);
        vec_done(&x->values);
        free(x->namespace);
        free(x->name);
        free(x->by);
        free(x);
    }
    vec_done(&list->items);
}

static void want(struct wants *list, const char *namespace, const char *name, const char *by, const char *value)
{
    struct wanted *found = NULL;

    for (size_t i = 0; i < list->items.length && found == NULL; i++)
        if (strcmp(list->items.items[i]->namespace, namespace) == 0 && strcmp(list->items.items[i]->name, name) == 0)
            found = list->items.items[i];
    if (found == NULL) {
        found = xcalloc(1, sizeof(*found));
        found->namespace = xstrdup(namespace);
        found->name = xstrdup(name);
        found->by = xstrdup(by);
        vec_push(&list->items, found);
    }
    for (size_t i = 0; i < found->values.length; i++)
        if (strcmp(found->values.items[i], value) == 0)
            return;
    vec_push(&found->values, xstrdup(value));
}

/* ---- what an Ingress names ---- */

static bool has(const struct store_kind *kind, const char *namespace, const char *name)
{
    CLEANUP(free_ptr) char *id = xasprintf("%s/%s", namespace, name);

    return store_get(kind, id) != NULL;
}

static void look_at_backend(struct filling *f, const struct object *ing, yyjson_val *backend)
{
    yyjson_val *service = yyjson_obj_get(backend, "service"), *port = yyjson_obj_get(service, "port");
    const char *name = json_str(service, "name");
    CLEANUP(buf_done) struct buf value = {0};
    yyjson_val *number = yyjson_obj_get(port, "number");
    struct err ignored;

    if (name == NULL || port == NULL || f->services == NULL || has(f->services, ing->namespace, name) ||
        json_scalar_text(number ? number : yyjson_obj_get(port, "name"), &value, &ignored) < 0)
        return;
    want(&f->ports, ing->namespace, name, ing->id, buf_str(&value));
}

static void look_at_rules(struct filling *f, const struct object *ing, yyjson_val *spec)
{
    size_t i, max, j, count;
    yyjson_val *rule, *path;

    look_at_backend(f, ing, yyjson_obj_get(spec, "defaultBackend"));
    yyjson_arr_foreach(yyjson_obj_get(spec, "rules"), i, max, rule)
    {
        yyjson_arr_foreach(yyjson_obj_get(yyjson_obj_get(rule, "http"), "paths"), j, count, path)
        {
            look_at_backend(f, ing, yyjson_obj_get(path, "backend"));
        }
    }
}

static void look_at_tls(struct filling *f, const struct object *ing, yyjson_val *spec)
{
    size_t i, max, j, count;
    yyjson_val *tls, *host, *rule;

    yyjson_arr_foreach(yyjson_obj_get(spec, "tls"), i, max, tls)
    {
        const char *name = json_str(tls, "secretName");
        if (name == NULL || f->secrets == NULL || has(f->secrets, ing->namespace, name))
            continue;
        yyjson_arr_foreach(yyjson_obj_get(tls, "hosts"), j, count, host)
        {
            if (yyjson_is_str(host))
                want(&f->hosts, ing->namespace, name, ing->id, yyjson_get_str(host));
        }
        yyjson_arr_foreach(yyjson_obj_get(spec, "rules"), j, count, rule)
        {
            if (yyjson_obj_get(tls, "hosts") == NULL && json_str(rule, "host") != NULL)
                want(&f->hosts, ing->namespace, name, ing->id, json_str(rule, "host"));
        }
    }
}

static void look_at(void *ctx, struct object *ing)
{
    struct filling *f = ctx;
    CLEANUP(json_doc_done) struct yyjson_doc *doc = NULL;
    struct err ignored;

    if (object_parse(ing, SIZE_MAX, &doc, &ignored) < 0)
        return;
    yyjson_val *spec = yyjson_obj_get(yyjson_doc_get_root(doc), "spec");
    look_at_rules(f, ing, spec);
    look_at_tls(f, ing, spec);
}

/* ---- inventing ---- */

static int put(struct store_kind *kind, struct buf *json, struct err *err)
{
    return store_put_json(kind, buf_str(json), json->length, NULL, err);
}

static int put_service(struct filling *f, const struct wanted *x, size_t number, struct err *err)
{
    CLEANUP(buf_done) struct buf service = {0}, ports = {0}, slice_ports = {0}, slice = {0};

    for (size_t i = 0; i < x->values.length; i++) {
        const char *value = x->values.items[i];
        bool is_number = value[strspn(value, "0123456789")] == '\0';
        CLEANUP(free_ptr) char *name = is_number ? xasprintf("p%s", value) : xstrdup(value);
        CLEANUP(free_ptr) char *port = is_number ? xstrdup(value) : xasprintf("%zu", 80 + i);
        buf_printf(&ports, "%s{\"name\":\"%s\",\"port\":%s,\"targetPort\":%s}", i ? "," : "", name, port, port);
        buf_printf(&slice_ports, "%s{\"name\":\"%s\",\"port\":%s}", i ? "," : "", name, port);
        buf_printf(f->said, "%s%s", i ? ", " : "", value);
    }
    buf_printf(&service,
               "{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"metadata\":{\"namespace\":\"%s\",\"name\":\"%s\"},"
               "\"spec\":{\"ports\":[%s]}}",
               x->namespace, x->name, buf_str(&ports));
    if (put(f->services, &service, err) < 0)
        return err_wrap(err, "Service %s/%s", x->namespace, x->name);
    if (f->slices == NULL)
        return 0;
    /* TEST-NET-2 and -3: addresses that nobody has */
    buf_printf(&slice,
               "{\"apiVersion\":\"discovery.k8s.io/v1\",\"kind\":\"EndpointSlice\",\"metadata\":{\"namespace\":\"%s\","
               "\"name\":\"%s-invented\",\"labels\":{\"kubernetes.io/service-name\":\"%s\"}},\"addressType\":\"IPv4\","
               "\"ports\":[%s],\"endpoints\":[{\"addresses\":[\"198.51.100.%zu\"],\"conditions\":{\"ready\":true}},"
               "{\"addresses\":[\"203.0.113.%zu\"],\"conditions\":{\"ready\":true}}]}",
               x->namespace, x->name, x->name, buf_str(&slice_ports), number % 254 + 1, number % 254 + 1);
    return put(f->slices, &slice, err) < 0 ? err_wrap(err, "EndpointSlice %s/%s", x->namespace, x->name) : 0;
}

static int put_string(struct buf *out, const struct buf *text, struct err *err)
{
    return json_write_string(out, buf_str((struct buf *)(uintptr_t)text), text->length, err);
}

static int put_secret(struct filling *f, struct wanted *x, struct err *err)
{
    CLEANUP(buf_done) struct buf chain = {0}, key = {0}, secret = {0};

    for (size_t i = 0; i < x->values.length; i++)
        buf_printf(f->said, "%s%s", i ? ", " : "", x->values.items[i]);
    vec_push(&x->values, (char *)NULL);
    x->values.length--;
    if (certificate_make((const char *const *)x->values.items, &chain, &key, err) < 0)
        return -1;
    buf_printf(&secret,
               "{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"type\":\"kubernetes.io/tls\",\"metadata\":{\"namespace\":"
               "\"%s\",\"name\":\"%s\"},\"stringData\":{\"tls.crt\":",
               x->namespace, x->name);
    if (put_string(&secret, &chain, err) < 0)
        return -1;
    buf_puts(&secret, ",\"tls.key\":");
    if (put_string(&secret, &key, err) < 0)
        return -1;
    buf_puts(&secret, "}}");
    return put(f->secrets, &secret, err) < 0 ? err_wrap(err, "Secret %s/%s", x->namespace, x->name) : 0;
}

static int put_all(struct filling *f, struct err *err)
{
    for (size_t i = 0; i < f->ports.items.length; i++) {
        const struct wanted *x = f->ports.items.items[i];
        buf_printf(f->said, "Service %s/%s with two endpoints, port ", x->namespace, x->name);
        if (put_service(f, x, i, err) < 0)
            return -1;
        buf_printf(f->said, ", for Ingress %s\n", x->by);
    }
    for (size_t i = 0; i < f->hosts.items.length; i++) {
        struct wanted *x = f->hosts.items.items[i];
        buf_printf(f->said, "Secret %s/%s with a certificate for ", x->namespace, x->name);
        if (put_secret(f, x, err) < 0)
            return -1;
        buf_printf(f->said, ", for Ingress %s\n", x->by);
    }
    return 0;
}

/* The kinds go by what they are, not by how the configuration calls them. */
static struct store_kind *kind_of(const struct store *s, const char *resource)
{
    for (size_t i = 0; i < store_kind_count(s); i++) {
        struct store_kind *kind = store_kind_at(s, i);
        if (strcmp(store_kind_spec(kind)->resource, resource) == 0)
            return kind;
    }
    return NULL;
}

int fill_missing(struct workbench *w, struct buf *ret_said, struct err *err)
{
    struct store *s = workbench_store(w);
    struct store_kind *ingresses = kind_of(s, "ingresses");
    struct filling f = {.w = w,
                        .services = kind_of(s, "services"),
                        .slices = kind_of(s, "endpointslices"),
                        .secrets = kind_of(s, "secrets"),
                        .said = ret_said};

    if (ingresses != NULL)
        store_each(ingresses, look_at, &f);
    int result = put_all(&f, err);
    wants_done(&f.ports);
    wants_done(&f.hosts);
    return result;
}
