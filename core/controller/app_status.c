/* The status of objects: what the writer asks of the rest of the controller. */
#include <string.h>

#include "controller/app_parts.h"

static int64_t write_end_ns(void *ctx)
{
    return leader_write_end_ns(((const struct app *)ctx)->leader);
}

static bool is_declared(void *ctx, const char *kind)
{
    const struct app *app = ctx;

    for (size_t i = 0; i < app->config->kinds.length; i++)
        if (strcmp(app->config->kinds.items[i].name, kind) == 0)
            return app->config->kinds.items[i].status_patch;
    return false;
}

static bool exists(void *ctx, const char *fragment_id)
{
    return model_fragment(reconcile_model(((const struct app *)ctx)->reconcile), fragment_id) != NULL;
}

static bool is_settled(void *ctx, const char *fragment_id)
{
    return model_is_settled(reconcile_model(((const struct app *)ctx)->reconcile), fragment_id);
}

static uint64_t accepted(void *ctx)
{
    return reconcile_generation(((const struct app *)ctx)->reconcile) + 1; /* the first one is 0 */
}

static uint64_t live(void *ctx)
{
    return reconcile_live_generation(((const struct app *)ctx)->reconcile);
}

static uint64_t requested(void *ctx)
{
    return reconcile_requested(((const struct app *)ctx)->reconcile);
}

static uint64_t rendered(void *ctx)
{
    return reconcile_rendered(((const struct app *)ctx)->reconcile);
}

void app_start_status(struct app *app)
{
    static const struct status_writer_ops ops = {.may_write = app_may_write,
                                                 .write_end_ns = write_end_ns,
                                                 .is_declared = is_declared,
                                                 .exists = exists,
                                                 .is_settled = is_settled,
                                                 .accepted = accepted,
                                                 .live = live,
                                                 .requested = requested,
                                                 .rendered = rendered};

    if (app->client != NULL && app->options.source_dir == NULL)
        app->status_writer = status_writer_new(app->client, app->store, app->metrics, &ops, app);
}

void app_on_heard(void *ctx, struct fragment *before, struct fragment *now)
{
    status_writer_hear(((struct app *)ctx)->status_writer, before, now);
    fetcher_hear(((struct app *)ctx)->fetcher, before, now);
}

void app_on_reviewed(void *ctx)
{
    status_writer_review(((struct app *)ctx)->status_writer);
    fetcher_review(((struct app *)ctx)->fetcher);
}
