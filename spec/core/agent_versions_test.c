/* A HAProxy that an earlier controller left running, and whose version is not the one that checks configurations now:
 * nothing is given to it before it has become that version, and no request is lost by that. */
#include "agent_support.h"
#include "controller_support.h"

static char *version_of(const char *binary)
{
    CLEANUP(free_ptr) char *command = xasprintf("%s -v", binary);
    struct haproxy_caps caps;
    char text[200] = "";
    struct err err;
    FILE *out = popen(command, "r");

    assert_non_null(out);
    assert_non_null(fgets(text, sizeof(text), out));
    pclose(out);
    assert_int_equal(haproxy_version_parse(text, &caps, &err), 0);
    return xstrdup(caps.text);
}

static void assert_runs(struct world *w, const char *version)
{
    struct agent_status status;

    agent_status(w->agent, &status);
    assert_string_equal(status.caps.text, version);
    CLEANUP(free_ptr) char *answer = world_command(w, "show version");
    assert_non_null(strstr(answer, version));
}

/* The next controller has another HAProxy: a change that it has checked is live in that one. */
static void becomes(struct world *w, const char *series)
{
    char *binary = haproxy_binary(series);
    struct prober prober;

    if (!binary)
        return;
    CLEANUP(free_ptr) char *version = version_of(binary);
    print_message("      becomes %s\n", version);
    int log = log_capture();
    prober_start(&prober, w->port, "a.example");
    world_agent_end(w, false);
    free(w->binary);
    w->binary = binary;
    w->transitions++;
    world_agent_with(w,
                     (struct agent_config){.supervise = true, .version = version, .reload_deadline_ns = 3 * NS_PER_S});
    route(w, "b.example", "other", 1);
    world_try(w, true);
    if (strcmp(series, "2.6") == 0) { /* it does not know that its predecessor owes an answer: the next look finds it */
        assert_true(w->failed);
        world_apply(w, true);
    } else {
        if (w->failed)
            fail_msg("apply failed: %s", w->err.text);
        assert_true(w->reloaded);
        assert_non_null(strstr(w->reason, " runs, and "));
    }
    assert_runs(w, version);
    assert_answer(w, "b.example", "b");
    /* Once. */
    world_apply(w, true);
    assert_false(w->reloaded);
    prober_end(&prober);
    assert_int_equal(log_count(log, "msg=\"HAProxy runs in another version"), 0);
    log_set_fd(STDOUT_FILENO);
    close(log);
}

static void all_others(struct world *w, const char *series)
{
    for (size_t i = 0; i < ARRAY_LEN(haproxy_series); i++)
        if (strcmp(haproxy_series[i], series) != 0)
            becomes(w, haproxy_series[i]);
    becomes(w, series);
}

static void test_left_running(void **state)
{
    (void)state;
    each_series(all_others, &(const struct agent_config){0});
}

/* One that somebody else started cannot be replaced: it is told once, and what it refuses at a reload is not in
 * force. */
static void attached(struct world *w, const char *series)
{
    (void)series;
    int log = log_capture();
    world_agent_end(w, false);
    w->transitions++;
    world_agent_with(w, (struct agent_config){.version = "9.9.9"});
    world_apply(w, true);
    world_apply(w, true);
    assert_false(w->reloaded);
    assert_int_equal(log_count(log, "msg=\"HAProxy runs in another version"), 1);
    model_put_base(w->model, w->port, "no-such-directive of a version to come\n");
    model_check(w->model, true); /* by 9.9.9 */
    world_try(w, false);
    assert_true(w->failed);
    assert_answer(w, "a.example", "a");
    CLEANUP(free_ptr) char *config = file_read(w->directory, "haproxy.cfg");
    assert_null(strstr(config, "no-such-directive"));
    model_put_base(w->model, w->port, "");
    route(w, "b.example", "other", 1);
    world_apply(w, true);
    assert_answer(w, "b.example", "b");
    log_set_fd(STDOUT_FILENO);
    close(log);
}

static void test_attached(void **state)
{
    (void)state;
    each_series(attached, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_left_running),
        cmocka_unit_test(test_attached),
    };
    return cmocka_run_group_tests(tests, group_begin, group_end);
}
