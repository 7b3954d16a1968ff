/* Decides what may go live without a check. A server line is identified by its shape: the words that HAProxy has
 * accepted in a configuration derived from the same defaults section. HAProxy cannot refuse a line of a known shape
 * with a literal address, a port and a weight in range.
 */
#include <arpa/inet.h>
#include <string.h>

#include "agent/agent_state.h"
#include "agent/map_uses.h"
#include "base/alloc.h"
#include "haproxy/draft.h"

#define VALUE_MAX 8000 /* of a map entry, in a command */

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

/* True when a text that is accepted or pending, but not running, contains name as a word. */
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

/* A backend without routes may be deleted, unless a text names it: HAProxy would then refuse this text. The model makes
 * sure that entries of maps go first. */
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

/* A defaults section from which nothing is derived has no effect, whether it exists or not. */
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

/* True when the backend goes live without a reload, in the same step as an entry that leads to it. A backend from
 * another fragment must be accepted by now. */
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

/* True when every version of HAProxy can read the value as an integer. */
static bool is_integer(const char *value)
{
    size_t digits = strspn(value + (*value == '-'), "0123456789");
    return digits > 0 && digits <= 18 && value[(*value == '-') + digits] == '\0';
}

static bool is_address(const char *value)
{
    unsigned char bytes[16];
    return inet_pton(AF_INET, value, bytes) == 1 || inet_pton(AF_INET6, value, bytes) == 1;
}

/* True when the value is the same in a map's file, where a line ends it and surrounding blanks are ignored, in a
 * command, and after both. */
static bool value_is_plain(const char *value, size_t length)
{
    CLEANUP(buf_done) struct buf word = {0};
    return plan_word(&word, value) && word.length <= VALUE_MAX && strlen(value) == length && *value != ' ' &&
           value[length - 1] != ' ' && !vault_is_in(value, length);
}

/* A value that chooses a backend needs this backend. A value of another map is only data, unless it names a backend
 * that has to exist first in any case: nothing else in the value can be wrong for the texts that read it. */
static bool value_is_harmless(const struct agent *a, const struct live_map *map, const struct text *value,
                              struct map *harmless)
{
    size_t length = model_backend_length(value->bytes, value->length);
    CLEANUP(free_ptr) char *name = xasprintf("backend %.*s", (int)length, value->bytes);
    const struct live_backend *live = live_backend(a->live, name);
    const struct section *section = model_section(a->model, name);
    if ((map->integers && !is_integer(value->bytes)) || (map->addresses && !is_address(value->bytes)) ||
        !value_is_plain(value->bytes, value->length))
        return false;
    if ((live && !live->gone) || backend_comes(a, name, harmless))
        return true;
    return !map->leads && !live && !(section && (section->accepted_pieces || section->pieces.length));
}

static bool entry_is_harmless(const struct agent *a, const struct item *entry, struct map *harmless)
{
    const struct live_map *map = live_map(a->live, entry->scope);
    const struct live_map *next = a->next ? live_map(a->next, entry->scope) : map;
    if (!map || !map->used || !map->any_key || !entry->key[0] || !next || !next->any_key ||
        map_get(&a->contested_maps, entry->scope))
        return false;
    if (!entry->rendered)
        return true;
    CLEANUP(buf_done) struct buf word = {0};
    if (!plan_word(&word, entry->key) || strpbrk(entry->key, " \t") || entry->key[0] == '#' ||
        vault_is_in(entry->key, strlen(entry->key)))
        return false;
    return value_is_harmless(a, map, entry->rendered, harmless) &&
           value_is_harmless(a, next, entry->rendered, harmless);
}

/* A name more or less for a pair of certificate and options that HAProxy has accepted. */
static bool line_is_harmless(const struct agent *a, const struct item *item)
{
    CLEANUP(free_ptr) char *path = draft_path(item->kind, item->scope);
    const struct live_list *list = map_get(&a->live->lists, path);
    if (!list || !list->used || !*item->key)
        return false;
    return !item->rendered || list_has(list, item->rendered->bytes);
}

/* A file that several fragments define: one of them more or less. */
static bool file_stays(const struct item *item)
{
    return item->accepted && item->rendered && text_equal(item->accepted, item->rendered);
}

/* Texts that do not run yet may use a map in a way that has stricter rules for its entries. */
static void contest_in(struct agent *a, const struct text *text)
{
    const char *at = text ? text->bytes : NULL;
    struct map_use use;
    while (text && map_use_next(&at, text->bytes + text->length, &use)) {
        CLEANUP(free_ptr) char *name = xmemdup0(use.name, use.name_length);
        const struct live_map *live = live_map(a->live, name);
        if (live && (!use.any_key || (use.integers && !live->integers) || (use.addresses && !live->addresses)))
            map_put(&a->contested_maps, name, a);
    }
}

static void contest_in_item(void *ctx, struct item *item)
{
    if (item->kind != CONTRIBUTION_SECTION)
        return;
    contest_in(ctx, item->accepted);
    contest_in(ctx, item->rendered);
    if (item->in_check)
        contest_in(ctx, item->checking);
}

void agent_judge_begin(struct agent *a)
{
    map_clear(&a->contested_maps);
    model_each_changed(a->model, contest_in_item, a);
    model_each_pending(a->model, contest_in_item, a);
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
