/* An answer changes what is known (view, tenure) and when the next request may go; it never sends one. A failed write
 * is followed by a look, because nobody knows whether it happened; a refused one is not. */
#include <string.h>

#include "kube/elector_state.h"
#include "net/backoff.h"

/* Between three quarters of span and all of it: candidates drift apart, and none is later than it was told to be. */
static int64_t jitter_ns(struct elector *e, int64_t span_ns)
{
    e->random ^= e->random << 13;
    e->random ^= e->random >> 7;
    e->random ^= e->random << 17;
    return span_ns - (int64_t)(e->random % (uint64_t)(span_ns / 4 + 1));
}

/* Wait after a failure: doubling from an eighth of the retry period to all of it. What the server asks for is
 * respected, but a leader keeps time for a last try before its deadline, and a follower waits no longer than a
 * lease. */
static void back_off(struct elector *e, int64_t retry_after_ns, int64_t now_ns)
{
    int64_t step = net_backoff_step(e->retry_ns / 8, e->retry_ns, e->failures > 0 ? e->failures - 1 : 0);
    int64_t soonest = add_ns(now_ns, jitter_ns(e, step));
    int64_t wanted = max64(soonest, add_ns(now_ns, min64(max64(retry_after_ns, 0), e->lease_ns)));
    if (e->role == ELECTOR_LEADING)
        wanted = max64(min64(wanted, tenure_last_write_ns(e) - e->timeout_ns),
                       min64(soonest, add_ns(now_ns, e->retry_ns / 8)));
    e->not_before_ns = wanted;
}

static bool may_have_happened(enum elector_status status)
{
    switch (status) {
    case ELECTOR_TIMEOUT:
    case ELECTOR_UNREACHABLE:
    case ELECTOR_SERVER:
    case ELECTOR_INVALID: /* a success whose answer could not be read is among these */
        return true;
    case ELECTOR_OK:
    case ELECTOR_NOTFOUND:
    case ELECTOR_CONFLICT:
    case ELECTOR_DENIED:
    case ELECTOR_THROTTLED:
        break;
    }
    return false;
}

static void fail(struct elector *e, enum elector_status status, int64_t retry_after_ns, int64_t now_ns,
                 struct elector_output *out)
{
    struct elector_news *news = elector_add_news(out, ELECTOR_FAILED);
    news->status = status;
    news->purpose = e->purpose;
    e->last_failure = status;
    if (e->failures < UINT32_MAX)
        e->failures++;
    e->has_write_failed |= e->verb != ELECTOR_GET;
    back_off(e, retry_after_ns, now_ns);
    /* It may have happened: the Lease tells, and has the version that the next one needs. */
    if (e->verb != ELECTOR_GET && (e->role == ELECTOR_FOLLOWING || may_have_happened(status)))
        e->view = VIEW_UNKNOWN;
}

/* Somebody else wrote, or the object is gone: look again at once; looking twice in vain means that others are busy
 * here. */
static void on_conflict(struct elector *e, int64_t now_ns)
{
    e->view = VIEW_UNKNOWN;
    e->look_ns = e->renew_at_ns = now_ns;
    if (e->failures > 0)
        back_off(e, 0, now_ns);
    else
        e->not_before_ns = now_ns;
    if (e->failures < UINT32_MAX)
        e->failures++;
}

static void on_absent(struct elector *e, int64_t now_ns, struct elector_output *out)
{
    e->view = VIEW_ABSENT;
    if (e->role == ELECTOR_LEADING)
        tenure_lose(e, ELECTOR_REASON_DELETED, now_ns, out);
}

/* True: it proved that we hold the Lease. */
static bool on_look(struct elector *e, const struct elector_record *r, int64_t now_ns, struct elector_output *out)
{
    view_observe(e, r, now_ns, out);
    /* What guarded an acquisition without an answer is outdated: it can happen no more. */
    if (e->is_uncertain && !view_is_ours(e, r) && strcmp(r->version, e->attempt_version) != 0)
        e->is_uncertain = false;
    if (e->role == ELECTOR_LEADING && !view_is_ours(e, r))
        tenure_lose(e, *r->holder ? ELECTOR_REASON_TAKEN : ELECTOR_REASON_EMPTIED, now_ns, out);
    e->look_ns = add_ns(now_ns, jitter_ns(e, e->retry_ns));
    e->renew_at_ns = now_ns; /* with the new version */
    return e->role != ELECTOR_RELEASING && tenure_prove(e, now_ns, out);
}

static void on_ok(struct elector *e, const struct elector_record *r, int64_t now_ns, struct elector_output *out)
{
    if (e->verb == ELECTOR_GET) {
        bool is_proof = on_look(e, r, now_ns, out);
        /* Looking succeeds also where writing is denied: it ends a row of failures only when there is nothing to
         * write, or when it shows that the writing has succeeded. */
        if (!is_proof && (e->role != ELECTOR_FOLLOWING || (e->has_write_failed && now_ns >= view_claimable_ns(e))))
            return;
    } else {
        view_observe(e, r, now_ns, out);
        if (e->purpose != ELECTOR_RELEASE && !view_is_ours(e, r)) {
            /* Something between us and the store changes what we write. */
            if (e->role == ELECTOR_LEADING)
                tenure_lose(e, ELECTOR_REASON_TAKEN, now_ns, out);
            fail(e, ELECTOR_INVALID, 0, now_ns, out);
            return;
        }
    }
    e->failures = 0;
    e->has_write_failed = false;
    e->last_failure = ELECTOR_OK;
    e->not_before_ns = now_ns;
    if (e->verb != ELECTOR_GET && e->purpose != ELECTOR_RELEASE)
        tenure_confirm(e, e->sent_ns, now_ns, out);
}

void answer_take(struct elector *e, const struct elector_input *in, struct elector_output *out)
{
    enum elector_status status = in->status;
    bool is_write = e->verb != ELECTOR_GET;

    e->request = 0;
    if (status == ELECTOR_OK && !in->record)
        status = ELECTOR_INVALID;
    if (status == ELECTOR_OK) {
        on_ok(e, in->record, e->clock_ns, out);
    } else if (status == ELECTOR_NOTFOUND) {
        on_absent(e, e->clock_ns, out);
    } else if (status == ELECTOR_CONFLICT) {
        on_conflict(e, e->clock_ns);
    } else {
        e->is_uncertain |= is_write && e->purpose == ELECTOR_ACQUIRE && may_have_happened(status);
        fail(e, status, in->retry_after_ns, e->clock_ns, out);
    }
}
