/* An apply touches backends and map entries. Each is planned by itself, so that when one of them needs a reload that
 * has to wait, the others are carried out all the same, but for map entries whose backend is not there. Other sections
 * and files only ever need a reload: they are compared by digest.
 */
#include <string.h>

#include "agent/agent_state.h"
#include "base/alloc.h"
#include "haproxy/draft.h"

/* HAProxy takes about 60 ns for each, so 3 s; that is 5 000 new backends beside 10 000, and 500 beside 100 000. */
#define APPEARING_COST_MAX 50000000

void touched_done(struct touched *t)
{
    for (size_t i = 0; i < t->backends.length; i++) {
        free(t->backends.items[i].name);
        cfg_backend_done(&t->backends.items[i].wanted);
    }
    vec_done(&t->backends);
    for (size_t i = 0; i < t->entries.length; i++) {
        free(t->entries.items[i].key);
        text_unref(t->entries.items[i].wanted);
    }
    vec_done(&t->entries);
    for (size_t i = 0; i < t->certificates.length; i++)
        free(t->certificates.items[i].path);
    vec_done(&t->certificates);
    for (size_t i = 0; i < t->lists.length; i++)
        touched_list_done(&t->lists.items[i]);
    vec_done(&t->lists);
    map_done(&t->appearing);
    map_init(&t->appearing, false);
    map_done(&t->listed);
    map_init(&t->listed, false);
    t->listed_known = false;
    t->appearing_cost = 0;
}

int wanted_parse(const struct agent *a, const char *name, enum model_state state, struct cfg_backend *ret_wanted,
                 bool *ret_is_wanted, struct err *err)
{
    CLEANUP(expand_wipe) struct buf text = {0};
    const char *from = NULL;
    const struct section *s = model_section(a->model, name);
    *ret_is_wanted = s && model_section_text(a->model, s, state, &text, &from);
    if (!*ret_is_wanted)
        return 0;
    if (expand_buf(a->config.vault, EXPAND_CONFIG, &text, NULL, err) < 0)
        return err_wrap(err, "%s", name);
    cfg_backend_parse(buf_str(&text), text.length, from, ret_wanted);
    return 0;
}

/* It needs a reload, which may have to wait: what can be done without is planned, and becomes what is wanted now. */
static void plan_reach(struct agent *a, struct plan *part, struct touched_backend *b, const struct live_backend *live,
                       const struct buf *default_words, struct plan *plan)
{
    CLEANUP(cfg_backend_done) struct cfg_backend view = {0};
    struct cfg_backend reach = {0};
    struct plan possible = {0};
    if (!backend_in_reach(a, &b->wanted, live, &reach, &view))
        return;
    plan_backend(&possible, &a->caps, strchr(b->name, ' ') + 1, live->listen, &reach, &view, default_words);
    if (possible.reload || !plan_count(&possible)) {
        plan_done(&possible);
        cfg_backend_done(&reach);
        return;
    }
    for (size_t i = 0; i < reach.servers.length; i++) {
        const struct cfg_server *s = cfg_backend_server(&live->cfg, reach.servers.items[i]->name);
        reach.servers.items[i]->words_known = !s || s->words_known;
    }
    plan_reload(plan, part->reload_class, "%s", part->reload);
    plan_done(part);
    *part = possible;
    cfg_backend_done(&b->wanted);
    b->wanted = reach;
}

/* HAProxy derives a backend at runtime only from a profile that it has loaded. Where the texts are not known, it is
 * asked. */
static bool lacks_profile(const struct agent *a, const struct cfg_backend *wanted)
{
    CLEANUP(free_ptr) char *profile = xasprintf("defaults %s", wanted->from);
    return *wanted->from && a->live->sections.count > 0 && !live_section(a->live, profile);
}

/* A new backend, after those that are made at runtime already. */
static bool is_one_too_many(const struct agent *a, const struct touched *t)
{
    uint64_t most = a->config.appearing_cost_max ? a->config.appearing_cost_max : APPEARING_COST_MAX;

    return a->caps.dynamic_backends && t->appearing_cost > most;
}

