/* What has become of the certificates that HAProxy orders: from what it says, look by look. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/orders.h"
#include "base/alloc.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"

#define PATH "acme/a.example.pem"
#define MINUTE_NS (60 * NS_PER_S)
#define NOW_S 1000000
#define BEGINS "acme: " PATH ": Starting update of the certificate.\n"
#define FIRST \
    "acme: " PATH ": invalid HTTP status code 503 when getting directory URL, retrying in 3s (1/5 retries)...\n"
#define SECOND \
    "acme: " PATH ": invalid HTTP status code 404 when getting directory URL, retrying in 9s (2/5 retries)...\n"
#define LAST "acme: " PATH ": invalid HTTP status code 404 when getting directory URL Aborting. (5/5)\n"
#define OBTAINED "acme: " PATH ": Successful update of the certificate.\n"

static void add(void *ctx, const char *path, const char *reason)
{
    buf_printf(ctx, "%s: %s\n", path, reason);
}

static void fails_with(const struct orders *o, const char *wanted)
{
    CLEANUP(buf_done) struct buf text = {0};
    orders_each_failing(o, add, &text);
    assert_string_equal(buf_str(&text), wanted);
}

/* Returns whether something changed. */
static bool look(struct orders *o, const char *messages, bool is_running, bool is_due, int64_t now_ns)
{
    const struct order_sight sight = {.path = PATH,
                                      .is_running = is_running,
                                      .due_s = is_running ? 0
                                               : is_due   ? NOW_S - 1
                                                          : NOW_S + 1000};
    orders_hear(o, messages);
    orders_see(o, &sight, NOW_S, now_ns);
    return orders_look_end(o);
}

static void one_that_is_obtained_at_once_is_no_news(void **state)
{
    struct orders o;
    (void)state;
    orders_init(&o, MINUTE_NS);
    assert_false(look(&o, "", false, true, 0)); /* HAProxy has just started */
    assert_false(look(&o, BEGINS, true, true, 1));
    assert_false(look(&o, BEGINS FIRST, true, true, 2)); /* it may be an accident */
    assert_false(look(&o, BEGINS FIRST OBTAINED, false, false, 3));
    fails_with(&o, "");
    assert_null(orders_next(&o, INT64_MAX));
    orders_done(&o);
}

static void one_that_fails_is_told_once_for_each_reason_and_when_it_is_over(void **state)
{
    struct orders o;
    (void)state;
    orders_init(&o, MINUTE_NS);
    assert_false(look(&o, "", true, true, 0));
    assert_false(look(&o, BEGINS FIRST, true, true, 1));
    assert_true(look(&o, BEGINS FIRST SECOND, true, true, 2));
    fails_with(&o, PATH ": invalid HTTP status code 404 when getting directory URL\n");
    assert_false(look(&o, BEGINS FIRST SECOND, true, true, 3));
    assert_int_equal(orders_failing(&o), 1);
    assert_true(look(&o, BEGINS FIRST SECOND OBTAINED, false, false, 4));
    fails_with(&o, "");
    /* Old messages stay in HAProxy's memory. */
    assert_false(look(&o, BEGINS FIRST SECOND OBTAINED, false, false, 5));
    assert_false(look(&o, BEGINS FIRST SECOND OBTAINED BEGINS, true, true, 6));
    fails_with(&o, "");
    orders_done(&o);
}

static void one_that_is_given_up_is_begun_again_more_and_more_rarely(void **state)
{
    struct orders o;
    int64_t now_ns = 0, former_ns = 0;
    (void)state;
    orders_init(&o, MINUTE_NS);
    look(&o, "", true, true, 0);
    assert_true(look(&o, BEGINS FIRST SECOND LAST, false, true, now_ns));
    assert_false(look(&o, BEGINS FIRST SECOND LAST, false, true, now_ns));
    fails_with(&o, PATH ": invalid HTTP status code 404 when getting directory URL\n");
    for (size_t round = 0; round < 12; round++) {
        int64_t begun_ns = now_ns;
        const char *next;
        assert_null(orders_next(&o, now_ns));
        while (!(next = orders_next(&o, now_ns)))
            now_ns += NS_PER_S;
        assert_string_equal(next, PATH);
        int64_t waited_ns = now_ns - begun_ns;
        assert_true(waited_ns >= MINUTE_NS / 2);
        assert_true(waited_ns <= 6 * 60 * MINUTE_NS);
        assert_true(round == 0 || round > 8 || waited_ns > former_ns / 2);
        assert_true(round < 10 || waited_ns >= 3 * 60 * MINUTE_NS);
        former_ns = waited_ns;
        assert_null(orders_next(&o, INT64_MAX)); /* it is under way */
        assert_false(look(&o, BEGINS, true, true, now_ns));
        assert_int_equal(orders_failing(&o), 1); /* and not over yet */
        assert_false(look(&o, BEGINS LAST, false, true, now_ns));
        assert_false(look(&o, BEGINS LAST, false, true, now_ns));
    }
    /* HAProxy has obtained it: the next one that fails begins anew. */
    assert_true(look(&o, BEGINS LAST OBTAINED, false, false, now_ns));
    look(&o, BEGINS LAST, false, true, now_ns);
    look(&o, BEGINS LAST, false, true, now_ns);
    assert_non_null(orders_next(&o, now_ns + MINUTE_NS));
    orders_done(&o);
}

static void without_messages_the_end_is_seen(void **state)
{
    struct orders o;
    (void)state;
    orders_init(&o, MINUTE_NS);
    assert_false(look(&o, "", false, true, 0));
    assert_true(look(&o, "No such event sink.\n", false, true, 1));
    fails_with(&o, PATH ": HAProxy has given it up\n");
    /* Its host is gone. */
    assert_true(orders_look_end(&o));
    fails_with(&o, "");
    assert_null(orders_next(&o, INT64_MAX));
    orders_done(&o);
}

static void an_authoritys_words_are_made_harmless(void **state)
{
    struct orders o;
    CLEANUP(buf_done) struct buf text = {0};
    (void)state;
    orders_init(&o, MINUTE_NS);
    look(&o, "", true, true, 0);
    buf_puts(&text, "acme: acme/other.pem: x, retrying in 3s (2/5 retries)...\nacme: \nacme: nothing\n");
    buf_puts(&text, "acme: " PATH ": a\033[2J\xc3\xa9");
    for (size_t i = 0; i < 1000; i++)
        buf_putc(&text, 'x');
    buf_puts(&text, ", retrying in 3s (4/5 retries)...");
    assert_true(look(&o, buf_str(&text), true, true, 0));
    CLEANUP(buf_done) struct buf told = {0};
    orders_each_failing(&o, add, &told);
    assert_memory_equal(buf_str(&told), PATH ": a?[2J??xxx", strlen(PATH ": a?[2J??xxx"));
    assert_true(told.length < 400);
    orders_done(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_that_is_obtained_at_once_is_no_news),
        cmocka_unit_test(one_that_fails_is_told_once_for_each_reason_and_when_it_is_over),
        cmocka_unit_test(one_that_is_given_up_is_begun_again_more_and_more_rarely),
        cmocka_unit_test(without_messages_the_end_is_seen),
        cmocka_unit_test(an_authoritys_words_are_made_harmless),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
