/* The election of a leader. New settings replace the election: the running deployment ends, the Lease is released, and
 * a new election begins. In between, this replica writes nothing, and another replica may become leader.
 *
 *   STEADY ──its settings differ──► ENDING ──no deployment is under way──► RELEASING ──the Lease is given back──► STEADY
 */
#include <string.h>

#include "agent/fence.h"
#include "base/clock.h"
#include "base/log.h"
#include "controller/app_parts.h"

#define POLL_MS 2
#define DEPLOYMENT_END_NS (10 * NS_PER_S)

/* ---- the first one ---- */

/* After a Lease was deleted, its transitions start again at a low number. An earlier leader may have written with a
 * fence as high as this one, and the first write would be refused. So each term begins above the highest fence in use.
 * This is no safety check: the receiver compares the fence at each write. */
static void look_at_fence(struct app *app)
{
    const struct fence ours = {.transitions = leader_fence_transitions(app->leader),
                               .generation = UINT64_MAX, /* this writer may continue with any generation */
                               .holder = leader_fence_holder(app->leader)};
    struct fence_record highest;
    struct err err;

    if (fence_check(app->directory, &ours, &highest, &err) < 0 && err.kind == ERR_STALE)
        leader_saw_fence(app->leader, highest.transitions);
}

static void on_leader_changed(void *ctx, bool is_leader)
{
    struct app *app = ctx;

    if (is_leader && app->agent != NULL && app_may_write(app))
        look_at_fence(app);
    app_fleet_step(app);
    app_lead_admission(app);
    app_ownership_step(app);
    if (app->reconcile != NULL)
        reconcile_kick(app->reconcile);
}

static struct elector_config elector_config_of(const struct app *app, const struct config *c)
{
    struct elector_config e;

    elector_config_defaults(&e);
    e.enabled = c->leader_election && app->client != NULL;
    e.lease_name = c->lease_name;
    e.namespace = app->options.pod_namespace || app->client == NULL ? app->options.pod_namespace
                                                                    : kube_client_config(app->client)->namespace;
    e.identity = app->options.pod_name ? app->options.pod_name : "standalone";
    e.lease_duration_ns = c->lease_duration_ns;
    e.renew_deadline_ns = c->renew_deadline_ns;
    e.retry_period_ns = c->retry_period_ns;
    return e;
}

int app_check_election(const struct app *app, const struct config *c, struct err *err)
{
    bool elects = c->leader_election && app->client != NULL;

    if (elects && app->options.pod_name == NULL)
        return err_set(
            err, ERR_INVALID,
            "the environment variable POD_NAME is missing: leader election needs the pod's name. Add to the "
            "container's env: "
            "{name: POD_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}, or disable leader election");
    if (elects && app->options.pod_namespace == NULL && kube_client_config(app->client)->namespace_is_default)
        return err_set(
            err, ERR_INVALID,
            "the environment variable POD_NAMESPACE is missing: leader election needs the Lease's namespace. Add to "
            "the container's "
            "env: {name: POD_NAMESPACE, valueFrom: {fieldRef: {fieldPath: metadata.namespace}}}, or disable leader "
            "election");
    return 0;
}

int app_start_leader(struct app *app, const struct config *c, struct err *err)
{
    if (app_check_election(app, c, err) < 0)
        return -1;
    struct elector_config e = elector_config_of(app, c);
    if (leader_new(app->loop, app->client, &e, app->metrics, on_leader_changed, app, &app->leader, err) < 0)
        return -1;
    leader_on_create(app->leader, app_ownership_references, app);
    return 0;
}

/* ---- the end of an election, and the next one ---- */

void app_end_election(struct app *app)
{
    if (app->election == ELECTION_RELEASING)
        return; /* called again after the release */
    leader_stop(app->leader, true, app->released, app);
}

static bool is_same(const struct config *a, const struct config *b)
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
        log_error("The election cannot start with the new settings; this replica does not lead", "error", err.text);
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

    /* from a timer, because the leader's own call has to return first */
    uv_timer_start(&app->election_timer, on_next_election, 0, 0);
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

void app_change_election(struct app *app, const struct config *before, const struct config *now)
{
    if (app->client == NULL || is_same(before, now))
        return;
    if (app->election != ELECTION_STEADY)
        return; /* a new election uses the newest settings */
    log_info("The settings of the election have changed; it starts again", "lease", app->config->lease_name);
    app->election = ELECTION_ENDING;
    app->election_deadline_ns = clock_now_ns() + DEPLOYMENT_END_NS;
    if (app->fleet != NULL)
        fleet_rest(app->fleet);
    uv_timer_start(&app->election_timer, on_ending, 0, POLL_MS);
}
