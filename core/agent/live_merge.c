/* Answers are parsed in place, line by line and column by column. The servers of a backend are sorted by name, and
 * `show servers state` prints backend by backend, so merging costs one search per line. Nearly always an answer says
 * what is known already: what is as it was is only marked, and nothing is made anew for it.
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

/* Where a merge of backends and servers stands. A merge of a map begins at MERGE_ENTRIES. */
enum merge_stage {
    MERGE_NAMES,     /* lines of `show backend` */
    MERGE_DROPPED,   /* backends that were not among them */
    MERGE_SERVERS,   /* lines of `show servers state` */
    MERGE_WITHOUT,   /* backends that were not among these: they have no servers */
    MERGE_ENTRIES,   /* lines of `show map NAME` */
    MERGE_REMOVED,   /* entries that were not among them */
    MERGE_CORRECTED, /* entries that are new or have another value */
    MERGE_DONE
};

struct live_merge {
    enum merge_stage stage;
    struct live *live;
    const char *lines; /* what is left of the answer at hand */
    const char *show_servers_state;
    size_t it; /* in a table */

    /* servers */
    struct live_backend *backend; /* at hand; NULL: none, or an unknown one */
    char name[512];               /* "backend x" */
    VEC(struct cfg_server *) found;
    size_t news; /* of found: those that the backend does not have in this form */

    /* a map */
    struct live_map *map;
    uint64_t *is_seen;  /* a bit for each slot of the entries */
    size_t seen;        /* entries that are as they were */
    struct map changed; /* key → struct text: entries with another value, or new ones; keys borrowed from the answer */
    VEC(char *) duplicates;
};

/* name: "backend x"; also finds "listen x". */
static struct live_backend *backend_or_listen(const struct live *l, const char *name)
{
    struct live_backend *b = live_backend(l, name);
    if (b)
        return b;
    CLEANUP(free_ptr) char *listen = xasprintf("listen %s", name + 8);
    return live_backend(l, listen);
}

/* ---- servers ---- */

static int server_compare(const void *a, const void *b)
{
    return strcmp((*(struct cfg_server *const *)a)->name, (*(struct cfg_server *const *)b)->name);
}

static void servers_sort(struct cfg_backend *b)
{
    if (b->servers.length > 1)
        qsort(b->servers.items, b->servers.length, sizeof(*b->servers.items), server_compare);
}

/* The servers that were found become those of the backend at hand. Most often they are the same ones. */
static void merge_finish_backend(struct live_merge *m)
{
    struct live_backend *b = m->backend;
    size_t leaving = 0;
    if (!b)
        return;
    b->compared = m->live->comparison;
    m->backend = NULL;
    if (m->news || m->found.length != b->cfg.servers.length) {
        for (size_t i = 0; i < b->cfg.servers.length; i++) {
            struct cfg_server *s = b->cfg.servers.items[i];
            m->live->leaving -= s->leaving;
            if (!s->seen)
                cfg_server_free(s);
        }
        vec_clear(&b->cfg.servers);
        for (size_t i = 0; i < m->found.length; i++) {
            vec_push(&b->cfg.servers, m->found.items[i]);
            leaving += m->found.items[i]->leaving;
        }
        servers_sort(&b->cfg);
        m->live->leaving += leaving;
        if (leaving)
            live_backend_wait(m->live, b);
    }
    for (size_t i = 0; i < m->found.length; i++)
        m->found.items[i]->seen = false;
    vec_clear(&m->found);
    m->news = 0;
}

/* The merge ends in the middle of a backend, which keeps the servers that it had. */
static void merge_leave_backend(struct live_merge *m)
{
    for (size_t i = 0; i < m->found.length; i++) {
        if (m->found.items[i]->seen)
            m->found.items[i]->seen = false;
        else
            cfg_server_free(m->found.items[i]);
    }
    vec_done(&m->found);
}

static void merge_begin_backend(struct live_merge *m, struct column name)
{
    merge_finish_backend(m);
    m->name[0] = '\0';
    if (name.length + 9 > sizeof(m->name))
        return;
    memcpy(m->name, "backend ", 8);
    memcpy(m->name + 8, name.text, name.length);
    m->name[8 + name.length] = '\0';
    m->backend = backend_or_listen(m->live, m->name);
}

