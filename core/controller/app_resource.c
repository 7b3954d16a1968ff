/* Before the resource exists and is correct, nothing else starts: no election, no HAProxy, no write. Afterwards a
 * change of the resource is rolled out like a change of a file. */
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "controller/app_parts.h"

/* A condition reports a configuration that is not live after this time. */
#define LATE_NS (10 * NS_PER_S)
#define FORMER "the previous configuration stays in force"

static bool may_write(void *ctx)
{
    struct app *app = ctx;

    /* Before the election begins, all replicas write the same report. */
    return app->leader == NULL ? !app->stopping : app_may_write(app);
}

int app_open_resource(struct app *app, const struct config_source_ops *ops, struct err *err)
{
    const char *name = app->options.config_resource, *slash = strchr(name, '/');
    const char *own = app->options.pod_namespace != NULL ? app->options.pod_namespace
                                                         : kube_client_config(app->client)->namespace;
    CLEANUP(free_ptr) char *namespace = slash != NULL ? xmemdup0(name, (size_t)(slash - name)) : xstrdup(own);

    name = slash != NULL ? slash + 1 : name;
    if (*namespace == '\0' || *name == '\0' || strchr(name, '/') != NULL)
        return err_set(err, ERR_INVALID, "--config-resource %.128s: write NAMESPACE/NAME",
                       app->options.config_resource);
    app->config_source = config_source_resource(app->client, namespace, name, ops, app);
    app->config_report = config_report_new(app->client, app->config_source, app->events, may_write, app);
    app_start_candidates(app);
    return 0;
}

void app_wait_for_config(struct app *app, enum log_level level, const char *why)
{
    bool same = app->waits_for != NULL && strcmp(app->waits_for, why) == 0;

    if (same)
        return;
    free(app->waits_for);
    app->waits_for = xstrdup(why);
    log_write(level, "Waiting for the configuration; nothing starts before it exists and is valid", "config",
              app_config_name(app), "reason", why, (char *)NULL);
}

void app_refuse_start(struct app *app, const char *why)
{
    struct err err;

    if (app->options.config_resource == NULL && app->options.failed != NULL) {
        (void)err_set(&err, ERR_INVALID, "%s", why);
        app->options.failed(app->options.failed_ctx, &err);
        return;
    }
    app_wait_for_config(app, LOG_WARN, why);
    app_report_config(app);
}

/* ---- the report ---- */

static const struct config_condition not_rendered = {CONFIG_UNKNOWN, "NotAccepted",
                                                     "the configuration was not rendered"};
static const struct config_condition former = {CONFIG_FALSE, "NotInForce", FORMER};

static void report_refused(struct app *app, const char *reason, const char *why)
{
    if (app->tests_told.status == CONFIG_FALSE) {
        config_report_set(app->config_report,
                          &(struct config_findings){.accepted = {CONFIG_TRUE, "Valid", "the configuration is valid"},
                                                    .tests = app->tests_told,
                                                    .rendered = not_rendered,
                                                    .deployed = former});
        return;
    }
    config_report_set(app->config_report, &(struct config_findings){.accepted = {CONFIG_FALSE, reason, why},
                                                                    .tests = app->tests_told,
                                                                    .rendered = not_rendered,
                                                                    .deployed = former});
}

static const struct config_condition accepted = {CONFIG_TRUE, "Valid",
                                                 "the configuration is valid, and its templates load"};

static void note_part(void *ctx, const struct fragment *f, const char *reason)
{
    struct app *app = ctx;

    if (*f->owner_kind == '\0' && app->part_refused == NULL)
        app->part_refused = xasprintf("%s: %s", f->id, reason);
}

/* The first quarantined fragment that belongs to no object, and the reason; NULL when there is none. The search goes
 * through all quarantined fragments, so it runs at most once a second. */
static const char *part_refused(struct app *app, size_t quarantined)
{
    int64_t now = clock_now_ns();

    if (quarantined == 0) {
        free(STEAL(app->part_refused));
        return NULL;
    }
    if (app->part_looked_ns == 0 || now - app->part_looked_ns > NS_PER_S) {
        app->part_looked_ns = now;
        free(STEAL(app->part_refused));
        model_each_quarantined(reconcile_model(app->reconcile), note_part, app);
    }
    return app->part_refused;
}

