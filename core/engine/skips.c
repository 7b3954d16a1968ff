/* A list, because there are few members: each has ended a process. */
#include "engine/skips.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "engine/frame.h"

#define SKIPS_MAX 10000

static void skip_done(struct skip *s)
{
    free(s->id);
    free(s->owner_kind);
    free(s->owner_id);
}

void skips_done(struct skips *s)
{
    for (size_t i = 0; i < s->items.length; i++)
        skip_done(&s->items.items[i]);
    vec_done(&s->items);
}

void skips_add(struct skips *s, const struct at_hand *at_hand)
{
    if (s->items.length == SKIPS_MAX)
        return;
    vec_push(&s->items, ((struct skip){.id = xstrdup(at_hand->id),
                                       .owner_kind = xstrdup(at_hand->owner_kind),
                                       .owner_id = xstrdup(at_hand->owner_id)}));
}

void skips_drop_owner(struct skips *s, const char *kind, const char *id)
{
    for (size_t i = s->items.length; i-- > 0;) {
        struct skip *skip = &s->items.items[i];
        if (strcmp(skip->owner_id, id) == 0 && strcmp(skip->owner_kind, kind) == 0) {
            skip_done(skip);
            vec_swap_remove(&s->items, i);
        }
    }
}

void skips_send(const struct skips *s, struct buf *out)
{
    for (size_t i = 0; i < s->items.length; i++) {
        size_t mark = frame_begin(out, FRAME_SKIP);
        frame_add_string(out, s->items.items[i].id);
        frame_end(out, mark);
    }
}

static bool starts_with(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

bool skips_blame(struct skips *s, const char *reason, const char *id)
{
    if (id[0] == '\0' || starts_with(reason, "protocol") || starts_with(reason, "setup"))
        return false;
    if (strcmp(reason, "crash: SIGKILL") != 0 && strcmp(reason, "crash: SIGTERM") != 0)
        return true;
    bool again = strcmp(s->suspect, id) == 0;
    snprintf(s->suspect, sizeof(s->suspect), "%s", id);
    return again;
}
