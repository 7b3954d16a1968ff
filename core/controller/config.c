/* The document is checked against tables of fields: one table per object, each row a key, a type and where the value goes. A key is looked up
 * after snake_case was turned into camelCase. Free-form parts (extraContext, names of snippets) have no table. */
#include "controller/config.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "data/json.h"
#include "data/jsonpath.h"
#include "data/yaml.h"
#include "engine/embedded.h"

struct reader {
    struct config *config;
    const struct yaml_doc *doc;
    const char *file;
    char path[256]; /* of the object being read, with a dot at its end */
    struct err *err;
};

enum field_type { FIELD_STRING, FIELD_STRINGS, FIELD_BOOL, FIELD_INT, FIELD_DURATION, FIELD_OBJECT, FIELD_TABLE, FIELD_IGNORED };

struct field {
    const char *name;
    enum field_type type;
    size_t offset; /* of the value, in the object given to read_object() */
    const struct field *table; /* FIELD_TABLE: its own rows, read into the same object */
    /* FIELD_OBJECT: reads it all by itself. */
    int (*read)(struct reader *r, yyjson_val *value, void *object);
    int64_t min, max;
};

static int fail(struct reader *r, const yyjson_val *at, const char *key, const char *message)
{
    return err_set(r->err, ERR_INVALID, "%s:%zu: %s%s: %s", r->file, yaml_line(r->doc, at), r->path, key, message);
}

static size_t distance(const char *a, const char *b)
{
    enum { MAX = 64 };
    size_t row[MAX + 1], la = strlen(a), lb = strlen(b);

    if (la > MAX || lb > MAX)
        return MAX;
    for (size_t j = 0; j <= lb; j++)
        row[j] = j;
    for (size_t i = 1; i <= la; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= lb; j++) {
            size_t above = row[j];
            size_t best = diagonal + (tolower((unsigned char)a[i - 1]) != tolower((unsigned char)b[j - 1]));
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            row[j] = best;
            diagonal = above;
        }
    }
    return row[lb];
}

static void camel_case(const char *key, char *out, size_t size)
{
    size_t n = 0;

    for (const char *p = key; *p != '\0' && n + 1 < size; p++) {
        if (*p == '_' && n > 0 && isalpha((unsigned char)p[1]))
            out[n++] = (char)toupper((unsigned char)*++p);
        else
            out[n++] = *p;
    }
    out[n] = '\0';
}

static int unknown_field(struct reader *r, const yyjson_val *at, const char *key, const struct field *table)
{
    const struct field *nearest = NULL;
    size_t best = SIZE_MAX;
    char message[512];

    for (const struct field *f = table; f->name != NULL; f++) {
        size_t d = distance(key, f->name);
        if (d < best) {
            best = d;
            nearest = f;
        }
    }
    if (nearest != NULL && best <= strlen(key) / 2 + 1) {
        snprintf(message, sizeof(message), "unknown field; did you mean \"%s\"?", nearest->name);
    } else {
        size_t n = (size_t)snprintf(message, sizeof(message), "unknown field; valid are");
        for (const struct field *f = table; f->name != NULL && n < sizeof(message); f++)
            n += (size_t)snprintf(message + n, sizeof(message) - n, " %s", f->name);
    }
    return fail(r, at, key, message);
}

static int read_duration(struct reader *r, yyjson_val *value, const char *key, int64_t *ret_ns)
{
    struct err why;

    if (!yyjson_is_str(value))
        return fail(r, value, key, "must be a duration such as \"15s\"");
    if (duration_parse(yyjson_get_str(value), ret_ns, &why) < 0)
        return fail(r, value, key, why.text);
    return 0;
}

typedef VEC(char *) strings;

static int read_strings(struct reader *r, yyjson_val *value, const char *key, strings *out)
{
    yyjson_val *item;
    size_t i, n;

    if (!yyjson_is_arr(value))
        return fail(r, value, key, "must be a list of strings");
    for (size_t j = 0; j < out->length; j++)
        free(out->items[j]);
    vec_clear(out);
    yyjson_arr_foreach(value, i, n, item)
    {
        if (json_str_of(item) == NULL)
            return fail(r, item, key, "must be a list of strings");
        vec_push(out, xstrdup(json_str_of(item)));
    }
    return 0;
}

static int read_object(struct reader *r, yyjson_val *value, const struct field *table, void *object, const char *required);

