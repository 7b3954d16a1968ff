/* Decides when a problem that an owner was told about is over. This is checked when its fragment changes, and for a
 * quarantine after something was accepted. The end of a problem is told, like the problem, only after it has lasted. */
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "controller/reconcile_state.h"

#define OVER "ProblemSolved"

struct look {
    struct reconcile *r;
    const struct messages *messages;
    const char *fragment_id;
};

/* True while the problem with this reason still exists. */
static bool holds(void *ctx, const char *reason)
{
    const struct look *look = ctx;

    if (strcmp(reason, REASON_FAILED) == 0 || strcmp(reason, REASON_KILLED) == 0)
        return problems_is_failing(&look->r->problems, look->fragment_id);
    return look->messages != NULL && messages_has_reason(look->messages, CONTRIBUTION_WARNING, reason);
}

static void over(void *ctx, const char *owner_kind, const char *owner_id, const char *reason)
{
    const struct look *look = ctx;
    CLEANUP(free_ptr) char *message = xasprintf("%s: no longer the case", reason);

    reconcile_tell_later(look->r, &(struct notice){.kind = NOTICE_OVER,
                                                   .fragment_id = look->fragment_id,
                                                   .owner_kind = owner_kind,
                                                   .owner_id = owner_id,
                                                   .reason = OVER,
                                                   .message = message});
}

void reconcile_relieve(struct reconcile *r, const char *fragment_id, const struct messages *messages)
{
    struct look look = {.r = r, .messages = messages, .fragment_id = fragment_id};

    relief_review(&r->relief, fragment_id, holds, over, &look);
}

static void relieve_if_gone(void *ctx, const char *fragment_id)
{
    struct reconcile *r = ctx;

    if (model_fragment(r->model, fragment_id) == NULL && !problems_is_failing(&r->problems, fragment_id))
        reconcile_relieve(r, fragment_id, NULL);
}

void reconcile_relieve_gone(struct reconcile *r)
{
    relief_each(&r->relief, relieve_if_gone, r);
}

static void relieve_if_released(void *ctx, const char *fragment_id)
{
    struct reconcile *r = ctx;
    struct look look = {.r = r, .fragment_id = fragment_id};
    bool is_gone = model_fragment(r->model, fragment_id) == NULL;

    if (is_gone || (model_quarantine_reason(r->model, fragment_id) == NULL && model_is_settled(r->model, fragment_id)))
        relief_review(&r->released, fragment_id, NULL, over, &look);
}

void reconcile_relieve_released(struct reconcile *r)
{
    if (relief_count(&r->released) > 0)
        relief_each(&r->released, relieve_if_released, r);
}
