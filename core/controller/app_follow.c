/* Is what this replica knows still the cluster's state, and does anybody deploy it? A kind whose watch fails is missed
 * changes of; a while of that is normal (an API server that restarts), more is not.
 *
 * Where no kind is followed and none is refused, the API server itself is away. All replicas are in the same position
 * then, and what they serve is the best there is: readiness would only take it away from the clients. */
#include "base/clock.h"
#include "controller/app_parts.h"

/* docs/operations/running.md names it. */
#define UNFOLLOWED_MAX_NS (60 * NS_PER_S)

static bool is_any_followed(const struct app *app)
{
    struct source_kube_status s;

    for (size_t i = 0; i < app->config->kinds.length; i++) {
        if (source_kube_status(app->source_kube, app->config->kinds.items[i].name, &s) && s.is_synced &&
            s.unfollowed_ns == 0 && !s.is_idle)
            return true;
    }
    return false;
}

/* A kind that was refused from the start does not come by waiting. */
static bool is_too_long(const struct source_kube_status *s, int64_t now_ns)
{
    return s->unfollowed_ns != 0 &&
           ((s->is_denied && s->was_never_followed) || now_ns - s->unfollowed_ns > UNFOLLOWED_MAX_NS);
}

bool app_follows(const struct app *app, struct buf *why)
{
    int64_t now_ns = clock_now_ns();
    bool follows = true;

    if (app->source_kube == NULL)
        return true;
    bool is_reachable = is_any_followed(app);
    for (size_t i = 0; i < app->config->kinds.length; i++) {
        const char *name = app->config->kinds.items[i].name;
        struct source_kube_status s;
        if (!source_kube_status(app->source_kube, name, &s) || !is_too_long(&s, now_ns) ||
            (!s.is_denied && !is_reachable))
            continue;
        follows = false;
        if (why != NULL)
            buf_printf(why, "not followed: %s: %s\n", name, s.unfollowed_error);
    }
    return follows;
}

bool app_has_leader(const struct app *app, struct buf *why)
{
    const char *error = leader_refusal(app->leader);

    if (error != NULL && why != NULL)
        buf_printf(why, "no replica leads: %s\n", error);
    return error == NULL;
}
