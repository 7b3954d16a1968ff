/* The elector step by step. What needs many candidates and bad luck is in kube_elector_sim_test.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "kube/elector.h"

#define S NS_PER_S
#define MS NS_PER_MS

/* One elector and a hand-driven world: a clock, and the Lease as the server has it. */
struct world {
    struct elector *elector;
    int64_t now_ns;
    struct elector_output out;
    struct elector_record lease;
    unsigned versions;
};

static struct elector_config config(void)
{
    struct elector_config c;
    elector_config_defaults(&c);
    c.identity = "me";
    c.namespace = "ns";
    return c;
}

static void init(struct world *w)
{
    struct elector_config c = config();
    memset(w, 0, sizeof(*w));
    w->elector = elector_new(&c);
    w->now_ns = 1000 * S;
}

static void step(struct world *w, struct elector_input in)
{
    in.now_ns = w->now_ns;
    in.wall_us = w->now_ns / 1000;
    elector_step(w->elector, &in, &w->out);
}

static void answer(struct world *w, enum elector_status status, const struct elector_record *record)
{
    step(w, (struct elector_input){
                .kind = ELECTOR_ANSWER, .request = w->out.request.id, .status = status, .record = record});
}

static void wake(struct world *w)
{
    w->now_ns = w->out.wake_ns;
    step(w, (struct elector_input){.kind = ELECTOR_WAKE});
}

/* Store what the elector asks for and give the answer a good server gives. */
static void succeed(struct world *w)
{
    assert_true(w->out.send);
    if (w->out.request.verb != ELECTOR_GET) {
        if (w->out.request.verb == ELECTOR_UPDATE)
            assert_string_equal(w->out.request.record.version, w->lease.version);
        w->lease = w->out.request.record;
        snprintf(w->lease.version, sizeof(w->lease.version), "%u", ++w->versions);
    }
    answer(w, ELECTOR_OK, &w->lease);
}

static void set_lease(struct world *w, const char *holder, int64_t duration_s, int64_t transitions)
{
    memset(&w->lease, 0, sizeof(w->lease));
    snprintf(w->lease.holder, sizeof(w->lease.holder), "%s", holder);
    snprintf(w->lease.version, sizeof(w->lease.version), "%u", ++w->versions);
    w->lease.duration_s = duration_s;
    w->lease.transitions = transitions;
    w->lease.acquire_us = w->lease.renew_us = 77;
}

static const struct elector_news *news(const struct world *w, enum elector_news_kind kind)
{
    for (size_t i = 0; i < w->out.news_count; i++)
        if (w->out.news[i].kind == kind)
            return &w->out.news[i];
    return NULL;
}

static struct elector_state state(const struct world *w)
{
    struct elector_state s;
    elector_get_state(w->elector, &s);
    return s;
}

/* A leader with transitions 1 of a Lease it created; its last request was sent at now_ns. */
static void lead(struct world *w)
{
    init(w);
    step(w, (struct elector_input){.kind = ELECTOR_START});
    answer(w, ELECTOR_NOTFOUND, NULL);
    succeed(w);
    assert_non_null(news(w, ELECTOR_BECAME));
}

/* A follower that has just seen the Lease held by another. */
static void follow(struct world *w, int64_t duration_s, int64_t transitions)
{
    init(w);
    set_lease(w, "other", duration_s, transitions);
    step(w, (struct elector_input){.kind = ELECTOR_START});
    succeed(w);
    assert_string_equal(news(w, ELECTOR_NEW_LEADER)->holder, "other");
}

static void done(struct world *w)
{
    w->elector = elector_free(w->elector);
}

static void creates_an_absent_lease(void **unused)
{
    (void)unused;
    struct world w;
    init(&w);
    step(&w, (struct elector_input){.kind = ELECTOR_START});
    assert_int_equal(w.out.request.verb, ELECTOR_GET);
    assert_false(elector_may_write(w.elector, w.now_ns));
    answer(&w, ELECTOR_NOTFOUND, NULL);
    assert_int_equal(w.out.request.verb, ELECTOR_CREATE);
    assert_string_equal(w.out.request.record.holder, "me");
    assert_int_equal(w.out.request.record.duration_s, 60);
    assert_int_equal(w.out.request.record.transitions, 1);
    succeed(&w);
    assert_int_equal(news(&w, ELECTOR_BECAME)->transitions, 1);
    assert_true(elector_may_write(w.elector, w.now_ns));
    assert_int_equal(w.out.wake_ns, w.now_ns + 5 * S);
    done(&w);
}

