/* Every entry is in the list of its state, and knows its place there. An entry that leaves the queue leaves an empty
 * place, so that the order stays. */
#include <string.h>

#include "controller/status_state.h"

#define QUEUE_CUT 1024

void status_list_out(struct status_writer *w, struct status_entry *e)
{
    struct status_list *l = &w->lists[e->state];

    if (e->slot == UINT32_MAX)
        return;
    if (e->state == STATUS_QUEUED) { /* leaves an empty place, so that the order stays */
        l->items.items[e->slot] = NULL;
    } else {
        l->items.items[l->items.length - 1]->slot = e->slot;
        vec_swap_remove(&l->items, e->slot);
    }
    e->slot = UINT32_MAX;
}

void status_move(struct status_writer *w, struct status_entry *e, enum status_state state)
{
    status_list_out(w, e);
    e->state = state;
    if (state == STATUS_LEVEL)
        return; /* nothing needs a list of these */
    e->slot = (uint32_t)w->lists[state].items.length;
    vec_push(&w->lists[state].items, e);
}

/* Removes the places that were used already, when they are the larger part. */
static void queue_cut(struct status_writer *w)
{
    struct status_list *q = &w->lists[STATUS_QUEUED];

    if (w->head < QUEUE_CUT || w->head < q->items.length / 2)
        return;
    q->items.length -= w->head;
    memmove(q->items.items, q->items.items + w->head, q->items.length * sizeof(struct status_entry *));
    for (size_t i = 0; i < q->items.length; i++)
        if (q->items.items[i] != NULL)
            q->items.items[i]->slot = (uint32_t)i;
    w->head = 0;
}

struct status_entry *status_queue_take(struct status_writer *w)
{
    struct status_list *q = &w->lists[STATUS_QUEUED];

    queue_cut(w);
    while (w->head < q->items.length) {
        struct status_entry *e = q->items.items[w->head++];
        if (e != NULL) {
            q->items.items[w->head - 1] = NULL;
            e->slot = UINT32_MAX;
            return e;
        }
    }
    vec_clear(&q->items);
    w->head = 0;
    return NULL;
}

size_t status_queued(const struct status_writer *w)
{
    return w->lists[STATUS_QUEUED].items.length - w->head;
}

void status_wait(struct status_writer *w, struct status_entry *e)
{
    e->generation = 0;
    status_move(w, e, STATUS_WAITS);
    w->scan_due = true; /* this step may have gone through the list already */
}
