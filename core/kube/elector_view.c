/* Two times matter: when the record last changed before our eyes, from which its expiry counts, and when we may write
 * over it. A record is ours when identity and nonce match; the nonce is the acquireTime we wrote, so a second process
 * with our identity is told apart from ourselves. */
#include <string.h>

#include "base/clock.h"
#include "kube/elector_state.h"
#include "net/backoff.h"

bool view_is_ours(const struct elector *e, const struct elector_record *r)
{
    return e->nonce_us != 0 && r->acquire_us == e->nonce_us && strcmp(r->holder, e->identity) == 0;
}

/* The waiting time is the longer of ours and the holder's: a holder with longer timings renews more rarely, and a
 * record may say 0 or 1 after an edit by hand. No more than ten times ours, so that a mistyped number cannot keep
 * everybody out for years. */
int64_t view_expires_ns(const struct elector *e)
{
    int64_t longest_s = e->lease_ns / NS_PER_S * 10;
    int64_t seconds = min64(e->record.duration_s, longest_s);
    return add_ns(e->observed_ns, max64(seconds * NS_PER_S, e->lease_ns));
}

#define HOLD_BACK_MAX_NS (600 * NS_PER_S)
/* A candidate like ourselves gets one or two into its tenure before it has to hold back, too. */
#define RENEWALS_OF_A_LEADER 5

/* A candidate whose writes arrive and whose answers do not would keep the Lease from all others and never lead. One
 * write that was seen to have happened too long ago is bad luck. From the second on it waits longer than the others
 * need to see that the Lease has expired and to take it, and longer each time, should their clocks be slower than ours
 * or their timings longer. */
static int64_t hold_back_ns(const struct elector *e)
{
    if (e->unproven < 2)
        return 0;
    int64_t cap_ns = max64(HOLD_BACK_MAX_NS, 4 * e->lease_ns);
    return net_backoff_step(e->lease_ns / 4, cap_ns, e->unproven - 2) + e->retry_ns + 2 * e->timeout_ns;
}

/* At once if nobody holds it, if it is ours anyway, if it is what a former process of this pod left, or if its holder's
 * process has ended; unless we have to hold back. */
int64_t view_claimable_ns(const struct elector *e)
{
    const struct elector_record *r = &e->record;
    bool is_inherited = e->inherited_us != 0 && r->acquire_us == e->inherited_us && strcmp(r->holder, e->identity) == 0;
    bool is_gone = *e->gone_holder && r->acquire_us == e->gone_us && strcmp(r->holder, e->gone_holder) == 0;
    bool is_free = !*r->holder || view_is_ours(e, r) || is_inherited || is_gone;
    if (is_free && e->unproven < 2)
        return ELECTOR_LONG_AGO;
    return add_ns(*r->holder ? view_expires_ns(e) : e->observed_ns, hold_back_ns(e));
}

static bool same_content(const struct elector_record *a, const struct elector_record *b)
{
    return a->duration_s == b->duration_s && a->transitions == b->transitions && a->acquire_us == b->acquire_us &&
           a->renew_us == b->renew_us && strcmp(a->holder, b->holder) == 0;
}

void view_see_transitions(struct elector *e, int64_t transitions)
{
    if (transitions <= ELECTOR_TRANSITIONS_SANE)
        e->highest = max64(e->highest, transitions);
}

void view_observe(struct elector *e, const struct elector_record *r, int64_t now_ns, struct elector_output *out)
{
    if (!e->observed && strcmp(r->holder, e->identity) == 0)
        e->inherited_us = r->acquire_us;
    if (!e->observed || !same_content(&e->record, r)) {
        bool is_renewal = e->observed && *r->holder && r->acquire_us == e->record.acquire_us &&
                          strcmp(r->holder, e->record.holder) == 0;
        e->observed_ns = now_ns;
        e->renewals = is_renewal ? e->renewals + 1 : 0;
        if (view_is_ours(e, r))
            e->unproven += e->unproven < UINT32_MAX;
        else if (e->renewals >= RENEWALS_OF_A_LEADER)
            e->unproven = 0; /* we have made way */
    }
    e->record = *r;
    e->observed = true;
    e->view = VIEW_RECORD;
    view_see_transitions(e, r->transitions);
    if (*r->holder && strcmp(r->holder, e->reported) != 0) {
        elector_copy_name(e->reported, sizeof(e->reported), r->holder);
        if (strcmp(r->holder, e->identity) != 0)
            elector_copy_name(elector_add_news(out, ELECTOR_NEW_LEADER)->holder, ELECTOR_NAME_SIZE, r->holder);
    }
}
