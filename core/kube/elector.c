/* Two things are known of the Lease: the *view* (what the last answer or watch event showed, with the version that
 * guards our next update; elector_view.c) and the *tenure* (what we wrote; elector_tenure.c).
 *
 * elector_step() takes the input in, then next_request() looks at role, view and time and picks the one request to
 * send. Nothing is remembered as "to do": a lost answer or wake-up can delay things, never lose them. */
#include "kube/elector.h"

#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "kube/elector_state.h"

struct elector *elector_new(const struct elector_config *config)
{
    struct elector *e = xcalloc(1, sizeof(*e));
    elector_copy_name(e->identity, sizeof(e->identity), config->identity);
    e->lease_ns = config->lease_duration_ns;
    e->renew_ns = config->renew_deadline_ns;
    e->retry_ns = config->retry_period_ns;
    e->timeout_ns = elector_request_timeout_ns(config);
    e->margin_ns = elector_write_margin_ns(config);
    e->random = config->seed ? config->seed : UINT64_C(0x9E3779B97F4A7C15);
    e->clock_ns = ELECTOR_LONG_AGO;
    e->confirmed_ns = ELECTOR_LONG_AGO;
    e->raise_above = -1;
    return e;
}

struct elector *elector_free(struct elector *e)
{
    free(e);
    return NULL;
}

/* ---- inputs ---- */

/* There is something to take: do not wait for a look that is under way. */
static void stop_looking(struct elector *e, struct elector_output *out)
{
    bool is_free = e->view == VIEW_ABSENT || (e->view == VIEW_RECORD && e->clock_ns >= view_claimable_ns(e));
    if (e->request != 0 && e->verb == ELECTOR_GET && is_free) {
        out->cancel = e->request;
        e->request = 0;
    }
}

static void on_watched(struct elector *e, const struct elector_record *r, struct elector_output *out)
{
    if (e->role == ELECTOR_LEADING) {
        /* Events can be old. What looks like a loss is looked at, not believed; our own renewals are no news. */
        if (r && view_is_ours(e, r))
            return;
        e->view = VIEW_UNKNOWN;
        e->renew_at_ns = max64(e->clock_ns, add_ns(e->sent_ns, e->retry_ns / 8));
        if (r)
            view_see_transitions(e, r->transitions);
        return;
    }
    if (e->role != ELECTOR_FOLLOWING)
        return;
    if (r)
        view_observe(e, r, e->clock_ns, out);
    else
        e->view = VIEW_ABSENT;
    /* A write that is under way gets its own answer. */
    if (r && (e->request == 0 || e->verb == ELECTOR_GET) && tenure_prove(e, e->clock_ns, out))
        return;
    stop_looking(e, out);
}

/* It is remembered: the record may come into view, or be written for the last time, only later. */
static void on_gone(struct elector *e, const struct elector_record *r, struct elector_output *out)
{
    if (!*r->holder || strcmp(r->holder, e->identity) == 0)
        return;
    elector_copy_name(e->gone_holder, sizeof(e->gone_holder), r->holder);
    e->gone_us = r->acquire_us;
    if (e->role == ELECTOR_FOLLOWING)
        stop_looking(e, out);
}

static void on_refused(struct elector *e, int64_t transitions, struct elector_output *out)
{
    if (transitions >= ELECTOR_TRANSITIONS_SANE) {
        elector_add_news(out, ELECTOR_EXHAUSTED)->transitions = transitions;
        return;
    }
    e->highest = max64(e->highest, transitions);
    if (e->role != ELECTOR_LEADING || transitions < e->transitions)
        return; /* refused before the last raise */
    e->raise_above = max64(e->raise_above, transitions);
    e->renew_at_ns = e->clock_ns;
}

static void end(struct elector *e, bool released, struct elector_output *out)
{
    e->role = ELECTOR_ENDED;
    elector_add_news(out, ELECTOR_STOPPED)->released = released;
}

