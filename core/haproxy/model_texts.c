/* All texts of a model, to find out what they still refer to. The versions of a fragment are mostly the same one. */
#include <string.h>

#include "haproxy/model_state.h"

struct visit {
    void (*fn)(void *ctx, const char *bytes, size_t length);
    void *ctx;
};

static void visit_text(const struct visit *v, const struct text *t)
{
    if (t)
        v->fn(v->ctx, t->bytes, t->length);
}

static void visit_fragment(const struct visit *v, const struct fragment *f)
{
    for (size_t i = 0; f && i < f->count; i++) {
        v->fn(v->ctx, f->items[i].key, strlen(f->items[i].key));
        visit_text(v, f->items[i].text);
    }
}

void model_each_text(const struct model *m, void (*fn)(void *ctx, const char *bytes, size_t length), void *ctx)
{
    const struct visit v = {fn, ctx};
    const struct map_slot *slot;
    for (size_t it = 0; (slot = map_next(&m->records, &it));) {
        const struct record *r = slot->value;
        visit_fragment(&v, r->newest);
        visit_fragment(&v, r->active == r->newest ? NULL : r->active);
        visit_fragment(&v, r->good == r->newest || r->good == r->active ? NULL : r->good);
        visit_fragment(&v, r->checking == r->newest || r->checking == r->good ? NULL : r->checking);
    }
    for (size_t it = 0; (slot = map_next(&m->items, &it));) {
        const struct item *item = slot->value;
        fn(ctx, item->key, strlen(item->key));
        visit_text(&v, item->accepted);
        visit_text(&v, item->rendered == item->accepted ? NULL : item->rendered);
        visit_text(&v, item->checking == item->rendered ? NULL : item->checking);
    }
}
