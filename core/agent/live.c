/* Texts are parsed by haproxy/cfg; answers of the command line are read in place, line by line and column by column.
 * Servers of a backend are sorted by name, and `show servers state` lists backend by backend, so merging costs a
 * search per line.
 */
#include "agent/live.h"

#include <stdlib.h>
#include <string.h>

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

static void map_clear_entries(struct live_map *map)
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
    map_clear_entries(map);
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
    map_done(&l->words);
    free(l);
    return NULL;
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
    struct live_backend *b = map_del(&l->backends, name);
    if (b)
        backend_free(b);
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

/* The look-up whose name ends before the "(" at end, as a place in names; ARRAY_LEN(names) when it is none of them. */
static const char *const lookups[] = {"map", "map_str", "map_beg", "map_sub", "map_end", "map_dir", "map_dom"};
enum { LOOKUPS_BY_KEY = 3 }; /* the first ones find a key that is there by itself */

static size_t lookup_find(const char *start, const char *end)
{
    const char *word = end;
    size_t i = 0;
    while (word > start && (word[-1] == '_' || (word[-1] >= 'a' && word[-1] <= 'z')))
        word--;
    size_t length = (size_t)(end - word);
    while (i < ARRAY_LEN(lookups) && (strlen(lookups[i]) != length || memcmp(lookups[i], word, length) != 0))
        i++;
    return i;
}

/* Find the uses of maps in a text: one use that is not harmless, or not by key, decides for the map. */
static void note_map_uses(struct live *l, const char *text, size_t length)
{
    static const char folder[] = "maps/";
    const char *end = text + length, *at = text;
    while ((at = memmem(at, (size_t)(end - at), folder, strlen(folder)))) {
        const char *name = at + strlen(folder), *stop = name;
        while (stop < end && !strchr("), \t\n\"'", *stop))
            stop++;
        CLEANUP(free_ptr) char *copy = xmemdup0(name, (size_t)(stop - name));
        size_t lookup = at > text && at[-1] == '(' ? lookup_find(text, at - 1) : ARRAY_LEN(lookups);
        struct live_map *map = map_get(&l->maps, copy);
        if (!map) {
            map = map_get_or_add(l, copy);
            map->harmless = true;
        }
        map->harmless = map->harmless && lookup < ARRAY_LEN(lookups);
        map->unreadable = map->unreadable || lookup >= LOOKUPS_BY_KEY;
        at = stop;
    }
}

/* Names of sections consist of these. */
static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.' ||
           c == ':' || c == '-';
}

/* The next word at or after *at, without quotes and backslashes, into word; false at the end. */
static bool word_next(const char **at, const char *end, struct buf *word)
{
    buf_clear(word);
    for (; *at < end; ++*at) {
        if (is_word(**at))
            buf_putc(word, **at);
        else if (word->length && !strchr("\"'\\", **at))
            return true;
    }
    return word->length > 0;
}

bool live_text_refers(const char *text, size_t length, const char *name)
{
    CLEANUP(buf_done) struct buf word = {0};
    const char *end = text + length;
    size_t name_length = strlen(name);
    while (word_next(&text, end, &word))
        if (word.length == name_length && memcmp(word.data, name, name_length) == 0)
            return true;
    return false;
}

bool live_refers(const struct live *l, const char *name)
{
    return map_get(&l->words, name) != NULL;
}

