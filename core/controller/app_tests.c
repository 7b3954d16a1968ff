/* The tests run before a new configuration has any effect: no kind is listed and no template is loaded. The
 * configuration in force stays in use. A newer text ends the tests. */
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "controller/app_parts.h"

static void note(struct app *app, enum config_truth truth, const char *reason, const char *message)
{
    free(app->tests_message);
    app->tests_message = xstrdup(message);
    app->tests_told = (struct config_condition){truth, reason, app->tests_message};
}

static void on_done(void *ctx, enum config_tests_outcome outcome, const char *message)
{
    struct app *app = ctx;
    struct config *config = STEAL(app->tested_config);

    app->tests = NULL;
    config_forget_tests(config);
    switch (outcome) {
    case CONFIG_TESTS_PASSED:
        log_info("Tests of the configuration passed", "config", app_config_name(app), "tests", message);
        note(app, CONFIG_TRUE, "Passed", message);
        app->tested(app, config, NULL, true);
        return;
    case CONFIG_TESTS_FAILED:
        note(app, CONFIG_FALSE, "TestsFailed", message);
        app->tested(app, config, message, false);
        return;
    case CONFIG_TESTS_NOT_RUN:
        note(app, CONFIG_FALSE, "TestsNotRun", message);
        app->tested(app, config, message, true);
        return;
    }
}

void app_forget_tests(struct app *app)
{
    app->tests = config_tests_cancel(app->tests);
    app->tested_config = config_free(app->tested_config);
    note(app, CONFIG_UNKNOWN, "NotRun", "its tests were not run");
}

static void note_none(struct app *app)
{
    note(app, CONFIG_TRUE, "NoTests", "it has no validationTests");
}

void app_note_tests_of_before(struct app *app)
{
    if (app->config->has_tests)
        note(app, CONFIG_TRUE, "Passed", "they passed before it came into force");
    else
        note_none(app);
}

void app_test_config(struct app *app, struct config *config, app_tested *tested)
{
    const struct config_tests_spec spec = {.executable = app->options.executable,
                                           .haproxy_binary = app->options.haproxy_binary,
                                           .extra_context = app->options.extra_context,
                                           .name = app_config_name(app),
                                           .path = app->options.config_file,
                                           .text = config->tested_text,
                                           .length = config->tested_length,
                                           .has_lines = app->options.config_resource == NULL};
    struct err err;

    app_forget_tests(app);
    app->tested = tested;
    if (config->tested_text == NULL) {
        note_none(app);
        tested(app, config, NULL, true);
        return;
    }
    log_info("Running the tests of the configuration", "config", app_config_name(app));
    app->tests = config_tests_start(app->loop, &spec, on_done, app, &err);
    app->tested_config = config;
    if (app->tests == NULL)
        on_done(app, CONFIG_TESTS_NOT_RUN, err.text);
}
