/* The known fields. Free-form parts (extraContext, names of snippets) have no table. */
#include "controller/config.h"

#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "controller/config_fetch.h"
#include "controller/config_read.h"
#include "data/json.h"

/* ---- further fields ---- */

static int read_extra_context(struct reader *r, yyjson_val *value, void *object)
{
    CLEANUP(json_doc_done) struct yyjson_doc *before = NULL;
    struct config *c = object;

    /* Merges a value over that of the libraries: objects are merged, other values replace it. */
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

/* True for a label's key or value that a selector may contain. */
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
    {.name = "renderGateInterval",
     .type = FIELD_WITHOUT_EFFECT,
     .note = "each rendering that has to be checked by HAProxy is, before it counts"},
    {0},
};

static const struct field templating_fields[] = {
    {.name = "engine", .type = FIELD_WITHOUT_EFFECT, .harmless = "lua", .note = "templates are Lua"},
    {.name = "extraContext", .type = FIELD_OBJECT, .read = read_extra_context},
    {.name = "testExtraContext",
     .type = FIELD_WITHOUT_EFFECT,
     .note = "write what tests need into validationTests._global.extraContext"},
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
    {.name = "configPublishInterval", .type = FIELD_WITHOUT_EFFECT, .note = "nothing is published"},
    {.name = "reloadVerificationTimeout",
     .type = FIELD_WITHOUT_EFFECT,
     .note = "a reload is over when HAProxy has said so, within deploymentTimeout"},
    {.name = "syncTimeout", .type = FIELD_WITHOUT_EFFECT, .note = "deploymentTimeout is the limit"},
    {.name = "mapsDir", .type = FIELD_WITHOUT_EFFECT, .note = OWN_DIRECTORY},
    {.name = "sslCertsDir", .type = FIELD_WITHOUT_EFFECT, .note = OWN_DIRECTORY},
    {.name = "generalStorageDir", .type = FIELD_WITHOUT_EFFECT, .note = OWN_DIRECTORY},
    {.name = "configFile", .type = FIELD_WITHOUT_EFFECT, .note = OWN_DIRECTORY},
    {0},
};

static int read_library_templating(struct reader *r, yyjson_val *value, void *object)
{
    static const struct field fields[] = {{.name = "extraContext", .type = FIELD_OBJECT, .read = read_extra_context},
                                          {0}};

    return reader_object(r, value, fields, object);
}

static int refuse_k8s_resources(struct reader *r, yyjson_val *value, void *object)
{
    (void)object;
    return reader_fail(r, value, "k8sResources",
                       "is not available: a text has no owner for each object in it. Write out:object(manifest) in a "
                       "script, and an entry of watchedResources with \"owned: true\" for the kind");
}

static const struct field library_fields[] = {
    {.name = "revision", .type = FIELD_ELSEWHERE}, /* config_document.c */
    {.name = "templateSnippets", .type = FIELD_OBJECT, .read = config_read_snippets},
    {.name = "maps", .type = FIELD_OBJECT, .read = config_read_maps},
    {.name = "files", .type = FIELD_OBJECT, .read = config_read_files},
    {.name = "haproxyConfig", .type = FIELD_OBJECT, .read = config_read_haproxy_config},
    {.name = "templatingSettings", .type = FIELD_OBJECT, .read = read_library_templating},
    {.name = "sslCertificates", .type = FIELD_OBJECT, .read = config_read_certificates},
    {.name = "crtLists", .type = FIELD_OBJECT, .read = config_read_crt_lists},
    {.name = "k8sResources", .type = FIELD_ANY, .read = refuse_k8s_resources},
    {.name = "validationTests", .type = FIELD_ELSEWHERE} /* offline/test_case.c */,
    {0},
};

