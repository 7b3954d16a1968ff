/* read ─► its kinds are added to the store ─► they are listed ─► its templates are loaded ─► in force: other kinds go
 *
 * Until the last step the former configuration stays in force, with its own kinds. If a step fails, only the former
 * kinds stay. A kind that both configurations describe differently can have only one description at a time. From the
 * beginning of its new list to the end of it, no rendering is accepted (see reconcile.c), so this list has a time
 * limit. */
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "controller/app_parts.h"

#define WAIT_MS 50
#define COMPLAIN_NS (10 * NS_PER_S)
#define REPLACE_NS (60 * NS_PER_S)

/* ---- kinds ---- */

/* The names of the kinds that are not listed yet, separated by commas; "" when all are. */
static const char *missing_kinds(const struct app *app, const struct config *c, struct buf *names)
{
    for (size_t i = 0; i < c->kinds.length; i++) {
        const struct store_kind *kind = store_kind_by_name(app->store, c->kinds.items[i].name);
        if (kind == NULL || !store_kind_is_synced(kind))
            buf_printf(names, "%s%s", names->length > 0 ? "," : "", c->kinds.items[i].name);
    }
    return buf_str(names);
}

bool app_is_synced(void *ctx)
{
    struct app *app = ctx;
    CLEANUP(buf_done) struct buf names = {0};

    return app->recall == NULL && *missing_kinds(app, app->config, &names) == '\0' && fetcher_is_settled(app->fetcher);
}

/* Kinds that no longer exist are not waited for. */
static void clear_metrics(struct app *app, const struct config *before)
{
    for (size_t i = 0; i < before->kinds.length; i++) {
        const char *name = before->kinds.items[i].name;
        if (store_kind_by_name(app->store, name) != NULL)
            continue;
        metric_set(metric_gauge(app->metrics, "haptic_resources", "", "kind", name), 0);
        metric_set(metric_gauge(app->metrics, "haptic_resource_bytes", "", "kind", name), 0);
        metric_set(metric_gauge(app->metrics, "haptic_resources_synced", "", "kind", name), 0);
    }
}

/* Gives the store the kinds of this configuration, and no others. */
static void keep_only(struct app *app, const struct config *c)
{
    struct err err;
    bool added = false, removed = false;

    if (app_take_kinds(app, c, &added, &err) < 0)
        log_error("The kinds of the previous configuration cannot be watched again", "error", err.text);
    config_remove_kinds(c, app->store, &removed);
    if ((added || removed) && app_reload_source(app, &err) < 0)
        log_error("Source cannot be restarted", "error", err.text);
    reconcile_kick(app->reconcile);
}

/* ---- the next configuration ---- */

void app_forget_next_config(struct app *app)
{
    uv_timer_stop(&app->config_timer);
    app->next_config = config_free(app->next_config);
    app->next_loading = false;
}

static void refuse_next(struct app *app, const char *why)
{
    CLEANUP(config_cleanup) struct config *refused = STEAL(app->next_config);

    log_error("Configuration refused; the old one stays in force", "error", why);
    app->refused_by_haproxy = false;
    config_state_set(&app->config_state, CONFIG_REFUSED, why);
    app_forget_next_config(app);
    app_set_limits(app, app->config);
    keep_only(app, app->config);
    clear_metrics(app, refused);
    app_report_config(app);
}

void app_on_program(void *ctx, const char *problem)
{
    struct app *app = ctx;

    if (app->next_config == NULL || !app->next_loading)
        return;
    if (problem != NULL) {
        refuse_next(app, problem);
        return;
    }
    CLEANUP(config_cleanup) struct config *former = STEAL(app->config);
    app->config = STEAL(app->next_config);
    app_forget_next_config(app);
    keep_only(app, app->config);
    clear_metrics(app, former);
    app_take_settings(app, former);
    config_state_set(&app->config_state, CONFIG_UNCHECKED, NULL);
    app->program_number++;
}

