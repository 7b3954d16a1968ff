/* Does this replica follow the cluster's state, and does a leader deploy it? While the watch of a kind fails, its
 * changes are missed. This is normal for a short time (for example when an API server restarts), but not for long.
 *
 * If no kind is followed and the API server refused none, the API server is not reachable. This concerns all replicas
 * in the same way, and the last state is the best that there is. So the replica stays ready, because an unready replica
 * would help no client. */
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

/* A kind that was refused from the start is not waited for. */
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
