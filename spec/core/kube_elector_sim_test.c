/* Deterministic simulation of an election: 3 to 5 candidates, one API server, three receivers that enforce the fence;
 * all in virtual time.
 *
 *     kube_elector_sim_test              10 000 seeds (ELECTOR_SEEDS: how many, ELECTOR_FIRST_SEED: from which)
 *     kube_elector_sim_test --seed N     one seed with a trace of everything (or ELECTOR_SEED=N)
 *
 * A seed decides timings, clock rates (up to 4 times apart), who may watch, and a row of faults: lost and late
 * requests and answers, API errors, outages, partitions, processes stopped for longer than a lease, killed, restarted
 * with the same or another name, released; some are told that the holder's process has ended, in some seeds also where
 * it has not; in some seeds the Lease is deleted or edited. Then the faults end. What must hold:
 *
 *  1. A receiver accepts writes of the API server's terms in their order: after a write of a later holder none of an
 *  earlier one. The terms are
 *     counted by the simulated server, the receivers know only fences. (A deleted or edited Lease forgets what was;
 *     order holds between deletions.) No transitions are accepted from two processes.
 *  2. Each term's transitions are higher than those of all before it, unless the Lease was deleted or edited.
 *  3. While no clock runs faster than another by lease_duration / renew_deadline or more, nobody deletes or edits the
 *  Lease, and no holder is wrongly said to have ended, no two candidates
 *     may write at the same moment.
 *  4. When the faults have ended there is one leader within bound_ns(), it stays, and every receiver accepts its
 *  writes.
 *  5. While connections of some candidates are half open (requests arrive and answers do not, or the reverse) and stay
 *  so, and one candidate's is whole, nobody leads for no longer than half_open_bound_ns(). */
#include "elector_sim_fault.h"

#define HOLD_BACK_MAX_NS (1200 * NS_PER_S) /* ten minutes on the slowest clock */
#define EVENTS_MAX 3000000                 /* in one phase of a run; a hundred times the usual */

static const int64_t timings[][3] = {
    {60000, 15000, 5000}, {15000, 10000, 2000}, {3000, 2000, 500}, {10000, 4000, 1000}, {5000, 3000, 1000}};

static void set_up(struct sim *s)
{
    static const double wild[] = {0.5, 0.7, 1, 1.4, 2};
    bool is_wild = s->is_wild = chance(s, 0.5), is_mixed = s->is_mixed = chance(s, 0.25);
    size_t common = rnd(s) % (sizeof(timings) / sizeof(timings[0]));

    s->candidates = (int)between(s, 3, CANDIDATES_MAX);
    s->has_edits = chance(s, 0.3);
    s->has_mistakes = chance(s, 0.2);
    s->loss = (double)between(s, 0, 30) / 100;
    for (int i = 0; i < s->candidates; i++) {
        struct candidate *c = &s->candidate[i];
        const int64_t *t = timings[is_mixed ? rnd(s) % (sizeof(timings) / sizeof(timings[0])) : common];
        elector_config_defaults(&c->config);
        c->config.namespace = "default";
        c->config.lease_duration_ns = t[0] * MS;
        c->config.renew_deadline_ns = t[1] * MS;
        c->config.retry_period_ns = t[2] * MS;
        c->rate = is_wild ? wild[rnd(s) % 5] : (double)between(s, 990, 1010) / 1000;
        c->offset_ns = between(s, -NS_PER_S * 3600, NS_PER_S * 3600 * 24);
        c->may_watch = chance(s, 0.7);
        c->may_watch_pods = chance(s, 0.6);
        int64_t timeout_ns = elector_request_timeout_ns(&c->config);
        if (3 * timeout_ns > s->delay_max_ns)
            s->delay_max_ns = 3 * timeout_ns;
    }
    for (int i = 0; i < RECEIVERS; i++)
        s->receiver[i] = (struct receiver){.transitions = chance(s, 0.1) ? between(s, 1, 50) : -1, .writer = -1};
    s->epoch_transitions = INT64_MIN;
}