/* Is the known server as the line says, so that the line tells nothing new? A host name that HAProxy tells is compared
 * as it is written. */
static bool server_is_as_told(const struct cfg_server *known, const struct column *c)
{
    bool named = !column_is(c[STATE_FQDN], "-", 1);
    const struct column *address = named ? &c[STATE_FQDN] : &c[STATE_ADDRESS];
    return known->literal == !named && (known->literal || known->words_known) &&
           column_is(*address, known->address, strlen(known->address)) &&
           (named || known->port == column_number(c[STATE_PORT])) && known->weight == column_number(c[STATE_WEIGHT]) &&
           known->admin == admin_parse(c[STATE_ADMIN]);
}

static void merge_server(struct live_merge *m, const struct column *columns)
{
    const struct column *backend = &columns[STATE_BACKEND], *name = &columns[STATE_NAME];
    char own_name[512];
    size_t length = strlen(m->name);
    if (length < 8 || !column_is(*backend, m->name + 8, length - 8))
        merge_begin_backend(m, *backend);
    if (!m->backend || name->length >= sizeof(own_name))
        return;
    memcpy(own_name, name->text, name->length);
    own_name[name->length] = '\0';
    struct cfg_server *known = cfg_backend_server(&m->backend->cfg, own_name);
    if (known && !known->seen && server_is_as_told(known, columns)) {
        known->seen = true;
        vec_push(&m->found, known);
        return;
    }
    struct cfg_server *found = server_from_columns(columns);
    if (!found)
        return;
    vec_push(&m->found, known ? server_with_words(found, known) : found);
    m->news++;
}

/* ---- backends ---- */

/* An unknown backend is not managed, but its name is in use. */
static void merge_name(struct live_merge *m, struct column line)
{
    struct live *l = m->live;
    if (!line.length)
        return;
    CLEANUP(free_ptr) char *name = xasprintf("backend %.*s", (int)line.length, line.text);
    struct live_backend *b = backend_or_listen(l, name); /* the list also contains "listen" sections */
    if (!b) {
        b = live_backend_get(l, name);
        b->cfg.from = xstrdup("");
        b->cfg.by_hand = true;
        b->gone = true;
        b->unknown = true;
        live_backend_wait(l, b);
    }
    b->told = l->comparison;
}

static bool step_names(struct live_merge *m)
{
    struct column line;
    if (!line_next(&m->lines, &line))
        return false;
    merge_name(m, line);
    return true;
}

static bool step_dropped(struct live_merge *m)
{
    const struct map_slot *slot = map_next(&m->live->backends, &m->it);
    if (!slot)
        return false;
    const struct live_backend *b = slot->value;
    if (!b->listen && b->told != m->live->comparison)
        live_backend_drop(m->live, slot->key);
    return true;
}

static bool step_servers(struct live_merge *m)
{
    struct column line, columns[STATE_COLUMNS];
    if (!line_next(&m->lines, &line)) {
        merge_finish_backend(m);
        return false;
    }
    if (columns_split(line, columns, STATE_COLUMNS) == STATE_COLUMNS)
        merge_server(m, columns);
    return true;
}

static bool step_without(struct live_merge *m)
{
    const struct map_slot *slot = map_next(&m->live->backends, &m->it);
    if (!slot)
        return false;
    m->backend = slot->value;
    if (m->backend->compared != m->live->comparison)
        merge_finish_backend(m);
    m->backend = NULL;
    return true;
}

struct live_merge *live_merge_servers(struct live *l, const char *show_backend, const char *show_servers_state)
{
    struct live_merge *m = xcalloc(1, sizeof(*m));
    l->comparison++;
    m->live = l;
    m->lines = show_backend;
    m->show_servers_state = show_servers_state;
    return m;
}

/* ---- maps ---- */

