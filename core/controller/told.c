/* Records what the owners were told, and decides whether it is over. */
#include <string.h>

#include "base/alloc.h"
#include "controller/reconcile_state.h"

void reconcile_told(struct reconcile *r, const struct notice *n)
{
    if (n->kind == NOTICE_WARNING || n->kind == NOTICE_FAILURE)
        relief_note(&r->relief, n->fragment_id, n->owner_kind, n->owner_id, n->reason);
}

void reconcile_told_quarantine(struct reconcile *r, const struct fragment *f)
{
    relief_note(&r->released, f->id, f->owner_kind, f->owner_id, REASON_QUARANTINED);
}

bool reconcile_is_over(const struct reconcile *r, const struct notice *n, const struct messages *messages)
{
    CLEANUP(free_ptr) char *reason = xmemdup0(n->message, strcspn(n->message, ":"));

    if (strcmp(reason, REASON_QUARANTINED) == 0)
        return model_quarantine_reason(r->model, n->fragment_id) == NULL;
    if (strcmp(reason, REASON_FAILED) == 0 || strcmp(reason, REASON_KILLED) == 0)
        return !problems_is_failing(&r->problems, n->fragment_id);
    return !messages_has_reason(messages, CONTRIBUTION_WARNING, reason);
}
