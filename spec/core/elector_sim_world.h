/* elector_sim_world.h — a simulated election: who and what there is, virtual time, randomness, what happens next.
 *
 * kube_elector_sim_test.c is made of the elector_sim_*.h, one of which builds on the other. */
#ifndef SPEC_CORE_ELECTOR_SIM_WORLD_H
#define SPEC_CORE_ELECTOR_SIM_WORLD_H

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

enum event_kind { E_WAKE, E_ANSWER, E_WATCH, E_DEPLOY, E_WRITE, E_REFUSED, E_START, E_ARRIVE, E_LAND, E_FAULT, E_GONE };

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
    bool is_up, is_cut_off, may_watch, may_watch_pods;
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
    bool has_trace, has_edits, has_mistakes, in_tolerance, is_wild, is_mixed;
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
    uint64_t events, writes, refusals, leaderships, ends_told;
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

#endif
