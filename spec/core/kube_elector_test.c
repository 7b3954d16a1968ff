/* The elector step by step: taking, keeping, losing and giving back the Lease. What it makes of answers that it never
 * got is in kube_elector_proof_test.c; what needs many candidates and bad luck in kube_elector_sim_test.c. */
#include "elector_world.h"

static void creates_an_absent_lease(void **state)
{
    struct world *w = *state;
    init(w);
    start(w);
    assert_int_equal(w->out.request.verb, ELECTOR_GET);
    assert_false(elector_may_write(w->elector, w->now_ns));
    answer(w, ELECTOR_NOTFOUND, NULL);
    assert_int_equal(w->out.request.verb, ELECTOR_CREATE);
    assert_string_equal(w->out.request.record.holder, "me");
    assert_int_equal(w->out.request.record.duration_s, 60);
    assert_int_equal(w->out.request.record.transitions, 1);
    succeed(w);
    assert_int_equal(news(w, ELECTOR_BECAME)->transitions, 1);
    assert_true(elector_may_write(w->elector, w->now_ns));
    assert_int_equal(w->out.wake_ns, w->now_ns + 5 * S);
}

static void deadline_counts_from_the_sending(void **state)
{
    struct world *w = *state;
    lead(w);
    wake(w);
    int64_t sent_ns = w->now_ns;
    w->now_ns += 4 * S;
    succeed(w);
    assert_int_equal(state_of(w).write_end_ns, sent_ns + 15 * S);
    assert_true(elector_may_write(w->elector, sent_ns + 14 * S - 1));
    assert_false(elector_may_write(w->elector, sent_ns + 14 * S));
}

static void two_tries_fit_before_the_deadline_when_the_server_hangs(void **state)
{
    struct world *w = *state;
    lead(w);
    int64_t confirmed_ns = w->now_ns;
    int whole_tries = 0;
    int64_t sent_ns = 0;
    while (state_of(w).role == ELECTOR_LEADING) {
        wake(w);
        if (w->out.cancel && sent_ns != 0 && w->now_ns - sent_ns >= w->out.request.timeout_ns)
            whole_tries++;
        if (w->out.send)
            sent_ns = w->now_ns;
    }
    assert_int_equal(w->now_ns, confirmed_ns + 14 * S);
    assert_int_equal(whole_tries, 2);
    assert_int_equal(news(w, ELECTOR_LOST)->reason, ELECTOR_REASON_DEADLINE);
    assert_int_equal(news(w, ELECTOR_LOST)->status, ELECTOR_TIMEOUT);
}

static void campaigns_again_after_loss(void **state)
{
    struct world *w = *state;
    lead(w);
    while (state_of(w).role == ELECTOR_LEADING) {
        wake(w);
        if (w->out.send)
            answer(w, ELECTOR_DENIED, NULL);
    }
    for (int i = 0; i < 100; i++) {
        int64_t before_ns = w->now_ns;
        wake(w);
        assert_true(w->now_ns - before_ns <= 5 * S);
        if (w->out.send)
            answer(w, ELECTOR_DENIED, NULL);
    }
    wake(w);
    while (!news(w, ELECTOR_BECAME))
        succeed(w);
    assert_int_equal(news(w, ELECTOR_BECAME)->transitions, 1); /* nobody else had it */
}

static void denied_writes_do_not_turn_into_a_storm(void **state)
{
    struct world *w = *state;
    follow(w, 60, 3);
    set_lease(w, "", 1, 3);
    watched(w, &w->lease);
    int64_t from_ns = w->now_ns;
    int requests = 0;
    while (w->now_ns < from_ns + 100 * S) {
        if (!w->out.send)
            wake(w);
        requests++;
        if (w->out.request.verb == ELECTOR_GET)
            answer(w, ELECTOR_OK, &w->lease);
        else
            answer(w, ELECTOR_DENIED, NULL);
    }
    assert_in_range(requests, 40, 80);
}

