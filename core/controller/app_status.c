/* The two writers of objects (status; objects that templates create) and their questions to the rest of the controller.
 */
#include <string.h>

#include "base/alloc.h"
#include "controller/app_parts.h"
#include "controller/owned_merge.h"
#include "controller/status_manner.h"

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

static bool is_owned(void *ctx, const char *kind)
{
    const struct app *app = ctx;

    for (size_t i = 0; i < app->config->kinds.length; i++)
        if (strcmp(app->config->kinds.items[i].name, kind) == 0)
            return app->config->kinds.items[i].is_owned;
    return false;
}

static size_t failing(void *ctx)
{
    struct reconcile_status s;

    reconcile_status(((const struct app *)ctx)->reconcile, &s);
    return s.failed;
}

static void tell(void *ctx, const struct fragment *f, const char *reason, const char *message)
{
    app_notify(ctx, true, f->owner_kind, f->owner_id, reason, message);
}

void app_start_status(struct app *app)
{
    static const struct status_writer_ops status = {.may_write = app_may_write,
                                                    .write_end_ns = write_end_ns,
                                                    .is_declared = is_declared,
                                                    .exists = exists,
                                                    .is_settled = is_settled,
                                                    .accepted = accepted,
                                                    .live = live,
                                                    .requested = requested,
                                                    .rendered = rendered};
    struct owned_ops owned = {.writer = status, .failing = failing, .tell = tell};

    if (app->client == NULL || app->options.source_dir != NULL)
        return;
    app->status_writer = status_writer_new(app->client, app->store, app->metrics, &status_manner, &status, app);
    owned.writer.is_declared = is_owned;
    const char *namespace = app->options.pod_namespace ? app->options.pod_namespace
                                                       : kube_client_config(app->client)->namespace;
    CLEANUP(free_ptr) char *owner = owned_owner(namespace, app->config->lease_name);
    app->owned_writer = owned_writer_new(app->client, app->store, app->metrics, owner, &owned, app);
}

static void hear_restored(void *ctx, const struct fragment *f)
{
    owned_writer_hear(ctx, NULL, (struct fragment *)(uintptr_t)f); /* it takes a reference */
}

void app_restore_owned(struct app *app)
{
    if (app->owned_writer != NULL)
        model_each_good(reconcile_model(app->reconcile), hear_restored, app->owned_writer);
}

void app_on_heard(void *ctx, struct fragment *before, struct fragment *now)
{
    status_writer_hear(((struct app *)ctx)->status_writer, before, now);
    owned_writer_hear(((struct app *)ctx)->owned_writer, before, now);
    fetcher_hear(((struct app *)ctx)->fetcher, before, now);
}

void app_on_reviewed(void *ctx)
{
    status_writer_review(((struct app *)ctx)->status_writer);
    owned_writer_review(((struct app *)ctx)->owned_writer);
    fetcher_review(((struct app *)ctx)->fetcher);
}
