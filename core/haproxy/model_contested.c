/* Equal keys of several fragments: which fragment loses. Possible changes are kept in a list, so the cost is
 * proportional to the change. */
#include "haproxy/model_state.h"

void model_each_loser(const struct item *item, void (*fn)(void *ctx, const struct fragment *loser), void *ctx)
{
    for (size_t i = 1; i < item->candidate_count; i++) {
        const struct candidate *c = &item->candidates[i];
        if (candidate_class(item, c->fragment, c->contribution) == 0 &&
            !text_equal(c->contribution->text, item->candidates[0].contribution->text))
            fn(ctx, c->fragment);
    }
}

static void note_loser(void *ctx, const struct fragment *loser)
{
    struct item *item = ctx;
    (void)loser;
    item->contested = true;
}

void model_take_contested(struct model *m, void (*fn)(void *ctx, const struct item *item), void *ctx)
{
    while (m->contested.length) {
        struct item *item = m->contested.items[m->contested.length - 1];
        bool before = item->contested;
        list_remove(&m->contested, item, contested_slot);
        item->contested = false;
        model_each_loser(item, note_loser, item);
        if (before || item->contested)
            fn(ctx, item);
        if (item_is_idle(item))
            list_add(&m->idle, item, idle_slot);
    }
}

const char *model_map_declaration(const struct model *m, const char *map_name)
{
    const struct item *item = model_map_item(m, map_name, "");
    for (size_t i = 0; item && i < item->candidate_count; i++)
        if (item->candidates[i].contribution->text->length)
            return item->candidates[i].contribution->text->bytes;
    return NULL;
}