static void retry_after_does_not_pass_the_deadline(void **state)
{
    struct world *w = *state;
    lead(w);
    int64_t confirmed_ns = w->now_ns;
    wake(w);
    step(w, (struct elector_input){.kind = ELECTOR_ANSWER,
                                   .request = w->out.request.id,
                                   .status = ELECTOR_THROTTLED,
                                   .retry_after_ns = 3600 * S});
    wake(w);
    assert_true(w->out.send);
    assert_true(w->now_ns > confirmed_ns + 9 * S); /* not before what was asked for, as far as the deadline lets it */
    assert_true(w->now_ns + w->out.request.timeout_ns <= confirmed_ns + 14 * S);
    succeed(w);
    assert_true(elector_may_write(w->elector, w->now_ns));
}

static void follower_waits_the_longer_duration(void **state)
{
    struct world *w = *state;
    static const struct {
        int64_t record_s, wait_s;
    } cases[] = {{15, 60}, {120, 120}, {0, 60}, {-7, 60}, {INT32_MAX, 600}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        follow(w, cases[i].record_s, 3);
        int64_t seen_ns = w->now_ns;
        while (wake(w), w->out.request.verb == ELECTOR_GET)
            succeed(w);
        assert_int_equal(w->now_ns, seen_ns + cases[i].wait_s * S);
        assert_int_equal(w->out.request.verb, ELECTOR_UPDATE);
        assert_int_equal(w->out.request.record.transitions, 4);
        assert_string_equal(w->out.request.record.version, w->lease.version);
    }
}

static void renewal_of_the_holder_restarts_the_wait(void **state)
{
    struct world *w = *state;
    follow(w, 60, 3);
    w->now_ns += 30 * S;
    w->lease.renew_us++;
    watched(w, &w->lease);
    assert_int_equal(state_of(w).expires_ns, w->now_ns + 60 * S);
    /* Not so a change of something else in the object. */
    int64_t seen_ns = w->now_ns;
    w->now_ns += 10 * S;
    snprintf(w->lease.version, sizeof(w->lease.version), "other");
    watched(w, &w->lease);
    assert_int_equal(state_of(w).expires_ns, seen_ns + 60 * S);
}

static void release_is_taken_over_at_once(void **state)
{
    struct world *w = *state;
    follow(w, 60, 3);
    wake(w); /* a look is under way and hangs */
    assert_int_equal(w->out.request.verb, ELECTOR_GET);
    uint64_t look = w->out.request.id;
    set_lease(w, "", 1, 3);
    watched(w, &w->lease);
    assert_int_equal(w->out.cancel, look);
    assert_int_equal(w->out.request.verb, ELECTOR_UPDATE);
    succeed(w);
    assert_int_equal(news(w, ELECTOR_BECAME)->transitions, 4);
}

static void deletion_is_taken_over_at_once_above_all_seen(void **state)
{
    struct world *w = *state;
    follow(w, 60, 17);
    watched(w, NULL);
    assert_int_equal(w->out.request.verb, ELECTOR_CREATE);
    assert_int_equal(w->out.request.record.transitions, 18);
    answer(w, ELECTOR_CONFLICT, NULL); /* another was faster */
    assert_int_equal(w->out.request.verb, ELECTOR_GET);
}

static void leader_that_finds_another_holder_stops_at_once(void **state)
{
    struct world *w = *state;
    lead(w);
    w->now_ns += S;
    set_lease(w, "other", 60, 2);
    watched(w, &w->lease);
    assert_true(elector_may_write(w->elector, w->now_ns)); /* an event may be old */
    if (!w->out.send)
        wake(w);
    assert_int_equal(w->out.request.verb, ELECTOR_GET);
    succeed(w);
    assert_int_equal(news(w, ELECTOR_LOST)->reason, ELECTOR_REASON_TAKEN);
    assert_string_equal(news(w, ELECTOR_LOST)->holder, "other");
    assert_false(elector_may_write(w->elector, w->now_ns));
    assert_false(w->out.send);
}

static void leader_survives_conflicts_by_others_edits(void **state)
{
    struct world *w = *state;
    lead(w);
    wake(w);
    snprintf(w->lease.version, sizeof(w->lease.version), "labelled");
    answer(w, ELECTOR_CONFLICT, NULL);
    assert_int_equal(w->out.request.verb, ELECTOR_GET);
    succeed(w);
    assert_int_equal(w->out.request.verb, ELECTOR_UPDATE);
    assert_string_equal(w->out.request.record.version, "labelled");
    succeed(w);
    assert_null(news(w, ELECTOR_LOST));
    assert_true(elector_may_write(w->elector, w->now_ns));
}

