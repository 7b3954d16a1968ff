/* Pending items are grouped by fragment, including those in a running check: all parts of a fragment are judged
 * together. A group may depend on another one (a route on a backend that another fragment defines). So the groups are
 * checked in several rounds, alternately from either end, while this makes progress: a chain that is sorted in one of
 * the two directions needs two rounds. After some rounds, the rest of an unsorted chain is left to HAProxy's check. */
#include "controller/settle.h"

#include <string.h>

#include "base/alloc.h"
#include "base/map.h"

#define ROUNDS_MAX 8

struct group {
    VEC(struct item *) items;
    size_t waiting; /* items that no running check will settle */
};

struct grouping {
    struct map by_fragment;
    VEC(struct group *) groups;
    size_t waiting; /* of all groups */
};

static void group_item(void *ctx, struct item *item)
{
    struct grouping *g = ctx;
    const struct fragment *f = item->winner ? item->winner : item->accepted_by;
    const char *id = f ? f->id : "";

    struct group *group = map_get(&g->by_fragment, id);
    if (group == NULL) {
        group = xcalloc(1, sizeof(*group));
        map_put(&g->by_fragment, id, group);
        vec_push(&g->groups, group);
    }
    vec_push(&group->items, item);
    if (!item->in_check || !text_equal(item->checking, item->rendered)) {
        group->waiting++;
        g->waiting++;
    }
}

static bool changes_more_than_servers(const struct group *group)
{
    for (size_t i = 0; i < group->items.length; i++)
        if (group->items.items[i]->accepted == NULL || group->items.items[i]->rendered == NULL)
            return true;
    return false;
}

bool settle_structural(struct model *model, settle_judge *is_harmless, const void *ctx, struct settled *ret_settled)
{
    struct grouping g = {0};

    *ret_settled = (struct settled){0};

    model_each_pending(model, group_item, &g);
    bool progress = true;
    for (size_t round = 0; progress && round < ROUNDS_MAX; round++) {
        progress = false;
        for (size_t i = 0; i < g.groups.length; i++) {
            struct group *group = g.groups.items[round % 2 == 0 ? i : g.groups.length - 1 - i];
            if (group->waiting == 0 || !is_harmless(ctx, group->items.items, group->items.length))
                continue;
            ret_settled->beyond_servers = ret_settled->beyond_servers || changes_more_than_servers(group);
            for (size_t j = 0; j < group->items.length; j++)
                model_accept(model, group->items.items[j]);
            ret_settled->groups++;
            g.waiting -= group->waiting;
            group->waiting = 0;
            progress = true;
        }
    }
    for (size_t i = 0; i < g.groups.length; i++) {
        vec_done(&g.groups.items[i]->items);
        free(g.groups.items[i]);
    }
    vec_done(&g.groups);
    map_done(&g.by_fragment);
    return g.waiting > 0;
}
