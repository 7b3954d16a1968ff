/* The fields there are. Free-form parts (extraContext, names of snippets) have no table. */
#include "controller/config.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "controller/config_fetch.h"
#include "controller/config_read.h"
#include "controller/config_template.h"
#include "data/json.h"

/* ---- named templates ---- */

struct template_raw {
    char *text, *file, *base_revision;
};

static const struct field template_fields[] = {
    {.name = "template", .type = FIELD_STRING, .offset = offsetof(struct template_raw, text)},
    {.name = "file", .type = FIELD_STRING, .offset = offsetof(struct template_raw, file)},
    {.name = "baseRevision", .type = FIELD_STRING, .offset = offsetof(struct template_raw, base_revision)},
    {.name = "postProcessing", .type = FIELD_WITHOUT_EFFECT, .note = "do it in the template"},
    {0},
};

static void text_done(struct config_text *t)
{
    free(t->name);
    free(t->text);
    free(t->file);
    free(t->library);
    free(t->base_revision);
}

/* Put it in the place of a library's text of that name, or behind all. */
static void put_text(struct reader *r, struct config_texts *out, struct config_text text)
{
    struct config *c = r->config;

    for (size_t i = 0; i < out->items.length; i++) {
        struct config_text *before = &out->items.items[i];
        if (strcmp(before->name, text.name) != 0)
            continue;
        const char *revision = before->library != NULL ? config_revision_of(c, before->library) : "";
        if (before->library != NULL && text.base_revision == NULL)
            vec_push(r->warnings,
                     xasprintf("%s: %s%s: takes the place of that of library %s; write baseRevision: \"%s\""
                               ", so that you are told when that one changes",
                               r->file, r->path, text.name, before->library, revision));
        else if (before->library != NULL && strcmp(text.base_revision, revision) != 0)
            buf_printf(&c->moved, "%s%s%s was made against revision %s of library %s, which has revision %s now",
                       c->moved.length > 0 ? "; " : "", r->path, text.name, text.base_revision, before->library,
                       revision);
        text_done(before);
        *before = text;
        return;
    }
    if (text.base_revision != NULL)
        vec_push(r->warnings, xasprintf("%s: %s%s: baseRevision has no effect: no library in libraryRefs has this name",
                                        r->file, r->path, text.name));
    vec_push(&out->items, text);
}