static void report_in_force(struct app *app)
{
    struct reconcile_status s;
    uint64_t live = reconcile_live_generation(app->reconcile);
    int64_t now = clock_now_ns();

    if (!may_write(app)) {
        app->reports_since_ns = 0;
        config_report_set(app->config_report, NULL);
        return;
    }
    /* A new leader has deployed nothing yet. The report says nothing about the configuration then. */
    if (app->reports_since_ns == 0)
        app->reports_since_ns = now;
    bool late = now - app->config_state.since_ns > LATE_NS && now - app->reports_since_ns > LATE_NS;
    app->is_deployed = app->is_deployed || (live != 0 && live >= app->in_force_generation);
    reconcile_status(app->reconcile, &s);
    if (!app->is_deployed && !late) {
        config_report_set(app->config_report, NULL);
        return;
    }
    struct config_condition overrides = {0};
    if (app->config->moved.length > 0)
        overrides = (struct config_condition){CONFIG_FALSE, "BaseChanged", buf_str(&app->config->moved)};
    else if (app->config->refs.length > 0)
        overrides = (struct config_condition){CONFIG_TRUE, "Current", "the originals of all overrides are unchanged"};
    const char *part = part_refused(app, s.quarantined);
    if (part != NULL) {
        config_report_set(
            app->config_report,
            &(struct config_findings){
                .accepted = accepted,
                .tests = app->tests_told,
                .overrides = overrides,
                .rendered = {CONFIG_FALSE, "RefusedByHAProxy", part},
                .deployed = {CONFIG_FALSE, "PartRefused",
                             "a part of the output has its former text, because HAProxy refuses the new one"}});
        return;
    }
    struct config_findings f = {.accepted = accepted,
                                .tests = app->tests_told,
                                .overrides = overrides,
                                .rendered = {CONFIG_TRUE, "Rendered", "HAProxy accepts the output of the templates"}};
    if (app->is_deployed)
        f.deployed = (struct config_condition){CONFIG_TRUE, "Live", "the configuration is live"};
    else
        f.deployed = (struct config_condition){CONFIG_FALSE, "NotLive",
                                               *s.problem ? s.problem : "the configuration is not live yet"};
    config_report_set(app->config_report, &f);
}

static void report_unchecked(struct app *app)
{
    struct reconcile_status s;

    reconcile_status(app->reconcile, &s);
    if (!s.rendered && *s.problem != '\0')
        report_refused(app, "TemplatesRefused", s.problem);
    else
        config_report_set(app->config_report, NULL);
}

void app_report_config(struct app *app)
{
    const char *reason = app->config_state.reason ? app->config_state.reason : "";

    if (app->config_report == NULL)
        return;
    if (app->config == NULL) {
        if (app->tests == NULL)
            report_refused(app, "Invalid", app->waits_for ? app->waits_for : "");
        return;
    }
    if (app->reconcile == NULL)
        return;
    switch (app->config_state.standing) {
    case CONFIG_IN_FORCE:
        report_in_force(app);
        return;
    case CONFIG_UNCHECKED:
        report_unchecked(app);
        return;
    case CONFIG_WAITING:
        if (app->next_complained)
            config_report_set(
                app->config_report,
                &(struct config_findings){.accepted = {CONFIG_UNKNOWN, "KindsNotListed",
                                                       "the configuration waits until its kinds are listed"},
                                          .tests = app->tests_told,
                                          .rendered = not_rendered,
                                          .deployed = former});
        else
            config_report_set(app->config_report, NULL);
        return;
    case CONFIG_MISSING:
        config_report_set(app->config_report, NULL);
        return;
    case CONFIG_REFUSED:
        if (!app->refused_by_haproxy)
            report_refused(app, "Refused", reason);
        else
            config_report_set(app->config_report,
                              &(struct config_findings){.accepted = accepted,
                                                        .tests = app->tests_told,
                                                        .rendered = {CONFIG_FALSE, "RefusedByHAProxy", reason},
                                                        .deployed = former});
        return;
    }
}
