/* One yyjson document, written with indentation. Fields without a value are left out. */
#include "controller/config_view.h"

#include <stdlib.h>
#include <string.h>
#include <yyjson.h>

#include "base/clock.h"
#include "data/json.h"

struct view {
    yyjson_mut_doc *doc;
    yyjson_mut_val *spec;
};

static void put_string(const struct view *v, yyjson_mut_val *object, const char *name, const char *text)
{
    if (text != NULL)
        yyjson_mut_obj_add_str(v->doc, object, name, text);
}

static void put_strings(const struct view *v, yyjson_mut_val *object, const char *name,
                        const struct config_strings *list)
{
    if (list->length == 0)
        return;
    yyjson_mut_val *array = yyjson_mut_obj_add_arr(v->doc, object, name);
    for (size_t i = 0; i < list->length; i++)
        yyjson_mut_arr_add_str(v->doc, array, list->items[i]);
}

static void put_duration(const struct view *v, yyjson_mut_val *object, const char *name, int64_t ns)
{
    char text[DURATION_SIZE];

    yyjson_mut_obj_add_strcpy(v->doc, object, name, duration_format(ns, text));
}

static void put_kinds(const struct view *v, const struct config *c)
{
    yyjson_mut_val *kinds = yyjson_mut_obj_add_obj(v->doc, v->spec, "watchedResources");

    for (size_t i = 0; i < c->kinds.length; i++) {
        const struct config_kind *k = &c->kinds.items[i];
        yyjson_mut_val *kind = yyjson_mut_obj_add_obj(v->doc, kinds, k->name);
        put_strings(v, kind, "apiVersions", &k->api_versions);
        if (k->api_versions.length == 0)
            put_string(v, kind, "apiVersion", k->api_version);
        put_string(v, kind, "resources", k->resource);
        put_strings(v, kind, "indexBy", &k->index_by);
        put_string(v, kind, "labelSelector", k->label_selector);
        put_string(v, kind, "fieldSelector", k->field_selector);
        put_strings(v, kind, "namespaces", &k->namespaces);
        put_string(v, kind, "namespaceSelector", k->namespace_selector);
        put_string(v, kind, "store", k->store);
        put_string(v, kind, "watch", k->watch);
        if (k->is_optional)
            yyjson_mut_obj_add_bool(v->doc, kind, "optional", true);
        if (k->is_owned)
            yyjson_mut_obj_add_bool(v->doc, kind, "owned", true);
        yyjson_mut_obj_add_bool(v->doc, kind, "statusPatch", k->status_patch);
    }
}

static void put_rewrites(const struct view *v, yyjson_mut_val *object, const struct config_rewrites *rewrites)
{
    if (rewrites->length == 0)
        return;
    yyjson_mut_val *list = yyjson_mut_obj_add_arr(v->doc, object, "postProcessing");
    for (size_t i = 0; i < rewrites->length; i++) {
        yyjson_mut_val *rule = yyjson_mut_arr_add_obj(v->doc, list);
        put_string(v, rule, "type", "regex_replace");
        yyjson_mut_val *params = yyjson_mut_obj_add_obj(v->doc, rule, "params");
        put_string(v, params, "pattern", rewrites->items[i].pattern);
        put_string(v, params, "replace", rewrites->items[i].replacement);
    }
}

static void put_texts(const struct view *v, const char *name, const struct config_texts *texts)
{
    if (texts->items.length == 0)
        return;
    yyjson_mut_val *object = yyjson_mut_obj_add_obj(v->doc, v->spec, name);
    for (size_t i = 0; i < texts->items.length; i++) {
        const struct config_text *t = &texts->items.items[i];
        yyjson_mut_val *text = yyjson_mut_obj_add_obj(v->doc, object, t->name);
        put_string(v, text, "template", t->text);
        put_strings(v, text, "requires", &t->requires);
        put_rewrites(v, text, &t->rewrites);
    }
}

/* "app=haproxy,tier=edge" */
static void put_pod_selector(const struct view *v, const struct config *c)
{
    if (c->pod_selector == NULL)
        return;
    yyjson_mut_val *selector = yyjson_mut_obj_add_obj(v->doc, v->spec, "podSelector");
    yyjson_mut_val *labels = yyjson_mut_obj_add_obj(v->doc, selector, "matchLabels");
    for (const char *at = c->pod_selector; *at != '\0';) {
        size_t length = strcspn(at, ","), name = strcspn(at, "=");
        yyjson_mut_obj_add(labels, yyjson_mut_strncpy(v->doc, at, name),
                           yyjson_mut_strncpy(v->doc, at + name + 1, length - name - 1));
        at += length + (at[length] == ',');
    }
}