static void deadline_counts_from_the_sending(void **unused)
{
    (void)unused;
    struct world w;
    lead(&w);
    wake(&w);
    int64_t sent_ns = w.now_ns;
    w.now_ns += 4 * S;
    succeed(&w);
    assert_int_equal(state(&w).write_end_ns, sent_ns + 15 * S);
    assert_true(elector_may_write(w.elector, sent_ns + 14 * S - 1));
    assert_false(elector_may_write(w.elector, sent_ns + 14 * S));
    done(&w);
}

static void two_tries_fit_before_the_deadline_when_the_server_hangs(void **unused)
{
    (void)unused;
    struct world w;
    lead(&w);
    int64_t confirmed_ns = w.now_ns;
    int whole_tries = 0;
    int64_t sent_ns = 0;
    while (state(&w).role == ELECTOR_LEADING) {
        wake(&w);
        if (w.out.cancel && sent_ns != 0 && w.now_ns - sent_ns >= w.out.request.timeout_ns)
            whole_tries++;
        if (w.out.send)
            sent_ns = w.now_ns;
    }
    assert_int_equal(w.now_ns, confirmed_ns + 14 * S);
    assert_int_equal(whole_tries, 2);
    assert_int_equal(news(&w, ELECTOR_LOST)->reason, ELECTOR_REASON_DEADLINE);
    assert_int_equal(news(&w, ELECTOR_LOST)->status, ELECTOR_TIMEOUT);
    done(&w);
}

static void campaigns_again_after_loss(void **unused)
{
    (void)unused;
    struct world w;
    lead(&w);
    while (state(&w).role == ELECTOR_LEADING) {
        wake(&w);
        if (w.out.send)
            answer(&w, ELECTOR_DENIED, NULL);
    }
    for (int i = 0; i < 100; i++) {
        int64_t before_ns = w.now_ns;
        wake(&w);
        assert_true(w.now_ns - before_ns <= 5 * S);
        if (w.out.send)
            answer(&w, ELECTOR_DENIED, NULL);
    }
    wake(&w);
    while (!news(&w, ELECTOR_BECAME))
        succeed(&w);
    assert_int_equal(news(&w, ELECTOR_BECAME)->transitions, 1); /* nobody else had it */
    done(&w);
}

static void denied_writes_do_not_turn_into_a_storm(void **unused)
{
    (void)unused;
    struct world w;
    follow(&w, 60, 3);
    set_lease(&w, "", 1, 3);
    step(&w, (struct elector_input){.kind = ELECTOR_WATCHED, .record = &w.lease});
    int64_t from_ns = w.now_ns;
    int requests = 0;
    while (w.now_ns < from_ns + 100 * S) {
        if (!w.out.send)
            wake(&w);
        requests++;
        if (w.out.request.verb == ELECTOR_GET)
            answer(&w, ELECTOR_OK, &w.lease);
        else
            answer(&w, ELECTOR_DENIED, NULL);
    }
    assert_in_range(requests, 40, 80);
    done(&w);
}

static void retry_after_does_not_pass_the_deadline(void **unused)
{
    (void)unused;
    struct world w;
    lead(&w);
    int64_t confirmed_ns = w.now_ns;
    wake(&w);
    step(&w, (struct elector_input){.kind = ELECTOR_ANSWER,
                                    .request = w.out.request.id,
                                    .status = ELECTOR_THROTTLED,
                                    .retry_after_ns = 3600 * S});
    wake(&w);
    assert_true(w.out.send);
    assert_true(w.now_ns > confirmed_ns + 9 * S); /* not before what was asked for, as far as the deadline lets it */
    assert_true(w.now_ns + w.out.request.timeout_ns <= confirmed_ns + 14 * S);
    succeed(&w);
    assert_true(elector_may_write(w.elector, w.now_ns));
    done(&w);
}

static void follower_waits_the_longer_duration(void **unused)
{
    (void)unused;
    static const struct {
        int64_t record_s, wait_s;
    } cases[] = {{15, 60}, {120, 120}, {0, 60}, {-7, 60}, {INT32_MAX, 600}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct world w;
        follow(&w, cases[i].record_s, 3);
        int64_t seen_ns = w.now_ns;
        while (wake(&w), w.out.request.verb == ELECTOR_GET)
            succeed(&w);
        assert_int_equal(w.now_ns, seen_ns + cases[i].wait_s * S);
        assert_int_equal(w.out.request.verb, ELECTOR_UPDATE);
        assert_int_equal(w.out.request.record.transitions, 4);
        assert_string_equal(w.out.request.record.version, w.lease.version);
        done(&w);
    }
}

