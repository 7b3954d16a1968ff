/* Entries of maps: planning of commands, and comparison with HAProxy's answers afterwards. An entry can go live by
 * itself, but not before the backend that it leads to. */
#include <string.h>

#include "agent/agent_state.h"
#include "base/alloc.h"

/* True when the value names a backend of the model that will not exist after this apply. Either the backend waits for a
 * reload, or it was accepted during a full comparison and comes with the next changes. */
static bool entry_must_wait(struct agent *a, const struct touched *t, const char *value)
{
    if (!value)
        return false;
    CLEANUP(free_ptr) char *name = xasprintf("backend %.*s", (int)model_backend_length(value, strlen(value)), value);
    const struct live_backend *live = live_backend(a->live, name);
    return (!live || live->gone) && !map_get(&t->appearing, name) && model_section(a->model, name);
}

void touch_entry(struct agent *a, struct touched *t, struct live_map *map, const char *key, struct text *wanted,
                 struct plan *plan)
{
    struct plan part = {0};
    const struct text *live = map_get(&map->entries, key);
    const char *value = wanted ? wanted->bytes : NULL;
    if (text_equal(wanted, live))
        return;
    if (entry_must_wait(a, t, value))
        return;
    plan_map_entry(&part, map->path, key, value, live ? live->bytes : NULL);
    if (plan_take(plan, &part))
        vec_push(&t->entries, ((struct touched_entry){.map = map, .key = xstrdup(key), .wanted = text_ref(wanted)}));
}

bool entry_is_guarded(const struct agent *a, const struct item *item, const struct plan *plan)
{
    bool reloads = plan->reload || a->next || a->owed.kind != ERR_NONE ||
                   uv_is_active((const uv_handle_t *)&a->reload_timer);
    return reloads && item->accepted && model_is_guarded(a->model, item);
}

void touch_item(struct agent *a, struct touched *t, struct live_map *map, const struct item *item, struct plan *plan)
{
    struct revealed_entry entry;
    struct err err;
    if (entry_is_guarded(a, item, plan))
        return;
    if (reveal_entry(a, item->key, item->accepted, &entry, &err) < 0) {
        plan_reload(plan, "secret", "%s: %s", map->path, err.text);
        return;
    }
    touch_entry(a, t, map, entry.key, entry.value, plan);
    reveal_entry_done(&entry);
}

void entries_add_reads(struct touched *t, struct batch *b)
{
    CLEANUP(buf_done) struct buf words = {0};
    for (size_t i = 0; i < t->entries.length; i++) {
        struct touched_entry *e = &t->entries.items[i];
        buf_clear(&words);
        if (!plan_word(&words, e->map->path))
            continue;
        buf_putc(&words, ' ');
        if (plan_word(&words, e->key))
            e->answer = batch_add_read(b, xasprintf("get map %s", words.data));
    }
}

int entries_verify(const struct agent *a, const struct touched *t, const struct runtime_answer *answers,
                   struct err *err)
{
    for (size_t i = 0; i < t->entries.length; i++) {
        const struct touched_entry *e = &t->entries.items[i];
        bool understood = true;
        if (e->map->unreadable ||
            live_map_answer_is(answers[e->answer].text, e->key, e->wanted ? e->wanted->bytes : NULL, &understood) ||
            !understood)
            continue;
        CLEANUP(free_ptr) char *key = agent_redacted(a, e->key);
        return err_set(err, ERR_HAPROXY, "map %s: the entry of %.100s is not as it was set", e->map->path, key);
    }
    return 0;
}

void entries_commit(struct agent *a, struct touched *t, const struct runtime_answer *answers)
{
    (void)a;
    (void)answers;
    for (size_t i = 0; i < t->entries.length; i++)
        live_map_set(t->entries.items[i].map, t->entries.items[i].key, t->entries.items[i].wanted);
}

void entries_done(struct touched *t)
{
    for (size_t i = 0; i < t->entries.length; i++) {
        free(t->entries.items[i].key);
        text_unref(t->entries.items[i].wanted);
    }
    vec_done(&t->entries);
}
