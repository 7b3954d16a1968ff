/* Each thing is planned by itself. When one of them needs a reload that has to wait, the others are still carried out,
 * except map entries whose backend does not exist. Sections other than backends, and files that commands cannot change,
 * always need a reload. They are compared by digest.
 */
#include <string.h>

#include "agent/agent_state.h"
#include "base/alloc.h"
#include "haproxy/draft.h"

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
    /* A profile from which no section is derived any more may stay until the next reload. */
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

/* For a list that HAProxy has loaded: plans the names that changed. False when HAProxy has not loaded it or when the
 * list is to be removed. */
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

/* Files of which a part changed. Their content may be the same, for example after a Secret got a new version.
 * Certificates come before the lists that name them. */
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
    /* Sections and files come first: they decide whether a map entry has to wait. */
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