static void renewal_of_the_holder_restarts_the_wait(void **unused)
{
    (void)unused;
    struct world w;
    follow(&w, 60, 3);
    w.now_ns += 30 * S;
    w.lease.renew_us++;
    step(&w, (struct elector_input){.kind = ELECTOR_WATCHED, .record = &w.lease});
    assert_int_equal(state(&w).expires_ns, w.now_ns + 60 * S);
    /* Not so a change of something else in the object. */
    int64_t seen_ns = w.now_ns;
    w.now_ns += 10 * S;
    snprintf(w.lease.version, sizeof(w.lease.version), "other");
    step(&w, (struct elector_input){.kind = ELECTOR_WATCHED, .record = &w.lease});
    assert_int_equal(state(&w).expires_ns, seen_ns + 60 * S);
    done(&w);
}

static void release_is_taken_over_at_once(void **unused)
{
    (void)unused;
    struct world w;
    follow(&w, 60, 3);
    wake(&w); /* a look is under way and hangs */
    assert_int_equal(w.out.request.verb, ELECTOR_GET);
    uint64_t look = w.out.request.id;
    set_lease(&w, "", 1, 3);
    step(&w, (struct elector_input){.kind = ELECTOR_WATCHED, .record = &w.lease});
    assert_int_equal(w.out.cancel, look);
    assert_int_equal(w.out.request.verb, ELECTOR_UPDATE);
    succeed(&w);
    assert_int_equal(news(&w, ELECTOR_BECAME)->transitions, 4);
    done(&w);
}

static void deletion_is_taken_over_at_once_above_all_seen(void **unused)
{
    (void)unused;
    struct world w;
    follow(&w, 60, 17);
    step(&w, (struct elector_input){.kind = ELECTOR_WATCHED});
    assert_int_equal(w.out.request.verb, ELECTOR_CREATE);
    assert_int_equal(w.out.request.record.transitions, 18);
    answer(&w, ELECTOR_CONFLICT, NULL); /* another was faster */
    assert_int_equal(w.out.request.verb, ELECTOR_GET);
    done(&w);
}

static void lost_update_is_found_again(void **unused)
{
    (void)unused;
    struct world w;
    follow(&w, 60, 3);
    set_lease(&w, "", 1, 3);
    step(&w, (struct elector_input){.kind = ELECTOR_WATCHED, .record = &w.lease});
    struct elector_record written = w.out.request.record;
    int64_t sent_ns = w.now_ns;
    wake(&w); /* it times out */
    assert_non_null(news(&w, ELECTOR_FAILED));
    w.lease = written; /* but it had happened */
    snprintf(w.lease.version, sizeof(w.lease.version), "99");
    while (!w.out.send)
        wake(&w);
    assert_int_equal(w.out.request.verb, ELECTOR_GET);
    succeed(&w);
    /* Counted from when it was sent. */
    assert_int_equal(news(&w, ELECTOR_BECAME)->transitions, 4);
    assert_int_equal(state(&w).write_end_ns, sent_ns + 15 * S);
    assert_true(elector_may_write(w.elector, w.now_ns));
    assert_false(w.out.send);
    done(&w);
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

static void leader_without_answers_to_writes_goes_on_by_looking(void **unused)
{
    (void)unused;
    struct world w;
    lead(&w);
    for (int i = 0; i < 20; i++) {
        wake(&w);
        int64_t sent_ns = w.now_ns;
        lose_answer(&w);
        wake(&w);
        assert_int_equal(w.out.request.verb, ELECTOR_GET);
        assert_int_equal(w.out.request.purpose, ELECTOR_RENEW);
        succeed(&w);
        assert_int_equal(news(&w, ELECTOR_RENEWED)->duration_ns, w.now_ns - sent_ns);
        assert_int_equal(state(&w).confirmed_ns, sent_ns);
        assert_int_equal(state(&w).failures, 0);
        assert_true(elector_may_write(w.elector, w.now_ns));
    }
    done(&w);
}

static void edited_record_proves_nothing(void **unused)
{
    (void)unused;
    struct world w;
    lead(&w);
    int64_t confirmed_ns = w.now_ns;
    wake(&w);
    lose_answer(&w);
    w.lease.transitions = 40;
    wake(&w);
    succeed(&w);
    assert_null(news(&w, ELECTOR_RENEWED));
    assert_int_equal(state(&w).confirmed_ns, confirmed_ns);
    assert_int_equal(w.out.request.verb, ELECTOR_UPDATE);
    done(&w);
}

static void record_given_to_another_proves_nothing(void **unused)
{
    (void)unused;
    struct world w;
    lead(&w);
    wake(&w);
    lose_answer(&w);
    snprintf(w.lease.holder, sizeof(w.lease.holder), "somebody"); /* an edit that leaves the times */
    wake(&w);
    succeed(&w);
    assert_int_equal(news(&w, ELECTOR_LOST)->reason, ELECTOR_REASON_TAKEN);
    assert_null(news(&w, ELECTOR_BECAME));
    assert_false(elector_may_write(w.elector, w.now_ns));
    done(&w);
}

static void refused_write_is_repeated_without_a_look(void **unused)
{
    (void)unused;
    struct world w;
    lead(&w);
    wake(&w);
    answer(&w, ELECTOR_THROTTLED, NULL);
    wake(&w);
    assert_int_equal(w.out.request.verb, ELECTOR_UPDATE);
    answer(&w, ELECTOR_SERVER, NULL); /* this one may have happened */
    wake(&w);
    assert_int_equal(w.out.request.verb, ELECTOR_GET);
    done(&w);
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
        assert_int_equal(state(w).role, ELECTOR_FOLLOWING);
        assert_null(news(w, ELECTOR_RENEWED));
        assert_int_equal(state(w).unproven, i + 1);
    }
}

