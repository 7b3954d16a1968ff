/* Two things are known of the Lease: the *view* (what the last answer or watch event showed, with the version that
 * guards our next update) and the *tenure* (what we wrote when we acquired it: nonce and transitions). A record is
 * ours when identity and nonce match; the nonce is the acquireTime we wrote, so a second process with our identity is
 * told apart from ourselves.
 *
 * elector_step() takes the input in, then next_request() looks at role, view and time and picks the one request to
 * send. Nothing is remembered as "to do": a lost answer or wake-up can delay things, never lose them. */
#include "kube/elector.h"

#include <assert.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"

#define NEVER INT64_MAX
#define LONG_AGO INT64_MIN

enum view { VIEW_UNKNOWN, VIEW_ABSENT, VIEW_RECORD };

struct elector {
    char identity[ELECTOR_NAME_SIZE];
    int64_t lease_ns, renew_ns, retry_ns, timeout_ns, margin_ns;
    uint64_t random;

    enum elector_role role;
    int64_t clock_ns; /* newest now_ns: time does not run backwards */

    /* The Lease as seen. */
    enum view view;
    bool observed; /* record holds something, whatever the view is now */
    struct elector_record record;
    int64_t observed_ns;  /* when record's content last changed before our eyes */
    int64_t inherited_us; /* acquireTime of a record that had our identity when we started; 0: none */
    int64_t highest;
    char reported[ELECTOR_NAME_SIZE]; /* holder of the last ELECTOR_NEW_LEADER */

    /* Our tenure or the attempt at one. */
    int64_t nonce_us;                           /* 0: never tried */
    bool is_uncertain;                          /* an acquisition was sent and its outcome is not known */
    char attempt_version[ELECTOR_VERSION_SIZE]; /* what guarded it */
    int64_t transitions;
    int64_t confirmed_ns; /* begin of the last request that succeeded */
    int64_t raise_above;  /* the fence must become higher than this; -1: it is high enough */

    /* The request under way; id 0: none. */
    uint64_t request, last_request;
    enum elector_verb verb;
    enum elector_purpose purpose;
    int64_t sent_ns;

    /* When to do what. */
    int64_t look_ns;       /* following: next GET */
    int64_t renew_at_ns;   /* leading: next renewal */
    int64_t not_before_ns; /* no request earlier than this: back-off */
    int64_t release_end_ns;
    unsigned failures;                /* in a row */
    bool has_write_failed;            /* one of them was a write */
    enum elector_status last_failure; /* since the last success; OK: none */
};

