/* All names of sections first, a slice of them in each turn of the loop; then files and maps in one go: those are
 * digests and tables that are at hand.
 */
#include <string.h>

#include "agent/agent_state.h"
#include "base/alloc.h"

static void add_name(struct walk *w, const char *name, size_t length)
{
    if (!map_putn(&w->seen, name, length, w))
        vec_push(&w->names, xmemdup0(name, length));
}

static void walk_section(void *ctx, struct section *s)
{
    add_name(ctx, s->name, strlen(s->name));
}

void walk_done(struct walk *w)
{
    for (size_t i = 0; i < w->names.length; i++)
        free(w->names.items[i]);
    vec_done(&w->names);
    map_done(&w->seen);
    memset(w, 0, sizeof(*w));
}

void walk_begin(struct agent *a, struct walk *w)
{
    struct map_slot *slot;
    walk_done(w);
    w->a = a;
    model_each_section(a->model, walk_section, w);
    for (size_t it = 0; (slot = map_next(&a->live->sections, &it));)
        add_name(w, slot->key, slot->key_length);
    for (size_t it = 0; (slot = map_next(&a->live->backends, &it));)
        add_name(w, slot->key, slot->key_length);
    map_clear(&w->seen);
}

static void walk_entry(void *ctx, const char *key, const char *value)
{
    struct walk *w = ctx;
    struct apply *p = &w->a->apply;
    struct revealed_entry entry;
    struct err err;
    (void)value;
    const struct item *item = model_map_item(w->a->model, w->map_name, key);
    if (reveal_entry(w->a, key, item->accepted, &entry, &err) < 0) {
        plan_reload(&p->plan, "secret", "%s: %s", w->map->path, err.text);
        return;
    }
    /* Two Secrets may have the same value: the first entry counts, as it does for HAProxy. */
    if (!map_put(&w->seen, entry.key, w))
        touch_entry(w->a, &p->touched, w->map, entry.key, entry.value, &p->plan);
    reveal_entry_done(&entry);
}

static void walk_file(void *ctx, enum contribution_kind kind, const char *name, const char *bytes, size_t length)
{
    struct walk *w = ctx;
    CLEANUP(free_ptr) char *path = image_file_path(kind, name);
    map_put(&w->seen, path, w);
    touch_file(w->a, kind, path, bytes, length, &w->a->apply.plan);
}

static void walk_files(struct walk *w)
{
    struct map_slot *slot;
    map_clear(&w->seen);
    model_each_file(w->a->model, MODEL_ACCEPTED, walk_file, w);
    for (size_t it = 0; (slot = map_next(&w->a->live->files, &it));)
        if (!map_getn(&w->seen, slot->key, slot->key_length))
            plan_reload(&w->a->apply.plan, "file", "%.*s is gone", (int)slot->key_length, slot->key);
}

static void walk_maps(struct walk *w)
{
    struct apply *p = &w->a->apply;
    struct map_slot *slot, *entry;
    for (size_t it = 0; (slot = map_next(&w->a->live->maps, &it));) {
        w->map = slot->value;
        w->map_name = slot->key;
        if (!w->map->used)
            continue;
        map_clear(&w->seen);
        model_each_map_entry(w->a->model, MODEL_ACCEPTED, slot->key, walk_entry, w);
        for (size_t at = 0; (entry = map_next(&w->map->entries, &at));)
            if (!map_getn(&w->seen, entry->key, entry->key_length))
                touch_entry(w->a, &p->touched, w->map, entry->key, NULL, &p->plan);
        for (size_t i = 0; i < w->map->duplicates.length; i++)
            plan_map_duplicate(&p->plan, w->map->path, w->map->duplicates.items[i]);
    }
}

bool walk_step(struct walk *w, int64_t budget_ns)
{
    struct apply *p = &w->a->apply;
    int64_t end = clock_now_ns() + budget_ns;
    while (w->next < w->names.length) {
        touch_section(w->a, &p->touched, w->names.items[w->next++], &p->plan);
        if (w->next % 64 == 0 && clock_now_ns() >= end)
            return false;
    }
    walk_files(w);
    walk_maps(w);
    return true;
}
