/* When an owner is told that a problem is over. */
#include "reconcile_world.h"

static struct world w;

static bool told(const char *text)
{
    return strcmp(w.notice, text) == 0;
}

static void begin_with(const char *data)
{
    begin_without_source(&w);
    put_thing(&w, "steady", "text: hello");
    put_thing(&w, "web", data);
    start_source(&w);
    WAIT_UNTIL(&w, answers(&w, "steady", "hello"));
}

static void test_a_warning(void **state)
{
    (void)state;
    begin_with("text: one");
    put_thing(&w, "web", "text: one, warn: look out");
    WAIT_UNTIL(&w, told("1 things default/web Careful: look out"));
    unsigned before = w.notices;
    put_thing(&w, "web", "text: two");
    WAIT_UNTIL(&w, told("0 things default/web ProblemSolved: Careful: no longer the case"));
    assert_int_equal(w.notices, before + 1);
    /* In other words it is still the case. */
    put_thing(&w, "web", "text: two, warn: again");
    WAIT_UNTIL(&w, told("1 things default/web Careful: again"));
    put_thing(&w, "web", "text: two, warn: and again");
    WAIT_UNTIL(&w, told("1 things default/web Careful: and again"));
    before = w.notices;
    /* Nobody is told of an object that is gone. */
    drop_thing(&w, "web");
    WAIT_UNTIL(&w, status(&w).warned == 0);
    pass_time(&w, 1600);
    assert_int_equal(w.notices, before);
    end(&w);
}

static void test_a_warning_that_is_back_at_once(void **state)
{
    (void)state;
    begin_with("text: one, warn: look out");
    WAIT_UNTIL(&w, told("1 things default/web Careful: look out"));
    put_thing(&w, "web", "text: one");
    WAIT_UNTIL(&w, status(&w).warned == 0);
    put_thing(&w, "web", "text: one, warn: look out");
    WAIT_UNTIL(&w, status(&w).warned == 1);
    pass_time(&w, 1600);
    assert_true(told("1 things default/web Careful: look out"));
    end(&w);
}

static void test_a_failure(void **state)
{
    (void)state;
    begin_with("fail: bad");
    WAIT_UNTIL(&w, strstr(w.notice, "1 things default/web TemplateFailed: ") != NULL);
    put_thing(&w, "web", "text: fine");
    WAIT_UNTIL(&w, told("0 things default/web ProblemSolved: TemplateFailed: no longer the case"));
    end(&w);
}

static void test_a_quarantine(void **state)
{
    (void)state;
    begin_with("text: one");
    put_thing(&w, "web", "raw: nonsense here");
    WAIT_UNTIL(&w, strstr(w.notice, "1 things default/web Quarantined: ") != NULL);
    /* Another text that HAProxy refuses is no end. */
    put_thing(&w, "web", "raw: more nonsense");
    WAIT_UNTIL(&w, strstr(w.notice, "more") != NULL);
    put_thing(&w, "web", "text: fine");
    WAIT_UNTIL(&w, told("0 things default/web ProblemSolved: Quarantined: no longer the case"));
    WAIT_UNTIL(&w, answers(&w, "web", "fine")); /* it is told when it is accepted */
    end(&w);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_warning),
        cmocka_unit_test(test_a_warning_that_is_back_at_once),
        cmocka_unit_test(test_a_failure),
        cmocka_unit_test(test_a_quarantine),
    };
    RECONCILE_MAIN(argc, argv, tests);
}