static int64_t min64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t max64(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* Both are far from the borders, but retry_after comes from a server. */
static int64_t add_ns(int64_t a, int64_t b)
{
    int64_t sum;
    return __builtin_add_overflow(a, b, &sum) ? NEVER : sum;
}

/* Between three quarters of span and all of it: candidates drift apart, and none is later than it was told to be. */
static int64_t jitter(struct elector *e, int64_t span_ns)
{
    e->random ^= e->random << 13;
    e->random ^= e->random >> 7;
    e->random ^= e->random << 17;
    return span_ns - (int64_t)(e->random % (uint64_t)(span_ns / 4 + 1));
}

static void copy_name(char *into, size_t size, const char *from)
{
    size_t length = strnlen(from, size - 1);
    memcpy(into, from, length);
    into[length] = '\0';
}

struct elector *elector_new(const struct elector_config *config)
{
    struct elector *e = xcalloc(1, sizeof(*e));
    copy_name(e->identity, sizeof(e->identity), config->identity);
    e->lease_ns = config->lease_duration_ns;
    e->renew_ns = config->renew_deadline_ns;
    e->retry_ns = config->retry_period_ns;
    e->timeout_ns = elector_request_timeout_ns(config);
    e->margin_ns = elector_write_margin_ns(config);
    e->random = config->seed ? config->seed : UINT64_C(0x9E3779B97F4A7C15);
    e->clock_ns = LONG_AGO;
    e->confirmed_ns = LONG_AGO;
    e->raise_above = -1;
    return e;
}

struct elector *elector_free(struct elector *e)
{
    free(e);
    return NULL;
}

/* ---- what is known ---- */

static struct elector_news *add_news(struct elector_output *out, enum elector_news_kind kind)
{
    assert(out->news_count < ELECTOR_NEWS_MAX);
    struct elector_news *news = &out->news[out->news_count++];
    *news = (struct elector_news){.kind = kind};
    return news;
}

static bool is_ours(const struct elector *e, const struct elector_record *r)
{
    return e->nonce_us != 0 && r->acquire_us == e->nonce_us && strcmp(r->holder, e->identity) == 0;
}

/* The waiting time is the longer of ours and the holder's: a holder with longer timings renews more rarely, and a
 * record may say 0 or 1 after an edit by hand. No more than ten times ours, so that a mistyped number cannot keep
 * everybody out for years. */
static int64_t expires_ns(const struct elector *e)
{
    int64_t longest_s = e->lease_ns / NS_PER_S * 10;
    int64_t seconds = min64(e->record.duration_s, longest_s);
    return add_ns(e->observed_ns, max64(seconds * NS_PER_S, e->lease_ns));
}

/* When the record in view may be taken: at once if nobody holds it, if it is ours anyway, or if it is what a former
 * process of this pod left. */
static int64_t claimable_ns(const struct elector *e)
{
    const struct elector_record *r = &e->record;
    bool is_inherited = e->inherited_us != 0 && r->acquire_us == e->inherited_us && strcmp(r->holder, e->identity) == 0;
    return !*r->holder || is_ours(e, r) || is_inherited ? LONG_AGO : expires_ns(e);
}

static bool same_content(const struct elector_record *a, const struct elector_record *b)
{
    return a->duration_s == b->duration_s && a->transitions == b->transitions && a->acquire_us == b->acquire_us &&
           a->renew_us == b->renew_us && strcmp(a->holder, b->holder) == 0;
}

static void see_transitions(struct elector *e, int64_t transitions)
{
    if (transitions <= ELECTOR_TRANSITIONS_SANE)
        e->highest = max64(e->highest, transitions);
}

static void observe(struct elector *e, const struct elector_record *r, int64_t now_ns, struct elector_output *out)
{
    if (!e->observed && strcmp(r->holder, e->identity) == 0)
        e->inherited_us = r->acquire_us;
    if (!e->observed || !same_content(&e->record, r))
        e->observed_ns = now_ns;
    e->record = *r;
    e->observed = true;
    e->view = VIEW_RECORD;
    see_transitions(e, r->transitions);
    if (*r->holder && strcmp(r->holder, e->reported) != 0) {
        copy_name(e->reported, sizeof(e->reported), r->holder);
        if (strcmp(r->holder, e->identity) != 0)
            copy_name(add_news(out, ELECTOR_NEW_LEADER)->holder, ELECTOR_NAME_SIZE, r->holder);
    }
}

/* ---- gain and loss ---- */

static int64_t write_end_ns(const struct elector *e)
{
    return add_ns(e->confirmed_ns, e->renew_ns);
}

static int64_t last_write_ns(const struct elector *e)
{
    return write_end_ns(e) - e->margin_ns;
}

bool elector_may_write(const struct elector *e, int64_t now_ns)
{
    return e->role == ELECTOR_LEADING && e->raise_above < 0 && now_ns < last_write_ns(e);
}

static void lose(struct elector *e, enum elector_reason reason, int64_t now_ns, struct elector_output *out)
{
    struct elector_news *news = add_news(out, ELECTOR_LOST);
    news->reason = reason;
    news->status = e->last_failure;
    news->transitions = e->transitions;
    copy_name(news->holder, sizeof(news->holder), e->record.holder);
    e->role = ELECTOR_FOLLOWING;
    e->raise_above = -1;
    e->look_ns = now_ns;
}

/* A write of ours succeeded: we hold the Lease, counted from before it was sent. */
static void confirm(struct elector *e, int64_t now_ns, struct elector_output *out)
{
    bool was_leading = e->role == ELECTOR_LEADING;
    bool is_raised = was_leading && e->record.transitions > e->transitions;

    e->is_uncertain = false;
    e->confirmed_ns = e->sent_ns;
    e->transitions = e->record.transitions;
    if (e->transitions > e->raise_above)
        e->raise_above = -1;
    e->highest = max64(e->highest, e->transitions);
    if (e->role == ELECTOR_RELEASING)
        return;
    add_news(out, ELECTOR_RENEWED)->duration_ns = now_ns - e->sent_ns;
    e->renew_at_ns = e->raise_above >= 0 ? now_ns
                                         : max64(add_ns(e->sent_ns, e->retry_ns), add_ns(now_ns, e->retry_ns / 8));
    if (now_ns >= last_write_ns(e)) {
        /* The answer took so long that its leadership is over already. */
        if (was_leading)
            lose(e, ELECTOR_REASON_DEADLINE, now_ns, out);
        return;
    }
    if (is_raised)
        add_news(out, ELECTOR_RAISED)->transitions = e->transitions;
    if (was_leading)
        return;
    e->role = ELECTOR_LEADING;
    add_news(out, ELECTOR_BECAME)->transitions = e->transitions;
}

/* ---- answers ---- */

/* Wait after a failure: doubling from an eighth of the retry period to all of it. What the server asks for is
 * respected, but a leader keeps time for a last try before its deadline, and a follower waits no longer than a
 * lease. */
static void back_off(struct elector *e, int64_t retry_after_ns, int64_t now_ns)
{
    int64_t step = e->retry_ns / 8;
    for (unsigned i = 1; i < e->failures && step < e->retry_ns; i++)
        step *= 2;
    int64_t soonest = add_ns(now_ns, jitter(e, min64(step, e->retry_ns)));
    int64_t wanted = max64(soonest, add_ns(now_ns, min64(max64(retry_after_ns, 0), e->lease_ns)));
    if (e->role == ELECTOR_LEADING)
        wanted = max64(min64(wanted, last_write_ns(e) - e->timeout_ns),
                       min64(soonest, add_ns(now_ns, e->retry_ns / 8)));
    e->not_before_ns = wanted;
}

static void fail(struct elector *e, enum elector_status status, int64_t retry_after_ns, int64_t now_ns,
                 struct elector_output *out)
{
    struct elector_news *news = add_news(out, ELECTOR_FAILED);
    news->status = status;
    news->purpose = e->purpose;
    e->last_failure = status;
    if (e->failures < UINT32_MAX)
        e->failures++;
    e->has_write_failed |= e->verb != ELECTOR_GET;
    back_off(e, retry_after_ns, now_ns);
    /* A leader repeats its update at once: should the one before have happened, the conflict tells. A follower looks
     * first. */
    if (e->role == ELECTOR_FOLLOWING && e->verb != ELECTOR_GET)
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
        lose(e, ELECTOR_REASON_DELETED, now_ns, out);
}

static void on_look(struct elector *e, const struct elector_record *r, int64_t now_ns, struct elector_output *out)
{
    observe(e, r, now_ns, out);
    /* What guarded an acquisition without an answer is outdated: it can happen no more. */
    if (e->is_uncertain && !is_ours(e, r) && strcmp(r->version, e->attempt_version) != 0)
        e->is_uncertain = false;
    if (e->role == ELECTOR_LEADING && !is_ours(e, r))
        lose(e, *r->holder ? ELECTOR_REASON_TAKEN : ELECTOR_REASON_EMPTIED, now_ns, out);
    e->look_ns = add_ns(now_ns, jitter(e, e->retry_ns));
    e->renew_at_ns = now_ns; /* with the new version */
}

static void on_ok(struct elector *e, const struct elector_record *r, int64_t now_ns, struct elector_output *out)
{
    if (e->verb == ELECTOR_GET) {
        on_look(e, r, now_ns, out);
        /* Looking succeeds also where writing is denied: it ends a row of failures only when there is nothing to
         * write. */
        if (e->role != ELECTOR_FOLLOWING || (e->has_write_failed && now_ns >= claimable_ns(e)))
            return;
    } else {
        observe(e, r, now_ns, out);
        if (e->purpose != ELECTOR_RELEASE && !is_ours(e, r)) {
            /* Something between us and the store changes what we write. */
            if (e->role == ELECTOR_LEADING)
                lose(e, ELECTOR_REASON_TAKEN, now_ns, out);
            fail(e, ELECTOR_INVALID, 0, now_ns, out);
            return;
        }
    }
    e->failures = 0;
    e->has_write_failed = false;
    e->last_failure = ELECTOR_OK;
    e->not_before_ns = now_ns;
    if (e->verb != ELECTOR_GET && e->purpose != ELECTOR_RELEASE)
        confirm(e, now_ns, out);
}

static void on_answer(struct elector *e, const struct elector_input *in, struct elector_output *out)
{
    enum elector_status status = in->status;
    bool is_write = e->verb != ELECTOR_GET;

    e->request = 0;
    if (status == ELECTOR_OK && !in->record)
        status = ELECTOR_INVALID;
    switch (status) {
    case ELECTOR_OK:
        on_ok(e, in->record, e->clock_ns, out);
        return;
    case ELECTOR_NOTFOUND:
        on_absent(e, e->clock_ns, out);
        return;
    case ELECTOR_CONFLICT:
        on_conflict(e, e->clock_ns);
        return;
    case ELECTOR_TIMEOUT:
    case ELECTOR_UNREACHABLE:
    case ELECTOR_SERVER:
    case ELECTOR_INVALID: /* a success whose answer could not be read is among these */
        if (is_write && e->purpose == ELECTOR_ACQUIRE)
            e->is_uncertain = true;
        break;
    case ELECTOR_DENIED:
    case ELECTOR_THROTTLED:
        break;
    }
    fail(e, status, in->retry_after_ns, e->clock_ns, out);
}

/* ---- other inputs ---- */

static void on_watched(struct elector *e, const struct elector_record *r, struct elector_output *out)
{
    if (e->role == ELECTOR_LEADING) {
        /* Events can be old. What looks like a loss is looked at, not believed; our own renewals are no news. */
        if (r && is_ours(e, r))
            return;
        e->view = VIEW_UNKNOWN;
        e->renew_at_ns = max64(e->clock_ns, add_ns(e->sent_ns, e->retry_ns / 8));
        if (r)
            see_transitions(e, r->transitions);
        return;
    }
    if (e->role != ELECTOR_FOLLOWING)
        return;
    if (r)
        observe(e, r, e->clock_ns, out);
    else
        e->view = VIEW_ABSENT;
    /* There is something to take: do not wait for a look that is under way. */
    if (e->request != 0 && e->verb == ELECTOR_GET && (!r || e->clock_ns >= claimable_ns(e))) {
        out->cancel = e->request;
        e->request = 0;
    }
}

static void on_refused(struct elector *e, int64_t transitions, struct elector_output *out)
{
    if (transitions >= ELECTOR_TRANSITIONS_MAX) {
        add_news(out, ELECTOR_EXHAUSTED)->transitions = transitions;
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
    add_news(out, ELECTOR_STOPPED)->released = released;
}

static void on_stop(struct elector *e, bool release, struct elector_output *out)
{
    bool is_acquiring = e->request != 0 && e->purpose == ELECTOR_ACQUIRE;
    bool may_hold = e->role == ELECTOR_LEADING || is_acquiring || e->is_uncertain ||
                    (e->view != VIEW_ABSENT && is_ours(e, &e->record));

    if (e->role == ELECTOR_RELEASING || e->role == ELECTOR_ENDED)
        return;
    if (e->role == ELECTOR_LEADING)
        lose(e, ELECTOR_REASON_STOPPED, e->clock_ns, out);
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
    bool keeps = !creates && is_ours(e, &e->record);
    enum elector_purpose purpose = e->role == ELECTOR_LEADING ? ELECTOR_RENEW : ELECTOR_ACQUIRE;
    int64_t transitions = 0;

    begin_request(e, creates ? ELECTOR_CREATE : ELECTOR_UPDATE, purpose, out);
    if (keeps && e->record.transitions <= ELECTOR_TRANSITIONS_SANE)
        transitions = e->record.transitions;
    if (keeps && e->role == ELECTOR_LEADING)
        transitions = max64(transitions, e->transitions);
    if (!keeps || e->raise_above >= 0 || e->highest > transitions)
        transitions = max64(e->highest, transitions) + 1;
    if (!keeps && !e->is_uncertain) {
        e->nonce_us = max64(wall_us, 1);
        copy_name(e->attempt_version, sizeof(e->attempt_version), creates ? "" : e->record.version);
    }
    struct elector_record *r = &out->request.record;
    copy_name(r->holder, sizeof(r->holder), e->identity);
    r->duration_s = (e->lease_ns + NS_PER_S - 1) / NS_PER_S;
    r->transitions = min64(transitions, ELECTOR_TRANSITIONS_MAX);
    r->acquire_us = e->nonce_us;
    r->renew_us = wall_us;
    if (!creates)
        memcpy(r->version, e->record.version, sizeof(r->version));
}

/* The moment of the next request while following or leading. */
static int64_t due_ns(const struct elector *e)
{
    int64_t due = e->role == ELECTOR_LEADING ? e->renew_at_ns : e->look_ns;
    if (e->role == ELECTOR_FOLLOWING && e->view == VIEW_ABSENT)
        due = LONG_AGO;
    if (e->role == ELECTOR_FOLLOWING && e->view == VIEW_RECORD)
        due = min64(due, claimable_ns(e));
    return max64(due, e->not_before_ns);
}

static void next_request(struct elector *e, int64_t wall_us, struct elector_output *out)
{
    int64_t now_ns = e->clock_ns;

    if (e->role == ELECTOR_LEADING && now_ns >= last_write_ns(e))
        lose(e, ELECTOR_REASON_DEADLINE, now_ns, out);
    if (e->role == ELECTOR_RELEASING && e->request == 0 && e->view != VIEW_UNKNOWN &&
        !(e->view == VIEW_RECORD && is_ours(e, &e->record)))
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
                    (e->view == VIEW_RECORD && (e->role == ELECTOR_LEADING || now_ns >= claimable_ns(e)));
    if (may_hold)
        send_hold(e, wall_us, out);
    else
        begin_request(e, ELECTOR_GET, e->role == ELECTOR_LEADING ? ELECTOR_RENEW : ELECTOR_LOOK, out);
}

static int64_t wake_ns(const struct elector *e)
{
    int64_t wake = NEVER;

    switch (e->role) {
    case ELECTOR_IDLE:
    case ELECTOR_ENDED:
        return NEVER;
    case ELECTOR_FOLLOWING:
        break;
    case ELECTOR_LEADING:
        wake = last_write_ns(e);
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
            on_answer(e, in, ret_out);
        break;
    case ELECTOR_WATCHED:
        on_watched(e, in->record, ret_out);
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
        on_answer(e, &(struct elector_input){.status = ELECTOR_TIMEOUT}, ret_out);
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
        .write_end_ns = e->role == ELECTOR_LEADING ? write_end_ns(e) : LONG_AGO,
        .expires_ns = e->observed ? expires_ns(e) : NEVER,
        .failures = e->failures,
    };
    copy_name(ret_state->holder, sizeof(ret_state->holder), e->view == VIEW_ABSENT ? "" : e->record.holder);
}