static int read_texts(struct reader *r, yyjson_val *value, struct config_texts *out)
{
    yyjson_val *key, *item;
    size_t i, n, prefix = strlen(r->path);

    yyjson_obj_foreach(value, i, n, key, item)
    {
        struct template_raw raw = {0};
        if (!yyjson_is_obj(item))
            return reader_fail(r, item, yyjson_get_str(key), "must be an object with the field \"template\"");
        snprintf(r->path + prefix, sizeof(r->path) - prefix, "%s.", yyjson_get_str(key));
        int result = reader_object(r, item, template_fields, &raw);
        r->path[prefix] = '\0';
        if (result == 0)
            result = config_template_read(r, item, yyjson_get_str(key), &raw.text, &raw.file);
        if (result < 0) {
            free(raw.text);
            free(raw.file);
            free(raw.base_revision);
            return -1;
        }
        put_text(r, out,
                 (struct config_text){.name = xstrdup(yyjson_get_str(key)),
                                      .text = raw.text,
                                      .file = raw.file,
                                      .library = r->library != NULL ? xstrdup(r->library) : NULL,
                                      .base_revision = raw.base_revision});
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
    struct config *c = object;

    if (reader_object(r, value, template_fields, &raw) < 0 ||
        config_template_read(r, value, "", &raw.text, &raw.file) < 0) {
        free(raw.text);
        free(raw.file);
        free(raw.base_revision);
        return -1;
    }
    free(raw.base_revision);
    free(c->haproxy_config);
    free(c->haproxy_config_file);
    c->haproxy_config = raw.text;
    c->haproxy_config_file = raw.file;
    return 0;
}

static int read_extra_context(struct reader *r, yyjson_val *value, void *object)
{
    CLEANUP(json_doc_done) struct yyjson_doc *before = NULL;
    struct config *c = object;

    /* Over those of libraries: objects are merged, anything else takes the place of what was there. */
    if (json_parse(c->extra_context, strlen(c->extra_context), CONFIG_FILE_MAX, &before, r->err) < 0)
        return -1;
    yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
    yyjson_mut_doc_set_root(doc, yyjson_merge_patch(doc, yyjson_doc_get_root(before), value));
    char *merged = yyjson_mut_write(doc, 0, NULL);
    yyjson_mut_doc_free(doc);
    if (merged == NULL)
        return reader_fail(r, value, "extraContext", "is not valid UTF-8");
    free(c->extra_context);
    c->extra_context = merged;
    return 0;
}

/* A label's key or value, as a selector's text may have it. */
static bool is_label(const char *text)
{
    return text != NULL && strlen(text) <= 317 &&
           text[strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_./")] == '\0';
}

static int read_match_labels(struct reader *r, yyjson_val *value, void *object)
{
    CLEANUP(buf_done) struct buf out = {0};
    struct config *c = object;
    yyjson_obj_iter it = yyjson_obj_iter_with(value);

    for (yyjson_val *key; (key = yyjson_obj_iter_next(&it)) != NULL;) {
        const char *name = yyjson_get_str(key), *text = yyjson_get_str(yyjson_obj_iter_get_val(key));
        if (!is_label(name) || *name == '\0' || !is_label(text))
            return reader_fail(r, key, name, "not a label and its value, which is a text");
        buf_printf(&out, "%s%s=%s", out.length > 0 ? "," : "", name, text);
    }
    free(c->pod_selector);
    c->pod_selector = out.length > 0 ? buf_steal(&out) : NULL;
    return 0;
}

static int read_pod_selector(struct reader *r, yyjson_val *value, void *object)
{
    static const struct field fields[] = {{.name = "matchLabels", .type = FIELD_OBJECT, .read = read_match_labels},
                                          {0}};

    return reader_object(r, value, fields, object);
}

static int read_logging(struct reader *r, yyjson_val *value, void *object)
{
    struct config *c = object;
    struct log_raw {
        char *level;
    } raw = {0};
    static const struct field fields[] = {{.name = "level", .type = FIELD_STRING, .offset = 0}, {0}};
    struct err why;
    int result = reader_object(r, value, fields, &raw);

    if (result == 0 && raw.level != NULL && *raw.level != '\0') {
        c->has_log_level = true;
        if (log_level_parse(raw.level, &c->log_level, &why) < 0)
            result = reader_fail(r, value, "level", why.text);
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
    {.name = "configPublishing", .type = FIELD_WITHOUT_EFFECT, .note = "nothing is published"},
    {0},
};

static const struct field templating_fields[] = {
    {.name = "engine", .type = FIELD_WITHOUT_EFFECT, .harmless = "lua", .note = "templates are Lua"},
    {.name = "extraContext", .type = FIELD_OBJECT, .read = read_extra_context},
    {.name = "libraries", .type = FIELD_STRINGS, .offset = offsetof(struct config, libraries)},
    {.name = "allowRaw", .type = FIELD_BOOL, .offset = offsetof(struct config, allow_raw)},
    {.name = "httpFetch", .type = FIELD_OBJECT, .read = config_fetch_read},
    {.name = "renderTimeout",
     .type = FIELD_DURATION,
     .offset = offsetof(struct config, render_timeout_ns),
     .min = 100 * NS_PER_MS},
    {.name = "renderMemoryBytes",
     .type = FIELD_INT,
     .offset = offsetof(struct config, render_memory_bytes),
     .min = 64 << 20,
     .max = INT64_MAX / 2},
    {.name = "renderOutputBytes",
     .type = FIELD_INT,
     .offset = offsetof(struct config, render_output_bytes),
     .min = 8 << 20,
     .max = INT64_MAX / 2},
    {0},
};

#define NO_API "HAProxy is reached by its sockets, not by the Data Plane API"
#define OWN_DIRECTORY "everything lies in --haproxy-dir"

static const struct field dataplane_fields[] = {
    {.name = "minDeploymentInterval",
     .type = FIELD_DURATION,
     .offset = offsetof(struct config, min_deployment_interval_ns)},
    {.name = "driftPreventionInterval",
     .type = FIELD_DURATION,
     .offset = offsetof(struct config, drift_prevention_interval_ns),
     .min = NS_PER_S},
    {.name = "deploymentTimeout",
     .type = FIELD_DURATION,
     .offset = offsetof(struct config, deployment_timeout_ns),
     .min = NS_PER_S},
    {.name = "port", .type = FIELD_WITHOUT_EFFECT, .note = NO_API},
    {.name = "maxParallel", .type = FIELD_WITHOUT_EFFECT, .note = NO_API},
    {.name = "rawPushThreshold", .type = FIELD_WITHOUT_EFFECT, .note = NO_API},
    {.name = "mapsDir", .type = FIELD_WITHOUT_EFFECT, .note = OWN_DIRECTORY},
    {.name = "sslCertsDir", .type = FIELD_WITHOUT_EFFECT, .note = OWN_DIRECTORY},
    {.name = "generalStorageDir", .type = FIELD_WITHOUT_EFFECT, .note = OWN_DIRECTORY},
    {.name = "configFile", .type = FIELD_WITHOUT_EFFECT, .note = OWN_DIRECTORY},
    {0},
};

#define CERTIFICATES "certificates come from scripts; see docs/templates.md"
static int read_library_templating(struct reader *r, yyjson_val *value, void *object)
{
    static const struct field fields[] = {{.name = "extraContext", .type = FIELD_OBJECT, .read = read_extra_context},
                                          {0}};

    return reader_object(r, value, fields, object);
}

static const struct field library_fields[] = {
    {.name = "revision", .type = FIELD_ELSEWHERE}, /* config_document.c */
    {.name = "templateSnippets", .type = FIELD_OBJECT, .read = read_snippets},
    {.name = "maps", .type = FIELD_OBJECT, .read = read_maps},
    {.name = "files", .type = FIELD_OBJECT, .read = read_files},
    {.name = "haproxyConfig", .type = FIELD_OBJECT, .read = read_haproxy_config},
    {.name = "templatingSettings", .type = FIELD_OBJECT, .read = read_library_templating},
    {.name = "sslCertificates", .type = FIELD_WITHOUT_EFFECT, .note = CERTIFICATES},
    {.name = "validationTests", .type = FIELD_ELSEWHERE} /* offline/test_case.c */,
    {0},
};

static const struct field spec_fields[] = {
    {.name = "libraryRefs", .type = FIELD_ELSEWHERE}, /* config_document.c */
    {.name = "podSelector", .type = FIELD_OBJECT, .read = read_pod_selector},
    {.name = "credentialsSecretRef", .type = FIELD_WITHOUT_EFFECT, .note = NO_API},
    {.name = "sslCertificates", .type = FIELD_WITHOUT_EFFECT, .note = CERTIFICATES},
    {.name = "validationTests", .type = FIELD_ELSEWHERE} /* offline/test_case.c */,
    {.name = "controller", .type = FIELD_TABLE, .table = controller_fields},
    {.name = "logging", .type = FIELD_OBJECT, .read = read_logging},
    {.name = "dataplane", .type = FIELD_TABLE, .table = dataplane_fields},
    {.name = "templatingSettings", .type = FIELD_TABLE, .table = templating_fields},
    {.name = "watchedResourcesIgnoreFields", .type = FIELD_STRINGS, .offset = offsetof(struct config, ignore_fields)},
    {.name = "watchedResources", .type = FIELD_OBJECT, .read = config_read_kinds},
    {.name = "templateSnippets", .type = FIELD_OBJECT, .read = read_snippets},
    {.name = "maps", .type = FIELD_OBJECT, .read = read_maps},
    {.name = "files", .type = FIELD_OBJECT, .read = read_files},
    {.name = "haproxyConfig", .type = FIELD_OBJECT, .read = read_haproxy_config},
    {0},
};

/* ---- whole documents ---- */

static void add_kind(struct config *c, const char *name, const char *api_version, const char *resource,
                     const char *index_1, const char *index_2)
{
    struct config_kind kind = {
        .name = xstrdup(name), .api_version = xstrdup(api_version), .resource = xstrdup(resource), .is_built_in = true};

    kind.status_patch = config_is_ingress(api_version, resource);
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
    add_kind(c, "endpoints", "discovery.k8s.io/v1", "endpointslices", "metadata.namespace",
             "metadata.labels.kubernetes\\.io/service-name");
    vec_push(&c->libraries, xstrdup("base"));
    vec_push(&c->libraries, xstrdup("ssl"));
    vec_push(&c->libraries, xstrdup("ingress"));
    vec_push(&c->libraries, xstrdup("effects"));
    vec_push(&c->libraries, xstrdup("haproxy_org"));
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
    c->render_output_bytes = (uint64_t)256 << 20;
    return c;
}

static void texts_done(struct config_texts *t)
{
    for (size_t i = 0; i < t->items.length; i++) {
        text_done(&t->items.items[i]);
    }
    vec_done(&t->items);
}

static void strings_done(struct config_strings *s)
{
    for (size_t i = 0; i < s->length; i++)
        free(s->items[i]);
    vec_done(s);
}

struct config *config_free(struct config *c)
{
    if (c == NULL)
        return NULL;
    for (size_t i = 0; i < c->kinds.length; i++)
        config_kind_done(&c->kinds.items[i]);
    vec_done(&c->kinds);
    strings_done(&c->ignore_fields);
    strings_done(&c->libraries);
    strings_done(&c->warnings);
    texts_done(&c->snippets);
    texts_done(&c->maps);
    texts_done(&c->files);
    for (size_t i = 0; i < c->refs.length; i++) {
        free(c->refs.items[i].name);
        free(c->refs.items[i].revision);
    }
    vec_done(&c->refs);
    buf_done(&c->moved);
    url_rules_done(&c->fetch_rules);
    free(c->haproxy_config);
    free(c->haproxy_config_file);
    free(c->pod_selector);
    free(c->extra_context);
    free(c->lease_name);
    config_forget_tests(c);
    free(c);
    return NULL;
}

void config_cleanup(struct config **c)
{
    config_free(*c);
}

static bool has_library(const struct config *c, const char *name)
{
    for (size_t i = 0; i < c->libraries.length; i++)
        if (strcmp(c->libraries.items[i], name) == 0)
            return true;
    return false;
}

static bool is_absent(yyjson_val *value)
{
    return value == NULL || yyjson_is_null(value);
}

/* What a field means for others that are left out. */
static void imply(struct config *c, yyjson_val *spec)
{
    yyjson_val *templating = yyjson_obj_get(spec, "templatingSettings");

    if (templating == NULL)
        templating = yyjson_obj_get(spec, "templating_settings");
    if (c->haproxy_config != NULL && is_absent(yyjson_obj_get(templating, "libraries"))) {
        strings_done(&c->libraries);
        c->libraries = (struct config_strings){0};
    }
    for (size_t i = c->kinds.length; c->has_own_kinds && !has_library(c, "ingress") && i-- > 0;)
        if (c->kinds.items[i].is_built_in)
            (void)config_kind_remove(c, c->kinds.items[i].name);
}

int config_read_spec(struct reader *r, yyjson_val *spec)
{
    if (reader_object(r, spec, spec_fields, r->config) < 0)
        return -1;
    imply(r->config, spec);
    return config_fetch_add_kind(r, spec);
}

int config_read_library(struct reader *r, const char *library, yyjson_val *spec)
{
    r->library = library;
    int result = reader_object(r, spec, library_fields, r->config);
    r->library = NULL;
    return result;
}
