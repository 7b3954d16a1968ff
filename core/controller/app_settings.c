/* The configuration in force, with what the command line adds to it. */
#include <string.h>

#include "base/alloc.h"
#include "controller/app_parts.h"
#include "controller/dump.h"
#include "data/json.h"

static void put_string(struct buf *out, const char *before, const char *text)
{
    buf_puts(out, before);
    if (text == NULL || json_write_string(out, text, strlen(text), NULL) < 0)
        buf_puts(out, "null");
}

static void put_strings(struct buf *out, const char *before, const struct config_strings *list)
{
    buf_puts(out, before);
    for (size_t i = 0; i < list->length; i++)
        put_string(out, i > 0 ? "," : "[", list->items[i]);
    buf_puts(out, list->length > 0 ? "]" : "[]");
}

static void put_names(struct buf *out, const char *before, const struct config_texts *texts)
{
    buf_puts(out, before);
    for (size_t i = 0; i < texts->items.length; i++)
        put_string(out, i > 0 ? "," : "[", texts->items.items[i].name);
    buf_puts(out, texts->items.length > 0 ? "]" : "[]");
}

static void put_duration(struct buf *out, const char *before, int64_t ns)
{
    buf_printf(out, "%s%.3f", before, (double)ns / 1e9);
}

static void put_kinds(const struct config *c, struct buf *out)
{
    buf_puts(out, ",\"watchedResources\":{");
    for (size_t i = 0; i < c->kinds.length; i++) {
        const struct config_kind *k = &c->kinds.items[i];
        put_string(out, i > 0 ? "," : "", k->name);
        put_string(out, ":{\"apiVersion\":", k->api_version);
        put_string(out, ",\"resources\":", k->resource);
        put_string(out, ",\"labelSelector\":", k->label_selector);
        put_string(out, ",\"fieldSelector\":", k->field_selector);
        put_strings(out, ",\"namespaces\":", &k->namespaces);
        put_string(out, ",\"namespaceSelector\":", k->namespace_selector);
        put_strings(out, ",\"apiVersions\":", &k->api_versions);
        buf_printf(out, ",\"optional\":%s", k->is_optional ? "true" : "false");
        put_string(out, ",\"watch\":", config_kind_is_referenced(k) ? "referenced" : "all");
        put_string(out, ",\"store\":", config_kind_is_on_demand(k) ? "on-demand" : "full");
        put_strings(out, ",\"indexBy\":", &k->index_by);
        buf_printf(out, ",\"owned\":%s,\"statusPatch\":%s,\"enableValidationWebhook\":%s}",
                   k->is_owned ? "true" : "false", k->status_patch ? "true" : "false",
                   k->is_reviewed ? "true" : "false");
    }
    buf_putc(out, '}');
}

static void put_rules(struct buf *out, const struct url_rules *rules)
{
    buf_puts(out, ",\"httpFetch\":[");
    for (size_t i = 0; i < rules->items.length; i++) {
        const struct url_rule *r = &rules->items.items[i];
        CLEANUP(free_ptr) char *url = xasprintf("%s://%s:%s%s", r->scheme, r->host, r->port, r->path);
        put_string(out, i > 0 ? "," : "", url);
    }
    buf_putc(out, ']');
}

void app_write_settings(const struct app *app, struct buf *out)
{
    const struct config *c = app->config;

    put_string(out, "{\"source\":", app->config_source != NULL ? app_config_name(app) : "built-in");
    if (c == NULL) {
        buf_puts(out, "}\n");
        return;
    }
    put_kinds(c, out);
    put_strings(out, ",\"libraries\":", &c->libraries);
    put_names(out, ",\"templateSnippets\":", &c->snippets);
    put_names(out, ",\"maps\":", &c->maps);
    put_names(out, ",\"files\":", &c->files);
    put_names(out, ",\"sslCertificates\":", &c->certificates);
    put_names(out, ",\"crtLists\":", &c->crt_lists);
    buf_printf(out, ",\"haproxyConfig\":%s,\"extraContext\":%s,\"set\":[", c->haproxy_config ? "true" : "false",
               c->extra_context ? c->extra_context : "{}");
    for (size_t i = 0; app->options.extra_context != NULL && app->options.extra_context[i] != NULL; i++)
        put_string(out, i > 0 ? "," : "", app->options.extra_context[i]);
    put_strings(out, "],\"watchedResourcesIgnoreFields\":", &c->ignore_fields);
    buf_printf(out, ",\"leaderElection\":%s", c->leader_election ? "true" : "false");
    put_string(out, ",\"leaseName\":", c->lease_name);
    put_duration(out, ",\"leaseDuration\":", c->lease_duration_ns);
    put_duration(out, ",\"renewDeadline\":", c->renew_deadline_ns);
    put_duration(out, ",\"retryPeriod\":", c->retry_period_ns);
    put_duration(out, ",\"minDeploymentInterval\":", c->min_deployment_interval_ns);
    put_duration(out, ",\"driftPreventionInterval\":", c->drift_prevention_interval_ns);
    put_duration(out, ",\"deploymentTimeout\":", c->deployment_timeout_ns);
    put_duration(out, ",\"renderTimeout\":", c->render_timeout_ns);
    put_rules(out, &c->fetch_rules);
    put_strings(out, ",\"warnings\":", &c->warnings);
    buf_puts(out, "}\n");
}

int app_write_dump(const struct app *app, struct buf *out, struct err *err)
{
    CLEANUP(buf_done) struct buf program = {0};

    if (app->reconcile == NULL)
        return err_set(err, ERR_NOTFOUND, "the configuration is waited for");
    if (config_program(app->config, &app->caps, app->default_certificate.handle, app->options.extra_context, &program,
                       err) < 0)
        return -1;
    return dump_write(app->config, app->store, &program, out, err);
}