static int read_field(struct reader *r, yyjson_val *value, const struct field *f, void *object)
{
    char *at = (char *)object + f->offset;
    char message[128];

    switch (f->type) {
    case FIELD_IGNORED:
        return 0;
    case FIELD_STRING:
        if (json_str_of(value) == NULL)
            return fail(r, value, f->name, "must be a string");
        free(*(char **)at);
        *(char **)at = xstrdup(json_str_of(value));
        return 0;
    case FIELD_STRINGS:
        return read_strings(r, value, f->name, (strings *)at);
    case FIELD_BOOL:
        if (!yyjson_is_bool(value))
            return fail(r, value, f->name, "must be true or false");
        *(bool *)at = yyjson_get_bool(value);
        return 0;
    case FIELD_INT:
        if (!yyjson_is_int(value) || json_int_of(value, f->min - 1) < f->min || json_int_of(value, f->min - 1) > f->max) {
            snprintf(message, sizeof(message), "must be a whole number from %lld to %lld", (long long)f->min, (long long)f->max);
            return fail(r, value, f->name, message);
        }
        *(int64_t *)at = yyjson_get_sint(value);
        return 0;
    case FIELD_DURATION:
        return read_duration(r, value, f->name, (int64_t *)at);
    case FIELD_OBJECT:
    case FIELD_TABLE: {
        size_t length = strlen(r->path);
        int result;
        if (!yyjson_is_obj(value))
            return fail(r, value, f->name, "must be an object");
        snprintf(r->path + length, sizeof(r->path) - length, "%s.", f->name);
        result = f->type == FIELD_TABLE ? read_object(r, value, f->table, object, NULL) : f->read(r, value, object);
        r->path[length] = '\0';
        return result;
    }
    }
    return fail(r, value, f->name, "cannot be read");
}

/* required: names separated by spaces; NULL: none. */
static int read_object(struct reader *r, yyjson_val *value, const struct field *table, void *object, const char *required)
{
    yyjson_val *key, *item;
    size_t i, n;

    yyjson_obj_foreach(value, i, n, key, item)
    {
        char name[128];
        const struct field *f = table;
        camel_case(yyjson_get_str(key), name, sizeof(name));
        while (f->name != NULL && strcmp(f->name, name) != 0)
            f++;
        if (f->name == NULL)
            return unknown_field(r, key, yyjson_get_str(key), table);
        if (yyjson_is_null(item))
            continue;
        if (read_field(r, item, f, object) < 0)
            return -1;
    }
    for (const char *p = required; p != NULL && *p != '\0';) {
        size_t length = strcspn(p, " ");
        char name[64];
        snprintf(name, sizeof(name), "%.*s", (int)length, p);
        if (yyjson_obj_get(value, name) == NULL)
            return fail(r, value, name, "is missing");
        p += length + (p[length] == ' ');
    }
    return 0;
}

/* ---- watchedResources ---- */


static const struct field kind_fields[] = {
    {.name = "apiVersion", .type = FIELD_STRING, .offset = offsetof(struct config_kind, api_version)},
    {.name = "resources", .type = FIELD_STRING, .offset = offsetof(struct config_kind, resource)},
    {.name = "indexBy", .type = FIELD_STRINGS, .offset = offsetof(struct config_kind, index_by)},
    {.name = "labelSelector", .type = FIELD_STRING, .offset = offsetof(struct config_kind, label_selector)},
    {.name = "fieldSelector", .type = FIELD_STRING, .offset = offsetof(struct config_kind, field_selector)},
    {.name = "namespaces", .type = FIELD_STRINGS, .offset = offsetof(struct config_kind, namespaces)},
    {.name = "store", .type = FIELD_IGNORED},
    {.name = "enableValidationWebhook", .type = FIELD_IGNORED},
    {0},
};

static void kind_done(struct config_kind *k)
{
    free(k->name);
    free(k->api_version);
    free(k->resource);
    free(k->label_selector);
    free(k->field_selector);
    for (size_t i = 0; i < k->index_by.length; i++)
        free(k->index_by.items[i]);
    vec_done(&k->index_by);
    for (size_t i = 0; i < k->namespaces.length; i++)
        free(k->namespaces.items[i]);
    vec_done(&k->namespaces);
}

static int check_index(struct reader *r, yyjson_val *value, const struct config_kind *kind)
{
    struct err why;

    if (kind->index_by.length > STORE_INDEX_PARTS_MAX)
        return fail(r, value, "indexBy", "has more than 4 expressions");
    for (size_t i = 0; i < kind->index_by.length; i++) {
        struct jsonpath *path;
        if (jsonpath_compile(kind->index_by.items[i], &path, &why) < 0)
            return fail(r, value, "indexBy", why.text);
        jsonpath_free(path);
    }
    return 0;
}

