/* A tenure lasts from the begin of the last write that is known to have happened. Its answer says so; so does the Lease
 * itself when it shows the very record that was written: the nonce and the renewTime of one request. Nobody could take
 * the Lease before that write and a lease duration, so it counts from the moment when it was begun, as with an answer
 * that is late. A leader whose answers are lost can go on by that; a record that proves too old a write proves
 * nothing. */
#include "kube/elector_state.h"

int64_t tenure_write_end_ns(const struct elector *e)
{
    return add_ns(e->confirmed_ns, e->renew_ns);
}

int64_t tenure_last_write_ns(const struct elector *e)
{
    return tenure_write_end_ns(e) - e->margin_ns;
}

bool elector_may_write(const struct elector *e, int64_t now_ns)
{
    return e->role == ELECTOR_LEADING && e->raise_above < 0 && now_ns < tenure_last_write_ns(e);
}

void tenure_lose(struct elector *e, enum elector_reason reason, int64_t now_ns, struct elector_output *out)
{
    struct elector_news *news = elector_add_news(out, ELECTOR_LOST);
    news->reason = reason;
    news->status = e->last_failure;
    news->transitions = e->transitions;
    elector_copy_name(news->holder, sizeof(news->holder), e->record.holder);
    e->role = ELECTOR_FOLLOWING;
    e->raise_above = -1;
    e->look_ns = now_ns;
}

static bool is_used(const struct elector *e, int64_t stamp_us)
{
    for (size_t i = 0; i < e->write_count && i < ELECTOR_WRITES; i++)
        if (e->writes[i].renew_us == stamp_us)
            return true;
    return stamp_us == e->nonce_us || stamp_us == e->record.renew_us;
}

int64_t tenure_stamp_us(const struct elector *e, int64_t wall_us)
{
    int64_t stamp_us = max64(wall_us, 1);
    while (is_used(e, stamp_us))
        stamp_us++;
    return stamp_us;
}

void tenure_add_write(struct elector *e, const struct elector_record *r)
{
    e->writes[e->write_count++ % ELECTOR_WRITES] = (struct elector_write){
        .renew_us = r->renew_us, .transitions = r->transitions, .sent_ns = e->clock_ns};
}

void tenure_confirm(struct elector *e, int64_t sent_ns, int64_t now_ns, struct elector_output *out)
{
    bool was_leading = e->role == ELECTOR_LEADING;
    bool is_raised = was_leading && e->record.transitions > e->transitions;

    e->is_uncertain = false;
    e->confirmed_ns = sent_ns;
    e->transitions = e->record.transitions;
    if (e->transitions > e->raise_above)
        e->raise_above = -1;
    e->highest = max64(e->highest, e->transitions);
    if (e->role == ELECTOR_RELEASING)
        return;
    elector_add_news(out, ELECTOR_RENEWED)->duration_ns = now_ns - sent_ns;
    e->renew_at_ns = e->raise_above >= 0 ? now_ns
                                         : max64(add_ns(sent_ns, e->retry_ns), add_ns(now_ns, e->retry_ns / 8));
    if (now_ns >= tenure_last_write_ns(e)) {
        /* The answer took so long that its leadership is over already. */
        if (was_leading)
            tenure_lose(e, ELECTOR_REASON_DEADLINE, now_ns, out);
        return;
    }
    e->unproven = 0;
    if (is_raised)
        elector_add_news(out, ELECTOR_RAISED)->transitions = e->transitions;
    if (was_leading)
        return;
    e->role = ELECTOR_LEADING;
    elector_add_news(out, ELECTOR_BECAME)->transitions = e->transitions;
}

bool tenure_prove(struct elector *e, int64_t now_ns, struct elector_output *out)
{
    if (!view_is_ours(e, &e->record))
        return false;
    for (size_t i = 0; i < e->write_count && i < ELECTOR_WRITES; i++) {
        const struct elector_write *w = &e->writes[i];
        if (w->renew_us != e->record.renew_us)
            continue;
        if (w->transitions != e->record.transitions)
            return false; /* edited since */
        if (w->sent_ns <= e->confirmed_ns || now_ns >= w->sent_ns + e->renew_ns - e->margin_ns)
            return false;
        tenure_confirm(e, w->sent_ns, now_ns, out);
        return true;
    }
    return false;
}
