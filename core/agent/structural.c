/* What may go live without a check. A server line is known by its shape: the words that HAProxy has accepted in a
 * configuration derived from the same defaults section. A line of a known shape with a literal address, a port and a
 * weight in range cannot be refused.
 */
#include <string.h>

#include "agent/agent_state.h"
#include "base/alloc.h"
#include "haproxy/draft.h"

void shape_learn(struct agent *a, const struct cfg_server *s, const char *from)
{
    struct digest d = cfg_server_shape(s, from);
    if (a->shapes.count > 65536)
        map_clear(&a->shapes);
    map_putn(&a->shapes, (const char *)&d, sizeof(d), a);
}

void shapes_learn_all(struct agent *a)
{
    struct map_slot *slot;
    for (size_t it = 0; (slot = map_next(&a->live->backends, &it));) {
        const struct live_backend *b = slot->value;
        const struct cfg_server *last = NULL;
        for (size_t i = 0; i < b->cfg.servers.length; i++) {
            const struct cfg_server *s = b->cfg.servers.items[i];
            if (!s->words_known || (last && cfg_server_same_words(last, s) && last->literal == s->literal))
                continue;
            shape_learn(a, s, b->cfg.from);
            last = s;
        }
    }
}

static bool shape_is_known(const struct agent *a, const struct cfg_server *s, const char *from)
{
    struct digest d = cfg_server_shape(s, from);
    return map_getn(&a->shapes, (const char *)&d, sizeof(d)) != NULL;
}

static bool servers_are_harmless(const struct agent *a, const struct cfg_backend *wanted,
                                 const struct cfg_backend *live)
{
    for (size_t i = 0; i < wanted->servers.length; i++) {
        const struct cfg_server *s = wanted->servers.items[i];
        const struct cfg_server *old = live ? cfg_backend_server(live, s->name) : NULL;
        if (!s->plain || (!s->literal && (!old || strcmp(s->address, old->address) != 0 || s->port != old->port)))
            return false;
        if (old && cfg_server_same_words(s, old))
            continue;
        if (!s->literal || !shape_is_known(a, s, wanted->from))
            return false;
    }
    return true;
}

/* What is accepted or about to be, and not in the texts that run: does it have name as a word? */
struct mention {
    const char *name;
    bool found;
};

static void mention_in(struct mention *m, const struct text *text)
{
    m->found = m->found || (text && live_text_refers(text->bytes, text->length, m->name));
}

static void mention_in_item(void *ctx, struct item *item)
{
    const struct mention *m = ctx;
    if (item->kind != CONTRIBUTION_SECTION ||
        (strncmp(item->scope, "backend ", 8) == 0 && strcmp(item->scope + 8, m->name) == 0))
        return;
    mention_in(ctx, item->accepted);
    if (item->in_check)
        mention_in(ctx, item->checking);
}

/* A backend that nobody routes to may go, unless a text names it: HAProxy would refuse that text afterwards. Entries of
 * maps are the model's care: they go first. */
static bool removal_is_harmless(const struct agent *a, const struct live_backend *live)
{
    struct mention m = {.name = live->name};
    bool reloads = a->next || a->apply.plan.reload || uv_is_active((const uv_handle_t *)&a->reload_timer);
    if (!a->caps.dynamic_backends || live->listen || live->gone || live->cfg.by_hand || reloads ||
        live_refers(a->live, live->name))
        return false;
    model_each_changed(a->model, mention_in_item, &m);
    model_each_pending(a->model, mention_in_item, &m);
    return !m.found;
}

/* A defaults section that nothing is derived from has no effect, be it there or not. */
static bool defaults_are_harmless(const struct agent *a, const char *name)
{
    CLEANUP(buf_done) struct buf text = {0};
    const char *from = NULL;
    const struct section *s = model_section(a->model, name);
    const struct live_section *live = live_section(a->live, name);
    if (!live || a->live->implicit_from)
        return false;
    if (!s || !model_section_text(a->model, s, MODEL_RENDERED, &text, &from))
        return true;
    return strcmp(from ? from : "", live->from) == 0 &&
           digest_equal(cfg_text_digest(buf_str(&text), text.length), live->text);
}

