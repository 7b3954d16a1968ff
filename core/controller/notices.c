/* Waiting notices form a queue, all with the same waiting time, and a chain for each fragment, to find those that a
 * change concerns. A notice that is dropped leaves its chain at once, and the queue when its turn comes. A token bucket
 * limits the logging. */
#include "controller/notices.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/log.h"

#define BURST 20
#define SUM_UP_NS (10 * NS_PER_S)

struct waiting {
    struct notice notice; /* owns its strings */
    int64_t end_ns;
    bool forgotten;
    struct waiting *next; /* of the same fragment */
};

/* ---- waiting notices ---- */

static void waiting_free(struct waiting *w)
{
    free((char *)(uintptr_t)w->notice.fragment_id);
    free((char *)(uintptr_t)w->notice.owner_kind);
    free((char *)(uintptr_t)w->notice.owner_id);
    free((char *)(uintptr_t)w->notice.reason);
    free((char *)(uintptr_t)w->notice.message);
    free(w);
}

void notices_done(struct notices *n)
{
    for (size_t i = 0; i < n->in_turn.length; i++)
        waiting_free(n->in_turn.items[i]);
    vec_done(&n->in_turn);
    map_done(&n->waiting);
}

void notices_wait(struct notices *n, const struct notice *what, int64_t now_ns)
{
    struct waiting *w = xcalloc(1, sizeof(*w));

    w->notice = (struct notice){.kind = what->kind,
                                .fragment_id = xstrdup(what->fragment_id),
                                .owner_kind = xstrdup(what->owner_kind),
                                .owner_id = xstrdup(what->owner_id),
                                .reason = xstrdup(what->reason),
                                .message = xstrdup(what->message)};
    w->end_ns = now_ns + NOTICES_WAIT_NS;
    w->next = map_get(&n->waiting, what->fragment_id);
    (void)map_put(&n->waiting, what->fragment_id, w);
    vec_push(&n->in_turn, w);
}

static void chain_set(struct notices *n, const char *fragment_id, struct waiting *first)
{
    if (first != NULL)
        (void)map_put(&n->waiting, fragment_id, first);
    else
        (void)map_del(&n->waiting, fragment_id);
}

void notices_review(struct notices *n, const char *fragment_id, notice_holds *holds, void *ctx)
{
    struct waiting *first = map_get(&n->waiting, fragment_id);

    if (first == NULL)
        return;
    for (struct waiting **at = &first; *at != NULL;) {
        struct waiting *w = *at;
        w->forgotten = holds == NULL || !holds(ctx, &w->notice);
        if (w->forgotten)
            *at = w->next;
        else
            at = &w->next;
    }
    chain_set(n, fragment_id, first);
}

static void chain_remove(struct notices *n, const struct waiting *gone)
{
    struct waiting *first = map_get(&n->waiting, gone->notice.fragment_id);

    for (struct waiting **at = &first; *at != NULL; at = &(*at)->next)
        if (*at == gone) {
            *at = gone->next;
            break;
        }
    chain_set(n, gone->notice.fragment_id, first);
}

bool notices_take(struct notices *n, int64_t now_ns, notice_tell *tell, void *ctx)
{
    size_t count = 0;

    for (; count < n->in_turn.length && n->in_turn.items[count]->end_ns <= now_ns; count++) {
        struct waiting *w = n->in_turn.items[count];
        if (!w->forgotten) {
            chain_remove(n, w);
            tell(ctx, &w->notice);
        }
        waiting_free(w);
    }
    if (count > 0)
        memmove(n->in_turn.items, n->in_turn.items + count, (n->in_turn.length - count) * sizeof(struct waiting *));
    n->in_turn.length -= count;
    return n->in_turn.length > 0;
}

/* ---- logging ---- */

bool notices_pass(struct notices *n)
{
    int64_t now = clock_now_ns();

    n->tokens = n->refilled_ns == 0 ? BURST : n->tokens + (double)(now - n->refilled_ns) / (double)NS_PER_S;
    if (n->tokens > BURST)
        n->tokens = BURST;
    n->refilled_ns = now;
    if (n->tokens < 1) {
        n->held_back++;
        return false;
    }
    n->tokens--;
    return true;
}

void notices_sum_up(struct notices *n)
{
    int64_t now = clock_now_ns();

    if (n->held_back == 0 || (n->summed_up_ns != 0 && now - n->summed_up_ns < SUM_UP_NS))
        return;
    log_warn("More messages about objects were not logged; /debug/state lists what is wrong now", "count",
             log_int((int64_t)n->held_back));
    n->held_back = 0;
    n->summed_up_ns = now;
}
