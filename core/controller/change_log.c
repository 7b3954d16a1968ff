#include "controller/change_log.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

#define NAMES_MAX 20000
#define STEPS_MAX 20000

static void drop_names(struct change_log *l, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(l->names.items[i].bytes);
    if (count > 0)
        memmove(l->names.items, l->names.items + count, (l->names.length - count) * sizeof(*l->names.items));
    l->names.length -= count;
    l->dropped += count;
}

void change_log_reset(struct change_log *l, struct digest digest)
{
    drop_names(l, l->names.length);
    vec_clear(&l->steps);
    vec_push(&l->steps, ((struct change_step){.digest = digest, .end = l->dropped}));
}

/* Removes the older half at once, so that the cost per change stays low. */
static void shrink(struct change_log *l)
{
    if (l->names.length <= NAMES_MAX && l->steps.length <= STEPS_MAX)
        return;
    size_t first = l->steps.length / 2;
    drop_names(l, l->steps.items[first].end - l->dropped);
    memmove(l->steps.items, l->steps.items + first, (l->steps.length - first) * sizeof(*l->steps.items));
    l->steps.length -= first;
}

void change_log_add(struct change_log *l, const struct model_changes *changes, struct digest digest)
{
    for (size_t i = 0; i < changes->items.length; i++) {
        const struct item *item = changes->items.items[i];
        size_t length = (size_t)(item->key - item->name) + strlen(item->key);
        vec_push(&l->names, ((struct offer_name){.bytes = xmemdup0(item->name, length), .length = length}));
    }
    vec_push(&l->steps, ((struct change_step){.digest = digest, .end = l->dropped + l->names.length}));
    shrink(l);
}

bool change_log_since(const struct change_log *l, struct digest digest, const struct offer_name **ret_names,
                      size_t *ret_count)
{
    for (size_t i = l->steps.length; i-- > 0;) {
        const struct change_step *step = &l->steps.items[i];
        if (!digest_equal(step->digest, digest))
            continue;
        size_t first = step->end - l->dropped;
        *ret_names = l->names.items + first;
        *ret_count = l->names.length - first;
        return true;
    }
    return false;
}

void change_log_done(struct change_log *l)
{
    drop_names(l, l->names.length);
    vec_done(&l->names);
    vec_done(&l->steps);
}