static bool section_is_harmless(const struct agent *a, const char *name)
{
    CLEANUP(cfg_backend_done) struct cfg_backend wanted = {0};
    const struct live_backend *live = live_backend(a->live, name);
    bool is_wanted;
    if (strncmp(name, "defaults ", 9) == 0)
        return defaults_are_harmless(a, name);
    if (wanted_parse(a, name, MODEL_RENDERED, &wanted, &is_wanted, NULL) < 0 || wanted.by_hand)
        return false;
    if (!is_wanted)
        return live && removal_is_harmless(a, live);
    if (live && !live->gone)
        return !live->cfg.by_hand && strcmp(live->cfg.from, wanted.from) == 0 &&
               digest_equal(live->cfg.other, wanted.other) && servers_are_harmless(a, &wanted, &live->cfg);
    if (live || !a->caps.dynamic_backends || strncmp(name, "backend ", 8) != 0 || !*wanted.from ||
        !digest_equal(wanted.other, digest_of("", 0)))
        return false;
    CLEANUP(free_ptr) char *profile = xasprintf("defaults %s", wanted.from);
    return live_section(a->live, profile) && servers_are_harmless(a, &wanted, NULL);
}

/* Does it go live without a reload, in the same step as an entry that leads to it? One that another fragment gives must
 * be accepted by now. */
static bool backend_comes(const struct agent *a, const char *name, struct map *harmless)
{
    const struct section *s = model_section(a->model, name);
    if (map_get(harmless, name))
        return true;
    if (!s || !s->accepted_pieces || s->pending_pieces || (s->from && s->from->pending) ||
        !section_is_harmless(a, s->name))
        return false;
    map_put(harmless, name, (void *)(uintptr_t)s);
    return true;
}

static bool entry_is_harmless(const struct agent *a, const struct item *entry, struct map *harmless)
{
    const struct live_map *map = live_map(a->live, entry->scope);
    if (!map || !map->used || !map->harmless || !entry->key[0])
        return false;
    if (!entry->rendered)
        return true;
    CLEANUP(buf_done) struct buf word = {0};
    if (!plan_word(&word, entry->key) || strpbrk(entry->key, " \t") || entry->key[0] == '#' ||
        vault_is_in(entry->key, strlen(entry->key)))
        return false;
    const char *value = entry->rendered->bytes;
    CLEANUP(free_ptr)
    char *name = xasprintf("backend %.*s", (int)model_backend_length(value, entry->rendered->length), value);
    const struct live_backend *live = live_backend(a->live, name);
    return (live && !live->gone) || backend_comes(a, name, harmless);
}

/* One more name for certificates and options that HAProxy has accepted, or one name less. */
static bool line_is_harmless(const struct agent *a, const struct item *item)
{
    CLEANUP(free_ptr) char *path = draft_path(item->kind, item->scope);
    const struct live_list *list = map_get(&a->live->lists, path);
    if (!list || !list->used || !*item->key)
        return false;
    return !item->rendered || list_has(list, item->rendered->bytes);
}

/* A file that several fragments give: one more or less. */
static bool file_stays(const struct item *item)
{
    return item->accepted && item->rendered && text_equal(item->accepted, item->rendered);
}

bool agent_is_structural(const struct agent *a, struct item *const *items, size_t count)
{
    struct map harmless = {0};
    bool result = a->known && a->caps_known;
    for (size_t i = 0; result && i < count; i++) {
        const struct item *item = items[i];
        if (item->kind != CONTRIBUTION_SECTION && item->kind != CONTRIBUTION_SECTION_FROM) {
            result = item->kind == CONTRIBUTION_MAP_ENTRY ||
                     (item->kind == CONTRIBUTION_CRT_LIST && line_is_harmless(a, item)) ||
                     (item->kind == CONTRIBUTION_CERTIFICATE && file_stays(item));
        } else if (!map_get(&harmless, item->scope)) {
            result = section_is_harmless(a, item->scope);
            map_put(&harmless, item->scope, (void *)(uintptr_t)item);
        }
    }
    for (size_t i = 0; result && i < count; i++)
        if (items[i]->kind == CONTRIBUTION_MAP_ENTRY)
            result = entry_is_harmless(a, items[i], &harmless);
    map_done(&harmless);
    return result;
}