static void candidate_that_learns_too_late_holds_back(void **unused)
{
    (void)unused;
    struct world w;
    lose_two_tenures(&w);
    int64_t seen_ns = w.now_ns;
    assert_false(w.out.send);
    while (!w.out.send || w.out.request.verb == ELECTOR_GET)
        wake(&w); /* nothing is answered but the watch */
    /* The lease, and what the others need to be first: a quarter of it, a look, two requests; then the end of a
     * look. */
    int64_t waited_ns = (60 + 15 + 5) * S + 2 * w.out.request.timeout_ns;
    assert_in_range(w.now_ns - seen_ns, waited_ns, waited_ns + w.out.request.timeout_ns + 5 * S);
    assert_int_equal(w.out.request.verb, ELECTOR_UPDATE);
    succeed(&w);
    assert_true(elector_may_write(w.elector, w.now_ns));
    assert_int_equal(state(&w).unproven, 0);
    done(&w);
    /* Half a lease after the third, not a quarter. */
    lose_two_tenures(&w);
    w.lease.renew_us++; /* as one more write of ours would */
    step(&w, (struct elector_input){.kind = ELECTOR_WATCHED, .record = &w.lease});
    assert_int_equal(state(&w).unproven, 3);
    seen_ns = w.now_ns;
    while (!w.out.send || w.out.request.verb == ELECTOR_GET)
        wake(&w);
    waited_ns += 15 * S;
    assert_in_range(w.now_ns - seen_ns, waited_ns, waited_ns + w.out.request.timeout_ns + 5 * S);
    done(&w);
}

static void renewals_of_another_end_the_holding_back(void **unused)
{
    (void)unused;
    struct world w;
    lose_two_tenures(&w);
    set_lease(&w, "other", 60, 2);
    step(&w, (struct elector_input){.kind = ELECTOR_WATCHED, .record = &w.lease});
    assert_int_equal(state(&w).unproven, 2);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(state(&w).unproven, 2);
        w.lease.renew_us++;
        step(&w, (struct elector_input){.kind = ELECTOR_WATCHED, .record = &w.lease});
    }
    assert_int_equal(state(&w).unproven, 0);
    set_lease(&w, "", 1, 2);
    step(&w, (struct elector_input){.kind = ELECTOR_WATCHED, .record = &w.lease});
    assert_int_equal(w.out.request.verb, ELECTOR_UPDATE);
    done(&w);
}

static void candidate_that_holds_back_leaves_even_a_release_to_the_others(void **unused)
{
    (void)unused;
    struct world w;
    lose_two_tenures(&w);
    set_lease(&w, "", 1, 2);
    step(&w, (struct elector_input){.kind = ELECTOR_WATCHED, .record = &w.lease});
    assert_false(w.out.send);
    done(&w);
}

static void watch_proves_as_well(void **unused)
{
    (void)unused;
    struct world w;
    follow(&w, 60, 3);
    set_lease(&w, "", 1, 3);
    step(&w, (struct elector_input){.kind = ELECTOR_WATCHED, .record = &w.lease});
    int64_t sent_ns = w.now_ns;
    struct elector_record written = w.out.request.record;
    step(&w, (struct elector_input){.kind = ELECTOR_WATCHED, .record = &written});
    assert_null(news(&w, ELECTOR_BECAME)); /* it gets its answer */
    wake(&w);
    assert_non_null(news(&w, ELECTOR_FAILED));
    step(&w, (struct elector_input){.kind = ELECTOR_WATCHED, .record = &written});
    assert_int_equal(news(&w, ELECTOR_BECAME)->transitions, 4);
    assert_int_equal(state(&w).confirmed_ns, sent_ns);
    done(&w);
}

