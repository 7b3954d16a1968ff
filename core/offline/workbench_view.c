/* What others read of a workbench. */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "offline/workbench_state.h"

char *workbench_object_name(const char *owner_kind, const char *owner_id)
{
    return *owner_kind ? xasprintf("%s %s", owner_kind, owner_id) : NULL;
}

static int compare_ids(const void *left, const void *right)
{
    const struct fragment *const *a = left, *const *b = right;

    return strcmp((*a)->id, (*b)->id);
}

void workbench_each_of(struct workbench *w, const char *kind, const char *id,
                       void (*fn)(void *ctx, const struct fragment *f), void *ctx)
{
    VEC(const struct fragment *) own = {0};
    struct map_slot *slot;

    for (size_t it = 0; (slot = map_next(&w->fragments, &it));) {
        const struct fragment *f = slot->value;
        if (strcmp(f->owner_kind, kind) == 0 && strcmp(f->owner_id, id) == 0)
            vec_push(&own, f);
    }
    if (own.length > 1)
        qsort(own.items, own.length, sizeof(*own.items), compare_ids);
    for (size_t i = 0; i < own.length; i++)
        fn(ctx, own.items[i]);
    vec_done(&own);
}

void workbench_each_fragment(const struct workbench *w, void (*fn)(void *ctx, const struct fragment *f), void *ctx)
{
    struct map_slot *slot;

    for (size_t it = 0; (slot = map_next(&w->fragments, &it));)
        fn(ctx, slot->value);
}

const struct map *workbench_fragment_map(const struct workbench *w)
{
    return &w->fragments;
}

const struct fragment *workbench_fragment(const struct workbench *w, const char *id)
{
    return map_get(&w->fragments, id);
}

bool workbench_is_concealed(const struct workbench *w)
{
    return w->options.dump != NULL;
}

void workbench_accept(struct workbench *w)
{
    model_check_begin(w->model);
    model_check_end(w->model, true);
}

const struct haproxy_caps *workbench_caps(const struct workbench *w)
{
    return &w->caps;
}

const struct config *workbench_config(const struct workbench *w)
{
    return w->config;
}

int workbench_program(const struct workbench *w, struct buf *out, struct err *err)
{
    if (w->program != NULL) {
        buf_puts(out, w->program);
        return 0;
    }
    if (config_program(w->config, &w->caps, w->default_certificate.handle, w->options.extra_context, out, err) < 0)
        return -1;
    return w->options.dump != NULL ? workbench_dump_adopt(w, out, err) : 0;
}

void workbench_set_findings(struct workbench *w, struct findings *findings)
{
    w->findings = findings;
}

struct model *workbench_model(struct workbench *w)
{
    return w->model;
}

struct store *workbench_store(struct workbench *w)
{
    return w->store;
}

struct renderer *workbench_renderer(struct workbench *w)
{
    return w->renderer;
}

const struct render_stats *workbench_stats(const struct workbench *w)
{
    return &w->stats;
}

size_t workbench_fragments(const struct workbench *w)
{
    return w->fragments.count;
}

size_t workbench_objects_read(const struct workbench *w)
{
    size_t count = 0;

    for (size_t i = 0; i < store_kind_count(w->store); i++)
        count += store_kind_objects(store_kind_at(w->store, i));
    return count;
}