static void on_stop(struct elector *e, bool release, struct elector_output *out)
{
    bool is_acquiring = e->request != 0 && e->purpose == ELECTOR_ACQUIRE;
    bool may_hold = e->role == ELECTOR_LEADING || is_acquiring || e->is_uncertain ||
                    (e->view != VIEW_ABSENT && view_is_ours(e, &e->record));

    if (e->role == ELECTOR_RELEASING || e->role == ELECTOR_ENDED)
        return;
    if (e->role == ELECTOR_LEADING)
        tenure_lose(e, ELECTOR_REASON_STOPPED, e->clock_ns, out);
    /* A renewal that is under way is not waited for, it would hold up the release; an acquisition is, or it may come
     * after us. */
    if (e->request != 0 && (!is_acquiring || !release)) {
        out->cancel = e->request;
        e->request = 0;
    }
    if (!release || !may_hold) {
        end(e, false, out);
        return;
    }
    e->role = ELECTOR_RELEASING;
    e->release_end_ns = add_ns(e->clock_ns, 2 * e->timeout_ns);
    e->not_before_ns = e->clock_ns;
    e->failures = 0;
    if (e->is_uncertain)
        e->view = VIEW_UNKNOWN;
}

/* ---- what to do next ---- */

static void begin_request(struct elector *e, enum elector_verb verb, enum elector_purpose purpose,
                          struct elector_output *out)
{
    struct elector_request *request = &out->request;
    e->request = ++e->last_request;
    e->verb = verb;
    e->purpose = purpose;
    e->sent_ns = e->clock_ns;
    out->send = true;
    request->id = e->request;
    request->verb = verb;
    request->purpose = purpose;
    request->timeout_ns = e->timeout_ns;
    request->record = (struct elector_record){0};
}

static void send_release(struct elector *e, int64_t wall_us, struct elector_output *out)
{
    begin_request(e, ELECTOR_UPDATE, ELECTOR_RELEASE, out);
    struct elector_record *r = &out->request.record;
    *r = e->record;
    r->holder[0] = '\0';
    r->duration_s = 1; /* 0 is not allowed */
    if (r->transitions < 0 || r->transitions > ELECTOR_TRANSITIONS_SANE)
        r->transitions = min64(e->highest, ELECTOR_TRANSITIONS_MAX);
    r->acquire_us = r->renew_us = wall_us;
}

/* Take, keep or raise: the record we want. A record that is ours keeps its transitions, unless a higher number is
 * known somewhere. */
static void send_hold(struct elector *e, int64_t wall_us, struct elector_output *out)
{
    bool creates = e->view == VIEW_ABSENT;
    bool keeps = !creates && view_is_ours(e, &e->record);
    enum elector_purpose purpose = e->role == ELECTOR_LEADING ? ELECTOR_RENEW : ELECTOR_ACQUIRE;
    int64_t transitions = 0;

    begin_request(e, creates ? ELECTOR_CREATE : ELECTOR_UPDATE, purpose, out);
    if (keeps && e->record.transitions <= ELECTOR_TRANSITIONS_SANE)
        transitions = e->record.transitions;
    if (keeps && e->role == ELECTOR_LEADING)
        transitions = max64(transitions, e->transitions);
    if (!keeps || e->raise_above >= 0 || e->highest > transitions)
        transitions = max64(e->highest, transitions) + 1;
    int64_t stamp_us = tenure_stamp_us(e, wall_us);
    if (!keeps && !e->is_uncertain) {
        e->nonce_us = stamp_us;
        elector_copy_name(e->attempt_version, sizeof(e->attempt_version), creates ? "" : e->record.version);
    }
    struct elector_record *r = &out->request.record;
    elector_copy_name(r->holder, sizeof(r->holder), e->identity);
    r->duration_s = (e->lease_ns + NS_PER_S - 1) / NS_PER_S;
    r->transitions = min64(transitions, ELECTOR_TRANSITIONS_MAX);
    r->acquire_us = e->nonce_us;
    r->renew_us = stamp_us;
    if (!creates)
        memcpy(r->version, e->record.version, sizeof(r->version));
    tenure_add_write(e, r);
}

/* The moment of the next request while following or leading. */
static int64_t due_ns(const struct elector *e)
{
    int64_t due = e->role == ELECTOR_LEADING ? e->renew_at_ns : e->look_ns;
    if (e->role == ELECTOR_FOLLOWING && e->view == VIEW_ABSENT)
        due = ELECTOR_LONG_AGO;
    if (e->role == ELECTOR_FOLLOWING && e->view == VIEW_RECORD)
        due = min64(due, view_claimable_ns(e));
    return max64(due, e->not_before_ns);
}