static void writes_are_told_apart_when_the_wall_clock_stands(void **unused)
{
    (void)unused;
    struct world w;
    int64_t seen_us[30];
    size_t count = 0;
    lead(&w);
    while (count < 30) {
        w.now_ns = w.out.wake_ns;
        struct elector_input in = {.kind = ELECTOR_WAKE, .now_ns = w.now_ns, .wall_us = 1000000000};
        elector_step(w.elector, &in, &w.out);
        if (!w.out.send)
            continue;
        assert_int_equal(w.out.request.verb, ELECTOR_UPDATE);
        assert_true(w.out.request.record.renew_us != w.lease.renew_us);
        assert_true(w.out.request.record.renew_us != w.lease.acquire_us);
        seen_us[count] = w.out.request.record.renew_us;
        for (size_t i = count; i > 0 && i + 7 > count; i--)
            assert_true(seen_us[i - 1] != seen_us[count]);
        count++;
        succeed(&w);
    }
    done(&w);
}

static void answers_to_old_requests_count_for_nothing(void **unused)
{
    (void)unused;
    struct world w;
    lead(&w);
    wake(&w);
    uint64_t old = w.out.request.id;
    wake(&w); /* times out */
    assert_int_equal(w.out.cancel, old);
    int64_t confirmed_ns = state(&w).confirmed_ns;
    step(&w, (struct elector_input){.kind = ELECTOR_ANSWER, .request = old, .status = ELECTOR_OK, .record = &w.lease});
    assert_int_equal(state(&w).confirmed_ns, confirmed_ns);
    done(&w);
}

static void leader_that_finds_another_holder_stops_at_once(void **unused)
{
    (void)unused;
    struct world w;
    lead(&w);
    w.now_ns += S;
    set_lease(&w, "other", 60, 2);
    step(&w, (struct elector_input){.kind = ELECTOR_WATCHED, .record = &w.lease});
    assert_true(elector_may_write(w.elector, w.now_ns)); /* an event may be old */
    if (!w.out.send)
        wake(&w);
    assert_int_equal(w.out.request.verb, ELECTOR_GET);
    succeed(&w);
    assert_int_equal(news(&w, ELECTOR_LOST)->reason, ELECTOR_REASON_TAKEN);
    assert_string_equal(news(&w, ELECTOR_LOST)->holder, "other");
    assert_false(elector_may_write(w.elector, w.now_ns));
    assert_false(w.out.send);
    done(&w);
}

static void leader_survives_conflicts_by_others_edits(void **unused)
{
    (void)unused;
    struct world w;
    lead(&w);
    wake(&w);
    snprintf(w.lease.version, sizeof(w.lease.version), "labelled");
    answer(&w, ELECTOR_CONFLICT, NULL);
    assert_int_equal(w.out.request.verb, ELECTOR_GET);
    succeed(&w);
    assert_int_equal(w.out.request.verb, ELECTOR_UPDATE);
    assert_string_equal(w.out.request.record.version, "labelled");
    succeed(&w);
    assert_null(news(&w, ELECTOR_LOST));
    assert_true(elector_may_write(w.elector, w.now_ns));
    done(&w);
}

static void emptied_and_deleted_leases_are_lost_and_taken_again(void **unused)
{
    (void)unused;
    struct world w;
    lead(&w);
    wake(&w);
    set_lease(&w, "", 1, 1);
    answer(&w, ELECTOR_CONFLICT, NULL);
    succeed(&w);
    assert_int_equal(news(&w, ELECTOR_LOST)->reason, ELECTOR_REASON_EMPTIED);
    succeed(&w);
    assert_int_equal(news(&w, ELECTOR_BECAME)->transitions, 2);
    wake(&w);
    answer(&w, ELECTOR_CONFLICT, NULL); /* the uid of an object that is gone */
    answer(&w, ELECTOR_NOTFOUND, NULL);
    assert_int_equal(news(&w, ELECTOR_LOST)->reason, ELECTOR_REASON_DELETED);
    assert_int_equal(w.out.request.verb, ELECTOR_CREATE);
    assert_int_equal(w.out.request.record.transitions, 3);
    done(&w);
}

