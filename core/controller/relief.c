/* A fragment has few reasons, so each fragment has a list of them. */
#include "controller/relief.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/vec.h"

#define REASONS_MAX 64 /* of one fragment; messages.h has no more */

struct told {
    char *owner_kind, *owner_id;
    VEC(char *) reasons;
};

static void told_free(struct told *t)
{
    for (size_t i = 0; i < t->reasons.length; i++)
        free(t->reasons.items[i]);
    vec_done(&t->reasons);
    free(t->owner_kind);
    free(t->owner_id);
    free(t);
}

void relief_init(struct relief *r)
{
    map_init(&r->told, false);
}

void relief_done(struct relief *r)
{
    struct map_slot *slot;

    for (size_t it = 0; (slot = map_next(&r->told, &it)) != NULL;)
        told_free(slot->value);
    map_done(&r->told);
}

static bool has_reason(const struct told *t, const char *reason)
{
    for (size_t i = 0; i < t->reasons.length; i++)
        if (strcmp(t->reasons.items[i], reason) == 0)
            return true;
    return false;
}

void relief_note(struct relief *r, const char *fragment_id, const char *owner_kind, const char *owner_id,
                 const char *reason)
{
    struct told *t = map_get(&r->told, fragment_id);

    if (*owner_kind == '\0')
        return; /* it has no owner to tell */
    if (t == NULL) {
        t = xcalloc(1, sizeof(*t));
        t->owner_kind = xstrdup(owner_kind);
        t->owner_id = xstrdup(owner_id);
        (void)map_put(&r->told, fragment_id, t);
    }
    if (t->reasons.length < REASONS_MAX && !has_reason(t, reason))
        vec_push(&t->reasons, xstrdup(reason));
}

void relief_review(struct relief *r, const char *fragment_id, bool (*holds)(void *ctx, const char *reason),
                   void (*over)(void *ctx, const char *owner_kind, const char *owner_id, const char *reason), void *ctx)
{
    struct told *t = map_get(&r->told, fragment_id);

    if (t == NULL)
        return;
    for (size_t i = t->reasons.length; i-- > 0;) {
        if (holds != NULL && holds(ctx, t->reasons.items[i]))
            continue;
        CLEANUP(free_ptr) char *reason = t->reasons.items[i];
        vec_swap_remove(&t->reasons, i);
        over(ctx, t->owner_kind, t->owner_id, reason);
    }
    if (t->reasons.length == 0) {
        (void)map_del(&r->told, fragment_id);
        told_free(t);
    }
}

void relief_each(struct relief *r, void (*fn)(void *ctx, const char *fragment_id), void *ctx)
{
    struct map_slot *slot;

    for (size_t it = 0; (slot = map_next(&r->told, &it)) != NULL;) {
        CLEANUP(free_ptr) char *id = xmemdup0(slot->key, slot->key_length);
        fn(ctx, id);
    }
}

size_t relief_count(const struct relief *r)
{
    return r->told.count;
}
