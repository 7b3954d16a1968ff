/* haproxy/cfg parses the texts. Of each text, the parts that are compared are kept, and the names that it may refer to:
 * maps, and words (live_words.c). live_merge.c merges answers of the command line.
 */
#include "agent/live.h"

#include <stdlib.h>
#include <string.h>

#include "agent/map_uses.h"
#include "base/alloc.h"

#define LINEAGE_VARIABLE "setenv HAPTIC_LINEAGE "

struct live *live_new(void)
{
    return xcalloc(1, sizeof(struct live));
}

static void section_free(struct live_section *s)
{
    free(s->from);
    buf_done(&s->default_words);
    free(s);
}

static void backend_free(struct live_backend *b)
{
    cfg_backend_done(&b->cfg);
    free(b->name);
    free(b);
}

void live_map_clear(struct live_map *map)
{
    struct map_slot *slot;
    for (size_t it = 0; (slot = map_next(&map->entries, &it));)
        text_unref(slot->value);
    map_done(&map->entries);
    map_init(&map->entries, false);
    for (size_t i = 0; i < map->duplicates.length; i++)
        free(map->duplicates.items[i]);
    vec_clear(&map->duplicates);
}

static void map_free(struct live_map *map)
{
    live_map_clear(map);
    map_done(&map->entries);
    vec_done(&map->duplicates);
    free(map->path);
    free(map);
}

struct live *live_free(struct live *l)
{
    struct map_slot *slot;
    if (!l)
        return NULL;
    for (size_t it = 0; (slot = map_next(&l->sections, &it));)
        section_free(slot->value);
    for (size_t it = 0; (slot = map_next(&l->backends, &it));)
        backend_free(slot->value);
    for (size_t it = 0; (slot = map_next(&l->maps, &it));)
        map_free(slot->value);
    for (size_t it = 0; (slot = map_next(&l->files, &it));)
        free(slot->value);
    map_done(&l->sections);
    map_done(&l->backends);
    map_done(&l->maps);
    map_done(&l->files);
    live_certificates_done(l);
    map_done(&l->words);
    map_done(&l->trusted);
    map_done(&l->waiting);
    free(l);
    return NULL;
}

bool live_name_is_backend(const char *section)
{
    return strncmp(section, "backend ", 8) == 0 || strncmp(section, "listen ", 7) == 0;
}

struct live_section *live_section(const struct live *l, const char *name)
{
    return map_get(&l->sections, name);
}

struct live_backend *live_backend(const struct live *l, const char *name)
{
    return map_get(&l->backends, name);
}

struct live_map *live_map(const struct live *l, const char *name)
{
    return map_get(&l->maps, name);
}

struct live_backend *live_backend_get(struct live *l, const char *name)
{
    struct live_backend *b = map_get(&l->backends, name);
    if (b)
        return b;
    b = xcalloc(1, sizeof(*b));
    b->listen = strncmp(name, "listen ", 7) == 0;
    b->name = xstrdup(name + (b->listen ? 7 : 8));
    map_put(&l->backends, name, b);
    return b;
}

void live_backend_drop(struct live *l, const char *name)
{
    CLEANUP(free_ptr) char *own = xstrdup(name); /* name may be the key of a table */
    struct live_backend *b = map_del(&l->backends, own);
    map_del(&l->waiting, own);
    if (b)
        backend_free(b);
}

void live_backend_take(struct live *l, struct live_backend *b, struct cfg_backend *cfg)
{
    live_note_trusted(l, buf_str(&cfg->default_words), cfg->default_words.length);
    for (size_t i = 0; i < cfg->servers.length; i++)
        live_note_trusted(l, cfg->servers.items[i]->words, cfg->servers.items[i]->words_length);
    cfg_backend_done(&b->cfg);
    b->cfg = *cfg;
    memset(cfg, 0, sizeof(*cfg));
}

void live_backend_wait(struct live *l, const struct live_backend *b)
{
    CLEANUP(free_ptr) char *name = xasprintf("%s %s", b->listen ? "listen" : "backend", b->name);
    map_put(&l->waiting, name, l);
}

static struct live_map *map_get_or_add(struct live *l, const char *name)
{
    struct live_map *map = map_get(&l->maps, name);
    if (map)
        return map;
    map = xcalloc(1, sizeof(*map));
    map->path = xasprintf("maps/%s", name);
    map_put(&l->maps, name, map);
    return map;
}

void live_map_set(struct live_map *map, const char *key, struct text *value)
{
    text_ref(value);
    text_unref(value ? map_put(&map->entries, key, value) : map_del(&map->entries, key));
}

/* ---- texts ---- */

