/* Sections first, then files, then the entries of each map, a slice in each turn of the loop. The names of a stage are
 * taken when it begins, since the model may change between two slices.
 */
#include <string.h>

#include "agent/agent_state.h"
#include "base/alloc.h"
#include "base/log.h"
#include "haproxy/draft.h"

#define CLOCK_STEPS 16 /* between two looks at the clock */

static void names_clear(struct walk *w)
{
    for (size_t i = 0; i < w->names.length; i++)
        free(w->names.items[i]);
    vec_clear(&w->names);
    w->next = 0;
}

void walk_done(struct walk *w)
{
    names_clear(w);
    vec_done(&w->names);
    map_done(&w->seen);
    memset(w, 0, sizeof(*w));
}

/* ---- sections ---- */

static void add_wanted(void *ctx, struct section *s)
{
    struct walk *w = ctx;
    vec_push(&w->names, xstrdup(s->name));
}

static void add_live(struct walk *w, const struct map *live)
{
    const struct map_slot *slot;
    for (size_t it = 0; (slot = map_next(live, &it));)
        if (!model_section(w->a->model, slot->key))
            vec_push(&w->names, xmemdup0(slot->key, slot->key_length));
}

void walk_begin(struct agent *a, struct walk *w)
{
    walk_done(w);
    w->a = a;
    model_each_section(a->model, add_wanted, w);
    add_live(w, &a->live->sections);
    add_live(w, &a->live->backends);
}

/* True for a section that was accepted, or removed, after the apply began. */
static bool section_is_news(const struct section *s)
{
    bool news = s && s->from && s->from->changed;
    for (size_t i = 0; s && !news && i < s->pieces.length; i++)
        news = s->pieces.items[i]->changed;
    return news;
}

static void walk_section(struct walk *w, const char *name)
{
    struct apply *p = &w->a->apply;
    unsigned reloads = p->plan.reloads;
    if (!section_is_news(model_section(w->a->model, name)))
        touch_section(w->a, &p->touched, name, &p->plan);
    if (p->plan.reloads != reloads)
        pace_note_section(w->a, name);
}

/* ---- files ---- */

/* The kind is the first byte. */
static void add_file(void *ctx, enum contribution_kind kind, const char *name)
{
    struct walk *w = ctx;
    vec_push(&w->names, xasprintf("%c%s", (char)kind, name));
}

static void files_begin(struct walk *w)
{
    struct agent *a = w->a;
    for (int kind = 0; kind < SSL_FILE_KINDS; kind++) {
        struct plan part = {0};
        if (!a->live->transactions[kind])
            continue;
        plan_certificate_abort(&part, (enum ssl_file_kind)kind, a->live->transactions[kind]);
        (void)plan_take(&a->apply.plan, &part);
    }
    model_each_file_name(a->model, add_file, w);
}

static void walk_file(struct walk *w, enum contribution_kind kind, const char *name)
{
    struct agent *a = w->a;
    CLEANUP(buf_done) struct buf text = {0};
    CLEANUP(free_ptr) char *path = draft_path(kind, name);
    if (!model_file_text(a->model, MODEL_ACCEPTED, kind, name, &text))
        return;
    map_put(&w->seen, path, w);
    /* For a list, each name is handled by itself. */
    if (kind == CONTRIBUTION_CRT_LIST || !model_file_is_changed(a->model, kind, name))
        touch_stored(a, &a->apply.touched, kind, path, buf_str(&text), text.length, &a->apply.plan);
}

static void note_news(void *ctx, struct item *item)
{
    struct map *news = ctx;
    if (!image_has_file(item->kind))
        return;
    CLEANUP(free_ptr) char *path = draft_path(item->kind, item->scope);
    map_put(news, path, news);
}

/* Files that HAProxy has loaded and no text wants. */
static void files_end(struct walk *w)
{
    struct agent *a = w->a;
    struct map news = {0};
    struct map_slot *slot;
    model_each_changed(a->model, note_news, &news);
    for (size_t it = 0; (slot = map_next(&a->live->certificates, &it));)
        if (!map_getn(&w->seen, slot->key, slot->key_length) && !map_getn(&news, slot->key, slot->key_length))
            touch_certificate(a, &a->apply.touched, slot->key, NULL, &a->apply.plan);
    for (size_t it = 0; (slot = map_next(&a->live->files, &it));)
        if (!map_getn(&w->seen, slot->key, slot->key_length) && !map_getn(&news, slot->key, slot->key_length) &&
            !map_getn(&a->live->certificates, slot->key, slot->key_length))
            plan_reload(&a->apply.plan, "file", "%.*s is gone", (int)slot->key_length, slot->key);
    map_done(&news);
}