/* Called after each step of the reconciler: has HAProxy judged the first rendering of the new templates? */
void app_on_config_step(struct app *app)
{
    const char *file = app_config_name(app);
    CLEANUP(free_ptr) char *problem = NULL;

    if (app->config_state.standing != CONFIG_UNCHECKED)
        return;
    switch (reconcile_verdict(app->reconcile, &problem)) {
    case RECONCILE_OPEN:
        return;
    case RECONCILE_ACCEPTED:
        log_info("Configuration in force", "config", file);
        app->in_force_generation = reconcile_generation(app->reconcile) + 1;
        app->part_looked_ns = 0;
        app->is_deployed = false;
        config_state_set(&app->config_state, CONFIG_IN_FORCE, NULL);
        return;
    case RECONCILE_REFUSED:
        log_error(
            "HAProxy refuses the output of the new configuration's templates; it keeps the last accepted configuration",
            "config", file, "error", problem);
        app->refused_by_haproxy = true;
        config_state_set(&app->config_state, CONFIG_REFUSED, problem);
        return;
    }
}

/* Loads the templates after all kinds are listed. */
static void on_config_timer(uv_timer_t *timer)
{
    struct app *app = timer->data;
    CLEANUP(buf_done) struct buf names = {0};
    struct err err;
    int64_t waited = clock_now_ns() - app->next_since_ns;
    const char *missing = missing_kinds(app, app->next_config, &names);

    if (*missing == '\0') {
        uv_timer_stop(timer);
        app->next_loading = true;
        if (app_set_program(app, app->next_config, &err) < 0)
            refuse_next(app, err.text);
    } else if (app->next_replaces && waited >= REPLACE_NS) {
        CLEANUP(free_ptr) char *why = xasprintf("not listed within %s: %s", log_duration(REPLACE_NS), missing);
        refuse_next(app, why);
    } else if (!app->next_complained && waited >= COMPLAIN_NS) {
        app->next_complained = true;
        log_warn("The new configuration waits until its kinds are listed; the old one stays in force", "not_listed",
                 missing);
    }
}

static bool has_other_kind(const struct config *a, const struct config *b)
{
    for (size_t i = 0; i < a->kinds.length; i++)
        for (size_t j = 0; j < b->kinds.length; j++)
            if (strcmp(a->kinds.items[i].name, b->kinds.items[j].name) == 0 &&
                !config_kind_equal(&a->kinds.items[i], &b->kinds.items[j]))
                return true;
    return false;
}

static void take_next(struct app *app, struct config *next)
{
    struct err err;
    bool changed = false;

    if (app->next_config != NULL) { /* it was never in force: undo its effects */
        app_forget_next_config(app);
        keep_only(app, app->config);
    }
    config_state_set(&app->config_state, CONFIG_WAITING, NULL);
    app->in_force_generation = 0;
    app->next_config = next;
    app->next_complained = false;
    app->next_replaces = has_other_kind(app->config, next) || !config_ignores_equal(app->config, next);
    app->next_since_ns = clock_now_ns();
    if (app_check_settings(app, next, &err) < 0 || app_take_kinds(app, next, &changed, &err) < 0 ||
        (changed && app_reload_source(app, &err) < 0)) {
        refuse_next(app, err.text);
        return;
    }
    reconcile_kick(app->reconcile);
    uv_timer_start(&app->config_timer, on_config_timer, 0, WAIT_MS);
}

/* The file has the last accepted text again, for example after a text that was refused, or after the file was missing.
 */
static void note_same_text(struct app *app)
{
    config_state_found(&app->config_state);
    if (app->config_state.standing == CONFIG_REFUSED && app->next_config == NULL) {
        log_info("The configuration file is equal to the configuration in force again", "config", app_config_name(app));
        app_note_tests_of_before(app);
        config_state_set(&app->config_state, CONFIG_UNCHECKED, NULL);
        app_on_config_step(app);
    }
}

static void refuse_unread(struct app *app, const char *why)
{
    log_error("Configuration refused; the old one stays in force", "error", why);
    app->refused_by_haproxy = false;
    config_state_set(&app->config_state, CONFIG_REFUSED, why);
    app_report_config(app);
}

static void read_again(struct app *app, bool even_if_same);

