/* An offer names the nonce of the last answer, once; who names none is a controller of a former version, in a term of
 * its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "member/nonce.h"

static int use(struct nonce *n, const char *given, int64_t transitions)
{
    struct err err;
    int result = nonce_use(n, given, transitions, &err);
    if (result < 0)
        assert_int_equal(err.kind, ERR_CONFLICT);
    return result;
}

static void test_each_serves_once(void **state)
{
    struct nonce n;
    char first[NONCE_SIZE], second[NONCE_SIZE];
    (void)state;
    nonce_init(&n);
    memcpy(first, n.next, sizeof(first));
    assert_int_equal(strspn(first, "0123456789abcdef"), NONCE_SIZE - 1);
    assert_int_equal(use(&n, first, 3), 0);
    memcpy(second, n.next, sizeof(second));
    assert_string_not_equal(second, first);
    assert_int_equal(use(&n, first, 3), -1);
    assert_int_equal(use(&n, first, 4), -1);
    assert_int_equal(use(&n, "", 4), -1);
    /* What was refused has used up nothing. */
    assert_string_equal(n.next, second);
    assert_int_equal(use(&n, second, 3), 0);
}

static void test_none_counts_in_a_later_term_only(void **state)
{
    struct nonce n;
    (void)state;
    nonce_init(&n);
    assert_int_equal(use(&n, NULL, INT64_MIN + 1), 0);
    assert_int_equal(use(&n, NULL, 5), 0);
    assert_int_equal(use(&n, NULL, 5), 0);
    assert_int_equal(use(&n, n.next, 6), 0);
    assert_int_equal(use(&n, NULL, 6), -1);
    assert_int_equal(use(&n, NULL, 5), -1);
    assert_int_equal(use(&n, NULL, 7), 0);
    /* An earlier term that names one does not make the later one forget. */
    assert_int_equal(use(&n, n.next, 2), 0);
    assert_int_equal(use(&n, NULL, 6), -1);
    assert_int_equal(use(&n, NULL, 7), 0);
}

static void test_two_agents_have_different_ones(void **state)
{
    struct nonce a, b;
    (void)state;
    nonce_init(&a);
    nonce_init(&b);
    assert_string_not_equal(a.next, b.next);
    assert_int_equal(use(&b, a.next, 1), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_serves_once),
        cmocka_unit_test(test_none_counts_in_a_later_term_only),
        cmocka_unit_test(test_two_agents_have_different_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
