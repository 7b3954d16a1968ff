/* A listener that is removed during a call of the listeners leaves an empty place. The outermost call removes it. */
#include <string.h>

#include "store/store_state.h"

void store_tell(struct store *s, enum store_event event, struct store_kind *kind, struct object *now,
                struct object *before)
{
    s->telling++;
    for (size_t i = 0; i < s->listeners.length; i++)
        if (s->listeners.items[i].fn)
            s->listeners.items[i].fn(s->listeners.items[i].ctx, event, kind, now, before);
    if (--s->telling > 0)
        return;
    size_t kept = 0;
    for (size_t i = 0; i < s->listeners.length; i++)
        if (s->listeners.items[i].fn)
            s->listeners.items[kept++] = s->listeners.items[i];
    s->listeners.length = kept;
}

void store_listen(struct store *s, store_listener *listener, void *ctx)
{
    vec_push(&s->listeners, ((struct listener){listener, ctx}));
}

void store_unlisten(struct store *s, store_listener *listener, void *ctx)
{
    for (size_t i = 0; i < s->listeners.length; i++) {
        struct listener *l = &s->listeners.items[i];
        if (l->fn != listener || l->ctx != ctx)
            continue;
        if (s->telling > 0) {
            l->fn = NULL;
        } else {
            memmove(l, l + 1, (s->listeners.length - i - 1) * sizeof(*l));
            s->listeners.length--;
        }
        return;
    }
}
