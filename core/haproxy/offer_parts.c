/* An owner's items may come in several frames. Each frame made a fragment of its own. */
#include "haproxy/offer_parts.h"

#include <stdlib.h>
#include <string.h>

#include "base/vec.h"

static int compare_owners(const void *a, const void *b)
{
    const struct direct_change *const *x = a, *const *y = b;
    int order = strcmp((*x)->owner->id, (*y)->owner->id);
    if (order == 0)
        order = (int)(*x)->kind - (int)(*y)->kind;
    if (order == 0)
        order = strcmp((*x)->scope, (*y)->scope);
    return order != 0 ? order : strcmp((*x)->key, (*y)->key);
}

static struct fragment *make_part(const struct direct_change *const *changes, size_t count)
{
    const struct fragment *owner = changes[0]->owner;
    const struct fragment_head head = {.id = owner->id,
                                       .template_name = owner->template_name,
                                       .owner_kind = owner->owner_kind,
                                       .owner_id = owner->owner_id,
                                       .owner_created_s = owner->owner_created_s};
    VEC(struct contribution_input) inputs = {0};
    for (size_t i = 0; i < count; i++) {
        const struct direct_change *c = changes[i];
        vec_push(&inputs, contribution_input_of(c->kind, c->rank, c->order, c->scope, c->key, c->text));
    }
    struct fragment *part = fragment_new(&head, inputs.items, inputs.length);
    vec_done(&inputs);
    return part;
}

void offer_each_part(const struct offer *o, void (*fn)(void *ctx, struct fragment *part), void *ctx)
{
    VEC(const struct direct_change *) sorted = {0};
    for (size_t i = 0; i < o->changes.items.length; i++)
        if (o->changes.items.items[i].text)
            vec_push(&sorted, &o->changes.items.items[i]);
    if (sorted.length)
        qsort(sorted.items, sorted.length, sizeof(*sorted.items), compare_owners);
    for (size_t at = 0; at < sorted.length;) {
        size_t end = at + 1;
        while (end < sorted.length && strcmp(sorted.items[end]->owner->id, sorted.items[at]->owner->id) == 0)
            end++;
        struct fragment *part = make_part(&sorted.items[at], end - at);
        fn(ctx, part);
        fragment_unref(part);
        at = end;
    }
    vec_done(&sorted);
}