/* "0x7f… key value" */
static bool step_entries(struct live_merge *m)
{
    struct column line;
    if (!line_next(&m->lines, &line))
        return false;
    const char *end = line.text + line.length;
    const char *key = memchr(line.text, ' ', line.length);
    const char *value = key ? memchr(key + 1, ' ', (size_t)(end - key - 1)) : NULL;
    if (!value)
        return true;
    size_t key_length = (size_t)(value - key - 1), length = (size_t)(end - value - 1);
    const struct map_slot *known = map_slot(&m->map->entries, key + 1, key_length);
    size_t at = known ? (size_t)(known - m->map->entries.slots) : 0;
    bool is_seen = known ? m->is_seen[at / 64] >> at % 64 & 1 : map_getn(&m->changed, key + 1, key_length) != NULL;
    if (is_seen) {
        vec_push(&m->duplicates, xmemdup0(line.text, (size_t)(key - line.text)));
        return true;
    }
    const struct text *before = known ? known->value : NULL;
    if (known) {
        m->is_seen[at / 64] |= UINT64_C(1) << at % 64;
        m->seen++;
    }
    if (!before || before->length != length || memcmp(before->bytes, value + 1, length) != 0)
        map_putn(&m->changed, key + 1, key_length, text_new(value + 1, length));
    return true;
}

static bool step_removed(struct live_merge *m)
{
    struct map *entries = &m->map->entries;
    const struct map_slot *slot = m->seen < entries->count ? map_next(entries, &m->it) : NULL;
    if (!slot)
        return false;
    size_t at = (size_t)(slot - entries->slots);
    if (!(m->is_seen[at / 64] >> at % 64 & 1))
        text_unref(map_deln(entries, slot->key, slot->key_length));
    return true;
}

static bool step_corrected(struct live_merge *m)
{
    const struct map_slot *slot = map_next(&m->changed, &m->it);
    if (!slot) {
        for (size_t i = 0; i < m->map->duplicates.length; i++)
            free(m->map->duplicates.items[i]);
        vec_done(&m->map->duplicates);
        memcpy(&m->map->duplicates, &m->duplicates, sizeof(m->duplicates));
        memset(&m->duplicates, 0, sizeof(m->duplicates));
        return false;
    }
    const struct map_slot entry = *slot;
    map_deln(&m->changed, entry.key, entry.key_length);
    text_unref(map_putn(&m->map->entries, entry.key, entry.key_length, entry.value));
    return true;
}

struct live_merge *live_merge_map(struct live_map *map, const char *show_map)
{
    struct live_merge *m = xcalloc(1, sizeof(*m));
    m->stage = MERGE_ENTRIES;
    m->map = map;
    m->lines = show_map;
    m->is_seen = xcalloc(map->entries.capacity / 64 + 1, sizeof(*m->is_seen));
    map_init(&m->changed, true);
    return m;
}

/* ---- both ---- */

/* One line or entry; false: this stage has ended. */
static bool stage_step(struct live_merge *m)
{
    switch (m->stage) {
    case MERGE_NAMES:
        return step_names(m);
    case MERGE_DROPPED:
        return step_dropped(m);
    case MERGE_SERVERS:
        return step_servers(m);
    case MERGE_WITHOUT:
        return step_without(m);
    case MERGE_ENTRIES:
        return step_entries(m);
    case MERGE_REMOVED:
        return step_removed(m);
    case MERGE_CORRECTED:
        return step_corrected(m);
    case MERGE_DONE:
        break;
    }
    return false;
}

bool live_merge_step(struct live_merge *m, size_t steps)
{
    while (steps > 0 && m->stage != MERGE_DONE) {
        if (stage_step(m)) {
            steps--;
            continue;
        }
        m->stage = m->stage == MERGE_WITHOUT ? MERGE_DONE : m->stage + 1;
        m->it = 0;
        if (m->stage == MERGE_SERVERS)
            m->lines = m->show_servers_state;
    }
    return m->stage == MERGE_DONE;
}

struct live_merge *live_merge_free(struct live_merge *m)
{
    const struct map_slot *slot;
    if (!m)
        return NULL;
    merge_leave_backend(m);
    free(m->is_seen);
    for (size_t it = 0; (slot = map_next(&m->changed, &it));)
        text_unref(slot->value);
    map_done(&m->changed);
    for (size_t i = 0; i < m->duplicates.length; i++)
        free(m->duplicates.items[i]);
    vec_done(&m->duplicates);
    free(m);
    return NULL;
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
