/* Answers are parsed in place, line by line and column by column. The servers of a backend are sorted by name, and
 * `show servers state` prints backend by backend, so merging costs one search per line.
 */
#include <stdlib.h>
#include <string.h>

#include "agent/live.h"
#include "base/alloc.h"

struct column {
    const char *text;
    size_t length;
};

/* Splits a line at single blanks. Returns the number of columns, at most max. */
static size_t columns_split(struct column row, struct column *columns, size_t max)
{
    const char *line = row.text, *end = row.text + row.length;
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

/* The next line of an answer that is no comment; false at the end. */
static bool line_next(const char **at, struct column *ret_line)
{
    while (**at) {
        *ret_line = (struct column){*at, strcspn(*at, "\n")};
        *at += ret_line->length + ((*at)[ret_line->length] == '\n');
        if (*ret_line->text != '#')
            return true;
    }
    return false;
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

/* Takes over the words of the known server with this name. */
static struct cfg_server *server_with_words(struct cfg_server *found, const struct cfg_server *known)
{
    /* HAProxy reports a server's host name if a command has set it, and not always if it was resolved at the start. For
     * a Unix socket it prints "-". */
    bool renamed = !found->literal && strcmp(found->address, "-") != 0 &&
                   strcasecmp(found->address, known->address) != 0;
    struct cfg_server *s = known->literal || !known->words_known || renamed
                               ? cfg_server_copy(known, found->address, found->port)
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

static void servers_sort(struct cfg_backend *b)
{
    if (b->servers.length > 1)
        qsort(b->servers.items, b->servers.length, sizeof(*b->servers.items), server_compare);
}

/* The servers that were found become the live ones. */
static void merge_finish_backend(struct merge *m)
{
    struct live_backend *b = m->backend;
    size_t leaving = 0;
    if (!b)
        return;
    servers_sort(&m->found);
    for (size_t i = 0; i < b->cfg.servers.length; i++) {
        if (b->cfg.servers.items[i]->leaving)
            m->live->leaving--;
        cfg_server_free(b->cfg.servers.items[i]);
    }
    for (size_t i = 0; i < m->found.servers.length; i++)
        leaving += m->found.servers.items[i]->leaving;
    m->live->leaving += leaving;
    if (leaving)
        live_backend_wait(m->live, b);
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
    struct column line, columns[STATE_COLUMNS];
    for (size_t it = 0; all && (slot = map_next(&l->backends, &it));)
        ((struct live_backend *)slot->value)->seen = false;
    while (line_next(&show_servers_state, &line))
        if (columns_split(line, columns, STATE_COLUMNS) == STATE_COLUMNS)
            merge_server(&m, columns);
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
    struct column line, columns[STATE_COLUMNS];
    while (line_next(&show_servers_state, &line)) {
        struct cfg_server *s = NULL;
        if (columns_split(line, columns, STATE_COLUMNS) == STATE_COLUMNS)
            s = server_from_columns(columns);
        if (s)
            vec_push(&ret_found->servers, s);
    }
    servers_sort(ret_found);
}

void live_merge_backends(struct live *l, const char *show_backend)
{
    struct map_slot *slot;
    struct map names = {0};
    struct column line;
    while (line_next(&show_backend, &line))
        if (line.length)
            map_putn(&names, line.text, line.length, l);
    for (size_t it = 0; (slot = map_next(&l->backends, &it));) {
        struct live_backend *b = slot->value;
        if (!b->listen && !map_get(&names, b->name))
            live_backend_drop(l, slot->key);
    }
    /* An unknown backend is not managed, but its name is in use. The list also contains "listen" sections. */
    for (size_t it = 0; (slot = map_next(&names, &it));) {
        CLEANUP(free_ptr) char *name = xasprintf("backend %.*s", (int)slot->key_length, slot->key);
        CLEANUP(free_ptr) char *listen = xasprintf("listen %.*s", (int)slot->key_length, slot->key);
        if (!live_backend(l, name) && !live_backend(l, listen)) {
            struct live_backend *b = live_backend_get(l, name);
            b->cfg.from = xstrdup("");
            b->cfg.by_hand = true;
            b->gone = true;
            b->unknown = true;
            live_backend_wait(l, b);
        }
    }
    map_done(&names);
}

/* "0 (maps/host.map) pattern loaded…" */
void live_merge_map_names(struct live *l, const char *show_map)
{
    struct map_slot *slot;
    struct map found = {0};
    struct column line;
    while (line_next(&show_map, &line)) {
        const char *end = line.text + line.length;
        const char *open = memchr(line.text, '(', line.length);
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
    }
    for (size_t it = 0; (slot = map_next(&l->maps, &it));)
        ((struct live_map *)slot->value)->used = map_getn(&found, slot->key, slot->key_length) != NULL;
    map_done(&found);
}

/* "0x7f… key value" */
void live_merge_map(struct live_map *map, const char *show_map)
{
    struct column line;
    live_map_clear(map);
    while (line_next(&show_map, &line)) {
        const char *end = line.text + line.length;
        const char *key = memchr(line.text, ' ', line.length);
        const char *value = key ? memchr(key + 1, ' ', (size_t)(end - key - 1)) : NULL;
        if (value) {
            size_t length = (size_t)(value - key - 1);
            if (map_getn(&map->entries, key + 1, length))
                vec_push(&map->duplicates, xmemdup0(line.text, (size_t)(key - line.text)));
            else
                map_putn(&map->entries, key + 1, length, text_new(value + 1, (size_t)(end - value - 1)));
        }
    }
}

/* type=str, case=sensitive, found=yes, idx=tree, key="a", value="b", type="str" */
bool live_map_answer_is(const char *get_map, const char *key, const char *wanted, bool *ret_understood)
{
    static const char key_mark[] = ", key=\"", value_mark[] = "\", value=\"", type_mark[] = "\", type=\"";
    const char *found = strstr(get_map, key_mark);
    size_t key_length = strlen(key);
    /* One line for each kind of look-up that uses the map. */
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
