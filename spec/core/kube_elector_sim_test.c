/* Deterministic simulation of an election: 3 to 5 candidates, one API server, three receivers that enforce the fence;
 * all in virtual time.
 *
 *     kube_elector_sim_test              10 000 seeds (ELECTOR_SEEDS: how many, ELECTOR_FIRST_SEED: from which)
 *     kube_elector_sim_test --seed N     one seed with a trace of everything (or ELECTOR_SEED=N)
 *
 * A seed decides timings, clock rates (up to 4 times apart), who may watch, and a row of faults: lost and late
 * requests and answers, API errors, outages, partitions, processes stopped for longer than a lease, killed, restarted
 * with the same or another name, released; in some seeds the Lease is deleted or edited. Then the faults end. What
 * must hold:
 *
 *  1. A receiver accepts writes of the API server's terms in their order: after a write of a later holder none of an
 *  earlier one. The terms are
 *     counted by the simulated server, the receivers know only fences. (A deleted or edited Lease forgets what was;
 *     order holds between deletions.) No transitions are accepted from two processes.
 *  2. Each term's transitions are higher than those of all before it, unless the Lease was deleted or edited.
 *  3. While no clock runs faster than another by lease_duration / renew_deadline or more, and nobody deletes or edits
 *  the Lease, no two candidates
 *     may write at the same moment.
 *  4. When the faults have ended there is one leader within bound_ns(), it stays, and every receiver accepts its
 *  writes.
 *  5. While connections of some candidates are half open (requests arrive and answers do not, or the reverse) and stay
 *  so, and one candidate's is whole, nobody leads for no longer than half_open_bound_ns(). */
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/vec.h"
#include "kube/elector.h"

#define CANDIDATES_MAX 5
#define RECEIVERS 3
#define MS NS_PER_MS
#define HOLD_BACK_MAX_NS (1200 * NS_PER_S) /* ten minutes on the slowest clock */
#define EVENTS_MAX 3000000                 /* in one phase of a run; a hundred times the usual */

enum event_kind { E_WAKE, E_ANSWER, E_WATCH, E_DEPLOY, E_WRITE, E_REFUSED, E_START, E_ARRIVE, E_LAND, E_FAULT };

struct event {
    int64_t at_ns;
    uint64_t order;
    enum event_kind kind;
    int candidate;
    unsigned life;  /* which process of the candidate */
    uint64_t token; /* WAKE: which; ANSWER, ARRIVE: request id */
    int receiver;
    enum elector_verb verb;
    enum elector_status status;
    int64_t retry_after_ns;
    bool has_record;
    int64_t transitions;
    int64_t term;
    struct elector_record record;
};

/* A connection that works one way only: how often something is lost though the candidate is not cut off. is_deaf: after
 * each of its writes nothing comes back for longer than a renew deadline. */
struct half_open {
    double requests, write_answers, read_answers;
    bool is_deaf;
};

struct candidate {
    struct elector *elector;
    struct elector_config config;
    char identity[32];
    double rate; /* local nanoseconds per real one */
    int64_t offset_ns;
    unsigned life;
    bool is_up, is_cut_off, may_watch;
    struct half_open half;
    int64_t deaf_until_ns;
    int64_t paused_until_ns;
    uint64_t wake_token;
    int64_t term;               /* of the last confirmed write */
    enum elector_status denied; /* OK: not */
};

struct receiver {
    int64_t transitions, term;
    int writer;
    unsigned life;
    int64_t accepted_ns; /* last */
};

struct sim {
    uint64_t seed, random, order;
    bool has_trace, has_edits, in_tolerance, is_wild, is_mixed;
    int64_t now_ns, faults_end_ns, outage_end_ns;
    int64_t led_ns, longest_gap_ns; /* when somebody led last */
    enum elector_status outage;
    double loss; /* of requests, answers, watch events */
    int64_t delay_max_ns;
    VEC(struct event *) heap;
    VEC(struct event *) spare;
    int candidates;
    struct candidate candidate[CANDIDATES_MAX];
    struct receiver receiver[RECEIVERS];
    /* the API server */
    bool exists;
    struct elector_record lease;
    int64_t versions, term, epoch_term, epoch_transitions; /* epoch: since the last deletion or edit */
    int64_t answer_term;                                   /* of the answer being handled */
    char *failure;
    uint64_t events, writes, refusals, leaderships;
};

