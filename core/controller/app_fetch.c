/* The contents of URLs: the fetcher's questions to the rest of the controller. */
#include "base/alloc.h"
#include "controller/app_parts.h"

static bool exists(void *ctx, const char *fragment_id)
{
    return model_fragment(reconcile_model(((const struct app *)ctx)->reconcile), fragment_id) != NULL;
}

static void settled(void *ctx)
{
    const struct app *app = ctx;

    if (app->reconcile != NULL && !app->stopping)
        reconcile_kick(app->reconcile);
}

void app_start_fetcher(struct app *app)
{
    static const struct fetcher_ops ops = {.exists = exists, .settled = settled};
    CLEANUP(free_ptr) char *agent = xasprintf("haptic/%s", app->options.version);

    app->fetcher = fetcher_new(app->loop, app->store, app->metrics, agent, &ops, app);
    fetcher_set_rules(app->fetcher, &app->config->fetch_rules);
    fetcher_take_kind(app->fetcher);
}

static void hear(void *ctx, const struct fragment *f)
{
    fetcher_hear(ctx, NULL, f);
}

void app_restore_fetched(struct app *app)
{
    model_each_good(reconcile_model(app->reconcile), hear, app->fetcher);
}

void app_write_fetched(const struct app *app, struct buf *out)
{
    if (app->fetcher != NULL)
        fetcher_write_objects(app->fetcher, out);
    else
        buf_puts(out, "{\"apiVersion\":\"v1\",\"kind\":\"List\",\"items\":[]}\n");
}
