/* Settings of the controller that take effect while it runs: times, limits, ignored fields, the Pods that have an
 * agent, and the election. */
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "controller/app_parts.h"

/* ---- fields that the store keeps ---- */

int app_take_kinds(struct app *app, const struct config *c, bool *ret_changed, struct err *err)
{
    CLEANUP(buf_done) struct buf joined = {0};
    VEC(const char *) paths = {0};
    int result = 0;

    for (size_t i = 0; i < c->ignore_fields.length; i++) {
        buf_printf(&joined, "%s\n", c->ignore_fields.items[i]);
        vec_push(&paths, c->ignore_fields.items[i]);
    }
    vec_push(&paths, NULL);
    *ret_changed = false;
    if (app->ignored_fields == NULL || strcmp(app->ignored_fields, buf_str(&joined)) != 0) {
        result = store_set_ignored_fields(app->store, paths.items, err);
        /* The stored objects were read with the former fields, so all kinds are listed again. */
        for (size_t i = store_kind_count(app->store); result == 0 && i-- > 0;)
            store_remove_kind(app->store, store_kind_at(app->store, i));
        if (result == 0) {
            free(app->ignored_fields);
            app->ignored_fields = buf_steal(&joined);
        }
    }
    vec_done(&paths);
    if (result < 0)
        return err_wrap(err, "watchedResourcesIgnoreFields");
    if (config_add_kinds(c, app->store, ret_changed, err) < 0)
        return -1;
    if (app->fetcher != NULL)
        fetcher_take_kind(app->fetcher);
    return 0;
}

/* ---- all settings ---- */

static bool follows_selector(const struct app *app)
{
    return app->options.fleet && app->options.members == NULL && app->options.member_selector == NULL;
}

int app_check_settings(struct app *app, const struct config *next, struct err *err)
{
    if (app_check_election(app, next, err) < 0)
        return -1;
    if (follows_selector(app) && next->pod_selector == NULL)
        return err_set(err, ERR_INVALID,
                       "podSelector.matchLabels is missing: --haproxy fleet needs the labels of the Pods with an agent "
                       "(or --member-selector, or --members)");
    return 0;
}

void app_set_limits(struct app *app, const struct config *c)
{
    const struct renderer_limits limits = {.deadline_ns = c->render_timeout_ns,
                                           .memory_bytes = (size_t)c->render_memory_bytes,
                                           .output_bytes = (size_t)c->render_output_bytes};

    renderer_set_limits(app->renderer, &limits);
}

void app_take_settings(struct app *app, const struct config *before)
{
    const struct config *c = app->config;
    struct err err;

    if (c->has_log_level && !app->options.log_level_fixed)
        log_set_level(c->log_level);
    reconcile_set_drift_interval(app->reconcile, c->drift_prevention_interval_ns);
    fetcher_set_rules(app->fetcher, &c->fetch_rules);
    if (app->agent != NULL)
        agent_set_times(app->agent, c->deployment_timeout_ns,
                        c->min_deployment_interval_ns > 0 ? c->min_deployment_interval_ns : 1);
    if (app->fleet != NULL)
        fleet_set_timeout(app->fleet, app_fleet_timeout_ns(c));
    if (follows_selector(app) && strcmp(before->pod_selector ? before->pod_selector : "", c->pod_selector) != 0 &&
        app_select_members(app, &err) < 0)
        log_error("Cannot search for the Pods of the members", "error", err.text);
    app_change_election(app, before, c);
}