static void edited_transitions_are_put_right(void **unused)
{
    (void)unused;
    static const struct {
        int64_t edited, written;
    } cases[] = {{0, 1}, {-3, 1}, {INT32_MAX, 1}, {40, 40}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct world w;
        lead(&w);
        wake(&w);
        w.lease.transitions = cases[i].edited;
        snprintf(w.lease.version, sizeof(w.lease.version), "edited");
        answer(&w, ELECTOR_CONFLICT, NULL);
        succeed(&w);
        assert_int_equal(w.out.request.record.transitions, cases[i].written);
        succeed(&w);
        assert_true(elector_may_write(w.elector, w.now_ns));
        assert_int_equal(state(&w).transitions, cases[i].written);
        done(&w);
    }
}

static void refused_leader_raises_the_fence(void **unused)
{
    (void)unused;
    struct world w;
    lead(&w);
    w.now_ns += S;
    step(&w, (struct elector_input){.kind = ELECTOR_REFUSED, .transitions = 41});
    assert_false(elector_may_write(w.elector, w.now_ns));
    assert_int_equal(w.out.request.verb, ELECTOR_UPDATE);
    assert_int_equal(w.out.request.record.transitions, 42);
    succeed(&w);
    assert_int_equal(news(&w, ELECTOR_RAISED)->transitions, 42);
    assert_true(elector_may_write(w.elector, w.now_ns));
    /* Another receiver's refusal of a write from before the raise changes nothing. */
    step(&w, (struct elector_input){.kind = ELECTOR_REFUSED, .transitions = 41});
    assert_false(w.out.send);
    assert_true(elector_may_write(w.elector, w.now_ns));
    done(&w);
}

static void refusal_during_a_renewal_is_not_forgotten(void **unused)
{
    (void)unused;
    struct world w;
    lead(&w);
    wake(&w);
    struct elector_request renewal = w.out.request;
    step(&w, (struct elector_input){.kind = ELECTOR_REFUSED, .transitions = 1}); /* another process has used ours */
    assert_false(w.out.send);
    w.out.send = true;
    w.out.request = renewal;
    succeed(&w);
    assert_false(elector_may_write(w.elector, w.now_ns));
    assert_int_equal(w.out.request.record.transitions, 2);
    succeed(&w);
    assert_true(elector_may_write(w.elector, w.now_ns));
    done(&w);
}

static void refused_leader_that_lost_the_lease_steps_down(void **unused)
{
    (void)unused;
    struct world w;
    lead(&w);
    step(&w, (struct elector_input){.kind = ELECTOR_REFUSED, .transitions = 2});
    set_lease(&w, "other", 60, 2);
    answer(&w, ELECTOR_CONFLICT, NULL);
    succeed(&w);
    assert_int_equal(news(&w, ELECTOR_LOST)->reason, ELECTOR_REASON_TAKEN);
    done(&w);
}

static void exhausted_fence_is_told(void **unused)
{
    (void)unused;
    struct world w;
    lead(&w);
    step(&w, (struct elector_input){.kind = ELECTOR_REFUSED, .transitions = ELECTOR_TRANSITIONS_MAX});
    assert_non_null(news(&w, ELECTOR_EXHAUSTED));
    assert_true(elector_may_write(w.elector, w.now_ns));
    step(&w, (struct elector_input){.kind = ELECTOR_REFUSED, .transitions = ELECTOR_TRANSITIONS_MAX - 1});
    assert_int_equal(w.out.request.record.transitions, ELECTOR_TRANSITIONS_MAX);
    done(&w);
}

static void new_process_with_the_old_name_leads_at_once_with_a_higher_fence(void **unused)
{
    (void)unused;
    struct world w;
    init(&w);
    w.now_ns += S; /* started later: another acquireTime */
    set_lease(&w, "me", 60, 5);
    step(&w, (struct elector_input){.kind = ELECTOR_START});
    succeed(&w);
    assert_int_equal(w.out.request.verb, ELECTOR_UPDATE);
    assert_int_equal(w.out.request.record.transitions, 6);
    assert_true(w.out.request.record.acquire_us != 77);
    succeed(&w);
    assert_non_null(news(&w, ELECTOR_BECAME));
    /* Were the old one still alive, it would find this and stop; and wait as for anybody else. */
    struct world old;
    lead(&old);
    wake(&old);
    w.lease.transitions = 2;
    snprintf(w.lease.version, sizeof(w.lease.version), "99");
    answer(&old, ELECTOR_CONFLICT, NULL);
    answer(&old, ELECTOR_OK, &w.lease);
    assert_int_equal(news(&old, ELECTOR_LOST)->reason, ELECTOR_REASON_TAKEN);
    assert_int_equal(state(&old).expires_ns, old.now_ns + 60 * S);
    assert_false(old.out.send);
    done(&old);
    done(&w);
}

