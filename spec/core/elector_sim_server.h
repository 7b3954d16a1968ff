/* elector_sim_server.h — the network and the API server of a simulated election: one Lease, optimistic locking,
 * watches; it counts terms, and says when their transitions do not grow. */
#ifndef SPEC_CORE_ELECTOR_SIM_SERVER_H
#define SPEC_CORE_ELECTOR_SIM_SERVER_H

#include "elector_sim_world.h"

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

#endif