static void emptied_and_deleted_leases_are_lost_and_taken_again(void **state)
{
    struct world *w = *state;
    lead(w);
    wake(w);
    set_lease(w, "", 1, 1);
    answer(w, ELECTOR_CONFLICT, NULL);
    succeed(w);
    assert_int_equal(news(w, ELECTOR_LOST)->reason, ELECTOR_REASON_EMPTIED);
    succeed(w);
    assert_int_equal(news(w, ELECTOR_BECAME)->transitions, 2);
    wake(w);
    answer(w, ELECTOR_CONFLICT, NULL); /* the uid of an object that is gone */
    answer(w, ELECTOR_NOTFOUND, NULL);
    assert_int_equal(news(w, ELECTOR_LOST)->reason, ELECTOR_REASON_DELETED);
    assert_int_equal(w->out.request.verb, ELECTOR_CREATE);
    assert_int_equal(w->out.request.record.transitions, 3);
}

static void edited_transitions_are_put_right(void **state)
{
    struct world *w = *state;
    static const struct {
        int64_t edited, written;
    } cases[] = {{0, 1}, {-3, 1}, {INT32_MAX, 1}, {40, 40}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        lead(w);
        wake(w);
        w->lease.transitions = cases[i].edited;
        snprintf(w->lease.version, sizeof(w->lease.version), "edited");
        answer(w, ELECTOR_CONFLICT, NULL);
        succeed(w);
        assert_int_equal(w->out.request.record.transitions, cases[i].written);
        succeed(w);
        assert_true(elector_may_write(w->elector, w->now_ns));
        assert_int_equal(state_of(w).transitions, cases[i].written);
    }
}

static void refused_leader_raises_the_fence(void **state)
{
    struct world *w = *state;
    lead(w);
    w->now_ns += S;
    refused(w, 41);
    assert_false(elector_may_write(w->elector, w->now_ns));
    assert_int_equal(w->out.request.verb, ELECTOR_UPDATE);
    assert_int_equal(w->out.request.record.transitions, 42);
    succeed(w);
    assert_int_equal(news(w, ELECTOR_RAISED)->transitions, 42);
    assert_true(elector_may_write(w->elector, w->now_ns));
    /* Another receiver's refusal of a write from before the raise changes nothing. */
    refused(w, 41);
    assert_false(w->out.send);
    assert_true(elector_may_write(w->elector, w->now_ns));
}

static void refusal_during_a_renewal_is_not_forgotten(void **state)
{
    struct world *w = *state;
    lead(w);
    wake(w);
    struct elector_request renewal = w->out.request;
    refused(w, 1); /* another process has used ours */
    assert_false(w->out.send);
    w->out.send = true;
    w->out.request = renewal;
    succeed(w);
    assert_false(elector_may_write(w->elector, w->now_ns));
    assert_int_equal(w->out.request.record.transitions, 2);
    succeed(w);
    assert_true(elector_may_write(w->elector, w->now_ns));
}

static void refused_leader_that_lost_the_lease_steps_down(void **state)
{
    struct world *w = *state;
    lead(w);
    refused(w, 2);
    set_lease(w, "other", 60, 2);
    answer(w, ELECTOR_CONFLICT, NULL);
    succeed(w);
    assert_int_equal(news(w, ELECTOR_LOST)->reason, ELECTOR_REASON_TAKEN);
}

static void exhausted_fence_is_told(void **state)
{
    struct world *w = *state;
    lead(w);
    refused(w, ELECTOR_TRANSITIONS_MAX);
    assert_non_null(news(w, ELECTOR_EXHAUSTED));
    assert_true(elector_may_write(w->elector, w->now_ns));
    refused(w, ELECTOR_TRANSITIONS_MAX - 1);
    assert_non_null(news(w, ELECTOR_EXHAUSTED));
    refused(w, ELECTOR_TRANSITIONS_SANE);
    assert_non_null(news(w, ELECTOR_EXHAUSTED));
    assert_true(elector_may_write(w->elector, w->now_ns));
    refused(w, ELECTOR_TRANSITIONS_SANE - 1);
    assert_int_equal(w->out.request.record.transitions, ELECTOR_TRANSITIONS_SANE);
}