/* Finds the uses of maps in a text. Each use can affect how the map may change. */
static void note_map_uses(struct live *l, const char *text, size_t length)
{
    const char *at = text;
    struct map_use use;
    while (map_use_next(&at, text + length, &use)) {
        CLEANUP(free_ptr) char *name = xmemdup0(use.name, use.name_length);
        struct live_map *map = map_get(&l->maps, name);
        if (!map) {
            map = map_get_or_add(l, name);
            map->any_key = true;
        }
        map->any_key = map->any_key && use.any_key;
        map->unreadable = map->unreadable || !use.by_key;
        map->integers = map->integers || use.integers;
        map->addresses = map->addresses || use.addresses;
    }
}

static void note_lineage(struct live *l, const char *text, size_t length)
{
    const char *at = memmem(text, length, LINEAGE_VARIABLE, strlen(LINEAGE_VARIABLE));
    if (!at)
        return;
    at += strlen(LINEAGE_VARIABLE);
    size_t n = strspn(at, "0123456789abcdef");
    if (n < LIVE_LINEAGE_SIZE) {
        memcpy(l->lineage, at, n);
        l->lineage[n] = '\0';
    }
}

struct loading {
    struct live *live;
    struct map_flow flow;
};

static void load_section(void *ctx, const char *name, const char *from, const char *text, size_t length)
{
    struct loading *loading = ctx;
    struct live *l = loading->live;
    map_flow_see(&loading->flow, text, length);
    note_map_uses(l, text, length);
    live_note_words(l, text, length);
    if (!from || !*from)
        l->implicit_from |= live_name_is_backend(name) || strncmp(name, "frontend ", 9) == 0;
    if (live_name_is_backend(name)) {
        struct live_backend *b = live_backend_get(l, name);
        struct cfg_backend parsed = {0};
        cfg_backend_parse(text, length, from, &parsed);
        live_backend_take(l, b, &parsed);
        return;
    }
    if (strcmp(name, "global") == 0 && !l->lineage[0]) {
        note_lineage(l, text, length);
        if (l->lineage[0])
            return;
    }
    struct live_section *s = map_get(&l->sections, name);
    if (!s) {
        s = xcalloc(1, sizeof(*s));
        map_put(&l->sections, name, s);
    }
    struct cfg_backend parsed = {0};
    cfg_backend_parse(text, length, from, &parsed);
    s->text = cfg_text_digest(text, length);
    free(s->from);
    s->from = STEAL(parsed.from);
    buf_clear(&s->default_words);
    buf_add(&s->default_words, buf_str(&parsed.default_words), parsed.default_words.length);
    live_note_trusted(l, buf_str(&parsed.default_words), parsed.default_words.length);
    cfg_backend_done(&parsed);
}

static void note_leading(void *ctx, const char *map_name)
{
    struct live_map *map = live_map(ctx, map_name);
    if (map)
        map->leads = true;
}

void live_load_config(struct live *l, const char *text, size_t length)
{
    struct loading loading = {.live = l};
    cfg_split(text, length, load_section, &loading);
    map_flow_each(&loading.flow, note_leading, l);
    map_flow_done(&loading.flow);
}

void live_load_map(struct live *l, const char *name, const char *text, size_t length)
{
    struct live_map *map = map_get_or_add(l, name);
    const char *at = text, *end = text + length;
    live_map_clear(map);
    while (at < end) {
        const char *stop = memchr(at, '\n', (size_t)(end - at)), *space;
        if (!stop)
            stop = end;
        space = memchr(at, ' ', (size_t)(stop - at));
        if (space && *at != '#') {
            struct text *value = text_new(space + 1, (size_t)(stop - space - 1));
            struct text *before = map_getn(&map->entries, at, (size_t)(space - at));
            if (before)
                text_unref(value);
            else
                map_putn(&map->entries, at, (size_t)(space - at), value);
        }
        at = stop + 1;
    }
}

void live_load_file(struct live *l, const char *path, const char *bytes, size_t length)
{
    struct digest *d = map_get(&l->files, path);
    if (!d) {
        d = xmalloc(sizeof(*d));
        map_put(&l->files, path, d);
    }
    *d = digest_of(bytes, length);
    live_load_certificate(l, path, bytes, length);
}

void live_default_words(const struct live *l, const char *from, struct buf *out)
{
    /* A chain is at most as long as there are sections. HAProxy refuses circles. */
    const struct live_section *chain[32];
    size_t n = 0;
    while (from && *from && n < ARRAY_LEN(chain)) {
        CLEANUP(free_ptr) char *name = xasprintf("defaults %s", from);
        const struct live_section *s = live_section(l, name);
        if (!s)
            break;
        chain[n++] = s;
        from = s->from;
    }
    while (n-- > 0)
        buf_add(out, buf_str(&chain[n]->default_words), chain[n]->default_words.length);
}
