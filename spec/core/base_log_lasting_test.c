/* How often a state that lasts is said again. Time is moved by moving the record's times back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/log_lasting.h"

static void pass_time(struct log_lasting *l, int64_t seconds)
{
    l->last_ns -= seconds * NS_PER_S;
    l->changes_ns -= seconds * NS_PER_S;
}

static void the_distance_grows_to_a_minute(void **state)
{
    static const int64_t distances_s[] = {2, 4, 8, 16, 32, 60, 60};
    struct log_lasting l = {0};
    uint64_t similar;
    (void)state;
    assert_true(log_lasting_pass(&l, "endpoints", &similar));
    for (size_t i = 0; i < sizeof(distances_s) / sizeof(distances_s[0]); i++) {
        pass_time(&l, distances_s[i] - 1);
        assert_false(log_lasting_pass(&l, "endpoints", &similar));
        pass_time(&l, 1);
        assert_true(log_lasting_pass(&l, "endpoints", &similar));
        assert_int_equal(similar, 1);
    }
}

static void other_words_are_said_at_once(void **state)
{
    struct log_lasting l = {0};
    uint64_t similar;
    (void)state;
    assert_true(log_lasting_pass(&l, "endpoints", &similar));
    assert_false(log_lasting_pass(&l, "endpoints", &similar));
    assert_true(log_lasting_pass(&l, "services", &similar));
    assert_int_equal(similar, 1);
    assert_false(log_lasting_pass(&l, "services", &similar));
    pass_time(&l, 2); /* the distance began anew */
    assert_true(log_lasting_pass(&l, "services", &similar));
}

static void words_that_alternate_are_bounded(void **state)
{
    struct log_lasting l = {0};
    uint64_t similar;
    unsigned said = 0;
    (void)state;
    for (int i = 0; i < 1000; i++)
        said += log_lasting_pass(&l, i % 2 ? "a" : "b", &similar);
    assert_int_equal(said, 5);
    pass_time(&l, 1); /* within the distance: nothing new to take changes from */
    assert_false(log_lasting_pass(&l, "c", &similar));
    pass_time(&l, 9);
    assert_true(log_lasting_pass(&l, "c", &similar));
}

static void a_state_that_comes_back_goes_on_growing(void **state)
{
    struct log_lasting l = {0};
    uint64_t similar;
    (void)state;
    assert_true(log_lasting_pass(&l, "a", &similar));
    pass_time(&l, 2);
    assert_true(log_lasting_pass(&l, "a", &similar));
    log_lasting_end(&l);
    pass_time(&l, 3);
    assert_false(log_lasting_pass(&l, "a", &similar));
    log_lasting_end(&l);
    pass_time(&l, 60);
    log_lasting_end(&l);
    assert_int_equal(l.distance_ns, 0);
    assert_true(log_lasting_pass(&l, "a", &similar));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_distance_grows_to_a_minute),
        cmocka_unit_test(other_words_are_said_at_once),
        cmocka_unit_test(words_that_alternate_are_bounded),
        cmocka_unit_test(a_state_that_comes_back_goes_on_growing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
