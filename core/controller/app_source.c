/* Where objects come from: a folder or the API server. */
#include "base/log.h"
#include "controller/app_parts.h"

static void on_file_report(void *ctx, enum source_dir_news news, const char *file, size_t line, const char *message)
{
    struct app *app = ctx;

    if (news == SOURCE_DIR_WARNING)
        log_warn("Manifest has a warning", "file", file, "line", log_int((int64_t)line), "warning", message);
    else if (news == SOURCE_DIR_RIGHT)
        log_info("Manifest is valid again", "file", file);
    else if (line > 0)
        log_warn("Manifest refused; its last good objects stay in use", "file", file, "line", log_int((int64_t)line),
                 "error", message);
    else
        log_warn("Manifest refused; its last good objects stay in use", "file", file, "error", message);
    if (news == SOURCE_DIR_RIGHT && app->source_dir != NULL)
        reconcile_kick(app->reconcile);
}

bool app_is_readable(void *ctx)
{
    const struct app *app = ctx;

    return app->source_dir == NULL || source_dir_is_readable(app->source_dir);
}

static void on_kube_report(void *ctx, const char *kind, const struct err *err, const char *reason, int64_t retry_in_ns)
{
    watch_log_tell(&((struct app *)ctx)->watch_log, kind, err, reason, retry_in_ns);
}

int app_start_source(struct app *app, struct err *err)
{
    if (app->options.source_dir != NULL)
        return source_dir_new(app->loop, app->store, app->options.source_dir, on_file_report, app, &app->source_dir,
                              err);
    const struct source_kube_options options = {
        .max_object_bytes = APP_OBJECT_MAX, .stall_ns = app->options.watch_stall_ns, .metrics = app->metrics};
    return source_kube_new(app->client, app->store, &options, on_kube_report, app, &app->source_kube, err);
}

int app_reload_source(struct app *app, struct err *err)
{
    return app->source_dir != NULL ? source_dir_reload(app->source_dir, err)
                                   : source_kube_reload(app->source_kube, err);
}
