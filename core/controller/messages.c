/* One pass over the fragment. Most fragments have no message, and cost no allocation. */
#include "controller/messages.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"

static size_t name_of(char *name, size_t size, enum contribution_kind kind, const char *reason)
{
    int length = snprintf(name, size, "%d %s", (int)kind, reason);
    return (size_t)length < size ? (size_t)length : size - 1;
}

static void add(struct messages *m, enum contribution_kind kind, const char *reason, const char *text)
{
    char name[128];
    size_t length = name_of(name, sizeof(name), kind, reason);

    vec_push(&m->items, ((struct message){kind, reason, text}));
    (void)map_putn(&m->index, name, length, (void *)(uintptr_t)m->items.length);
}

void messages_init(struct messages *m, const struct fragment *f)
{
    size_t rest = 0;

    *m = (struct messages){0};
    for (size_t i = 0; f != NULL && i < f->count; i++) {
        const struct contribution *c = &f->items[i];
        if (c->kind != CONTRIBUTION_EVENT && c->kind != CONTRIBUTION_WARNING)
            continue;
        if (m->items.length < MESSAGES_MAX)
            add(m, c->kind, c->key, c->text->bytes);
        else
            rest++;
    }
    if (rest == 0)
        return;
    snprintf(m->rest, sizeof(m->rest), "%zu more messages of this object are not told", rest);
    add(m, CONTRIBUTION_WARNING, "MoreMessages", m->rest);
}

void messages_done(struct messages *m)
{
    vec_done(&m->items);
    map_done(&m->index);
}

bool messages_has_reason(const struct messages *m, enum contribution_kind kind, const char *reason)
{
    char name[128];

    return map_getn(&m->index, name, name_of(name, sizeof(name), kind, reason)) != NULL;
}

bool messages_has(const struct messages *m, enum contribution_kind kind, const char *reason, const char *text)
{
    char name[128];
    size_t at = (size_t)(uintptr_t)map_getn(&m->index, name, name_of(name, sizeof(name), kind, reason));

    return at > 0 && strcmp(m->items.items[at - 1].text, text) == 0;
}
