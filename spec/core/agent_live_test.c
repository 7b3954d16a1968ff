/* What the agent believes HAProxy to run, brought level with what HAProxy tells. */
#include "agent_support.h"

#include "agent/live.h"

static void backends_that_are_not_told_are_forgotten(void **state)
{
    static const char config[] = "defaults base\n    mode http\nbackend stays from base\n    server s1 127.0.0.1:1\n"
                                 "backend goes from base\n    server s1 127.0.0.1:1\nbackend waits from base\n"
                                 "    server s1 127.0.0.1:1\nlisten own from base\n    bind :80\n";
    struct live *live = live_new();
    (void)state;
    live_load_config(live, config, sizeof(config) - 1);
    assert_non_null(live_backend(live, "backend goes"));
    live_backend_wait(live, live_backend(live, "backend waits"));
    live_backend_wait(live, live_backend(live, "backend stays"));
    live_merge_backends(live, "# name\nstays\nown\n");
    assert_non_null(live_backend(live, "backend stays"));
    assert_non_null(live_backend(live, "listen own"));
    assert_null(live_backend(live, "backend goes"));
    assert_null(live_backend(live, "backend waits"));
    assert_int_equal(live->waiting.count, 1);
    live_free(live);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(backends_that_are_not_told_are_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