static void release_gives_the_lease_back(void **unused)
{
    (void)unused;
    struct world w;
    lead(&w);
    wake(&w); /* a renewal hangs: it is not waited for */
    uint64_t renewal = w.out.request.id;
    step(&w, (struct elector_input){.kind = ELECTOR_STOP, .release = true});
    assert_int_equal(w.out.cancel, renewal);
    assert_int_equal(news(&w, ELECTOR_LOST)->reason, ELECTOR_REASON_STOPPED);
    assert_false(elector_may_write(w.elector, w.now_ns));
    assert_string_equal(w.out.request.record.holder, "");
    assert_int_equal(w.out.request.record.duration_s, 1);
    assert_int_equal(w.out.request.record.transitions, 1);
    snprintf(w.lease.version, sizeof(w.lease.version), "renewed after all");
    answer(&w, ELECTOR_CONFLICT, NULL);
    succeed(&w);
    assert_string_equal(w.out.request.record.version, "renewed after all");
    succeed(&w);
    assert_true(news(&w, ELECTOR_STOPPED)->released);
    assert_int_equal(w.out.wake_ns, INT64_MAX);
    done(&w);
}

static void release_ends_when_nobody_answers(void **unused)
{
    (void)unused;
    struct world w;
    lead(&w);
    int64_t from_ns = w.now_ns;
    step(&w, (struct elector_input){.kind = ELECTOR_STOP, .release = true});
    while (!news(&w, ELECTOR_STOPPED))
        wake(&w);
    assert_false(news(&w, ELECTOR_STOPPED)->released);
    assert_true(w.now_ns - from_ns <= 10 * S);
    done(&w);
}

static void stop_while_acquiring_waits_and_releases(void **unused)
{
    (void)unused;
    struct world w;
    init(&w);
    step(&w, (struct elector_input){.kind = ELECTOR_START});
    answer(&w, ELECTOR_NOTFOUND, NULL);
    struct elector_request create = w.out.request;
    step(&w, (struct elector_input){.kind = ELECTOR_STOP, .release = true});
    assert_null(news(&w, ELECTOR_STOPPED));
    w.out.send = true;
    w.out.request = create;
    succeed(&w);
    assert_null(news(&w, ELECTOR_BECAME));
    assert_string_equal(w.out.request.record.holder, "");
    succeed(&w);
    assert_true(news(&w, ELECTOR_STOPPED)->released);
    done(&w);
}

static void follower_stops_at_once(void **unused)
{
    (void)unused;
    struct world w;
    follow(&w, 60, 3);
    step(&w, (struct elector_input){.kind = ELECTOR_STOP, .release = true});
    assert_false(news(&w, ELECTOR_STOPPED)->released);
    assert_false(w.out.send);
    done(&w);
}

static void stopped_process_that_wakes_up_does_not_write(void **unused)
{
    (void)unused;
    struct world w;
    lead(&w);
    w.now_ns += 3600 * S;
    assert_false(elector_may_write(w.elector, w.now_ns)); /* before any timer has run */
    step(&w, (struct elector_input){.kind = ELECTOR_WAKE});
    assert_int_equal(news(&w, ELECTOR_LOST)->reason, ELECTOR_REASON_DEADLINE);
    done(&w);
}

