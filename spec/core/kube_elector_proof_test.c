/* The elector and answers that are lost, late, or another's: what proves that a write of its own happened, and since
 * when. */
#include "elector_world.h"

static void lost_update_is_found_again(void **state)
{
    struct world *w = *state;
    follow(w, 60, 3);
    set_lease(w, "", 1, 3);
    watched(w, &w->lease);
    struct elector_record written = w->out.request.record;
    int64_t sent_ns = w->now_ns;
    wake(w); /* it times out */
    assert_non_null(news(w, ELECTOR_FAILED));
    w->lease = written; /* but it had happened */
    snprintf(w->lease.version, sizeof(w->lease.version), "99");
    while (!w->out.send)
        wake(w);
    assert_int_equal(w->out.request.verb, ELECTOR_GET);
    succeed(w);
    /* Counted from when it was sent. */
    assert_int_equal(news(w, ELECTOR_BECAME)->transitions, 4);
    assert_int_equal(state_of(w).write_end_ns, sent_ns + 15 * S);
    assert_true(elector_may_write(w->elector, w->now_ns));
    assert_false(w->out.send);
}

/* The answer to the write under way is lost though it happened. */
static void lose_answer(struct world *w)
{
    assert_int_equal(w->out.request.verb, ELECTOR_UPDATE);
    assert_string_equal(w->out.request.record.version, w->lease.version);
    w->lease = w->out.request.record;
    snprintf(w->lease.version, sizeof(w->lease.version), "%u", ++w->versions);
    wake(w);
    assert_int_equal(news(w, ELECTOR_FAILED)->status, ELECTOR_TIMEOUT);
}

static void leader_without_answers_to_writes_goes_on_by_looking(void **state)
{
    struct world *w = *state;
    lead(w);
    for (int i = 0; i < 20; i++) {
        wake(w);
        int64_t sent_ns = w->now_ns;
        lose_answer(w);
        wake(w);
        assert_int_equal(w->out.request.verb, ELECTOR_GET);
        assert_int_equal(w->out.request.purpose, ELECTOR_RENEW);
        succeed(w);
        assert_int_equal(news(w, ELECTOR_RENEWED)->duration_ns, w->now_ns - sent_ns);
        assert_int_equal(state_of(w).confirmed_ns, sent_ns);
        assert_int_equal(state_of(w).failures, 0);
        assert_true(elector_may_write(w->elector, w->now_ns));
    }
}

static void edited_record_proves_nothing(void **state)
{
    struct world *w = *state;
    lead(w);
    int64_t confirmed_ns = w->now_ns;
    wake(w);
    lose_answer(w);
    w->lease.transitions = 40;
    wake(w);
    succeed(w);
    assert_null(news(w, ELECTOR_RENEWED));
    assert_int_equal(state_of(w).confirmed_ns, confirmed_ns);
    assert_int_equal(w->out.request.verb, ELECTOR_UPDATE);
}

static void record_given_to_another_proves_nothing(void **state)
{
    struct world *w = *state;
    lead(w);
    wake(w);
    lose_answer(w);
    snprintf(w->lease.holder, sizeof(w->lease.holder), "somebody"); /* an edit that leaves the times */
    wake(w);
    succeed(w);
    assert_int_equal(news(w, ELECTOR_LOST)->reason, ELECTOR_REASON_TAKEN);
    assert_null(news(w, ELECTOR_BECAME));
    assert_false(elector_may_write(w->elector, w->now_ns));
}

static void refused_write_is_repeated_without_a_look(void **state)
{
    struct world *w = *state;
    lead(w);
    wake(w);
    answer(w, ELECTOR_THROTTLED, NULL);
    wake(w);
    assert_int_equal(w->out.request.verb, ELECTOR_UPDATE);
    answer(w, ELECTOR_SERVER, NULL); /* this one may have happened */
    wake(w);
    assert_int_equal(w->out.request.verb, ELECTOR_GET);
}

/* A leader whose writes happen, but it learns of them too late: first in its last moments as leader, then once more. */
static void lose_two_tenures(struct world *w)
{
    lead(w);
    for (int i = 0; i < 2; i++) {
        while (!w->out.send || w->out.request.verb != ELECTOR_UPDATE)
            wake(w);
        lose_answer(w);
        w->now_ns += 20 * S;
        step(w, (struct elector_input){.kind = ELECTOR_WAKE});
        while (!w->out.send)
            wake(w);
        succeed(w);
        assert_int_equal(state_of(w).role, ELECTOR_FOLLOWING);
        assert_null(news(w, ELECTOR_RENEWED));
        assert_int_equal(state_of(w).unproven, i + 1);
    }
}

