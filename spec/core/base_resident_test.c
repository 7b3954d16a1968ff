/* When memory is given back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/resident.h"

#define MB ((size_t)1 << 20)

static void not_while_it_grows(void **state)
{
    struct resident r = {0};
    (void)state;
    for (int64_t s = 1; s <= 60; s++)
        assert_false(resident_is_trim_due(&r, (size_t)s * 3 * MB, s * NS_PER_S));
    for (int64_t s = 61; s < 70; s++)
        assert_false(resident_is_trim_due(&r, 180 * MB, s * NS_PER_S));
    assert_true(resident_is_trim_due(&r, 180 * MB, 70 * NS_PER_S));
}

static void once_until_it_has_grown_again(void **state)
{
    struct resident r = {0};
    (void)state;
    resident_trimmed(&r, 100 * MB);
    for (int64_t s = 1; s <= 1000; s++)
        assert_false(resident_is_trim_due(&r, 119 * MB, s * NS_PER_S));
    assert_false(resident_is_trim_due(&r, 121 * MB, 1001 * NS_PER_S));
    assert_true(resident_is_trim_due(&r, 121 * MB, 1011 * NS_PER_S));
    resident_trimmed(&r, 2 * MB); /* little is not worth it */
    assert_false(resident_is_trim_due(&r, 9 * MB, 1012 * NS_PER_S));
    assert_false(resident_is_trim_due(&r, 9 * MB, 1030 * NS_PER_S));
}

static void a_little_growth_is_steady(void **state)
{
    struct resident r = {0};
    (void)state;
    assert_false(resident_is_trim_due(&r, 100 * MB, 1 * NS_PER_S));
    assert_true(resident_is_trim_due(&r, 100 * MB + MB / 2, 11 * NS_PER_S));
}

static void this_process_has_some(void **state)
{
    size_t before = resident_bytes();
    char *block = malloc(32 * MB);
    (void)state;
    assert_non_null(block);
    memset(block, 1, 32 * MB);
    assert_true(before > 0);
    assert_true(resident_bytes() >= before + 30 * MB);
    free(block);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(not_while_it_grows),
        cmocka_unit_test(once_until_it_has_grown_again),
        cmocka_unit_test(a_little_growth_is_steady),
        cmocka_unit_test(this_process_has_some),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
