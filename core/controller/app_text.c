/* The text of the configuration: its name, how it is read, and what the renderer gets. */
#include "controller/app_parts.h"

const char *app_config_name(const struct app *app)
{
    return app->config_source != NULL ? config_source_name(app->config_source) : "built-in";
}

int app_load_config(struct app *app, struct config **ret_config, struct err *err)
{
    if (app->config_source != NULL)
        return config_source_load(app->config_source, ret_config, err);
    *ret_config = config_new_default();
    return 0;
}

int app_set_program(struct app *app, const struct config *config, struct err *err)
{
    CLEANUP(buf_done) struct buf program = {0};

    app_set_limits(app, config);
    if (config_program(config, &app->caps, app->default_certificate.handle, app->options.extra_context, &program, err) <
        0)
        return -1;
    renderer_set_program(app->renderer, buf_str(&program), program.length);
    return 0;
}
