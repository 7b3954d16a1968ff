/* A timer fires when the oldest offer has lost its place. */
#include "controller/fleet_pace.h"

bool seat_is_level(const struct seat *s)
{
    return digest_equal(s->digest, model_digest(s->fleet->model, MODEL_ACCEPTED));
}

void pace_begin(struct fleet *f)
{
    f->pace = PACE_FIRST;
}

static size_t places(const struct fleet *f)
{
    size_t share = f->seats.length * f->config.share_percent / 100;

    return f->pace == PACE_FIRST || share == 0 ? 1 : share;
}

bool pace_allows(struct fleet *f, const struct seat *s)
{
    int64_t now = clock_now_ns(), oldest = INT64_MAX;
    size_t taken = 0;

    if (f->pace == PACE_FREE)
        return true;
    for (size_t i = 0; i < f->seats.length; i++) {
        const struct seat *other = f->seats.items[i];
        if (other == s || other->state != SEAT_APPLY || now - other->asked_ns >= PACE_HOLD_NS)
            continue;
        taken++;
        oldest = other->asked_ns < oldest ? other->asked_ns : oldest;
    }
    if (taken < places(f))
        return true;
    net_timer_start(f->pacer, oldest + PACE_HOLD_NS - now);
    return false;
}

static bool is_behind(const struct seat *s)
{
    return s->state == SEAT_APPLY || (s->connected && s->state != SEAT_REFUSED && !seat_is_level(s));
}

void pace_next(struct fleet *f, bool taken)
{
    bool behind = false;

    if (f->pace == PACE_FREE)
        return;
    if (taken)
        f->pace = PACE_REST;
    for (size_t i = 0; i < f->seats.length; i++)
        behind = behind || is_behind(f->seats.items[i]);
    if (!behind) {
        f->pace = PACE_FREE;
        net_timer_stop(f->pacer);
        return;
    }
    net_timer_start(f->pacer, 0); /* not from inside a member's answer */
}