static void touch_backend(struct agent *a, struct touched *t, const char *name, struct plan *plan)
{
    struct touched_backend b = {.name = xstrdup(name)};
    struct live_backend *live = live_backend(a->live, name);
    struct plan part = {0};
    struct err err;

    if (wanted_parse(a, name, MODEL_ACCEPTED, &b.wanted, &b.is_wanted, &err) < 0) {
        plan_reload(plan, "secret", "%s", err.text);
        free(b.name);
        return;
    }
    if (!b.is_wanted && (!live || live->gone)) {
        free(b.name);
        return;
    }
    if (a->apply.round == ROUND_REST && map_get(&a->apply.avoid, name)) {
        plan_reload(plan, "surprise", "%s did not do as it was told", name);
        free(b.name);
        cfg_backend_done(&b.wanted);
        return;
    }
    if (b.is_wanted && !live && a->caps.dynamic_backends && lacks_profile(a, &b.wanted)) {
        plan_reload(plan, "backend", "%s is new, as is defaults %s", name, b.wanted.from);
        free(b.name);
        cfg_backend_done(&b.wanted);
        return;
    }
    if (b.is_wanted && !live && is_one_too_many(a, t)) {
        plan_reload(plan, "backend", "%s is one of too many that are new at once", name);
        free(b.name);
        cfg_backend_done(&b.wanted);
        return;
    }
    CLEANUP(buf_done) struct buf default_words = {0};
    if (b.is_wanted)
        live_default_words(a->live, b.wanted.from, &default_words);
    bool listen = strncmp(name, "listen ", 7) == 0;
    plan_backend(&part, &a->caps, strchr(name, ' ') + 1, listen, b.is_wanted ? &b.wanted : NULL,
                 live ? &live->cfg : NULL, &default_words);
    if (live && live->gone && b.is_wanted && a->caps.dynamic_backends && !part.reload)
        plan_publish(&part, strchr(name, ' ') + 1);
    if (part.reload && b.is_wanted && live)
        plan_reach(a, &part, &b, live, &default_words, plan);
    b.has_ops = plan_take(plan, &part);
    if (b.has_ops && b.is_wanted && (!live || live->gone))
        map_put(&t->appearing, name, a);
    if (b.has_ops && b.is_wanted && !live)
        t->appearing_cost += a->live->backends.count + t->appearing.count;
    if (b.has_ops || !b.is_wanted || live) {
        vec_push(&t->backends, b);
    } else {
        free(b.name);
        cfg_backend_done(&b.wanted);
    }
}

static void section_compare(struct agent *a, const char *name, struct plan *plan)
{
    CLEANUP(expand_wipe) struct buf text = {0};
    const char *from = NULL;
    const struct section *s = model_section(a->model, name);
    const struct live_section *live = live_section(a->live, name);
    bool wanted = s && model_section_text(a->model, s, MODEL_ACCEPTED, &text, &from);
    struct err err;
    if (!wanted && !live)
        return;
    /* A profile that nothing is derived from any more may stay until the next reload. */
    if (!wanted && strncmp(name, "defaults ", 9) == 0 && !a->live->implicit_from)
        return;
    if (expand_buf(a->config.vault, EXPAND_CONFIG, &text, NULL, &err) < 0) {
        plan_reload(plan, "secret", "%s: %s", name, err.text);
        return;
    }
    size_t type = strcspn(name, " ");
    CLEANUP(free_ptr) char *class = xmemdup0(name, type);
    const char *label = strcmp(class, "frontend") == 0   ? "frontend"
                        : strcmp(class, "defaults") == 0 ? "defaults"
                        : strcmp(class, "global") == 0   ? "global"
                                                         : "section";
    if (!wanted || !live)
        plan_reload(plan, label, "%s %s", name, wanted ? "is new" : "is gone");
    else if (strcmp(from ? from : "", live->from) != 0 ||
             !digest_equal(cfg_text_digest(buf_str(&text), text.length), live->text))
        plan_reload(plan, label, "%s changed", name);
}

void touch_section(struct agent *a, struct touched *t, const char *name, struct plan *plan)
{
    if (live_name_is_backend(name))
        touch_backend(a, t, name, plan);
    else
        section_compare(a, name, plan);
}

/* Does the value name a backend that the model has and that will not be there? It needs a reload that waits, or was
 * accepted while a comparison of everything was under way and comes with the next changes. */
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

/* The same for an entry as the model has it. */
static void touch_item(struct agent *a, struct touched *t, struct live_map *map, const struct item *item,
                       struct plan *plan)
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

void touch_file(struct agent *a, enum contribution_kind kind, const char *path, const char *bytes, size_t length,
                struct plan *plan)
{
    CLEANUP(expand_wipe) struct buf expanded = {0};
    const struct digest *live = map_get(&a->live->files, path);
    struct err err;
    if (vault_is_in(bytes, length)) {
        if (expand(a->config.vault, EXPAND_FILE, bytes, length, &expanded, NULL, &err) < 0) {
            plan_reload(plan, "secret", "%s: %s", path, err.text);
            return;
        }
        bytes = buf_str(&expanded);
        length = expanded.length;
    }
    if (!live || !digest_equal(*live, digest_of(bytes, length)))
        plan_reload(plan, kind == CONTRIBUTION_FILE ? "file" : "certificate", "%s changed", path);
}

