/* A list, because there are few members: each has ended a renderer. */
#include "engine/penalties.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "engine/frame.h"

#define PENALTIES_MAX 1000
/* The first rest is a part of a deadline. Each further rest is four times as long as the one before. */
#define FIRST_PART 10
#define STEPS_MAX 8
#define REST_MAX_NS (300 * NS_PER_S)

void penalties_done(struct penalties *p)
{
    for (size_t i = 0; i < p->items.length; i++)
        free(p->items.items[i].namespace_name);
    vec_done(&p->items);
}

static struct penalty *find(struct penalties *p, const char *name, size_t length)
{
    for (size_t i = 0; i < p->items.length; i++)
        if (strlen(p->items.items[i].namespace_name) == length &&
            memcmp(p->items.items[i].namespace_name, name, length) == 0)
            return &p->items.items[i];
    return NULL;
}

void penalties_add(struct penalties *p, const char *owner_id, int64_t deadline_ns, int64_t now_ns)
{
    size_t length = strcspn(owner_id, "/");

    if (owner_id[length] == '\0')
        return;
    struct penalty *penalty = find(p, owner_id, length);
    if (!penalty) {
        if (p->items.length == PENALTIES_MAX)
            return;
        vec_push(&p->items, ((struct penalty){.namespace_name = xmemdup0(owner_id, length)}));
        penalty = &p->items.items[p->items.length - 1];
    }
    int64_t rest = (deadline_ns / FIRST_PART) << 2 * (penalty->ends < STEPS_MAX ? penalty->ends : STEPS_MAX);
    penalty->ends++;
    penalty->until_ns = now_ns + (rest < REST_MAX_NS ? rest : REST_MAX_NS);
}

void penalties_send(const struct penalties *p, struct buf *out, int64_t now_ns)
{
    for (size_t i = 0; i < p->items.length; i++) {
        const struct penalty *penalty = &p->items.items[i];
        if (penalty->until_ns <= now_ns)
            continue;
        size_t mark = frame_begin(out, FRAME_REST);
        frame_add_string(out, penalty->namespace_name);
        frame_add_number(out, (penalty->until_ns - now_ns) / NS_PER_MS + 1);
        frame_end(out, mark);
    }
}

static bool waits(const struct render_stats *stats, const char *name)
{
    for (size_t i = 0; i < stats->held_count; i++)
        if (stats->held[i].by_time && strcmp(stats->held[i].namespace_name, name) == 0)
            return true;
    return false;
}

void penalties_review(struct penalties *p, const struct render_stats *stats, int64_t now_ns)
{
    for (size_t i = p->items.length; i-- > 0 && !stats->unfinished;) {
        struct penalty *penalty = &p->items.items[i];
        if (penalty->until_ns > now_ns || waits(stats, penalty->namespace_name))
            continue;
        free(penalty->namespace_name);
        vec_swap_remove(&p->items, i);
    }
}