/* A server line refers to something only when it tracks another server. */
static void note_words(struct live *l, const char *text, size_t length)
{
    CLEANUP(buf_done) struct buf word = {0};
    const char *end = text + length;
    while (text < end) {
        const char *stop = memchr(text, '\n', (size_t)(end - text));
        stop = stop ? stop : end;
        while (text < stop && (*text == ' ' || *text == '\t'))
            text++;
        size_t n = (size_t)(stop - text);
        if (n < 7 || memcmp(text, "server ", 7) != 0 || memmem(text, n, "track", 5))
            while (word_next(&text, stop, &word))
                map_putn(&l->words, word.data, word.length, l);
        text = stop + (stop < end);
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

static void load_section(void *ctx, const char *name, const char *from, const char *text, size_t length)
{
    struct live *l = ctx;
    note_map_uses(l, text, length);
    note_words(l, text, length);
    if (!from || !*from)
        l->implicit_from |= strncmp(name, "backend ", 8) == 0 || strncmp(name, "listen ", 7) == 0 ||
                            strncmp(name, "frontend ", 9) == 0;
    if (strncmp(name, "backend ", 8) == 0 || strncmp(name, "listen ", 7) == 0) {
        struct live_backend *b = live_backend_get(l, name);
        cfg_backend_done(&b->cfg);
        memset(&b->cfg, 0, sizeof(b->cfg));
        cfg_backend_parse(text, length, from, &b->cfg);
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
    cfg_backend_done(&parsed);
}

void live_load_config(struct live *l, const char *text, size_t length)
{
    cfg_split(text, length, load_section, l);
}

void live_load_map(struct live *l, const char *name, const char *text, size_t length)
{
    struct live_map *map = map_get_or_add(l, name);
    const char *at = text, *end = text + length;
    map_clear_entries(map);
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
}

void live_default_words(const struct live *l, const char *from, struct buf *out)
{
    /* A chain is as long as there are sections at most; HAProxy refuses circles. */
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

/* ---- answers ---- */

struct column {
    const char *text;
    size_t length;
};

/* Split a line at single blanks. Returns the number of columns found, at most max. */
static size_t columns_split(const char *line, const char *end, struct column *columns, size_t max)
{
    size_t n = 0;
    while (line < end && n < max) {
        const char *stop = memchr(line, ' ', (size_t)(end - line));
        if (!stop)
            stop = end;
        columns[n++] = (struct column){line, (size_t)(stop - line)};
        line = stop + 1;
    }
    return n;
}

static int32_t column_number(struct column c)
{
    int32_t value = 0;
    for (size_t i = 0; i < c.length && i < 9; i++) {
        if (c.text[i] < '0' || c.text[i] > '9')
            return 0;
        value = value * 10 + (c.text[i] - '0');
    }
    return value;
}

static const char *line_end(const char *line)
{
    const char *end = strchr(line, '\n');
    return end ? end : line + strlen(line);
}

/* Columns of `show servers state`. */
enum {
    STATE_BACKEND = 1,
    STATE_NAME = 3,
    STATE_ADDRESS = 4,
    STATE_ADMIN = 6,
    STATE_WEIGHT = 7,
    STATE_FQDN = 17,
    STATE_PORT = 18,
    STATE_COLUMNS = 19
};
/* Bits of the administrative state. */
enum { ADMIN_MAINT = 0x01 | 0x04, ADMIN_DRAIN = 0x08 | 0x10 };

static bool column_is(struct column c, const char *text, size_t length)
{
    return c.length == length && memcmp(c.text, text, length) == 0;
}

static enum cfg_admin admin_parse(struct column c)
{
    int32_t bits = column_number(c);
    return bits & ADMIN_MAINT ? CFG_MAINT : bits & ADMIN_DRAIN ? CFG_DRAIN : CFG_READY;
}

static struct cfg_server *server_from_columns(const struct column *c)
{
    char name[512], address[512];
    const struct column *a = c[STATE_FQDN].length == 1 && c[STATE_FQDN].text[0] == '-' ? &c[STATE_ADDRESS]
                                                                                       : &c[STATE_FQDN];
    if (c[STATE_NAME].length >= sizeof(name) || a->length >= sizeof(address))
        return NULL;
    memcpy(name, c[STATE_NAME].text, c[STATE_NAME].length);
    name[c[STATE_NAME].length] = '\0';
    memcpy(address, a->text, a->length);
    address[a->length] = '\0';
    struct cfg_server *s = cfg_server_new(name, address, column_number(c[STATE_PORT]));
    s->weight = column_number(c[STATE_WEIGHT]);
    s->admin = admin_parse(c[STATE_ADMIN]);
    return s;
}

/* Take over words of the server that was known by this name. */
static struct cfg_server *server_with_words(struct cfg_server *found, const struct cfg_server *known)
{
    struct cfg_server *s = known->literal || !known->words_known ? cfg_server_copy(known, found->address, found->port)
                                                                 : cfg_server_copy(known, known->address, known->port);
    s->weight = found->weight;
    s->admin = found->admin;
    cfg_server_free(found);
    return s;
}

struct merge {
    struct live *live;
    struct live_backend *backend;
    struct cfg_backend found; /* servers of backend so far */
    char name[512];
};

static int server_compare(const void *a, const void *b)
{
    return strcmp((*(struct cfg_server *const *)a)->name, (*(struct cfg_server *const *)b)->name);
}

/* What was found becomes what is live. */
static void merge_finish_backend(struct merge *m)
{
    struct live_backend *b = m->backend;
    if (!b)
        return;
    if (m->found.servers.length > 1)
        qsort(m->found.servers.items, m->found.servers.length, sizeof(*m->found.servers.items), server_compare);
    for (size_t i = 0; i < b->cfg.servers.length; i++) {
        if (b->cfg.servers.items[i]->leaving)
            m->live->leaving--;
        cfg_server_free(b->cfg.servers.items[i]);
    }
    for (size_t i = 0; i < m->found.servers.length; i++)
        m->live->leaving += m->found.servers.items[i]->leaving;
    vec_done(&b->cfg.servers);
    memcpy(&b->cfg.servers, &m->found.servers, sizeof(b->cfg.servers));
    memset(&m->found.servers, 0, sizeof(m->found.servers));
    b->seen = true;
    m->backend = NULL;
}

static void merge_begin_backend(struct merge *m, struct column name)
{
    merge_finish_backend(m);
    m->name[0] = '\0';
    if (name.length + 9 > sizeof(m->name))
        return;
    memcpy(m->name, "backend ", 8);
    memcpy(m->name + 8, name.text, name.length);
    m->name[8 + name.length] = '\0';
    m->backend = live_backend(m->live, m->name);
    if (!m->backend) {
        CLEANUP(free_ptr) char *listen = xasprintf("listen %s", m->name + 8);
        m->backend = live_backend(m->live, listen);
    }
}

static void merge_server(struct merge *m, const struct column *columns)
{
    const struct column *name = &columns[STATE_BACKEND];
    size_t length = strlen(m->name);
    if (length < 8 || !column_is(*name, m->name + 8, length - 8))
        merge_begin_backend(m, *name);
    struct cfg_server *found = m->backend ? server_from_columns(columns) : NULL;
    if (!found)
        return;
    const struct cfg_server *known = cfg_backend_server(&m->backend->cfg, found->name);
    if (known)
        found = server_with_words(found, known);
    vec_push(&m->found.servers, found);
}

void live_merge_servers(struct live *l, const char *show_servers_state, bool all)
{
    struct map_slot *slot;
    struct merge m = {.live = l};
    struct column columns[STATE_COLUMNS];
    for (size_t it = 0; all && (slot = map_next(&l->backends, &it));)
        ((struct live_backend *)slot->value)->seen = false;
    for (const char *line = show_servers_state; *line;) {
        const char *end = line_end(line);
        if (*line != '#' && columns_split(line, end, columns, STATE_COLUMNS) == STATE_COLUMNS)
            merge_server(&m, columns);
        line = *end ? end + 1 : end;
    }
    merge_finish_backend(&m);
    /* A backend that is not listed has no servers. */
    for (size_t it = 0; all && (slot = map_next(&l->backends, &it));) {
        struct live_backend *b = slot->value;
        if (!b->seen) {
            m.backend = b;
            merge_finish_backend(&m);
        }
    }
}

void live_parse_servers(const char *show_servers_state, struct cfg_backend *ret_found)
{
    struct column columns[STATE_COLUMNS];
    for (const char *line = show_servers_state; *line;) {
        const char *end = line_end(line);
        struct cfg_server *s = NULL;
        if (*line != '#' && columns_split(line, end, columns, STATE_COLUMNS) == STATE_COLUMNS)
            s = server_from_columns(columns);
        if (s)
            vec_push(&ret_found->servers, s);
        line = *end ? end + 1 : end;
    }
    if (ret_found->servers.length > 1)
        qsort(ret_found->servers.items, ret_found->servers.length, sizeof(*ret_found->servers.items), server_compare);
}

void live_merge_backends(struct live *l, const char *show_backend)
{
    struct map_slot *slot;
    struct map names = {0};
    for (const char *line = show_backend; *line;) {
        const char *end = line_end(line);
        if (*line != '#' && end > line)
            map_putn(&names, line, (size_t)(end - line), l);
        line = *end ? end + 1 : end;
    }
    for (size_t it = 0; (slot = map_next(&l->backends, &it));) {
        struct live_backend *b = slot->value;
        if (b->listen || map_get(&names, b->name))
            continue;
        map_deln(&l->backends, slot->key, slot->key_length);
        backend_free(b);
    }
    /* A backend of which nothing is known: not ours, but its name is taken. The "listen" sections are in the list,
     * too. */
    for (size_t it = 0; (slot = map_next(&names, &it));) {
        CLEANUP(free_ptr) char *name = xasprintf("backend %.*s", (int)slot->key_length, slot->key);
        CLEANUP(free_ptr) char *listen = xasprintf("listen %.*s", (int)slot->key_length, slot->key);
        if (!live_backend(l, name) && !live_backend(l, listen)) {
            struct live_backend *b = live_backend_get(l, name);
            b->cfg.from = xstrdup("");
            b->cfg.by_hand = true;
            b->gone = true;
        }
    }
    map_done(&names);
}

/* "0 (maps/host.map) pattern loaded…" */
void live_merge_map_names(struct live *l, const char *show_map)
{
    struct map_slot *slot;
    struct map found = {0};
    for (const char *line = show_map; *line;) {
        const char *end = line_end(line);
        const char *open = *line == '#' ? NULL : memchr(line, '(', (size_t)(end - line));
        const char *close = open ? memchr(open, ')', (size_t)(end - open)) : NULL;
        if (close) {
            const char *name = open + 1;
            for (const char *c = open + 1; c < close; c++)
                if (*c == '/')
                    name = c + 1;
            CLEANUP(free_ptr) char *key = xmemdup0(name, (size_t)(close - name));
            struct live_map *map = live_map(l, key);
            if (map) {
                free(map->path);
                map->path = xmemdup0(open + 1, (size_t)(close - open - 1));
                map_put(&found, key, map);
            }
        }
        line = *end ? end + 1 : end;
    }
    for (size_t it = 0; (slot = map_next(&l->maps, &it));)
        ((struct live_map *)slot->value)->used = map_getn(&found, slot->key, slot->key_length) != NULL;
    map_done(&found);
}

/* "0x7f… key value" */
void live_merge_map(struct live *l, struct live_map *map, const char *show_map)
{
    (void)l;
    map_clear_entries(map);
    for (const char *line = show_map; *line;) {
        const char *end = line_end(line);
        const char *key = memchr(line, ' ', (size_t)(end - line));
        const char *value = key ? memchr(key + 1, ' ', (size_t)(end - key - 1)) : NULL;
        if (value) {
            size_t length = (size_t)(value - key - 1);
            if (map_getn(&map->entries, key + 1, length))
                vec_push(&map->duplicates, xmemdup0(line, (size_t)(key - line)));
            else
                map_putn(&map->entries, key + 1, length, text_new(value + 1, (size_t)(end - value - 1)));
        }
        line = *end ? end + 1 : end;
    }
}

/* type=str, case=sensitive, found=yes, idx=tree, key="a", value="b", type="str" */
bool live_map_answer_is(const char *get_map, const char *key, const char *wanted, bool *ret_understood)
{
    static const char key_mark[] = ", key=\"", value_mark[] = "\", value=\"", type_mark[] = "\", type=\"";
    const char *found = strstr(get_map, key_mark);
    size_t key_length = strlen(key);
    /* One line for each kind of look-up that the map is used with. */
    *ret_understood = strncmp(get_map, "type=", 5) != 0 || !strchr(get_map, '\n');
    if (!*ret_understood || strncmp(get_map, "type=", 5) != 0)
        return false;
    if (found)
        found += strlen(key_mark);
    bool is_there = found && strncmp(found, key, key_length) == 0 &&
                    strncmp(found + key_length, value_mark, strlen(value_mark)) == 0;
    if (!is_there || !wanted)
        return !is_there && !wanted && (found || strstr(get_map, "found=no"));
    const char *value = found + key_length + strlen(value_mark);
    size_t length = strlen(wanted);
    return strncmp(value, wanted, length) == 0 &&
           (strncmp(value + length, type_mark, strlen(type_mark)) == 0 || strcmp(value + length, "\"") == 0);
}
