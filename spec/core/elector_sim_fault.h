/* elector_sim_fault.h — what goes wrong in a simulated election. */
#ifndef SPEC_CORE_ELECTOR_SIM_FAULT_H
#define SPEC_CORE_ELECTOR_SIM_FAULT_H

#include "elector_sim_candidate.h"

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
    switch (rnd(s) % 11) {
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
    case 9: /* a Pod is deleted by force while its process goes on */
        if (s->has_mistakes && c->is_up && s->exists && strcmp(s->lease.holder, c->identity) == 0) {
            trace(s, "%s is said to have ended", c->identity);
            tell_end(s, index);
        }
        break;
    default:
        if (s->has_edits)
            edit_lease(s);
        break;
    }
}

#endif