/* How long follower f waits for holder h, at most (h < 0: an edited record), on its own clock. */
static int64_t wait_ns(const struct sim *s, int f, int h)
{
    int64_t own = s->candidate[f].config.lease_duration_ns;
    int64_t theirs = h < 0 ? INT64_MAX : s->candidate[h].config.lease_duration_ns;
    theirs = theirs < 10 * own ? theirs : 10 * own;
    return theirs > own ? theirs : own;
}

static bool is_tolerable(const struct sim *s)
{
    for (int h = 0; h < s->candidates; h++)
        for (int f = 0; f < s->candidates; f++) {
            const struct candidate *holder = &s->candidate[h], *follower = &s->candidate[f];
            if (h != f &&
                (double)wait_ns(s, f, h) / follower->rate <= (double)holder->config.renew_deadline_ns / holder->rate)
                return false;
        }
    return true;
}

/* The promise: after the faults one candidate leads within the longest wait for a holder that is gone, a look
 * (retry_period) to begin it, and four request timeouts for what is still under way then, as the slowest clock shows
 * them. */
static int64_t bound_ns(const struct sim *s)
{
    double longest = 0;
    for (int f = 0; f < s->candidates; f++) {
        const struct candidate *c = &s->candidate[f];
        int64_t wait = 0;
        for (int h = s->has_edits ? -1 : 0; h < s->candidates; h++)
            wait = wait_ns(s, f, h) > wait ? wait_ns(s, f, h) : wait;
        double local = (double)(wait + c->config.retry_period_ns + 4 * elector_request_timeout_ns(&c->config));
        longest = local / c->rate > longest ? local / c->rate : longest;
    }
    return s->delay_max_ns + (int64_t)longest;
}

/* Each candidate with a half-open connection can waste two leases before it holds back. That is enough where the
 * timings are the same and clocks agree to a hundredth; where they differ the holding back has to grow first. */
static int64_t half_open_bound_ns(const struct sim *s)
{
    int broken = 0;
    for (int i = 0; i < s->candidates; i++)
        broken += s->candidate[i].half.requests + s->candidate[i].half.write_answers > 0;
    return (s->is_wild || s->is_mixed ? 12 : 1 + 2 * broken) * bound_ns(s);
}

static int count_writers(struct sim *s, int *ret_one)
{
    int count = 0;
    for (int i = 0; i < s->candidates; i++) {
        struct candidate *c = &s->candidate[i];
        if (c->is_up && c->elector && elector_may_write(c->elector, local_ns(s, c))) {
            count++;
            *ret_one = i;
        }
    }
    return count;
}

static void handle(struct sim *s, struct event *ev)
{
    struct candidate *c = ev->candidate >= 0 ? &s->candidate[ev->candidate] : NULL;

    switch (ev->kind) {
    case E_FAULT:
        on_fault(s);
        return;
    case E_ARRIVE:
        on_arrive(s, ev);
        return;
    case E_LAND:
        on_land(s, ev);
        return;
    case E_START:
        if (ev->life == c->life)
            start(s, ev->candidate, ev->has_record);
        return;
    case E_WAKE:
    case E_ANSWER:
    case E_WATCH:
    case E_DEPLOY:
    case E_WRITE:
    case E_REFUSED:
    case E_GONE:
        break;
    }
    /* What happens inside a process: not in a dead one, and in a stopped one later. */
    if (!c->is_up || ev->life != c->life)
        return;
    if (c->paused_until_ns > s->now_ns) {
        struct event *later = event_add(s, ev->kind, ev->candidate, c->paused_until_ns - s->now_ns + between(s, 0, MS));
        uint64_t order = later->order;
        int64_t at_ns = later->at_ns;
        /* Its place in the heap is already right: only the rest is copied. */
        *later = *ev;
        later->order = order;
        later->at_ns = at_ns;
        return;
    }
    switch (ev->kind) {
    case E_WAKE:
        if (ev->token == c->wake_token)
            step(s, ev->candidate, &(struct elector_input){.kind = ELECTOR_WAKE});
        return;
    case E_ANSWER:
        s->answer_term = ev->term;
        step(s, ev->candidate,
             &(struct elector_input){.kind = ELECTOR_ANSWER,
                                     .request = ev->token,
                                     .status = ev->status,
                                     .retry_after_ns = ev->retry_after_ns,
                                     .record = ev->has_record ? &ev->record : NULL});
        return;
    case E_WATCH:
        s->answer_term = ev->term;
        step(s, ev->candidate,
             &(struct elector_input){.kind = ELECTOR_WATCHED, .record = ev->has_record ? &ev->record : NULL});
        return;
    case E_GONE:
        step(s, ev->candidate, &(struct elector_input){.kind = ELECTOR_GONE, .record = &ev->record});
        return;
    case E_DEPLOY:
        on_deploy(s, ev->candidate);
        return;
    case E_WRITE:
        on_write(s, ev);
        return;
    case E_REFUSED:
        step(s, ev->candidate, &(struct elector_input){.kind = ELECTOR_REFUSED, .transitions = ev->transitions});
        return;
    case E_FAULT:
    case E_ARRIVE:
    case E_LAND:
    case E_START:
        return;
    }
}