/* The tests read the file again. By then it may have another text than this one. */
static bool is_newest_text(struct app *app, const struct config *c)
{
    CLEANUP(config_cleanup) struct config *now = NULL;
    struct err err;

    return !c->has_tests || (app_load_config(app, &now, &err) == 0 && digest_equal(now->digest, c->digest));
}

void app_on_tested(struct app *app, struct config *config, const char *why, bool may_begin)
{
    CLEANUP(config_cleanup) struct config *next = config;
    struct err err;

    if (app->stopping)
        return;
    if (app->config != NULL) {
        if (why != NULL)
            refuse_unread(app, why);
        else if (is_newest_text(app, next))
            take_next(app, STEAL(next));
        else
            read_again(app, true);
        return;
    }
    /* At the start there is no earlier configuration. If its tests cannot be run, the controller starts without them.
     */
    if (why != NULL && may_begin) {
        log_warn("The tests of the configuration could not be run; it is used without them", "config",
                 app_config_name(app), "error", why);
        why = NULL;
    }
    if (why != NULL) {
        app_refuse_start(app, why);
        return;
    }
    app->config = STEAL(next);
    config_state_set(&app->config_state, CONFIG_UNCHECKED, NULL);
    if (app->begin(app, &err) < 0 && app->options.failed != NULL)
        app->options.failed(app->options.failed_ctx, &err);
}

static void read_again(struct app *app, bool even_if_same)
{
    const struct config *newest = app->tested_config ? app->tested_config
                                  : app->next_config ? app->next_config
                                                     : app->config;
    struct config *next;
    struct err err;

    if (app_load_config(app, &next, &err) < 0) {
        app_forget_tests(app);
        refuse_unread(app, err.text);
        return;
    }
    if (!even_if_same && digest_equal(next->digest, newest->digest)) {
        note_same_text(app);
        config_free(next);
        return;
    }
    config_warn(next);
    if (next->tested_text != NULL)
        config_state_set(&app->config_state, CONFIG_WAITING, NULL);
    app_test_config(app, next, app_on_tested);
}

/* For a configuration that came or changed before anything was started. */
static void take_first(struct app *app)
{
    struct config *config;
    struct err err;

    app_forget_tests(app);
    if (app_load_config(app, &config, &err) < 0) {
        app_refuse_start(app, err.text);
        return;
    }
    log_info("Configuration read", "config", app_config_name(app));
    free(STEAL(app->waits_for));
    app_test_config(app, config, app_on_tested);
}

static void on_changed(void *ctx)
{
    struct app *app = ctx;

    if (app->stopping)
        return;
    if (app->config == NULL)
        take_first(app);
    else
        read_again(app, false);
}

static void on_missing(void *ctx, const char *why)
{
    struct app *app = ctx;

    if (app->stopping)
        return;
    if (app->config == NULL) {
        app_wait_for_config(app, LOG_WARN, why);
        return;
    }
    if (app->options.config_resource != NULL)
        log_error("Configuration resource cannot be read; the old configuration stays in force", "config",
                  app_config_name(app), "error", why);
    else
        log_error("Configuration file cannot be read; the old configuration stays in force", "error", why);
    config_state_set(&app->config_state, CONFIG_MISSING, why);
}

static void on_seen(void *ctx)
{
    struct app *app = ctx;

    if (app->stopping)
        return;
    app_report_config(app); /* first, because findings about an earlier text must not be reported for this one */
    config_report_see(app->config_report);
}

void app_reload_config(struct app *app)
{
    if (app->stopping)
        return;
    if (app->config_source == NULL) {
        log_info("There is no configuration file to read again");
        return;
    }
    log_info("Reading the configuration again", "config", app_config_name(app));
    if (app->config == NULL)
        take_first(app);
    else
        read_again(app, true);
}

int app_open_config(struct app *app, struct err *err)
{
    static const struct config_source_ops ops = {.changed = on_changed, .missing = on_missing, .seen = on_seen};

    if (app->options.config_resource != NULL)
        return app_open_resource(app, &ops, err);
    if (app->options.config_file != NULL)
        app->config_source = config_source_file(app->loop, app->options.config_file, &ops, app);
    return 0;
}