static void trace(struct sim *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void trace(struct sim *s, const char *format, ...)
{
    if (!s->has_trace)
        return;
    va_list ap;
    va_start(ap, format);
    printf("%11.3f ", (double)s->now_ns / 1e9);
    vprintf(format, ap);
    putchar('\n');
    va_end(ap);
}

static void fail(struct sim *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void fail(struct sim *s, const char *format, ...)
{
    char text[512];
    va_list ap;
    if (s->failure)
        return;
    va_start(ap, format);
    vsnprintf(text, sizeof(text), format, ap);
    va_end(ap);
    s->failure = xasprintf("at %.3f s: %s", (double)s->now_ns / 1e9, text);
    trace(s, "FAILURE %s", text);
}

/* ---- randomness (splitmix64) ---- */

static uint64_t rnd(struct sim *s)
{
    uint64_t z = (s->random += UINT64_C(0x9E3779B97F4A7C15));
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

static int64_t between(struct sim *s, int64_t low, int64_t high)
{
    return low + (int64_t)(rnd(s) % (uint64_t)(high - low + 1));
}

static bool chance(struct sim *s, double probability)
{
    return (double)(rnd(s) >> 11) < probability * 9007199254740992.0;
}

/* ---- events ---- */

static bool earlier(const struct event *a, const struct event *b)
{
    return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->order < b->order;
}

static void heap_push(struct sim *s, struct event *ev)
{
    vec_push(&s->heap, ev);
    size_t i = s->heap.length - 1;
    while (i > 0 && earlier(s->heap.items[i], s->heap.items[(i - 1) / 2])) {
        struct event *parent = s->heap.items[(i - 1) / 2];
        s->heap.items[(i - 1) / 2] = s->heap.items[i];
        s->heap.items[i] = parent;
        i = (i - 1) / 2;
    }
}

static struct event *heap_pop(struct sim *s)
{
    struct event *top = s->heap.items[0];
    s->heap.items[0] = s->heap.items[--s->heap.length];
    for (size_t i = 0;;) {
        size_t least = i;
        for (size_t child = 2 * i + 1; child <= 2 * i + 2; child++)
            if (child < s->heap.length && earlier(s->heap.items[child], s->heap.items[least]))
                least = child;
        if (least == i)
            return top;
        struct event *swap = s->heap.items[i];
        s->heap.items[i] = s->heap.items[least];
        s->heap.items[least] = swap;
        i = least;
    }
}

static struct event *event_add(struct sim *s, enum event_kind kind, int candidate, int64_t delay_ns)
{
    struct event *ev = s->spare.length > 0 ? s->spare.items[--s->spare.length] : xmalloc(sizeof(*ev));
    ev->at_ns = s->now_ns + (delay_ns > 0 ? delay_ns : 0);
    ev->order = s->order++;
    ev->kind = kind;
    ev->candidate = candidate;
    ev->life = candidate >= 0 ? s->candidate[candidate].life : 0;
    ev->status = ELECTOR_OK;
    ev->retry_after_ns = 0;
    ev->has_record = false;
    heap_push(s, ev);
    return ev;
}

/* ---- the network ---- */

static bool is_faulty(const struct sim *s)
{
    return s->now_ns < s->faults_end_ns;
}

static int64_t delay(struct sim *s, const struct candidate *c)
{
    int64_t timeout_ns = elector_request_timeout_ns(&c->config);
    if (is_faulty(s) && chance(s, s->loss))
        return between(s, 0, s->delay_max_ns);
    return between(s, MS / 2, timeout_ns / 16);
}

static bool is_lost(struct sim *s, const struct candidate *c)
{
    return is_faulty(s) && (c->is_cut_off || chance(s, s->loss));
}

/* ---- the API server ---- */

static void server_changed(struct sim *s)
{
    for (int i = 0; i < s->candidates; i++) {
        struct candidate *c = &s->candidate[i];
        if (!c->is_up || !c->may_watch || s->now_ns < c->deaf_until_ns || is_lost(s, c))
            continue;
        struct event *ev = event_add(s, E_WATCH, i, delay(s, c));
        ev->has_record = s->exists;
        ev->record = s->lease;
        ev->term = s->term;
    }
}

static void server_store(struct sim *s, const struct elector_record *r, bool is_new)
{
    bool is_term = *r->holder &&
                   (is_new || strcmp(r->holder, s->lease.holder) != 0 || r->acquire_us != s->lease.acquire_us);
    s->lease = *r;
    snprintf(s->lease.version, sizeof(s->lease.version), "%" PRId64, ++s->versions);
    s->exists = true;
    if (is_term) {
        s->term++;
        if (r->transitions <= s->epoch_transitions)
            fail(s, "term %" PRId64 " has transitions %" PRId64 ", an earlier one had %" PRId64, s->term,
                 r->transitions, s->epoch_transitions);
    }
    if (r->transitions > s->epoch_transitions)
        s->epoch_transitions = r->transitions;
    server_changed(s);
}

static enum elector_status server_apply(struct sim *s, const struct event *ev)
{
    switch (ev->verb) {
    case ELECTOR_GET:
        return s->exists ? ELECTOR_OK : ELECTOR_NOTFOUND;
    case ELECTOR_CREATE:
        if (s->exists)
            return ELECTOR_CONFLICT;
        server_store(s, &ev->record, true);
        return ELECTOR_OK;
    case ELECTOR_UPDATE:
        /* A PUT with the uid of an object that is gone is a conflict too: the uid is a precondition. */
        if (!s->exists || strcmp(ev->record.version, s->lease.version) != 0)
            return ELECTOR_CONFLICT;
        server_store(s, &ev->record, false);
        return ELECTOR_OK;
    }
    return ELECTOR_INVALID;
}

static enum elector_status server_mood(struct sim *s, const struct candidate *c)
{
    if (!is_faulty(s))
        return ELECTOR_OK;
    if (s->now_ns < s->outage_end_ns)
        return s->outage;
    if (c->denied != ELECTOR_OK)
        return c->denied;
    if (chance(s, s->loss / 3)) {
        static const enum elector_status errors[] = {ELECTOR_SERVER, ELECTOR_THROTTLED, ELECTOR_DENIED, ELECTOR_INVALID,
                                                     ELECTOR_UNREACHABLE};
        return errors[rnd(s) % (sizeof(errors) / sizeof(errors[0]))];
    }
    return ELECTOR_OK;
}

static void on_arrive(struct sim *s, const struct event *ev)
{
    struct candidate *c = &s->candidate[ev->candidate];
    enum elector_status status = server_mood(s, c);
    bool is_hidden = status == ELECTOR_SERVER || status == ELECTOR_UNREACHABLE; /* an error may hide a success */

    if (status == ELECTOR_TIMEOUT)
        return;
    if (status == ELECTOR_OK || (is_hidden && chance(s, 0.3))) {
        enum elector_status applied = server_apply(s, ev);
        if (status == ELECTOR_OK)
            status = applied;
    }
    trace(s, "  server: %s's request %" PRIu64 ": %s; lease %s v%s t%" PRId64 " by \"%s\"", c->identity, ev->token,
          elector_status_name(status), s->exists ? "exists" : "absent", s->lease.version, s->lease.transitions,
          s->lease.holder);
    if (ev->verb != ELECTOR_GET && c->half.is_deaf)
        c->deaf_until_ns = s->now_ns + (int64_t)((double)c->config.renew_deadline_ns * 1.2 / c->rate);
    if (is_lost(s, c) || s->now_ns < c->deaf_until_ns ||
        chance(s, ev->verb == ELECTOR_GET ? c->half.read_answers : c->half.write_answers))
        return;
    struct event *answer = event_add(s, E_ANSWER, ev->candidate, delay(s, c));
    answer->life = ev->life;
    answer->token = ev->token;
    answer->status = status;
    answer->has_record = status == ELECTOR_OK;
    answer->record = s->lease;
    answer->term = s->term;
    if (status == ELECTOR_THROTTLED)
        answer->retry_after_ns = between(s, 0, 2 * c->config.lease_duration_ns);
}

/* ---- candidates ---- */

static int64_t local_ns(const struct sim *s, const struct candidate *c)
{
    return c->offset_ns + (int64_t)((double)s->now_ns * c->rate);
}

static void tell_news(struct sim *s, struct candidate *c, const struct elector_news *news)
{
    static const char *const names[] = {"BECAME leader",     "LOST",   "renewed",   "failed",
                                        "sees a new leader", "RAISED", "EXHAUSTED", "STOPPED"};
    if (news->kind == ELECTOR_RENEWED)
        c->term = s->answer_term;
    if (news->kind == ELECTOR_BECAME)
        s->leaderships++;
    if (news->kind != ELECTOR_RENEWED)
        trace(s, "%s %s (reason %d, status %s, transitions %" PRId64 ", holder \"%s\")", c->identity, names[news->kind],
              (int)news->reason, elector_status_name(news->status), news->transitions, news->holder);
}

static void step(struct sim *s, int index, struct elector_input *in)
{
    struct candidate *c = &s->candidate[index];
    static struct elector_output out; /* large; only during this call */

    in->now_ns = local_ns(s, c);
    in->wall_us = s->now_ns / 1000 + 1000000 + index;
    elector_step(c->elector, in, &out);
    for (size_t i = 0; i < out.news_count; i++)
        tell_news(s, c, &out.news[i]);
    if (out.send && !is_lost(s, c) && !chance(s, c->half.requests)) {
        struct event *ev = event_add(s, E_ARRIVE, index, delay(s, c));
        ev->token = out.request.id;
        ev->verb = out.request.verb;
        ev->record = out.request.record;
    }
    if (out.send)
        trace(s, "%s sends %s, request %" PRIu64 ", transitions %" PRId64 " v%s", c->identity,
              out.request.verb == ELECTOR_GET ? "GET" : (out.request.verb == ELECTOR_CREATE ? "CREATE" : "UPDATE"),
              out.request.id, out.request.record.transitions, out.request.record.version);
    c->wake_token++;
    if (out.wake_ns != INT64_MAX) {
        int64_t wait = out.wake_ns > in->now_ns ? out.wake_ns - in->now_ns : 0;
        event_add(s, E_WAKE, index, (int64_t)((double)wait / c->rate) + 2)->token = c->wake_token;
    }
}

static void start(struct sim *s, int index, bool other_name)
{
    struct candidate *c = &s->candidate[index];
    elector_free(c->elector);
    c->life++;
    if (other_name || c->life == 1)
        snprintf(c->identity, sizeof(c->identity), "pod-%c%u", 'a' + index, c->life);
    c->config.identity = c->identity;
    c->config.seed = rnd(s);
    c->elector = elector_new(&c->config);
    c->is_up = true;
    c->term = 0;
    trace(s, "%s starts (life %u, rate %.3f, lease %.0f s)", c->identity, c->life, c->rate,
          (double)c->config.lease_duration_ns / 1e9);
    step(s, index, &(struct elector_input){.kind = ELECTOR_START});
    event_add(s, E_DEPLOY, index, between(s, 0, c->config.retry_period_ns));
}

static void kill_process(struct sim *s, int index)
{
    struct candidate *c = &s->candidate[index];
    trace(s, "%s is killed", c->identity);
    c->is_up = false;
    c->paused_until_ns = 0;
}

/* The deployer: looks, then writes a little later. What can go wrong lies between the two. */
static void on_deploy(struct sim *s, int index)
{
    struct candidate *c = &s->candidate[index];
    struct elector_state state;
    event_add(s, E_DEPLOY, index, between(s, c->config.retry_period_ns / 8, c->config.retry_period_ns / 2));
    if (!elector_may_write(c->elector, local_ns(s, c)))
        return;
    elector_get_state(c->elector, &state);
    struct event *ev = event_add(s, E_WRITE, index, between(s, 0, 20 * MS));
    ev->transitions = state.transitions;
    ev->term = c->term;
    ev->receiver = (int)(rnd(s) % RECEIVERS);
}

static void on_write(struct sim *s, const struct event *ev)
{
    struct event *land = event_add(s, E_LAND, ev->candidate, delay(s, &s->candidate[ev->candidate]));
    land->life = ev->life;
    land->transitions = ev->transitions;
    land->term = ev->term;
    land->receiver = ev->receiver;
}

/* The receiver knows nothing but the fence: transitions and who had them first. */
static void on_land(struct sim *s, const struct event *ev)
{
    struct receiver *r = &s->receiver[ev->receiver];
    bool is_same = ev->candidate == r->writer && ev->life == r->life;
    bool is_accepted = ev->transitions > r->transitions || (ev->transitions == r->transitions && is_same);

    s->writes++;
    trace(s, "  receiver %d (t%" PRId64 ", term %" PRId64 "): write of %s life %u t%" PRId64 " term %" PRId64 " %s",
          ev->receiver, r->transitions, r->term, s->candidate[ev->candidate].identity, ev->life, ev->transitions,
          ev->term, is_accepted ? "accepted" : "REFUSED");
    if (!is_accepted) {
        s->refusals++;
        if (!is_same) {
            struct event *refused = event_add(s, E_REFUSED, ev->candidate, between(s, 0, 20 * MS));
            refused->life = ev->life;
            refused->transitions = r->transitions;
        }
        return;
    }
    if (ev->term < r->term && r->term > s->epoch_term && ev->term > s->epoch_term)
        fail(s, "receiver %d accepted a write of term %" PRId64 " (%s) after one of term %" PRId64, ev->receiver,
             ev->term, s->candidate[ev->candidate].identity, r->term);
    if (ev->transitions == r->transitions && !is_same)
        fail(s, "receiver %d accepted transitions %" PRId64 " from two processes", ev->receiver, ev->transitions);
    r->transitions = ev->transitions;
    r->writer = ev->candidate;
    r->life = ev->life;
    r->term = ev->term;
    r->accepted_ns = s->now_ns;
}

/* ---- faults ---- */

static void new_epoch(struct sim *s)
{
    s->epoch_term = s->term;
    s->epoch_transitions = INT64_MIN;
}

static void edit_lease(struct sim *s)
{
    if (!s->exists || chance(s, 0.4)) {
        trace(s, "lease deleted");
        s->exists = false;
        new_epoch(s);
        server_changed(s);
        return;
    }
    struct elector_record r = s->lease;
    switch (rnd(s) % 7) {
    case 0:
        snprintf(r.holder, sizeof(r.holder), "somebody");
        break;
    case 1:
        r.holder[0] = '\0';
        break;
    case 2:
        r.duration_s = chance(s, 0.5) ? 0 : 2147483647;
        break;
    case 3:
        r.transitions = chance(s, 0.5) ? 0 : -5;
        break;
    case 4:
        r.transitions = ELECTOR_TRANSITIONS_MAX - between(s, 0, 1);
        break;
    case 5:
        snprintf(r.holder, sizeof(r.holder), "%s", s->candidate[rnd(s) % (uint64_t)s->candidates].identity);
        r.acquire_us = 0;
        break;
    default:
        r.acquire_us = r.renew_us = 0;
        break;
    }
    trace(s, "lease edited: holder \"%s\" duration %" PRId64 " transitions %" PRId64, r.holder, r.duration_s,
          r.transitions);
    new_epoch(s);
    server_store(s, &r, false);
    new_epoch(s); /* what the hand wrote may have counted as a term */
}

static void open_half(struct sim *s, struct candidate *c, bool is_half)
{
    static const struct half_open kinds[] = {{0, 1, 0, false},      {0, 1, 1, false},     {0, 1, 0.9, false},
                                             {0, 0.95, 0.7, false}, {0.3, 1, 0.8, false}, {0.9, 0, 0, false},
                                             {1, 0, 0, false},      {0, 1, 0, true},      {0, 1, 0, true}};
    c->half = is_half ? kinds[rnd(s) % (sizeof(kinds) / sizeof(kinds[0]))] : (struct half_open){0};
    trace(s, "%s loses requests %.2f, answers to writes %.2f, to reads %.2f%s", c->identity, c->half.requests,
          c->half.write_answers, c->half.read_answers, c->half.is_deaf ? ", deaf after writes" : "");
}

static void on_fault(struct sim *s)
{
    int index = (int)(rnd(s) % (uint64_t)s->candidates);
    struct candidate *c = &s->candidate[index];
    int64_t lease_ns = c->config.lease_duration_ns;

    if (s->now_ns >= s->faults_end_ns)
        return;
    event_add(s, E_FAULT, -1, between(s, lease_ns / 16, lease_ns));
    switch (rnd(s) % 10) {
    case 0: /* SIGSTOP, often past the lease */
        if (c->is_up) {
            c->paused_until_ns = s->now_ns + between(s, 0, 2 * lease_ns);
            if (c->paused_until_ns > s->faults_end_ns)
                c->paused_until_ns = s->faults_end_ns;
            trace(s, "%s is stopped until %.3f", c->identity, (double)c->paused_until_ns / 1e9);
        }
        break;
    case 1: /* SIGKILL and a new process */
        if (c->is_up) {
            kill_process(s, index);
            event_add(s, E_START, index, between(s, 0, lease_ns))->has_record = chance(s, 0.5);
        }
        break;
    case 2: /* SIGTERM */
        if (c->is_up && c->paused_until_ns <= s->now_ns) {
            trace(s, "%s is asked to stop", c->identity);
            step(s, index, &(struct elector_input){.kind = ELECTOR_STOP, .release = true});
            event_add(s, E_START, index, between(s, lease_ns / 4, lease_ns))->has_record = chance(s, 0.5);
        }
        break;
    case 3:
        s->outage_end_ns = s->now_ns + between(s, 0, lease_ns);
        s->outage = (enum elector_status[]){ELECTOR_TIMEOUT, ELECTOR_SERVER, ELECTOR_THROTTLED,
                                            ELECTOR_UNREACHABLE}[rnd(s) % 4];
        trace(s, "outage (%s) until %.3f", elector_status_name(s->outage), (double)s->outage_end_ns / 1e9);
        break;
    case 4:
    case 5:
        c->is_cut_off = !c->is_cut_off;
        trace(s, "%s is %s", c->identity, c->is_cut_off ? "cut off" : "connected");
        break;
    case 6:
        c->denied = c->denied == ELECTOR_OK ? ELECTOR_DENIED : ELECTOR_OK;
        trace(s, "%s %s", c->identity, c->denied == ELECTOR_OK ? "is allowed again" : "is denied");
        break;
    case 7:
        s->loss = chance(s, 0.5) ? 0.02 : (double)between(s, 5, 60) / 100;
        trace(s, "loss %.2f", s->loss);
        break;
    case 8:
        open_half(s, c, c->half.requests + c->half.write_answers == 0);
        break;
    default:
        if (s->has_edits)
            edit_lease(s);
        break;
    }
}

/* ---- one run ---- */

static const int64_t timings[][3] = {
    {60000, 15000, 5000}, {15000, 10000, 2000}, {3000, 2000, 500}, {10000, 4000, 1000}, {5000, 3000, 1000}};

static void set_up(struct sim *s)
{
    static const double wild[] = {0.5, 0.7, 1, 1.4, 2};
    bool is_wild = s->is_wild = chance(s, 0.5), is_mixed = s->is_mixed = chance(s, 0.25);
    size_t common = rnd(s) % (sizeof(timings) / sizeof(timings[0]));

    s->candidates = (int)between(s, 3, CANDIDATES_MAX);
    s->has_edits = chance(s, 0.3);
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
    uint64_t events, writes, refusals, leaderships, tolerable;
};

/* Returns the failure, or NULL. */
static char *run_seed(uint64_t seed, bool has_trace, struct totals *totals)
{
    struct sim s = {.seed = seed, .random = seed * UINT64_C(0xD1342543DE82EF95) + 1, .has_trace = has_trace};
    int64_t longest_ns = 0;

    set_up(&s);
    s.in_tolerance = !s.has_edits && is_tolerable(&s);
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
           " writes, %" PRIu64 " of them refused, %" PRIu64 " seeds within clock tolerance\n",
           failures ? "FAILED" : "ok", first, first + count - 1, totals.events, totals.leaderships, totals.writes,
           totals.refusals, totals.tolerable);
    /* The words by which the other test programs are counted. */
    printf("[  %s  ] 1 test(s).\n", failures ? "FAILED" : "PASSED");
    return failures ? 1 : 0;
}
