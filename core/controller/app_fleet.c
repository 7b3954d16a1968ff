/* The fleet of `run --haproxy fleet`: its members, and the certificate that the controller presents to them.
 * Certificate files are read again when they change. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/vec.h"
#include "controller/app_parts.h"
#include "net/credentials.h"

#define PEM_MAX ((size_t)1 << 20)
#define LOOK_MS 2000
#define MEMBERS_MAX 10000

static void refused_stale(void *ctx, int64_t highest_transitions)
{
    leader_refused_stale(((struct app *)ctx)->leader, highest_transitions);
}

/* ---- the state that the members have, at the start ---- */

static void on_recalled(void *ctx, const struct recall_answer *answer)
{
    struct app *app = ctx;

    app_start_sealing(app, answer);
    app->recall = recall_free(app->recall);
    if (!app->stopping)
        reconcile_kick(app->reconcile);
}

static void set_members(struct app *app, const struct fleet_seat *seats, size_t count)
{
    if (app->recall != NULL)
        recall_set_members(app->recall, seats, count);
    fleet_set_members(app->fleet, seats, count);
}

static int set_identity(struct app *app, const struct peer_identity *identity, struct err *err)
{
    if (fleet_set_identity(app->fleet, identity, err) < 0)
        return -1;
    if (app->recall != NULL)
        recall_step(app->recall);
    return 0;
}

/* ---- the fleet's questions ---- */

static void settled(void *ctx, const struct fleet_deployment *deployment)
{
    reconcile_fleet_settled(((struct app *)ctx)->reconcile, deployment);
}

/* ---- the certificate of the controller ---- */

static void wipe(struct buf *b)
{
    if (b->data != NULL)
        explicit_bzero(b->data, b->capacity);
    buf_done(b);
}

/* 1: a new certificate is in use, 0: nothing changed, -1: the files cannot be read. */
static int take_identity(struct app *app, struct err *err)
{
    CLEANUP(wipe) struct buf authority = {.max = PEM_MAX}, certificate = {.max = PEM_MAX}, key = {.max = PEM_MAX};
    const struct app_options *o = &app->options;

    if (credentials_read_file(o->fleet_authority, &authority, err) < 0 ||
        credentials_read_file(o->fleet_certificate, &certificate, err) < 0 ||
        credentials_read_file(o->fleet_key, &key, err) < 0)
        return -1;
    const char *const parts[] = {buf_str(&authority), buf_str(&certificate), buf_str(&key)};
    const size_t lengths[] = {authority.length, certificate.length, key.length};
    struct digest digest = digest_of_parts(ARRAY_LEN(parts), parts, lengths);
    if (digest_equal(digest, app->identity_digest))
        return 0;
    const struct peer_identity identity = {.authority = parts[0], .certificate = parts[1], .key = parts[2]};
    if (set_identity(app, &identity, err) < 0)
        return -1; /* the files may be written one after the other */
    app->identity_digest = digest;
    return 1;
}

static void on_identity(uv_timer_t *timer)
{
    struct app *app = timer->data;
    struct err err;
    int result = take_identity(app, &err);

    if (result < 0)
        log_debug("The certificate towards the agents cannot be read; the one in force stays", "error", err.text);
    else if (result > 0)
        log_info("The certificate for the connections to the agents was read again", "certificate",
                 app->options.fleet_certificate);
}

static void on_secret(void *ctx, const struct peer_identity *identity)
{
    struct err err;

    if (set_identity(ctx, identity, &err) < 0)
        log_error("The certificates of the Secret cannot be used; the previous ones stay in use", "error", err.text);
    app_ownership_step(ctx);
}

static const char *own_namespace(const struct app *app)
{
    if (app->options.pod_namespace != NULL || app->client == NULL)
        return app->options.pod_namespace;
    return kube_client_config(app->client)->namespace;
}

static int start_secret(struct app *app, struct err *err)
{
    const struct fleet_secret_spec spec = {.namespace = own_namespace(app),
                                           .name = app->options.fleet_secret,
                                           .agent_name = app->options.agent_name,
                                           .may_write = app_may_write,
                                           .references = app_ownership_references,
                                           .changed = on_secret,
                                           .ctx = app};

    if (app->client == NULL)
        return err_set(err, ERR_INVALID,
                       "--fleet-secret needs an API server; give --fleet-ca, --fleet-cert and --fleet-key");
    app->fleet_secret = fleet_secret_new(app->client, &spec);
    return 0;
}