static void run_until(struct sim *s, int64_t end_ns)
{
    int one = -1, events = 0;
    while (!s->failure && s->heap.length > 0 && s->heap.items[0]->at_ns <= end_ns) {
        struct event *ev = heap_pop(s);
        s->now_ns = ev->at_ns;
        s->events++;
        if (++events > EVENTS_MAX)
            fail(s, "%d events: something runs in circles", EVENTS_MAX);
        handle(s, ev);
        vec_push(&s->spare, ev);
        int writers = count_writers(s, &one);
        if (s->in_tolerance && writers > 1)
            fail(s, "two candidates may write at once, one is %s", s->candidate[one].identity);
        if (writers > 0)
            s->led_ns = s->now_ns;
        if (s->now_ns - s->led_ns > s->longest_gap_ns)
            s->longest_gap_ns = s->now_ns - s->led_ns;
    }
    s->now_ns = end_ns;
}

static void end_faults(struct sim *s)
{
    trace(s, "---- faults end");
    for (int i = 0; i < s->candidates; i++) {
        struct candidate *c = &s->candidate[i];
        c->is_cut_off = false;
        c->half = (struct half_open){0};
        c->deaf_until_ns = 0;
        c->denied = ELECTOR_OK;
        c->paused_until_ns = 0;
        struct elector_state state = {.role = ELECTOR_ENDED};
        if (c->is_up)
            elector_get_state(c->elector, &state);
        if (state.role == ELECTOR_ENDED || state.role == ELECTOR_RELEASING)
            start(s, i, true);
    }
}

/* Some replicas' connections are half open and stay so, at least one's is whole. Now and then the leader dies. */
static void run_half_open(struct sim *s)
{
    int whole = (int)(rnd(s) % (uint64_t)s->candidates), leader = -1;
    double share = (double)between(s, 1, 4) / 4;
    for (int i = 0; i < s->candidates; i++)
        if (i != whole && chance(s, share))
            open_half(s, &s->candidate[i], true);
    for (int round = 0; round < 3 && !s->failure; round++) {
        s->led_ns = s->now_ns;
        s->longest_gap_ns = 0;
        run_until(s, s->now_ns + half_open_bound_ns(s) * 5 / 4);
        if (!s->failure && s->longest_gap_ns > half_open_bound_ns(s))
            fail(s, "nobody led for %.1f s, the bound is %.1f s", (double)s->longest_gap_ns / 1e9,
                 (double)half_open_bound_ns(s) / 1e9);
        if (count_writers(s, &leader) == 1) {
            kill_process(s, leader);
            start(s, leader, true);
        }
    }
}

/* Where every connection was half open, everybody waits for others. */
static bool all_hold_back(const struct sim *s)
{
    struct elector_state state;
    for (int i = 0; i < s->candidates; i++) {
        elector_get_state(s->candidate[i].elector, &state);
        if (state.unproven < 2)
            return false;
    }
    return true;
}

