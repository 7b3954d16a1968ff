/* elector_sim_candidate.h — the processes of a simulated election: electors, their deployers, and the receivers of
 * what they write, which enforce the fence. */
#ifndef SPEC_CORE_ELECTOR_SIM_CANDIDATE_H
#define SPEC_CORE_ELECTOR_SIM_CANDIDATE_H

#include "elector_sim_server.h"

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

/* Who watches Pods hears, sooner or later, that the process has ended which took the Lease. */
static void tell_end(struct sim *s, int index)
{
    for (int i = 0; i < s->candidates; i++) {
        struct candidate *c = &s->candidate[i];
        if (i == index || !c->is_up || !c->may_watch_pods || is_lost(s, c))
            continue;
        struct event *ev = event_add(s, E_GONE, i, delay(s, c) + between(s, 0, 2 * NS_PER_S));
        ev->has_record = true;
        ev->record = s->lease;
        s->ends_told++;
    }
}

static void kill_process(struct sim *s, int index)
{
    struct candidate *c = &s->candidate[index];
    trace(s, "%s is killed", c->identity);
    if (s->exists && strcmp(s->lease.holder, c->identity) == 0)
        tell_end(s, index);
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

#endif
