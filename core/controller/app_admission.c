/* The admission webhook's part of the controller. Its renderer uses the templates in force after they have rendered
 * once. */
#include <stdlib.h>

#include "base/alloc.h"
#include "base/log.h"
#include "controller/app_parts.h"

static const struct config *config_in_force(void *ctx)
{
    return ((struct app *)ctx)->config;
}

static const struct model *model(void *ctx)
{
    return reconcile_model(((struct app *)ctx)->reconcile);
}

static bool is_followed(void *ctx, const char *kind, const char *namespace)
{
    const struct app *app = ctx;

    return app->source_kube == NULL || source_kube_follows(app->source_kube, kind, namespace);
}

/* ---- configurations ---- */

static bool base_of_candidates(void *ctx, struct candidate_render_spec *ret_spec)
{
    struct app *app = ctx;

    if (app->reconcile == NULL || reconcile_rendered(app->reconcile) == 0)
        return false;
    ret_spec->store = app->store;
    ret_spec->in_force = app->config;
    ret_spec->model = reconcile_model(app->reconcile);
    ret_spec->problems = reconcile_problems(app->reconcile);
    ret_spec->check = (struct check_config){
        .binary = app->haproxy, .readable = app->options.check_reads, .vault = store_vault(app->store)};
    return true;
}

static int program_of_candidate(void *ctx, const struct config *config, struct buf *out, struct err *err)
{
    const struct app *app = ctx;

    return config_program(config, &app->caps, app->default_certificate.handle, app->options.extra_context, out, err);
}

void app_start_candidates(struct app *app)
{
    const struct app_options *o = &app->options;
    const struct candidates_spec spec = {.loop = app->loop,
                                         .metrics = app->metrics,
                                         .client = app->client,
                                         .source = app->config_source,
                                         .executable = o->executable,
                                         .haproxy_binary = o->haproxy_binary,
                                         .extra_context = o->extra_context,
                                         .timeout_ns = o->webhook_configuration_ns,
                                         .fails_closed = o->webhook_fails_closed,
                                         .base = base_of_candidates,
                                         .program = program_of_candidate,
                                         .ctx = app};

    if (o->webhook_configuration_ns > 0)
        app->candidates = candidates_new(&spec);
}

struct candidates *app_candidates(const struct app *app)
{
    return app->candidates;
}

/* ---- certificates ---- */

static const char *own_namespace(const struct app *app)
{
    return app->options.pod_namespace != NULL ? app->options.pod_namespace : kube_client_config(app->client)->namespace;
}

static void on_certified(void *ctx, const struct peer_identity *identity)
{
    struct app *app = ctx;

    app->options.webhook_certified(app->options.webhook_ctx, identity->certificate, identity->key);
    app->is_webhook_certified = true;
    if (app->authority_writer != NULL)
        authority_writer_set(app->authority_writer, identity->authority);
    app_ownership_step(app);
}

static int start_certificates(struct app *app, bool (*may_write)(void *ctx), struct err *err)
{
    const struct app_options *o = &app->options;

    if (app->client == NULL)
        return err_set(err, ERR_INVALID, "--webhook-secret needs an API server; give --webhook-cert-dir");
    app->webhook_name = xasprintf("%s.%s.svc", o->webhook_service, own_namespace(app));
    const struct fleet_secret_spec secret = {.namespace = own_namespace(app),
                                             .name = o->webhook_secret,
                                             .agent_name = app->webhook_name,
                                             .is_webhook = true,
                                             .may_write = may_write,
                                             .references = app_ownership_references,
                                             .changed = on_certified,
                                             .ctx = app};
    const struct authority_writer_spec writer = {.name = o->webhook_configuration,
                                                 .namespace = own_namespace(app),
                                                 .service = o->webhook_service,
                                                 .may_write = may_write,
                                                 .ctx = app};
    if (o->webhook_configuration != NULL)
        app->authority_writer = authority_writer_new(app->client, &writer);
    app->webhook_secret = fleet_secret_new(app->client, &secret);
    return 0;
}