void touch_stored(struct agent *a, struct touched *t, enum contribution_kind kind, const char *path, const char *bytes,
                  size_t length, struct plan *plan)
{
    struct live_list *list = kind == CONTRIBUTION_CRT_LIST ? map_get(&a->live->lists, path) : NULL;
    if (list && list->used && bytes) {
        touch_list(a, t, list, plan);
    } else if (kind == CONTRIBUTION_CERTIFICATE) {
        touch_stored_certificate(a, t, path, bytes, length, plan);
    } else if (bytes) {
        touch_file(a, kind, path, bytes, length, plan);
    } else if (map_get(&a->live->files, path)) {
        plan_reload(plan, "file", "%s is gone", path);
    }
}

/* Of a list that HAProxy has loaded, the names that changed; false: it is not such a list, or nothing is left of it. */
static bool touch_listed(struct agent *a, struct touched *t, const struct model_changes *changes, const char *scope,
                         const char *path, struct plan *plan)
{
    struct live_list *list = map_get(&a->live->lists, path);
    VEC(struct item *) items = {0};
    if (!list || !list->used || !model_file_exists(a->model, MODEL_ACCEPTED, CONTRIBUTION_CRT_LIST, scope))
        return false;
    for (size_t i = 0; i < changes->items.length; i++) {
        struct item *item = changes->items.items[i];
        if (item->kind == CONTRIBUTION_CRT_LIST && strcmp(item->scope, scope) == 0)
            vec_push(&items, item);
    }
    touch_list_items(a, t, list, items.items, items.length, plan);
    vec_done(&items);
    return true;
}

/* Files of which a part changed: another version of a Secret need not be another content. Certificates come before the
 * lists that name them. */
static void touch_files(struct agent *a, struct touched *t, const struct model_changes *changes, struct plan *plan)
{
    static const enum contribution_kind kinds[] = {CONTRIBUTION_FILE, CONTRIBUTION_CERTIFICATE, CONTRIBUTION_CRT_LIST};
    unsigned reloads = plan->reloads;
    struct map seen = {0};
    for (size_t i = 0; i < changes->items.length; i++)
        if (changes->items.items[i]->kind == CONTRIBUTION_CRT_LIST)
            certificates_note_listed(a, t, changes->items.items[i]);
    for (size_t k = 0; k < ARRAY_LEN(kinds); k++)
        for (size_t i = 0; i < changes->items.length; i++) {
            const struct item *item = changes->items.items[i];
            CLEANUP(buf_done) struct buf text = {0};
            if (item->kind != kinds[k])
                continue;
            CLEANUP(free_ptr) char *path = draft_path(item->kind, item->scope);
            if (map_put(&seen, path, a) ||
                (item->kind == CONTRIBUTION_CRT_LIST && touch_listed(a, t, changes, item->scope, path, plan)))
                continue;
            bool exists = model_file_text(a->model, MODEL_ACCEPTED, item->kind, item->scope, &text);
            touch_stored(a, t, item->kind, path, exists ? buf_str(&text) : NULL, text.length, plan);
        }
    map_done(&seen);
    for (size_t i = 0; plan->reloads != reloads && i < changes->items.length; i++)
        if (image_has_file(changes->items.items[i]->kind))
            pace_note_item(a, changes->items.items[i]);
}

static bool is_of_section(const struct item *item)
{
    return item->kind == CONTRIBUTION_SECTION || item->kind == CONTRIBUTION_SECTION_FROM;
}

void touch_changes(struct agent *a, struct touched *t, const struct model_changes *changes, struct plan *plan)
{
    /* Sections and files first: whether a map entry has to wait depends on them. */
    struct map seen = {0};
    for (size_t i = 0; i < changes->items.length; i++) {
        const struct item *item = changes->items.items[i];
        unsigned reloads = plan->reloads;
        if (!is_of_section(item))
            continue;
        if (!map_get(&seen, item->scope)) {
            touch_section(a, t, item->scope, plan);
            map_put(&seen, item->scope, plan->reloads != reloads ? (void *)plan : (void *)a);
        }
        if (map_get(&seen, item->scope) == plan)
            pace_note_item(a, item);
    }
    touch_files(a, t, changes, plan);
    for (size_t i = 0; i < changes->items.length; i++) {
        const struct item *item = changes->items.items[i];
        struct live_map *map = item->kind == CONTRIBUTION_MAP_ENTRY ? live_map(a->live, item->scope) : NULL;
        unsigned reloads = plan->reloads;
        if (map && map->used && item->key[0])
            touch_item(a, t, map, item, plan);
        if (plan->reloads != reloads)
            pace_note_item(a, item);
    }
    map_done(&seen);
}