void app_fleet_step(struct app *app)
{
    if (app->fleet_secret != NULL)
        fleet_secret_step(app->fleet_secret);
}

static int start_identity(struct app *app, struct err *err)
{
    const struct app_options *o = &app->options;

    if (o->fleet_secret != NULL && o->fleet_certificate == NULL)
        return start_secret(app, err);
    if (o->fleet_authority == NULL || o->fleet_certificate == NULL || o->fleet_key == NULL)
        return err_set(err, ERR_INVALID,
                       "--haproxy fleet needs --fleet-secret, or --fleet-ca, --fleet-cert and --fleet-key: agents take "
                       "offers only from a controller with a certificate");
    if (take_identity(app, err) < 0)
        return -1;
    uv_timer_start(&app->identity_timer, on_identity, LOOK_MS, LOOK_MS);
    return 0;
}

/* ---- members ---- */

static int start_static(struct app *app, struct err *err)
{
    VEC(struct fleet_seat) seats = {0};
    VEC(char *) names = {0};
    int result = 0;

    for (const char *at = app->options.members; result == 0 && *at != '\0';) {
        size_t length = strcspn(at, ",");
        char *name = xmemdup0(at, length);
        struct fleet_seat seat = {.name = name};
        vec_push(&names, name);
        if (seats.length == MEMBERS_MAX)
            result = err_set(err, ERR_LIMIT, "more than %d members", MEMBERS_MAX);
        else
            result = peer_address_parse(name, &seat.address, err);
        vec_push(&seats, seat);
        at += length + (at[length] == ',');
    }
    if (result == 0)
        set_members(app, seats.items, seats.length);
    for (size_t i = 0; i < names.length; i++)
        free(names.items[i]);
    vec_done(&names);
    vec_done(&seats);
    return result < 0 ? err_wrap(err, "--members") : 0;
}

static void on_pods(void *ctx, const struct fleet_seat *seats, size_t count)
{
    set_members(ctx, seats, count);
}

static void on_pods_report(void *ctx, const char *kind, const struct err *err, const char *reason, int64_t retry_in_ns)
{
    watch_log_tell(&((struct app *)ctx)->watch_log, kind, err, reason, retry_in_ns);
}

int app_select_members(struct app *app, struct err *err)
{
    const struct app_options *o = &app->options;
    const char *selector = o->member_selector ? o->member_selector : app->config->pod_selector;

    if (app->client == NULL || selector == NULL)
        return err_set(err, ERR_INVALID,
                       "--haproxy fleet needs --members, or an API server and the labels of the Pods with an agent "
                       "(--member-selector, or podSelector.matchLabels of the configuration)");
    app->member_pods = member_pods_free(app->member_pods);
    const struct member_pods_spec spec = {.selector = selector,
                                          .namespaces = o->member_namespaces ? o->member_namespaces
                                                                             : own_namespace(app),
                                          .port = o->member_port,
                                          .stall_ns = o->watch_stall_ns,
                                          .changed = on_pods,
                                          .report = on_pods_report,
                                          .ctx = app};
    return member_pods_new(app->client, &spec, &app->member_pods, err) < 0 ? err_wrap(err, "the Pods of the members")
                                                                           : 0;
}

int64_t app_fleet_timeout_ns(const struct config *c)
{
    return c->deployment_timeout_ns + 10 * NS_PER_S;
}

int app_start_fleet(struct app *app, struct err *err)
{
    static const struct fleet_ops ops = {
        .may_write = app_may_write, .refused_stale = refused_stale, .settled = settled, .orders = app_orders_told};
    const struct fleet_config config = {.version = app->options.version,
                                        .agent_name = app->options.agent_name,
                                        .haproxy = app->caps.text,
                                        .share_percent = app->options.member_share,
                                        .timeout_ns = app_fleet_timeout_ns(app->config)};

    app->fleet = fleet_new(app->loop, &config, reconcile_model(app->reconcile), store_vault(app->store), app->metrics,
                           &ops, app);
    app->recall = recall_new(app->loop, fleet_peers(app->fleet), on_recalled, app);
    if (start_identity(app, err) < 0)
        return -1;
    return app->options.members != NULL ? start_static(app, err) : app_select_members(app, err);
}

void app_stop_fleet(struct app *app)
{
    uv_timer_stop(&app->identity_timer);
    app->recall = recall_free(app->recall);
    if (app->fleet != NULL)
        fleet_rest(app->fleet);
}
