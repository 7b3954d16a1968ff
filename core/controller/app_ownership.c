/* Owner references: the Lease, the Secrets with certificates, and the Secrets of --owned-secrets get the owners that
 * --owners names. */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "controller/app_parts.h"

static const char *own_namespace(const struct app *app)
{
    return app->options.pod_namespace != NULL ? app->options.pod_namespace : kube_client_config(app->client)->namespace;
}

static const char *lease_name(void *ctx)
{
    const struct app *app = ctx;

    return app->config->leader_election ? app->config->lease_name : NULL;
}

static void add_secret(struct ownership_spec *spec, const char *name)
{
    if (name == NULL || *name == '\0')
        return;
    if (spec->secret_count < OWNERSHIP_SECRETS_MAX)
        spec->secrets[spec->secret_count++] = name;
    else
        log_warn("Too many Secrets in --owned-secrets: this one has no owner", "secret", name);
}

void app_start_ownership(struct app *app)
{
    const struct app_options *o = &app->options;
    struct ownership_spec spec = {
        .owners = o->owners, .lease_name = lease_name, .may_write = app_may_write, .ctx = app};
    char *rest = NULL;

    if (o->owners == NULL || app->client == NULL || app->ownership != NULL)
        return;
    spec.namespace = own_namespace(app);
    add_secret(&spec, o->fleet_secret);
    add_secret(&spec, o->webhook_secret);
    app->owned_secrets = xstrdup(o->owned_secrets != NULL ? o->owned_secrets : "");
    for (char *name = strtok_r(app->owned_secrets, ",", &rest); name != NULL; name = strtok_r(NULL, ",", &rest))
        add_secret(&spec, name);
    app->ownership = ownership_new(app->client, &spec);
}

void app_ownership_step(struct app *app)
{
    if (app->ownership != NULL)
        ownership_step(app->ownership);
}

const char *app_ownership_references(void *ctx)
{
    const struct app *app = ctx;

    return app->ownership != NULL ? ownership_references(app->ownership) : NULL;
}

void app_free_ownership(struct app *app)
{
    app->ownership = ownership_free(app->ownership);
    free(app->owned_secrets);
}
