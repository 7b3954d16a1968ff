/* The admission webhook's part of the controller: its renderer has the templates in force, once they have rendered. */
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

void app_start_admission(struct app *app)
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

    if (o->has_webhook)
        app->admission = admission_new(&spec);
}

/* A setting that somebody wrote must not do nothing without a word. */
static void warn_without_webhook(const struct app *app)
{
    for (size_t i = 0; i < app->config->kinds.length; i++) {
        const struct config_kind *k = &app->config->kinds.items[i];
        if (k->is_reviewed && !k->is_built_in)
            log_warn("Objects are not judged before they are stored, though the configuration asks for it: this "
                     "controller serves no admission webhook (--webhook-cert-dir)",
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
        log_warn("The admission webhook has no templates; it judges nothing", "error", err.text);
        return;
    }
    const struct renderer_limits limits = app_limits_of(app->config);
    admission_set_program(app->admission, buf_str(&program), program.length, &limits);
}

struct admission *app_admission(const struct app *app)
{
    return app->admission;
}
