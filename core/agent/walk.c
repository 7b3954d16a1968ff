/* First the names of all sections, a slice in each turn of the loop. Then files and maps in one step, because their
 * digests and tables are in memory.
 */
#include <string.h>

#include "agent/agent_state.h"
#include "base/alloc.h"
#include "base/log.h"
#include "haproxy/draft.h"

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
    map_done(&w->news);
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

/* True for a section that was accepted, or removed, after the apply began. */
static bool section_is_news(const struct section *s)
{
    bool news = s && s->from && s->from->changed;
    for (size_t i = 0; s && !news && i < s->pieces.length; i++)
        news = s->pieces.items[i]->changed;
    return news;
}

static bool entry_is_news(const struct item *item)
{
    return item && item->changed;
}

static void note_file(void *ctx, struct item *item)
{
    struct walk *w = ctx;
    if (!image_has_file(item->kind))
        return;
    CLEANUP(free_ptr) char *path = draft_path(item->kind, item->scope);
    map_put(&w->news, path, w);
}

static void walk_entry(void *ctx, const char *key, const char *value)
{
    struct walk *w = ctx;
    struct apply *p = &w->a->apply;
    struct revealed_entry entry;
    struct err err;
    (void)value;
    const struct item *item = model_map_item(w->a->model, w->map_name, key);
    bool news = entry_is_news(item) || entry_is_guarded(w->a, item, &w->a->apply.plan);
    if (reveal_entry(w->a, key, item->accepted, &entry, &err) < 0) {
        plan_reload(&p->plan, "secret", "%s: %s", w->map->path, err.text);
        return;
    }
    /* Two Secrets may have the same value. Then the first entry counts, as in HAProxy. */
    if (!map_put(&w->seen, entry.key, w) && !news)
        touch_entry(w->a, &p->touched, w->map, entry.key, entry.value, &p->plan);
    reveal_entry_done(&entry);
}

static void walk_file(void *ctx, enum contribution_kind kind, const char *name, const char *bytes, size_t length)
{
    struct walk *w = ctx;
    CLEANUP(free_ptr) char *path = draft_path(kind, name);
    map_put(&w->seen, path, w);
    /* For a list, each name is handled by itself. */
    if (kind == CONTRIBUTION_CRT_LIST || !map_get(&w->news, path))
        touch_stored(w->a, &w->a->apply.touched, kind, path, bytes, length, &w->a->apply.plan);
}

/* Certificates that HAProxy has loaded and no text wants. Transactions that were left open are aborted before. */
static void walk_certificates(struct walk *w)
{
    struct apply *p = &w->a->apply;
    struct map_slot *slot;
    for (size_t it = 0; (slot = map_next(&w->a->live->certificates, &it));)
        if (!map_getn(&w->seen, slot->key, slot->key_length) && !map_getn(&w->news, slot->key, slot->key_length))
            touch_certificate(w->a, &p->touched, slot->key, NULL, &p->plan);
}

static void walk_transaction(struct walk *w)
{
    for (int kind = 0; kind < SSL_FILE_KINDS; kind++) {
        struct plan part = {0};
        if (!w->a->live->transactions[kind])
            continue;
        plan_certificate_abort(&part, (enum ssl_file_kind)kind, w->a->live->transactions[kind]);
        (void)plan_take(&w->a->apply.plan, &part);
    }
}

static void walk_files(struct walk *w)
{
    struct map_slot *slot;
    map_clear(&w->seen);
    model_each_changed(w->a->model, note_file, w);
    walk_transaction(w);
    model_each_file(w->a->model, MODEL_ACCEPTED, walk_file, w);
    walk_certificates(w);
    for (size_t it = 0; (slot = map_next(&w->a->live->files, &it));)
        if (!map_getn(&w->seen, slot->key, slot->key_length) && !map_getn(&w->news, slot->key, slot->key_length) &&
            !map_getn(&w->a->live->certificates, slot->key, slot->key_length))
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
            if (!map_getn(&w->seen, entry->key, entry->key_length) &&
                !entry_is_news(model_map_item(w->a->model, slot->key, entry->key)))
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
        const char *name = w->names.items[w->next++];
        unsigned reloads = p->plan.reloads;
        if (!section_is_news(model_section(w->a->model, name)))
            touch_section(w->a, &p->touched, name, &p->plan);
        if (p->plan.reloads != reloads)
            pace_note_section(w->a, name);
        if (w->next % 64 == 0 && clock_now_ns() >= end)
            return false;
    }
    walk_files(w);
    walk_maps(w);
    return true;
}

void walk_note_drift(struct agent *a)
{
    struct apply *p = &a->apply;
    if (!p->drift || (!plan_count(&p->plan) && !p->plan.reload))
        return;
    static const char help[] =
        "Differences from the accepted configuration that were found in a running HAProxy and repaired.";
    a->drift_repairs++;
    if (p->plan.reload)
        metric_add(metric_counter(a->metrics, "haptic_drift_repairs_total", help, "kind", p->plan.reload_class), 1);
    for (size_t stage = 0; stage < PLAN_STAGES; stage++)
        for (size_t i = 0; i < p->plan.ops[stage].length; i++)
            metric_add(metric_counter(a->metrics, "haptic_drift_repairs_total", help, "kind",
                                      plan_op_name(p->plan.ops[stage].items[i].type)),
                       1);
    CLEANUP(free_ptr) char *first = agent_redacted(a, plan_first(&p->plan));
    log_warn("HAProxy differed from what was deployed; repairing it", "operations",
             log_int((int64_t)plan_count(&p->plan)), "first", first);
}