static void put_election(const struct view *v, const struct config *c)
{
    yyjson_mut_val *controller = yyjson_mut_obj_add_obj(v->doc, v->spec, "controller");
    yyjson_mut_val *election = yyjson_mut_obj_add_obj(v->doc, controller, "leaderElection");

    yyjson_mut_obj_add_bool(v->doc, election, "enabled", c->leader_election);
    put_string(v, election, "leaseName", c->lease_name);
    put_duration(v, election, "leaseDuration", c->lease_duration_ns);
    put_duration(v, election, "renewDeadline", c->renew_deadline_ns);
    put_duration(v, election, "retryPeriod", c->retry_period_ns);
}

static void put_dataplane(const struct view *v, const struct config *c)
{
    yyjson_mut_val *dataplane = yyjson_mut_obj_add_obj(v->doc, v->spec, "dataplane");

    put_duration(v, dataplane, "minDeploymentInterval", c->min_deployment_interval_ns);
    put_duration(v, dataplane, "driftPreventionInterval", c->drift_prevention_interval_ns);
    put_duration(v, dataplane, "deploymentTimeout", c->deployment_timeout_ns);
}

static int put_templating(const struct view *v, const struct config *c, struct err *err)
{
    CLEANUP(json_doc_done) struct yyjson_doc *context = NULL;
    yyjson_mut_val *templating = yyjson_mut_obj_add_obj(v->doc, v->spec, "templatingSettings");

    if (json_parse(c->extra_context, strlen(c->extra_context), CONFIG_FILE_MAX, &context, err) < 0)
        return err_wrap(err, "extraContext");
    yyjson_mut_val *libraries = yyjson_mut_obj_add_arr(v->doc, templating, "libraries");
    for (size_t i = 0; i < c->libraries.length; i++)
        yyjson_mut_arr_add_str(v->doc, libraries, c->libraries.items[i]);
    yyjson_mut_obj_add_bool(v->doc, templating, "allowRaw", c->allow_raw);
    put_duration(v, templating, "renderTimeout", c->render_timeout_ns);
    yyjson_mut_obj_add_uint(v->doc, templating, "renderMemoryBytes", c->render_memory_bytes);
    yyjson_mut_obj_add_uint(v->doc, templating, "renderOutputBytes", c->render_output_bytes);
    yyjson_mut_obj_add_val(v->doc, templating, "extraContext",
                           yyjson_val_mut_copy(v->doc, yyjson_doc_get_root(context)));
    return 0;
}

static void put_haproxy_config(const struct view *v, const struct config *c)
{
    if (c->haproxy_config == NULL)
        return;
    yyjson_mut_val *config = yyjson_mut_obj_add_obj(v->doc, v->spec, "haproxyConfig");
    put_string(v, config, "template", c->haproxy_config);
    put_rewrites(v, config, &c->rewrites);
}

int config_view(const struct config *c, struct buf *out, struct err *err)
{
    struct view v = {.doc = yyjson_mut_doc_new(NULL)};

    v.spec = yyjson_mut_obj(v.doc);
    yyjson_mut_doc_set_root(v.doc, v.spec);
    put_pod_selector(&v, c);
    put_kinds(&v, c);
    put_strings(&v, v.spec, "watchedResourcesIgnoreFields", &c->ignore_fields);
    put_texts(&v, "templateSnippets", &c->snippets);
    put_texts(&v, "maps", &c->maps);
    put_texts(&v, "files", &c->files);
    put_texts(&v, "sslCertificates", &c->certificates);
    put_texts(&v, "crtLists", &c->crt_lists);
    put_haproxy_config(&v, c);
    put_election(&v, c);
    put_dataplane(&v, c);
    int result = put_templating(&v, c, err);
    size_t length = 0;
    char *json = result == 0 ? yyjson_mut_write(v.doc, YYJSON_WRITE_PRETTY_TWO_SPACES, &length) : NULL;
    yyjson_mut_doc_free(v.doc);
    if (result < 0)
        return -1;
    if (json == NULL)
        return err_set(err, ERR_INVALID, "a text of the configuration is not valid UTF-8");
    result = buf_try_add(out, json, length, err);
    free(json);
    return result < 0 ? -1 : buf_try_add(out, "\n", 1, err);
}