static void new_process_with_the_old_name_leads_at_once_with_a_higher_fence(void **state)
{
    struct world *w = *state;
    init(w);
    w->now_ns += S; /* started later: another acquireTime */
    set_lease(w, "me", 60, 5);
    start(w);
    succeed(w);
    assert_int_equal(w->out.request.verb, ELECTOR_UPDATE);
    assert_int_equal(w->out.request.record.transitions, 6);
    assert_true(w->out.request.record.acquire_us != 77);
    succeed(w);
    assert_non_null(news(w, ELECTOR_BECAME));
    /* Were the old one still alive, it would find this and stop; and wait as for anybody else. */
    struct world old = {0};
    lead(&old);
    wake(&old);
    w->lease.transitions = 2;
    snprintf(w->lease.version, sizeof(w->lease.version), "99");
    answer(&old, ELECTOR_CONFLICT, NULL);
    answer(&old, ELECTOR_OK, &w->lease);
    assert_int_equal(news(&old, ELECTOR_LOST)->reason, ELECTOR_REASON_TAKEN);
    assert_int_equal(state_of(&old).expires_ns, old.now_ns + 60 * S);
    assert_false(old.out.send);
    elector_free(old.elector);
}

static void release_gives_the_lease_back(void **state)
{
    struct world *w = *state;
    lead(w);
    wake(w); /* a renewal hangs: it is not waited for */
    uint64_t renewal = w->out.request.id;
    stop(w);
    assert_int_equal(w->out.cancel, renewal);
    assert_int_equal(news(w, ELECTOR_LOST)->reason, ELECTOR_REASON_STOPPED);
    assert_false(elector_may_write(w->elector, w->now_ns));
    assert_string_equal(w->out.request.record.holder, "");
    assert_int_equal(w->out.request.record.duration_s, 1);
    assert_int_equal(w->out.request.record.transitions, 1);
    snprintf(w->lease.version, sizeof(w->lease.version), "renewed after all");
    answer(w, ELECTOR_CONFLICT, NULL);
    succeed(w);
    assert_string_equal(w->out.request.record.version, "renewed after all");
    succeed(w);
    assert_true(news(w, ELECTOR_STOPPED)->released);
    assert_int_equal(w->out.wake_ns, INT64_MAX);
}

static void release_ends_when_nobody_answers(void **state)
{
    struct world *w = *state;
    lead(w);
    int64_t from_ns = w->now_ns;
    stop(w);
    while (!news(w, ELECTOR_STOPPED))
        wake(w);
    assert_false(news(w, ELECTOR_STOPPED)->released);
    assert_true(w->now_ns - from_ns <= 10 * S);
}

static void stop_while_acquiring_waits_and_releases(void **state)
{
    struct world *w = *state;
    init(w);
    start(w);
    answer(w, ELECTOR_NOTFOUND, NULL);
    struct elector_request create = w->out.request;
    stop(w);
    assert_null(news(w, ELECTOR_STOPPED));
    w->out.send = true;
    w->out.request = create;
    succeed(w);
    assert_null(news(w, ELECTOR_BECAME));
    assert_string_equal(w->out.request.record.holder, "");
    succeed(w);
    assert_true(news(w, ELECTOR_STOPPED)->released);
}

static void follower_stops_at_once(void **state)
{
    struct world *w = *state;
    follow(w, 60, 3);
    stop(w);
    assert_false(news(w, ELECTOR_STOPPED)->released);
    assert_false(w->out.send);
}

static void stopped_process_that_wakes_up_does_not_write(void **state)
{
    struct world *w = *state;
    lead(w);
    w->now_ns += 3600 * S;
    assert_false(elector_may_write(w->elector, w->now_ns)); /* before any timer has run */
    step(w, (struct elector_input){.kind = ELECTOR_WAKE});
    assert_int_equal(news(w, ELECTOR_LOST)->reason, ELECTOR_REASON_DEADLINE);
}

static void gone(struct world *w, const char *holder, int64_t acquire_us)
{
    struct elector_record r = {.acquire_us = acquire_us};
    snprintf(r.holder, sizeof(r.holder), "%s", holder);
    step(w, (struct elector_input){.kind = ELECTOR_GONE, .record = &r});
}

static void a_holder_that_has_ended_is_replaced_at_once(void **state)
{
    struct world *w = *state;
    follow(w, 60, 7);
    w->now_ns += 3 * S;
    gone(w, "other", 77);
    assert_int_equal(w->out.request.verb, ELECTOR_UPDATE);
    succeed(w);
    assert_int_equal(news(w, ELECTOR_BECAME)->transitions, 8);
}