static void candidate_that_learns_too_late_holds_back(void **state)
{
    struct world *w = *state;
    lose_two_tenures(w);
    int64_t seen_ns = w->now_ns;
    assert_false(w->out.send);
    while (!w->out.send || w->out.request.verb == ELECTOR_GET)
        wake(w); /* nothing is answered but the watch */
    /* The lease, and what the others need to be first: a quarter of it, a look, two requests; then the end of a
     * look. */
    int64_t waited_ns = (60 + 15 + 5) * S + 2 * w->out.request.timeout_ns;
    assert_in_range(w->now_ns - seen_ns, waited_ns, waited_ns + w->out.request.timeout_ns + 5 * S);
    assert_int_equal(w->out.request.verb, ELECTOR_UPDATE);
    succeed(w);
    assert_true(elector_may_write(w->elector, w->now_ns));
    assert_int_equal(state_of(w).unproven, 0);
    /* Half a lease after the third, not a quarter. */
    lose_two_tenures(w);
    w->lease.renew_us++; /* as one more write of ours would */
    watched(w, &w->lease);
    assert_int_equal(state_of(w).unproven, 3);
    seen_ns = w->now_ns;
    while (!w->out.send || w->out.request.verb == ELECTOR_GET)
        wake(w);
    waited_ns += 15 * S;
    assert_in_range(w->now_ns - seen_ns, waited_ns, waited_ns + w->out.request.timeout_ns + 5 * S);
}

static void renewals_of_another_end_the_holding_back(void **state)
{
    struct world *w = *state;
    lose_two_tenures(w);
    set_lease(w, "other", 60, 2);
    watched(w, &w->lease);
    assert_int_equal(state_of(w).unproven, 2);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(state_of(w).unproven, 2);
        w->lease.renew_us++;
        watched(w, &w->lease);
    }
    assert_int_equal(state_of(w).unproven, 0);
    set_lease(w, "", 1, 2);
    watched(w, &w->lease);
    assert_int_equal(w->out.request.verb, ELECTOR_UPDATE);
}

static void candidate_that_holds_back_leaves_even_a_release_to_the_others(void **state)
{
    struct world *w = *state;
    lose_two_tenures(w);
    set_lease(w, "", 1, 2);
    watched(w, &w->lease);
    assert_false(w->out.send);
}

static void watch_proves_as_well(void **state)
{
    struct world *w = *state;
    follow(w, 60, 3);
    set_lease(w, "", 1, 3);
    watched(w, &w->lease);
    int64_t sent_ns = w->now_ns;
    struct elector_record written = w->out.request.record;
    watched(w, &written);
    assert_null(news(w, ELECTOR_BECAME)); /* it gets its answer */
    wake(w);
    assert_non_null(news(w, ELECTOR_FAILED));
    watched(w, &written);
    assert_int_equal(news(w, ELECTOR_BECAME)->transitions, 4);
    assert_int_equal(state_of(w).confirmed_ns, sent_ns);
}

static void writes_are_told_apart_when_the_wall_clock_stands(void **state)
{
    struct world *w = *state;
    int64_t seen_us[30];
    size_t count = 0;
    lead(w);
    while (count < 30) {
        w->now_ns = w->out.wake_ns;
        struct elector_input in = {.kind = ELECTOR_WAKE, .now_ns = w->now_ns, .wall_us = 1000000000};
        elector_step(w->elector, &in, &w->out);
        if (!w->out.send)
            continue;
        assert_int_equal(w->out.request.verb, ELECTOR_UPDATE);
        assert_true(w->out.request.record.renew_us != w->lease.renew_us);
        assert_true(w->out.request.record.renew_us != w->lease.acquire_us);
        seen_us[count] = w->out.request.record.renew_us;
        for (size_t i = count; i > 0 && i + 7 > count; i--)
            assert_true(seen_us[i - 1] != seen_us[count]);
        count++;
        succeed(w);
    }
}

static void answers_to_old_requests_count_for_nothing(void **state)
{
    struct world *w = *state;
    lead(w);
    wake(w);
    uint64_t old = w->out.request.id;
    wake(w); /* times out */
    assert_int_equal(w->out.cancel, old);
    int64_t confirmed_ns = state_of(w).confirmed_ns;
    step(w, (struct elector_input){.kind = ELECTOR_ANSWER, .request = old, .status = ELECTOR_OK, .record = &w->lease});
    assert_int_equal(state_of(w).confirmed_ns, confirmed_ns);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD_TEST(lost_update_is_found_again),
        WORLD_TEST(leader_without_answers_to_writes_goes_on_by_looking),
        WORLD_TEST(edited_record_proves_nothing),
        WORLD_TEST(record_given_to_another_proves_nothing),
        WORLD_TEST(refused_write_is_repeated_without_a_look),
        WORLD_TEST(candidate_that_learns_too_late_holds_back),
        WORLD_TEST(renewals_of_another_end_the_holding_back),
        WORLD_TEST(candidate_that_holds_back_leaves_even_a_release_to_the_others),
        WORLD_TEST(watch_proves_as_well),
        WORLD_TEST(writes_are_told_apart_when_the_wall_clock_stands),
        WORLD_TEST(answers_to_old_requests_count_for_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
