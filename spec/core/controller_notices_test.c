/* What is told of objects, and when: the clock is a number here. */
#include "controller_support.h"

#include "controller/notices.h"

#define MS NS_PER_MS

struct listener {
    struct notices notices;
    struct buf told;      /* fragment/reason=message, separated by spaces */
    const char *only_one; /* the message that still holds, for holds() */
};

static void note(void *ctx, const struct notice *n)
{
    struct listener *l = ctx;

    buf_printf(&l->told, "%s%s/%s=%s", l->told.length > 0 ? " " : "", n->fragment_id, n->reason, n->message);
}

static bool holds(void *ctx, const struct notice *n)
{
    return strcmp(n->message, ((struct listener *)ctx)->only_one) == 0;
}

static void begin(struct listener *l, const char *fragment_id, const char *message, int64_t now_ns)
{
    const struct notice n = {.kind = NOTICE_WARNING,
                             .fragment_id = fragment_id,
                             .owner_kind = "things",
                             .owner_id = fragment_id,
                             .reason = "R",
                             .message = message};
    notices_wait(&l->notices, &n, now_ns);
}

static bool take(struct listener *l, int64_t now_ns)
{
    buf_clear(&l->told);
    return notices_take(&l->notices, now_ns, note, l);
}

static void end(struct listener *l)
{
    notices_done(&l->notices);
    buf_done(&l->told);
}

static void what_lasts_is_told_once_in_the_order_of_its_beginning(void **state)
{
    struct listener l = {0};
    (void)state;

    begin(&l, "b", "one", 0);
    begin(&l, "a", "two", 10 * MS);
    begin(&l, "b", "three", 20 * MS);
    assert_true(take(&l, 999 * MS));
    assert_string_equal(buf_str(&l.told), "");
    assert_true(take(&l, 1010 * MS));
    assert_string_equal(buf_str(&l.told), "b/R=one a/R=two");
    assert_false(take(&l, 1020 * MS));
    assert_string_equal(buf_str(&l.told), "b/R=three");
    assert_false(take(&l, 9999 * MS));
    assert_string_equal(buf_str(&l.told), "");
    end(&l);
}

static void what_has_gone_is_not_told(void **state)
{
    struct listener l = {.only_one = "lasts"};
    (void)state;

    begin(&l, "a", "goes", 0);
    begin(&l, "a", "lasts", 0);
    begin(&l, "a", "goes too", 0);
    begin(&l, "b", "goes", 0);
    begin(&l, "c", "of another fragment", 0);
    notices_review(&l.notices, "a", holds, &l);
    notices_review(&l.notices, "b", NULL, NULL);
    notices_review(&l.notices, "never heard of", NULL, NULL);
    assert_false(take(&l, 1000 * MS));
    assert_string_equal(buf_str(&l.told), "a/R=lasts c/R=of another fragment");
    end(&l);
}

static void what_comes_back_waits_from_its_new_beginning(void **state)
{
    struct listener l = {0};
    (void)state;

    begin(&l, "a", "now and then", 0);
    notices_review(&l.notices, "a", NULL, NULL);
    begin(&l, "a", "now and then", 600 * MS);
    assert_true(take(&l, 1000 * MS));
    assert_string_equal(buf_str(&l.told), "");
    assert_false(take(&l, 1600 * MS));
    assert_string_equal(buf_str(&l.told), "a/R=now and then");
    end(&l);
}

static void what_still_waits_at_the_end_is_let_go(void **state)
{
    struct listener l = {0};
    (void)state;

    begin(&l, "a", "waits", 0);
    begin(&l, "b", "forgotten", 0);
    notices_review(&l.notices, "b", NULL, NULL);
    end(&l); /* the sanitizer looks */
    assert_int_equal(l.notices.in_turn.length, 0);
}

static void a_burst_is_logged_in_part_and_summed_up(void **state)
{
    struct listener l = {0};
    int log = log_capture();
    unsigned passed = 0;
    (void)state;

    for (unsigned i = 0; i < 1000; i++)
        passed += notices_pass(&l.notices);
    assert_in_range(passed, 20, 21 + l.notices.refilled_ns / NS_PER_S);
    notices_sum_up(&l.notices);
    notices_sum_up(&l.notices);
    assert_int_equal(log_count(log, "More messages about objects were not logged"), 1);
    log_set_fd(STDOUT_FILENO);
    close(log);
    end(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_lasts_is_told_once_in_the_order_of_its_beginning),
        cmocka_unit_test(what_has_gone_is_not_told),
        cmocka_unit_test(what_comes_back_waits_from_its_new_beginning),
        cmocka_unit_test(what_still_waits_at_the_end_is_let_go),
        cmocka_unit_test(a_burst_is_logged_in_part_and_summed_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
