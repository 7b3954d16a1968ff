/* Settings of the controller itself, taken over while it runs: times, limits, the fields to ignore, which Pods have an
 * agent, and the election.
 *
 * Another election ends the one there is: the deployment under way ends, the Lease is given back, and the next one
 * begins. In between this replica writes nothing; another replica may lead from then on.
 *
 *   STEADY ──its settings differ──► ENDING ──no deployment is under way──► RELEASING ──the Lease is given back──► STEADY
 */
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "controller/app_parts.h"

#define POLL_MS 2
#define DEPLOYMENT_END_NS (10 * NS_PER_S)

bool app_may_write(void *ctx)
{
    const struct app *app = ctx;

    return !app->stopping && app->election == ELECTION_STEADY && app->leader != NULL && leader_may_write(app->leader);
}

/* ---- the election ---- */

static bool same_election(const struct config *a, const struct config *b)
{
    return a->leader_election == b->leader_election && strcmp(a->lease_name, b->lease_name) == 0 &&
           a->lease_duration_ns == b->lease_duration_ns && a->renew_deadline_ns == b->renew_deadline_ns &&
           a->retry_period_ns == b->retry_period_ns;
}

static void on_next_election(uv_timer_t *timer)
{
    struct app *app = timer->data;
    struct leader *before = STEAL(app->leader);
    struct err err;

    if (app->stopping) {
        app->leader = before;
    } else if (app_start_leader(app, app->config, &err) < 0) {
        log_error("The election cannot begin with the new settings; this replica does not lead", "error", err.text);
        app->leader = before;
    } else {
        leader_free(before);
    }
    app->election = ELECTION_STEADY;
    if (app->stopping) {
        app_end_election(app);
        return;
    }
    app_fleet_step(app);
    reconcile_kick(app->reconcile);
}

static void on_released(void *ctx)
{
    struct app *app = ctx;

    uv_timer_start(&app->election_timer, on_next_election, 0, 0); /* the leader's own call has to end first */
}

static void on_ending(uv_timer_t *timer)
{
    struct app *app = timer->data;

    if (app->agent != NULL && agent_busy(app->agent) && clock_now_ns() < app->election_deadline_ns)
        return;
    uv_timer_stop(timer);
    app->election = ELECTION_RELEASING;
    leader_stop(app->leader, true, on_released, app);
}

static void change_election(struct app *app)
{
    if (app->election != ELECTION_STEADY)
        return; /* it begins with the newest settings */
    log_info("The settings of the election have changed; it begins anew", "lease", app->config->lease_name);
    app->election = ELECTION_ENDING;
    app->election_deadline_ns = clock_now_ns() + DEPLOYMENT_END_NS;
    if (app->fleet != NULL)
        fleet_rest(app->fleet);
    uv_timer_start(&app->election_timer, on_ending, 0, POLL_MS);
}

/* ---- what the store keeps of objects ---- */

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
        /* The fields of what is held are gone, or still there: all of it is listed again. */
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

/* ---- all of them ---- */

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
        log_error("The Pods of the members cannot be looked for", "error", err.text);
    if (app->client != NULL && !same_election(before, c))
        change_election(app);
}