static int read_kinds(struct reader *r, yyjson_val *value, void *object)
{
    struct config *c = object;
    yyjson_val *key, *item;
    size_t i, n, prefix = strlen(r->path);

    for (size_t j = 0; j < c->kinds.length; j++)
        kind_done(&c->kinds.items[j]);
    vec_clear(&c->kinds);
    yyjson_obj_foreach(value, i, n, key, item)
    {
        struct config_kind kind = {.name = xstrdup(yyjson_get_str(key))};
        int result = 0;
        if (!yyjson_is_obj(item))
            result = fail(r, item, kind.name, "must be an object");
        snprintf(r->path + prefix, sizeof(r->path) - prefix, "%s.", kind.name);
        if (result == 0)
            result = read_object(r, item, kind_fields, &kind, "apiVersion resources");
        if (result == 0)
            result = check_index(r, item, &kind);
        r->path[prefix] = '\0';
        if (result < 0) {
            kind_done(&kind);
            return -1;
        }
        vec_push(&c->kinds, kind);
    }
    return 0;
}

/* ---- named templates ---- */

struct template_raw {
    char *text;
};

static const struct field template_fields[] = {
    {.name = "template", .type = FIELD_STRING, .offset = offsetof(struct template_raw, text)},
    {0},
};

static int read_texts(struct reader *r, yyjson_val *value, struct config_texts *out)
{
    yyjson_val *key, *item;
    size_t i, n, prefix = strlen(r->path);

    yyjson_obj_foreach(value, i, n, key, item)
    {
        struct template_raw raw = {0};
        if (!yyjson_is_obj(item))
            return fail(r, item, yyjson_get_str(key), "must be an object with the field \"template\"");
        snprintf(r->path + prefix, sizeof(r->path) - prefix, "%s.", yyjson_get_str(key));
        int result = read_object(r, item, template_fields, &raw, "template");
        r->path[prefix] = '\0';
        if (result < 0) {
            free(raw.text);
            return -1;
        }
        vec_push(&out->items, ((struct config_text){.name = xstrdup(yyjson_get_str(key)), .text = raw.text}));
    }
    return 0;
}

static int read_snippets(struct reader *r, yyjson_val *value, void *object)
{
    return read_texts(r, value, &((struct config *)object)->snippets);
}

static int read_maps(struct reader *r, yyjson_val *value, void *object)
{
    return read_texts(r, value, &((struct config *)object)->maps);
}

static int read_files(struct reader *r, yyjson_val *value, void *object)
{
    return read_texts(r, value, &((struct config *)object)->files);
}

static int read_haproxy_config(struct reader *r, yyjson_val *value, void *object)
{
    struct template_raw raw = {0};

    if (read_object(r, value, template_fields, &raw, "template") < 0) {
        free(raw.text);
        return -1;
    }
    free(((struct config *)object)->haproxy_config);
    ((struct config *)object)->haproxy_config = raw.text;
    return 0;
}

static int read_extra_context(struct reader *r, yyjson_val *value, void *object)
{
    struct config *c = object;
    struct buf out = {0};

    if (json_write(&out, value, NULL, r->err) < 0) {
        buf_done(&out);
        return -1;
    }
    free(c->extra_context);
    c->extra_context = buf_steal(&out);
    return 0;
}

static int read_logging(struct reader *r, yyjson_val *value, void *object)
{
    struct config *c = object;
    struct log_raw {
        char *level;
    } raw = {0};
    static const struct field fields[] = {{.name = "level", .type = FIELD_STRING, .offset = 0}, {0}};
    struct err why;
    int result = read_object(r, value, fields, &raw, NULL);

    if (result == 0 && raw.level != NULL && *raw.level != '\0') {
        c->has_log_level = true;
        if (log_level_parse(raw.level, &c->log_level, &why) < 0)
            result = fail(r, value, "level", why.text);
    }
    free(raw.level);
    return result;
}

static const struct field leader_fields[] = {
    {.name = "enabled", .type = FIELD_BOOL, .offset = offsetof(struct config, leader_election)},
    {.name = "leaseName", .type = FIELD_STRING, .offset = offsetof(struct config, lease_name)},
    {.name = "leaseDuration", .type = FIELD_DURATION, .offset = offsetof(struct config, lease_duration_ns)},
    {.name = "renewDeadline", .type = FIELD_DURATION, .offset = offsetof(struct config, renew_deadline_ns)},
    {.name = "retryPeriod", .type = FIELD_DURATION, .offset = offsetof(struct config, retry_period_ns)},
    {0},
};

