/* A deployment has settled when no reachable member is still applying it. */
#include "controller/fleet_pace.h"

void fleet_status(const struct fleet *f, struct fleet_status *ret_status)
{
    *ret_status = (struct fleet_status){.members = f->seats.length};
    for (size_t i = 0; i < f->seats.length; i++) {
        const struct seat *s = f->seats.items[i];
        ret_status->connected += s->connected;
        ret_status->verified += s->state == SEAT_VERIFIED && seat_is_level(s);
        ret_status->refused += s->state == SEAT_REFUSED;
        ret_status->divergent += s->state == SEAT_DIVERGENT;
    }
}

/* A member that cannot be reached or that refuses delays no deployment. A member that was never asked does. A member
 * that has been divergent for longer than a deployment may take delays none: its HAProxy is broken, or its proofs are
 * wrong. */
static bool holds_up(const struct seat *s)
{
    if (s->astray_ns != 0 && clock_now_ns() - s->astray_ns >= s->fleet->config.timeout_ns)
        return false;
    return s->state == SEAT_APPLY || s->state == SEAT_COMPARE || s->state == SEAT_DIVERGENT ||
           (s->state == SEAT_VERIFIED && !seat_is_level(s)) || /* it is being asked something */
           (s->state == SEAT_CONNECT && !*s->problem);
}

void fleet_look(struct fleet *f)
{
    struct fleet_status status;
    for (size_t i = 0; i < f->seats.length; i++)
        if (holds_up(f->seats.items[i]))
            return;
    if (!f->unsettled || f->seats.length == 0)
        return;
    f->unsettled = false;
    fleet_status(f, &status);
    const struct fleet_deployment deployment = {.generation = f->generation,
                                                .verified = (unsigned)status.verified,
                                                .members = (unsigned)status.members,
                                                .operations = f->operations,
                                                .reloads = f->reloads,
                                                .bytes = f->sent,
                                                .duration_ns = clock_now_ns() - f->began_ns};
    metric_observe_ns(f->duration, deployment.duration_ns);
    f->ops.settled(f->ctx, &deployment);
}