static void checks_timings(void **unused)
{
    (void)unused;
    static const struct {
        int64_t lease_ms, renew_ms, retry_ms, timeout_ms;
        const char *complaint; /* NULL: fine */
    } cases[] = {
        {60000, 15000, 5000, 0, NULL},
        {15000, 10000, 2000, 0, NULL},
        {137000, 107000, 26000, 0, NULL},
        {2000, 1000, 200, 0, NULL},
        {60000, 15000, 5000, 4000, NULL},
        {60000, 15000, 5000, 6000, "request timeout 6s is too long"},
        {15000, 15000, 5000, 0, "lease_duration 15s must be greater than renew_deadline 15s"},
        {16000, 15000, 5000, 0, "lease_duration 16s leaves no margin"},
        {60000, 15000, 15000, 0, "renew_deadline 15s must be greater than 1.2 times retry_period 15s"},
        {60000, 6000, 5000, 0, "1.2 times retry_period 5s"},
        {60000, 6300, 5000, 0, "no room for two tries"},
        {500, 300, 100, 0, "between 1s and 24h"},
        {90000000, 15000, 5000, 0, "between 1s and 24h"},
        {60000, 0, 5000, 0, "greater than 0"},
        {60000, 15000, 0, 0, "greater than 0"},
        {60000, 15000, INT64_MAX / MS, 0, "1.2 times retry_period"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct elector_config c = config();
        struct err err = {0};
        c.lease_duration_ns = cases[i].lease_ms * MS;
        c.renew_deadline_ns = cases[i].renew_ms * MS;
        c.retry_period_ns = cases[i].retry_ms * MS;
        c.request_timeout_ns = cases[i].timeout_ms * MS;
        int result = elector_config_check(&c, &err);
        assert_int_equal(result, cases[i].complaint ? -1 : 0);
        if (cases[i].complaint && !strstr(err.text, cases[i].complaint))
            fail_msg("\"%s\" lacks \"%s\"", err.text, cases[i].complaint);
        if (!cases[i].complaint) /* a missed renewal leaves room for two whole tries before writing stops */
            assert_true(c.retry_period_ns + 2 * elector_request_timeout_ns(&c) <=
                        c.renew_deadline_ns - elector_write_margin_ns(&c));
    }
}

static void checks_names(void **unused)
{
    (void)unused;
    static const char *const bad[] = {"", "Upper", "-a", "a-", "a..b", "a.-b", "a-.b", "a/b", "a b"};
    static const char *const good[] = {"haptic-leader", "a", "0", "a.b-c.d"};
    struct err err;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct elector_config c = config();
        c.lease_name = bad[i];
        assert_int_equal(elector_config_check(&c, &err), -1);
        assert_int_equal(err.kind, ERR_INVALID);
    }
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct elector_config c = config();
        c.lease_name = good[i];
        assert_int_equal(elector_config_check(&c, &err), 0);
    }
    struct elector_config c = config();
    c.identity = "";
    assert_int_equal(elector_config_check(&c, &err), -1);
    c.enabled = false; /* then nothing of it matters */
    assert_int_equal(elector_config_check(&c, &err), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(creates_an_absent_lease),
        cmocka_unit_test(deadline_counts_from_the_sending),
        cmocka_unit_test(two_tries_fit_before_the_deadline_when_the_server_hangs),
        cmocka_unit_test(campaigns_again_after_loss),
        cmocka_unit_test(denied_writes_do_not_turn_into_a_storm),
        cmocka_unit_test(retry_after_does_not_pass_the_deadline),
        cmocka_unit_test(follower_waits_the_longer_duration),
        cmocka_unit_test(renewal_of_the_holder_restarts_the_wait),
        cmocka_unit_test(release_is_taken_over_at_once),
        cmocka_unit_test(deletion_is_taken_over_at_once_above_all_seen),
        cmocka_unit_test(lost_update_is_found_again),
        cmocka_unit_test(leader_without_answers_to_writes_goes_on_by_looking),
        cmocka_unit_test(edited_record_proves_nothing),
        cmocka_unit_test(record_given_to_another_proves_nothing),
        cmocka_unit_test(refused_write_is_repeated_without_a_look),
        cmocka_unit_test(candidate_that_learns_too_late_holds_back),
        cmocka_unit_test(renewals_of_another_end_the_holding_back),
        cmocka_unit_test(candidate_that_holds_back_leaves_even_a_release_to_the_others),
        cmocka_unit_test(watch_proves_as_well),
        cmocka_unit_test(writes_are_told_apart_when_the_wall_clock_stands),
        cmocka_unit_test(answers_to_old_requests_count_for_nothing),
        cmocka_unit_test(leader_that_finds_another_holder_stops_at_once),
        cmocka_unit_test(leader_survives_conflicts_by_others_edits),
        cmocka_unit_test(emptied_and_deleted_leases_are_lost_and_taken_again),
        cmocka_unit_test(edited_transitions_are_put_right),
        cmocka_unit_test(refused_leader_raises_the_fence),
        cmocka_unit_test(refusal_during_a_renewal_is_not_forgotten),
        cmocka_unit_test(refused_leader_that_lost_the_lease_steps_down),
        cmocka_unit_test(exhausted_fence_is_told),
        cmocka_unit_test(new_process_with_the_old_name_leads_at_once_with_a_higher_fence),
        cmocka_unit_test(release_gives_the_lease_back),
        cmocka_unit_test(release_ends_when_nobody_answers),
        cmocka_unit_test(stop_while_acquiring_waits_and_releases),
        cmocka_unit_test(follower_stops_at_once),
        cmocka_unit_test(stopped_process_that_wakes_up_does_not_write),
        cmocka_unit_test(checks_timings),
        cmocka_unit_test(checks_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