static const struct field controller_fields[] = {
    {.name = "leaderElection", .type = FIELD_TABLE, .table = leader_fields},
    {0},
};

static const struct field templating_fields[] = {
    {.name = "engine", .type = FIELD_IGNORED},
    {.name = "extraContext", .type = FIELD_OBJECT, .read = read_extra_context},
    {.name = "libraries", .type = FIELD_STRINGS, .offset = offsetof(struct config, libraries)},
    {.name = "allowRaw", .type = FIELD_BOOL, .offset = offsetof(struct config, allow_raw)},
    {.name = "renderTimeout", .type = FIELD_DURATION, .offset = offsetof(struct config, render_timeout_ns)},
    {.name = "renderMemoryBytes", .type = FIELD_INT, .offset = offsetof(struct config, render_memory_bytes), .min = 64 << 20, .max = INT64_MAX / 2},
    {0},
};

static const struct field dataplane_fields[] = {
    {.name = "minDeploymentInterval", .type = FIELD_DURATION, .offset = offsetof(struct config, min_deployment_interval_ns)},
    {.name = "driftPreventionInterval", .type = FIELD_DURATION, .offset = offsetof(struct config, drift_prevention_interval_ns)},
    {.name = "deploymentTimeout", .type = FIELD_DURATION, .offset = offsetof(struct config, deployment_timeout_ns)},
    {0},
};

static const struct field spec_fields[] = {
    {.name = "controller", .type = FIELD_TABLE, .table = controller_fields},
    {.name = "logging", .type = FIELD_OBJECT, .read = read_logging},
    {.name = "dataplane", .type = FIELD_TABLE, .table = dataplane_fields},
    {.name = "templatingSettings", .type = FIELD_TABLE, .table = templating_fields},
    {.name = "watchedResourcesIgnoreFields", .type = FIELD_STRINGS, .offset = offsetof(struct config, ignore_fields)},
    {.name = "watchedResources", .type = FIELD_OBJECT, .read = read_kinds},
    {.name = "templateSnippets", .type = FIELD_OBJECT, .read = read_snippets},
    {.name = "maps", .type = FIELD_OBJECT, .read = read_maps},
    {.name = "files", .type = FIELD_OBJECT, .read = read_files},
    {.name = "haproxyConfig", .type = FIELD_OBJECT, .read = read_haproxy_config},
    {0},
};

/* ---- whole documents ---- */

static void add_kind(struct config *c, const char *name, const char *api_version, const char *resource, const char *index_1, const char *index_2)
{
    struct config_kind kind = {.name = xstrdup(name), .api_version = xstrdup(api_version), .resource = xstrdup(resource)};

    vec_push(&kind.index_by, xstrdup(index_1));
    if (index_2 != NULL)
        vec_push(&kind.index_by, xstrdup(index_2));
    vec_push(&c->kinds, kind);
}

struct config *config_new_default(void)
{
    struct config *c = xcalloc(1, sizeof(*c));

    add_kind(c, "ingresses", "networking.k8s.io/v1", "ingresses", "metadata.namespace", "metadata.name");
    add_kind(c, "ingressclasses", "networking.k8s.io/v1", "ingressclasses", "metadata.name", NULL);
    add_kind(c, "services", "v1", "services", "metadata.namespace", "metadata.name");
    add_kind(c, "endpoints", "discovery.k8s.io/v1", "endpointslices", "metadata.namespace", "metadata.labels.kubernetes\\.io/service-name");
    vec_push(&c->libraries, xstrdup("base"));
    vec_push(&c->libraries, xstrdup("ingress"));
    c->extra_context = xstrdup("{}");
    c->allow_raw = true;
    c->leader_election = true;
    c->lease_name = xstrdup("haptic-leader");
    c->lease_duration_ns = 60 * NS_PER_S;
    c->renew_deadline_ns = 15 * NS_PER_S;
    c->retry_period_ns = 5 * NS_PER_S;
    c->min_deployment_interval_ns = 2 * NS_PER_S;
    c->drift_prevention_interval_ns = 60 * NS_PER_S;
    c->deployment_timeout_ns = 30 * NS_PER_S;
    c->render_timeout_ns = 10 * NS_PER_S;
    c->render_memory_bytes = (uint64_t)1 << 30;
    return c;
}

static void texts_done(struct config_texts *t)
{
    for (size_t i = 0; i < t->items.length; i++) {
        free(t->items.items[i].name);
        free(t->items.items[i].text);
    }
    vec_done(&t->items);
}

static void strings_done(char **items, size_t length)
{
    for (size_t i = 0; i < length; i++)
        free(items[i]);
    free(items);
}

