/* Reports to the owners of objects, in the log and as Events, after a problem has lasted. */
#include "base/clock.h"
#include "base/log.h"
#include "controller/reconcile_state.h"

#define NOTICES_LOOK_MS 250

/* The state that a notice of a fragment is compared with. */
struct review {
    struct reconcile *r;
    struct messages messages;
};

static bool notice_is_true(void *ctx, const struct notice *n)
{
    const struct review *review = ctx;

    switch (n->kind) {
    case NOTICE_FAILURE:
        return problems_has(&review->r->problems, n->fragment_id, n->message);
    case NOTICE_WARNING:
        return messages_has(&review->messages, CONTRIBUTION_WARNING, n->reason, n->message);
    case NOTICE_EVENT:
        return messages_has(&review->messages, CONTRIBUTION_EVENT, n->reason, n->message);
    case NOTICE_CONFLICT:
    case NOTICE_GAIN:
        return conflicts_holds(&review->r->conflicts, n);
    case NOTICE_OVER:
        return reconcile_is_over(review->r, n, &review->messages);
    }
    return false;
}

static bool is_warning(const struct notice *n)
{
    return n->kind != NOTICE_EVENT && n->kind != NOTICE_GAIN && n->kind != NOTICE_OVER;
}

static void tell(struct reconcile *r, const struct notice *n)
{
    if (notices_pass(&r->notices)) {
        if (n->kind == NOTICE_FAILURE)
            log_warn(model_has_good(r->model, n->fragment_id)
                         ? "Template failed; the last good output of this object stays in force"
                         : "Template failed; this object has no output yet",
                     "fragment", n->fragment_id, "object_kind", n->owner_kind, "object", n->owner_id, "error",
                     n->message);
        else
            log_write(is_warning(n) ? LOG_WARN : LOG_INFO,
                      !is_warning(n)           ? "Message for an object's owner"
                      : *n->owner_kind == '\0' ? "Configuration has a problem"
                                               : "Object has a problem",
                      "reason", n->reason, "object_kind", n->owner_kind, "object", n->owner_id, "message", n->message,
                      (char *)NULL);
    }
    r->ops.notify(r->ctx, is_warning(n), n->owner_kind, n->owner_id, n->reason, n->message);
    reconcile_told(r, n);
}

/* The problem has lasted. It may be over by now: a rendering without the object may be running, or may have replaced
 * all output. */
static void tell_if_true(void *ctx, const struct notice *n)
{
    struct reconcile *r = ctx;
    const struct store_kind *kind = store_kind_by_name(r->store, n->owner_kind);

    if (*n->owner_kind != '\0' && (kind == NULL || store_get(kind, n->owner_id) == NULL))
        return;
    struct review review = {.r = r};
    messages_init(&review.messages, model_fragment(r->model, n->fragment_id));
    if (notice_is_true(&review, n))
        tell(r, n);
    messages_done(&review.messages);
}

static void on_notices(uv_timer_t *timer)
{
    struct reconcile *r = timer->data;

    if (!notices_take(&r->notices, clock_now_ns(), tell_if_true, r))
        uv_timer_stop(timer);
    notices_sum_up(&r->notices);
}

static void start_notices(struct reconcile *r)
{
    if (!r->stopped && !uv_is_active((uv_handle_t *)&r->notice_timer))
        uv_timer_start(&r->notice_timer, on_notices, NOTICES_LOOK_MS, NOTICES_LOOK_MS);
}

void reconcile_tell_later(struct reconcile *r, const struct notice *n)
{
    notices_wait(&r->notices, n, clock_now_ns());
    start_notices(r);
}

/* All kinds are listed before the first rendering, so its problems will not disappear within milliseconds. */
void reconcile_tell(struct reconcile *r, const struct notice *n)
{
    if (!r->rendered) {
        tell(r, n);
        return;
    }
    reconcile_tell_later(r, n);
}

void reconcile_review(struct reconcile *r, const char *fragment_id, const struct messages *messages)
{
    struct review review = {.r = r};

    if (messages != NULL)
        review.messages = *messages;
    notices_review(&r->notices, fragment_id, messages != NULL ? notice_is_true : NULL, &review);
}