static void next_request(struct elector *e, int64_t wall_us, struct elector_output *out)
{
    int64_t now_ns = e->clock_ns;

    if (e->role == ELECTOR_LEADING && now_ns >= tenure_last_write_ns(e))
        tenure_lose(e, ELECTOR_REASON_DEADLINE, now_ns, out);
    if (e->role == ELECTOR_RELEASING && e->request == 0 && e->view != VIEW_UNKNOWN &&
        !(e->view == VIEW_RECORD && view_is_ours(e, &e->record)))
        end(e, e->view == VIEW_RECORD && !*e->record.holder, out);
    if (e->role == ELECTOR_RELEASING && now_ns >= e->release_end_ns) {
        out->cancel = e->request;
        e->request = 0;
        end(e, false, out);
    }
    if (e->role == ELECTOR_IDLE || e->role == ELECTOR_ENDED || e->request != 0)
        return;
    if (e->role == ELECTOR_RELEASING) {
        if (now_ns < e->not_before_ns)
            return;
        if (e->view == VIEW_UNKNOWN)
            begin_request(e, ELECTOR_GET, ELECTOR_RELEASE, out);
        else
            send_release(e, wall_us, out);
        return;
    }
    if (now_ns < due_ns(e))
        return;
    bool may_hold = e->view == VIEW_ABSENT ||
                    (e->view == VIEW_RECORD && (e->role == ELECTOR_LEADING || now_ns >= view_claimable_ns(e)));
    if (may_hold)
        send_hold(e, wall_us, out);
    else
        begin_request(e, ELECTOR_GET, e->role == ELECTOR_LEADING ? ELECTOR_RENEW : ELECTOR_LOOK, out);
}

static int64_t wake_ns(const struct elector *e)
{
    int64_t wake = ELECTOR_NEVER;

    switch (e->role) {
    case ELECTOR_IDLE:
    case ELECTOR_ENDED:
        return ELECTOR_NEVER;
    case ELECTOR_FOLLOWING:
        break;
    case ELECTOR_LEADING:
        wake = tenure_last_write_ns(e);
        break;
    case ELECTOR_RELEASING:
        wake = e->release_end_ns;
        break;
    }
    if (e->request != 0)
        return min64(wake, add_ns(e->sent_ns, e->timeout_ns));
    return min64(wake, e->role == ELECTOR_RELEASING ? e->not_before_ns : due_ns(e));
}

void elector_step(struct elector *e, const struct elector_input *in, struct elector_output *ret_out)
{
    ret_out->cancel = 0;
    ret_out->send = false;
    ret_out->news_count = 0;
    e->clock_ns = max64(e->clock_ns, in->now_ns);
    switch (in->kind) {
    case ELECTOR_START:
        if (e->role == ELECTOR_IDLE) {
            e->role = ELECTOR_FOLLOWING;
            e->look_ns = e->not_before_ns = e->clock_ns;
        }
        break;
    case ELECTOR_WAKE:
        break;
    case ELECTOR_ANSWER:
        if (e->request != 0 && in->request == e->request)
            answer_take(e, in, ret_out);
        break;
    case ELECTOR_WATCHED:
        on_watched(e, in->record, ret_out);
        break;
    case ELECTOR_GONE:
        on_gone(e, in->record, ret_out);
        break;
    case ELECTOR_REFUSED:
        on_refused(e, in->transitions, ret_out);
        break;
    case ELECTOR_STOP:
        on_stop(e, in->release, ret_out);
        break;
    }
    if (e->request != 0 && e->clock_ns >= add_ns(e->sent_ns, e->timeout_ns)) {
        ret_out->cancel = e->request;
        answer_take(e, &(struct elector_input){.status = ELECTOR_TIMEOUT}, ret_out);
    }
    next_request(e, in->wall_us, ret_out);
    ret_out->wake_ns = wake_ns(e);
}

void elector_get_state(const struct elector *e, struct elector_state *ret_state)
{
    *ret_state = (struct elector_state){
        .role = e->role,
        .transitions = e->role == ELECTOR_LEADING ? e->transitions : e->record.transitions,
        .highest_transitions = e->highest,
        .nonce_us = e->nonce_us,
        .confirmed_ns = e->confirmed_ns,
        .write_end_ns = e->role == ELECTOR_LEADING ? tenure_write_end_ns(e) : ELECTOR_LONG_AGO,
        .expires_ns = e->observed ? view_expires_ns(e) : ELECTOR_NEVER,
        .failures = e->failures,
        .unproven = e->unproven,
    };
    elector_copy_name(ret_state->holder, sizeof(ret_state->holder), e->view == VIEW_ABSENT ? "" : e->record.holder);
}