static const struct field spec_fields[] = {
    {.name = "libraryRefs", .type = FIELD_ELSEWHERE}, /* config_document.c */
    {.name = "podSelector", .type = FIELD_OBJECT, .read = read_pod_selector},
    {.name = "credentialsSecretRef", .type = FIELD_WITHOUT_EFFECT, .note = NO_API},
    {.name = "sslCertificates", .type = FIELD_OBJECT, .read = config_read_certificates},
    {.name = "crtLists", .type = FIELD_OBJECT, .read = config_read_crt_lists},
    {.name = "k8sResources", .type = FIELD_ANY, .read = refuse_k8s_resources},
    {.name = "validationTests", .type = FIELD_ELSEWHERE} /* offline/test_case.c */,
    {.name = "validators",
     .type = FIELD_WITHOUT_EFFECT,
     .note = "HAProxy itself checks what is rendered, and nobody else"},
    {.name = "controller", .type = FIELD_TABLE, .table = controller_fields},
    {.name = "logging", .type = FIELD_OBJECT, .read = read_logging},
    {.name = "dataplane", .type = FIELD_TABLE, .table = dataplane_fields},
    {.name = "templatingSettings", .type = FIELD_TABLE, .table = templating_fields},
    {.name = "watchedResourcesIgnoreFields", .type = FIELD_STRINGS, .offset = offsetof(struct config, ignore_fields)},
    {.name = "watchedResources", .type = FIELD_OBJECT, .read = config_read_kinds},
    {.name = "templateSnippets", .type = FIELD_OBJECT, .read = config_read_snippets},
    {.name = "maps", .type = FIELD_OBJECT, .read = config_read_maps},
    {.name = "files", .type = FIELD_OBJECT, .read = config_read_files},
    {.name = "haproxyConfig", .type = FIELD_OBJECT, .read = config_read_haproxy_config},
    {0},
};

/* ---- whole documents ---- */

static void add_kind(struct config *c, const char *name, const char *api_version, const char *resource,
                     const char *index_1, const char *index_2)
{
    struct config_kind kind = {
        .name = xstrdup(name), .api_version = xstrdup(api_version), .resource = xstrdup(resource), .is_built_in = true};

    kind.status_patch = kind.is_reviewed = config_is_ingress(api_version, resource);
    vec_push(&kind.index_by, xstrdup(index_1));
    if (index_2 != NULL)
        vec_push(&kind.index_by, xstrdup(index_2));
    vec_push(&c->kinds, kind);
}

/* The default is a part of the memory of the machine or the container, within limits: ten thousand Ingresses fit in the
 * lower limit, and a large machine gets more. */
static uint64_t share_of_memory(unsigned part, uint64_t least, uint64_t most)
{
    uint64_t all = uv_get_total_memory(), container = uv_get_constrained_memory();
    uint64_t share = (container > 0 && container < all ? container : all) / part;

    return share < least ? least : share > most ? most : share;
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
    vec_push(&c->libraries, xstrdup("acme"));
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
    c->render_memory_bytes = share_of_memory(4, (uint64_t)1 << 30, (uint64_t)4 << 30);
    c->render_output_bytes = share_of_memory(8, (uint64_t)256 << 20, (uint64_t)1 << 30);
    return c;
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
    config_texts_done(&c->snippets);
    config_texts_done(&c->maps);
    config_texts_done(&c->files);
    config_texts_done(&c->certificates);
    config_texts_done(&c->crt_lists);
    config_rewrites_done(&c->rewrites);
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

/* Sets fields that were left out from the fields that were given. */
static void imply(struct config *c)
{
    if (c->haproxy_config != NULL && !c->says_libraries) {
        strings_done(&c->libraries);
        c->libraries = (struct config_strings){0};
    }
    for (size_t i = c->kinds.length; c->has_own_kinds && !has_library(c, "ingress") && i-- > 0;)
        if (c->kinds.items[i].is_built_in)
            (void)config_kind_remove(c, c->kinds.items[i].name);
    config_strip_snippets(c);
}

int config_read_part(struct reader *r, yyjson_val *spec)
{
    yyjson_val *templating = yyjson_obj_get(spec, "templatingSettings");

    if (templating == NULL)
        templating = yyjson_obj_get(spec, "templating_settings");
    r->config->says_libraries = r->config->says_libraries || !is_absent(yyjson_obj_get(templating, "libraries"));
    return reader_object(r, spec, spec_fields, r->config);
}

int config_read_end(struct reader *r, yyjson_val *spec)
{
    imply(r->config);
    return config_fetch_add_kind(r, spec);
}

int config_read_library(struct reader *r, const char *library, yyjson_val *spec)
{
    r->library = library;
    int result = reader_object(r, spec, library_fields, r->config);
    r->library = NULL;
    return result;
}