/* ---- entries of maps ---- */

static void add_key(void *ctx, const char *key, const char *value)
{
    struct walk *w = ctx;
    (void)value;
    vec_push(&w->names, xstrdup(key));
}

/* The next map that HAProxy uses; false: there is none. */
static bool map_begin(struct walk *w)
{
    const struct map_slot *slot;
    map_clear(&w->seen);
    while ((slot = map_next(&w->a->live->maps, &w->maps))) {
        w->map = slot->value;
        w->map_name = slot->key;
        if (!w->map->used)
            continue;
        model_each_map_entry(w->a->model, MODEL_ACCEPTED, w->map_name, add_key, w);
        return true;
    }
    return false;
}

static void walk_entry(struct walk *w, const char *key)
{
    struct agent *a = w->a;
    struct apply *p = &a->apply;
    struct revealed_entry entry;
    struct err err;
    const struct item *item = model_map_item(a->model, w->map_name, key);
    bool news = !item || !item->accepted || item->changed || entry_is_guarded(a, item, &p->plan);
    if (reveal_entry(a, key, item ? item->accepted : NULL, &entry, &err) < 0) {
        plan_reload(&p->plan, "secret", "%s: %s", w->map->path, err.text);
        return;
    }
    /* Two Secrets may have the same value. Then the first entry counts, as in HAProxy. */
    if (!map_put(&w->seen, entry.key, w) && !news)
        touch_entry(a, &p->touched, w->map, entry.key, entry.value, &p->plan);
    reveal_entry_done(&entry);
}

static void walk_live_entry(struct walk *w, const struct map_slot *entry)
{
    struct apply *p = &w->a->apply;
    if (map_getn(&w->seen, entry->key, entry->key_length))
        return;
    const struct item *item = model_map_item(w->a->model, w->map_name, entry->key);
    if (!item || !item->changed)
        touch_entry(w->a, &p->touched, w->map, entry->key, NULL, &p->plan);
}

static void map_end(struct walk *w)
{
    for (size_t i = 0; i < w->map->duplicates.length; i++)
        plan_map_duplicate(&w->a->apply.plan, w->map->path, w->map->duplicates.items[i]);
}

/* ---- all of them ---- */

/* One name or entry; false: the stage has ended. */
static bool stage_step(struct walk *w)
{
    if (w->stage == WALK_LIVE_ENTRIES) {
        const struct map_slot *entry = map_next(&w->map->entries, &w->next);
        if (entry)
            walk_live_entry(w, entry);
        return entry != NULL;
    }
    if (w->next == w->names.length)
        return false;
    const char *name = w->names.items[w->next++];
    if (w->stage == WALK_SECTIONS)
        walk_section(w, name);
    else if (w->stage == WALK_FILES)
        walk_file(w, (enum contribution_kind)name[0], name + 1);
    else
        walk_entry(w, name);
    return true;
}

static void stage_end(struct walk *w)
{
    names_clear(w);
    switch (w->stage) {
    case WALK_SECTIONS:
        files_begin(w);
        w->stage = WALK_FILES;
        return;
    case WALK_FILES:
        files_end(w);
        w->stage = map_begin(w) ? WALK_ENTRIES : WALK_ENDED;
        return;
    case WALK_ENTRIES:
        w->stage = WALK_LIVE_ENTRIES;
        return;
    case WALK_LIVE_ENTRIES:
        map_end(w);
        w->stage = map_begin(w) ? WALK_ENTRIES : WALK_ENDED;
        return;
    case WALK_ENDED:
        return;
    }
}

bool walk_step(struct walk *w, int64_t budget_ns)
{
    int64_t end_ns = clock_now_ns() + budget_ns;
    for (unsigned n = 1; w->stage != WALK_ENDED; n++) {
        bool goes_on = stage_step(w);
        if (!goes_on)
            stage_end(w);
        if ((!goes_on || n % CLOCK_STEPS == 0) && clock_now_ns() >= end_ns)
            break;
    }
    return w->stage == WALK_ENDED;
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