struct config *config_free(struct config *c)
{
    if (c == NULL)
        return NULL;
    for (size_t i = 0; i < c->kinds.length; i++)
        kind_done(&c->kinds.items[i]);
    vec_done(&c->kinds);
    strings_done(c->ignore_fields.items, c->ignore_fields.length);
    strings_done(c->libraries.items, c->libraries.length);
    texts_done(&c->snippets);
    texts_done(&c->maps);
    texts_done(&c->files);
    free(c->haproxy_config);
    free(c->extra_context);
    free(c->lease_name);
    free(c);
    return NULL;
}

static void config_cleanup(struct config **c)
{
    config_free(*c);
}

/* Rules across fields. */
static int check_whole(struct reader *r, yyjson_val *spec)
{
    struct config *c = r->config;
    struct elector_config elector;
    struct err why;

    elector_config_defaults(&elector);
    elector.lease_name = c->lease_name;
    elector.namespace = elector.identity = "x";
    elector.lease_duration_ns = c->lease_duration_ns;
    elector.renew_deadline_ns = c->renew_deadline_ns;
    elector.retry_period_ns = c->retry_period_ns;
    yyjson_val *controller = yyjson_obj_get(spec, "controller");
    if (c->leader_election && elector_config_check(&elector, &why) < 0)
        return fail(r, controller ? controller : spec, "controller.leaderElection", why.text);
    if (c->kinds.length == 0)
        return fail(r, spec, "watchedResources", "must name at least one resource");
    for (size_t i = 0; i < c->libraries.length; i++) {
        CLEANUP(free_ptr) char *name = xasprintf("templates/%s.lua", c->libraries.items[i]);
        struct embedded_file file;
        if (!embedded_find(name, &file)) {
            CLEANUP(free_ptr) char *message = xasprintf("there is no library \"%s\"", c->libraries.items[i]);
            return fail(r, spec, "templatingSettings.libraries", message);
        }
    }
    return 0;
}

int config_parse(const char *name, const char *text, size_t length, struct config **ret_config, struct err *err)
{
    CLEANUP(yaml_docs_done) struct yaml_docs docs = {0};
    CLEANUP(config_cleanup) struct config *c = config_new_default();
    struct json_position at = {0};

    if (yaml_parse(text, length, CONFIG_FILE_MAX, &docs, &at, err) < 0) {
        CLEANUP(free_ptr) char *why = xstrdup(err->text);
        return err_set(err, err->kind, "%s:%zu: %s", name, at.line, why);
    }
    if (docs.length != 1)
        return err_set(err, ERR_INVALID, "%s: must hold one YAML document, not %zu", name, docs.length);
    struct reader r = {.config = c, .doc = &docs.items[0], .file = name, .err = err};
    yyjson_val *spec = yyjson_doc_get_root(r.doc->json);
    if (!yyjson_is_obj(spec))
        return err_set(err, ERR_INVALID, "%s:1: must be an object with the fields of HAProxyTemplateConfig.spec", name);
    if (yyjson_obj_get(spec, "kind") != NULL || yyjson_obj_get(spec, "spec") != NULL) {
        const char *kind = json_str(spec, "kind");
        if (kind == NULL || strcmp(kind, "HAProxyTemplateConfig") != 0)
            return fail(&r, spec, "kind", "must be HAProxyTemplateConfig");
        yyjson_val *inner = yyjson_obj_get(spec, "spec");
        if (!yyjson_is_obj(inner))
            return fail(&r, spec, "spec", "is missing or not an object");
        spec = inner;
    }
    if (read_object(&r, spec, spec_fields, c, NULL) < 0 || check_whole(&r, spec) < 0)
        return -1;
    *ret_config = STEAL(c);
    return 0;
}

int config_load(const char *path, struct config **ret_config, struct err *err)
{
    CLEANUP(close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
    CLEANUP(buf_done) struct buf text;

    if (fd < 0)
        return err_set_sys(err, errno, "configuration %s", path);
    buf_init(&text, CONFIG_FILE_MAX);
    for (;;) {
        char *room = buf_room(&text, 65536, err);
        if (room == NULL)
            return err_set(err, ERR_LIMIT, "configuration %s is larger than %zu bytes", path, CONFIG_FILE_MAX);
        ssize_t n = read(fd, room, 65536);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set_sys(err, errno, "configuration %s", path);
        if (n == 0)
            break;
        buf_grew(&text, (size_t)n);
    }
    return config_parse(path, buf_str(&text), text.length, ret_config, err);
}