void app_lead_admission(struct app *app)
{
    if (app->webhook_secret != NULL)
        fleet_secret_step(app->webhook_secret);
    if (app->authority_writer != NULL)
        authority_writer_step(app->authority_writer);
}

/* ---- life ---- */

int app_start_admission(struct app *app, bool (*may_write)(void *ctx), struct err *err)
{
    const struct app_options *o = &app->options;
    const struct admission_spec spec = {.loop = app->loop,
                                        .store = app->store,
                                        .executable = o->executable,
                                        .metrics = app->metrics,
                                        .timeout_ns = o->webhook_timeout_ns,
                                        .fails_closed = o->webhook_fails_closed,
                                        .config = config_in_force,
                                        .model = model,
                                        .is_followed = is_followed,
                                        .ctx = app};

    if (!o->has_webhook)
        return 0;
    app->admission = admission_new(&spec);
    return o->webhook_secret != NULL ? start_certificates(app, may_write, err) : 0;
}

void app_stop_admission(struct app *app)
{
    app->admission = admission_free(app->admission);
    app->candidates = candidates_free(app->candidates);
    app->webhook_secret = fleet_secret_free(app->webhook_secret);
    app->authority_writer = authority_writer_free(app->authority_writer);
    free(app->webhook_name);
}

/* A setting without effect is reported. */
static void warn_without_webhook(const struct app *app)
{
    for (size_t i = 0; i < app->config->kinds.length; i++) {
        const struct config_kind *k = &app->config->kinds.items[i];
        if (k->is_reviewed && !k->is_built_in)
            log_warn(
                "enableValidationWebhook has no effect: this controller serves no admission webhook (--webhook-cert-dir)",
                "setting", "enableValidationWebhook", "kind", k->name);
    }
}

void app_step_admission(struct app *app)
{
    CLEANUP(buf_done) struct buf program = {0};
    struct err err;

    if (app->admission_program == app->program_number || reconcile_rendered(app->reconcile) == 0)
        return;
    app->admission_program = app->program_number;
    if (app->admission == NULL) {
        warn_without_webhook(app);
        return;
    }
    if (config_program(app->config, &app->caps, app->default_certificate.handle, app->options.extra_context, &program,
                       &err) < 0) {
        log_warn("The admission webhook has no templates; it cannot check objects", "error", err.text);
        return;
    }
    const struct renderer_limits limits = {.deadline_ns = app->config->render_timeout_ns,
                                           .memory_bytes = (size_t)app->config->render_memory_bytes,
                                           .output_bytes = (size_t)app->config->render_output_bytes};
    admission_set_program(app->admission, buf_str(&program), program.length, &limits);
}

void app_describe_admission(const struct app *app, struct buf *out)
{
    if (app->admission == NULL && app->candidates == NULL) {
        buf_puts(out, "null");
        return;
    }
    buf_puts(out, "{\"objects\":");
    if (app->admission != NULL)
        admission_describe(app->admission, out);
    else
        buf_puts(out, "null");
    buf_puts(out, ",\"configurations\":");
    if (app->candidates != NULL)
        candidates_describe(app->candidates, out);
    else
        buf_puts(out, "null");
    buf_putc(out, '}');
}

/* With a webhook that fails closed, a replica must not receive requests before it can answer them. */
const char *app_admission_lacks(const struct app *app)
{
    if (app->admission == NULL || !app->options.webhook_fails_closed || app->ever_ready)
        return NULL;
    if (app->webhook_secret != NULL && !app->is_webhook_certified)
        return "the admission webhook has no certificate yet\n";
    return admission_can_judge(app->admission) ? NULL : "the admission webhook has no templates yet\n";
}

struct admission *app_admission(const struct app *app)
{
    return app->admission;
}