static void check_end(struct sim *s)
{
    int leader = -1, again = -1;
    int64_t bound = bound_ns(s) + (all_hold_back(s) ? HOLD_BACK_MAX_NS : 0);
    run_until(s, s->now_ns + bound);
    if (!s->failure && count_writers(s, &leader) != 1)
        fail(s, "%d leaders when the bound of %.1f s after the faults has passed", count_writers(s, &leader),
             (double)bound / 1e9);
    int64_t from_ns = s->now_ns;
    run_until(s, s->now_ns + 60 * s->candidate[leader < 0 ? 0 : leader].config.retry_period_ns);
    if (!s->failure && (count_writers(s, &again) != 1 || again != leader))
        fail(s, "the leader changed without a fault");
    for (int i = 0; i < RECEIVERS; i++)
        if (!s->failure && s->receiver[i].accepted_ns <= from_ns)
            fail(s, "receiver %d accepts no write of the leader", i);
}

struct totals {
    uint64_t events, writes, refusals, leaderships, tolerable, ends_told;
};

/* Returns the failure, or NULL. */
static char *run_seed(uint64_t seed, bool has_trace, struct totals *totals)
{
    struct sim s = {.seed = seed, .random = seed * UINT64_C(0xD1342543DE82EF95) + 1, .has_trace = has_trace};
    int64_t longest_ns = 0;

    set_up(&s);
    s.in_tolerance = !s.has_edits && !s.has_mistakes && is_tolerable(&s);
    for (int i = 0; i < s.candidates; i++)
        if (s.candidate[i].config.lease_duration_ns > longest_ns)
            longest_ns = s.candidate[i].config.lease_duration_ns;
    s.faults_end_ns = between(&s, 2, 8) * longest_ns;
    for (int i = 0; i < s.candidates; i++)
        start(&s, i, false);
    event_add(&s, E_FAULT, -1, longest_ns / 2);
    run_until(&s, s.faults_end_ns);
    if (!s.failure) {
        end_faults(&s);
        if (chance(&s, 0.1)) {
            run_half_open(&s);
            end_faults(&s);
        }
        if (!s.failure)
            check_end(&s);
    }
    totals->events += s.events;
    totals->writes += s.writes;
    totals->refusals += s.refusals;
    totals->leaderships += s.leaderships;
    totals->ends_told += s.ends_told;
    totals->tolerable += s.in_tolerance;
    for (size_t i = 0; i < s.heap.length; i++)
        free(s.heap.items[i]);
    for (size_t i = 0; i < s.spare.length; i++)
        free(s.spare.items[i]);
    vec_done(&s.heap);
    vec_done(&s.spare);
    for (int i = 0; i < s.candidates; i++)
        elector_free(s.candidate[i].elector);
    return s.failure;
}

static uint64_t number(const char *text, uint64_t fallback)
{
    return text && *text ? strtoull(text, NULL, 10) : fallback;
}

int main(int argc, char **argv)
{
    const char *one = argc == 3 && strcmp(argv[1], "--seed") == 0 ? argv[2] : getenv("ELECTOR_SEED");
    uint64_t first = number(one ? one : getenv("ELECTOR_FIRST_SEED"), 1);
    uint64_t count = one ? 1 : number(getenv("ELECTOR_SEEDS"), 10000);
    unsigned failures = 0;
    struct totals totals = {0};

    for (uint64_t seed = first; seed < first + count && failures < 5; seed++) {
        char *failure = run_seed(seed, one != NULL, &totals);
        if (failure) {
            failures++;
            printf("FAIL seed %" PRIu64 ": %s\n     replay: %s --seed %" PRIu64 "\n", seed, failure, argv[0], seed);
        }
        free(failure);
    }
    printf("%s: seeds %" PRIu64 "..%" PRIu64 ": %" PRIu64 " events, %" PRIu64 " leaderships, %" PRIu64
           " writes, %" PRIu64 " of them refused, %" PRIu64 " ends of holders told, %" PRIu64
           " seeds within clock tolerance\n",
           failures ? "FAILED" : "ok", first, first + count - 1, totals.events, totals.leaderships, totals.writes,
           totals.refusals, totals.ends_told, totals.tolerable);
    /* The words by which the other test programs are counted. */
    printf("[  %s  ] 1 test(s).\n", failures ? "FAILED" : "PASSED");
    return failures ? 1 : 0;
}