static void only_the_tenure_that_has_ended_is_replaced(void **state)
{
    struct world *w = *state;
    static const struct {
        const char *holder;
        int64_t acquire_us;
    } others[] = {{"other", 78}, {"another", 77}, {"me", 77}, {"", 77}};
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        follow(w, 60, 7);
        gone(w, others[i].holder, others[i].acquire_us);
        assert_false(w->out.send);
        assert_int_equal(state_of(w).expires_ns, w->now_ns + 60 * S);
    }
}

static void an_end_that_is_known_before_the_record_counts(void **state)
{
    struct world *w = *state;
    init(w);
    set_lease(w, "other", 60, 7);
    start(w);
    gone(w, "other", 77);
    assert_int_equal(w->out.cancel, 0); /* there is nothing to take yet */
    answer(w, ELECTOR_OK, &w->lease);
    assert_int_equal(w->out.request.verb, ELECTOR_UPDATE);
}

static void a_look_is_not_waited_for_when_the_holder_has_ended(void **state)
{
    struct world *w = *state;
    follow(w, 60, 7);
    wake(w);
    assert_int_equal(w->out.request.verb, ELECTOR_GET);
    uint64_t look = w->out.request.id;
    gone(w, "other", 77);
    assert_int_equal(w->out.cancel, look);
    assert_int_equal(w->out.request.verb, ELECTOR_UPDATE);
}

static void a_holder_that_is_wrongly_said_to_have_ended_sees_it(void **state)
{
    struct world *w = *state;
    lead(w);
    gone(w, "me", w->lease.acquire_us);
    assert_int_equal(state_of(w).role, ELECTOR_LEADING);
    /* Another believed it. */
    set_lease(w, "other", 60, 2);
    watched(w, &w->lease);
    wake(w);
    assert_int_equal(w->out.request.verb, ELECTOR_GET);
    answer(w, ELECTOR_OK, &w->lease);
    assert_int_equal(news(w, ELECTOR_LOST)->reason, ELECTOR_REASON_TAKEN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD_TEST(creates_an_absent_lease),
        WORLD_TEST(a_holder_that_has_ended_is_replaced_at_once),
        WORLD_TEST(only_the_tenure_that_has_ended_is_replaced),
        WORLD_TEST(an_end_that_is_known_before_the_record_counts),
        WORLD_TEST(a_look_is_not_waited_for_when_the_holder_has_ended),
        WORLD_TEST(a_holder_that_is_wrongly_said_to_have_ended_sees_it),
        WORLD_TEST(deadline_counts_from_the_sending),
        WORLD_TEST(two_tries_fit_before_the_deadline_when_the_server_hangs),
        WORLD_TEST(campaigns_again_after_loss),
        WORLD_TEST(denied_writes_do_not_turn_into_a_storm),
        WORLD_TEST(retry_after_does_not_pass_the_deadline),
        WORLD_TEST(follower_waits_the_longer_duration),
        WORLD_TEST(renewal_of_the_holder_restarts_the_wait),
        WORLD_TEST(release_is_taken_over_at_once),
        WORLD_TEST(deletion_is_taken_over_at_once_above_all_seen),
        WORLD_TEST(leader_that_finds_another_holder_stops_at_once),
        WORLD_TEST(leader_survives_conflicts_by_others_edits),
        WORLD_TEST(emptied_and_deleted_leases_are_lost_and_taken_again),
        WORLD_TEST(edited_transitions_are_put_right),
        WORLD_TEST(refused_leader_raises_the_fence),
        WORLD_TEST(refusal_during_a_renewal_is_not_forgotten),
        WORLD_TEST(refused_leader_that_lost_the_lease_steps_down),
        WORLD_TEST(exhausted_fence_is_told),
        WORLD_TEST(new_process_with_the_old_name_leads_at_once_with_a_higher_fence),
        WORLD_TEST(release_gives_the_lease_back),
        WORLD_TEST(release_ends_when_nobody_answers),
        WORLD_TEST(stop_while_acquiring_waits_and_releases),
        WORLD_TEST(follower_stops_at_once),
        WORLD_TEST(stopped_process_that_wakes_up_does_not_write),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
