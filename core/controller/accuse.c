/* Looks for files first, because HAProxy reports a bad certificate with the line of the bind that uses it; then for
 * lines, then for sections. Lines, maps and lists of certificates are found by indexes. The first complaint that needs
 * an index makes it. A section is searched once. */
#include "controller/accuse.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/map.h"

/* ---- what was checked ---- */

struct collecting {
    struct evidence *evidence;
    const struct model *model;
    struct disk_files *files;
};

static void collect_file(void *ctx, enum contribution_kind kind, const char *name, const char *bytes, size_t length)
{
    struct collecting *c = ctx;
    CLEANUP(free_ptr) char *path = xasprintf("%s/%s", kind == CONTRIBUTION_FILE ? "files" : "certs", name);

    disk_files_add(c->files, path, bytes, length);
}

static void collect_map(void *ctx, const char *map_name)
{
    struct collecting *c = ctx;
    struct buf text = {0};
    CLEANUP(free_ptr) char *path = xasprintf("maps/%s", map_name);

    model_write_map(c->model, MODEL_CHECKING, map_name, &text);
    vec_push(&c->evidence->maps, ((struct evidence_map){.name = xstrdup(map_name), .text = xstrdup(buf_str(&text))}));
    size_t length = text.length;
    disk_files_take(c->files, path, buf_steal(&text), length);
}

void evidence_collect(struct evidence *e, const struct model *m, struct disk_files *files)
{
    struct collecting c = {.evidence = e, .model = m, .files = files};
    struct buf text = {0};

    model_write_config(m, MODEL_CHECKING, &text, &e->lines);
    e->config.text = xmemdup0(buf_str(&text), text.length);
    size_t length = text.length;
    disk_files_take(files, DISK_CONFIG, buf_steal(&text), length);
    model_each_map(m, collect_map, &c);
    model_each_file(m, MODEL_CHECKING, collect_file, &c);
}

static void evidence_map_done(struct evidence_map *map)
{
    free(map->name);
    free(map->text);
    vec_done(&map->starts);
}

void evidence_done(struct evidence *e)
{
    model_lines_done(&e->lines);
    evidence_map_done(&e->config);
    e->config = (struct evidence_map){0};
    for (size_t i = 0; i < e->maps.length; i++)
        evidence_map_done(&e->maps.items[i]);
    vec_done(&e->maps);
}

/* ---- from complaints to items ---- */

struct court {
    struct evidence *evidence;
    const struct model *model;
    struct accusations *accusations;
    struct map seen;     /* ids of fragments that are accused already or have changed since the check */
    struct map files;    /* files whose item has been looked for: the answer */
    struct map sections; /* the same */
    struct map maps;     /* name → struct evidence_map */
    struct map lists;    /* pending lists of certificates: name → an item of it */
    struct map words;    /* "SECTION WORD" of pending pieces, and "SECTION" itself once it was read → struct spoken */
    bool has_maps, has_lists;
};

/* Cached results of the search for a file or a section. */
#define FOUND ((void *)(uintptr_t)2)
#define NOT_FOUND ((void *)(uintptr_t)1)

/* Line number (1-based) of a text, and its length without the newline; NULL when it has fewer. */
static const char *line_of(struct court *c, struct evidence_map *text, unsigned number, size_t *ret_length)
{
    if (text->starts.length == 0)
        for (const char *at = text->text; *at != '\0';) {
            c->accusations->steps++;
            vec_push(&text->starts, at);
            at += strcspn(at, "\n");
            at += *at == '\n';
        }
    if (number == 0 || number > text->starts.length)
        return NULL;
    const char *line = text->starts.items[number - 1];
    *ret_length = strcspn(line, "\n");
    return line;
}

/* True when line number (0-based) of the text is still this line, apart from indentation. */
static bool says(const struct text *text, uint32_t number, const char *line, size_t length)
{
    if (text == NULL)
        return false;
    const char *at = text->bytes, *end = text->bytes + text->length;
    for (; number > 0 && at < end; number--) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        at = newline ? newline + 1 : end;
    }
    const char *stop = at < end ? memchr(at, '\n', (size_t)(end - at)) : NULL;
    size_t rest = (size_t)((stop ? stop : end) - at), indent = strspn(line, " ");
    indent = indent < length ? indent : length;
    return rest == length - indent && memcmp(at, line + indent, rest) == 0;
}

static void accuse_item(struct court *c, const struct item *item, unsigned line, const char *message)
{
    const struct fragment *f = item->winner;

    if (f == NULL || map_get(&c->seen, f->id) != NULL)
        return;
    map_put(&c->seen, f->id, c);
    vec_push(&c->accusations->items, ((struct accusation){.fragment_id = xstrdup(f->id),
                                                          .kind = item->kind,
                                                          .scope = xstrdup(item->scope),
                                                          .key = xstrdup(item->key),
                                                          .line = line,
                                                          .message = xstrdup(message)}));
}

/* True when the item has the same text as when the check began. Only for items that the check was about. */
static bool is_unchanged(const struct item *item)
{
    return item->in_check && text_equal(item->checking, item->rendered);
}

static struct evidence_map *map_named(struct court *c, const char *name)
{
    for (size_t i = 0; !c->has_maps && i < c->evidence->maps.length; i++) {
        c->accusations->steps++;
        (void)map_put(&c->maps, c->evidence->maps.items[i].name, &c->evidence->maps.items[i]);
    }
    c->has_maps = true;
    return map_get(&c->maps, name);
}

static bool accuse_map_line(struct court *c, const struct check_message *m)
{
    const char *name = m->file + strlen("maps/");
    size_t length = 0;
    struct evidence_map *map = map_named(c, name);
    const char *line = map != NULL ? line_of(c, map, m->file_line, &length) : NULL;

    if (line == NULL)
        return false;
    size_t key_length = strcspn(line, " \n");
    CLEANUP(free_ptr) char *key = xmemdup0(line, key_length);
    const struct item *item = model_map_item(c->model, name, key);
    const char *value = line + key_length + (line[key_length] == ' ');
    size_t value_length = length - (size_t)(value - line);
    if (item != NULL && item->rendered != NULL && item->rendered->length == value_length &&
        memcmp(item->rendered->bytes, value, value_length) == 0)
        accuse_item(c, item, 0, m->text);
    else
        c->accusations->superseded = true;
    return true;
}

static void note_list(void *ctx, struct item *item)
{
    struct court *c = ctx;

    c->accusations->steps++;
    if (item->kind == CONTRIBUTION_CRT_LIST && item->winner != NULL)
        (void)map_put(&c->lists, item->scope, item);
}

/* The pending item of a file; for a list of certificates, one of its items. */
static const struct item *file_item(struct court *c, const char *name, bool is_certificate)
{
    const struct item *item = model_file_item(c->model, is_certificate ? CONTRIBUTION_CERTIFICATE : CONTRIBUTION_FILE,
                                              name);

    if (item != NULL && item->pending && item->winner != NULL)
        return item;
    if (!is_certificate)
        return NULL;
    if (!c->has_lists)
        model_each_pending(c->model, note_list, c);
    c->has_lists = true;
    return map_get(&c->lists, name);
}

/* True for a file whose content the check tested. */
static bool accuse_file(struct court *c, const struct check_message *m)
{
    const char *slash = m->file ? strchr(m->file, '/') : NULL;

    if (slash == NULL)
        return false;
    if (strncmp(m->file, "maps/", 5) == 0)
        return m->file_line > 0 && accuse_map_line(c, m);
    bool is_certificate = strncmp(m->file, "certs/", 6) == 0;
    if (!is_certificate && strncmp(m->file, "files/", 6) != 0)
        return false;
    const void *known = map_get(&c->files, m->file);
    if (known != NULL)
        return known == FOUND;
    const struct item *item = file_item(c, slash + 1, is_certificate);
    (void)map_put(&c->files, m->file, item != NULL ? FOUND : NOT_FOUND);
    if (item == NULL)
        return false;
    if (is_unchanged(item))
        accuse_item(c, item, 0, m->text);
    else
        c->accusations->superseded = true;
    return true;
}

/* Ten thousand wrong lines of one text make one accusation: only the first of them is looked up. */
static bool is_settled(struct court *c, const struct item *item)
{
    return item->winner != NULL && map_get(&c->seen, item->winner->id) != NULL;
}

static bool accuse_line(struct court *c, const struct check_message *m)
{
    size_t length = 0;

    if (m->line == 0 || m->line > c->evidence->lines.lines.length)
        return false;
    const struct model_origin *origin = &c->evidence->lines.lines.items[m->line - 1];
    const char *line = line_of(c, &c->evidence->config, m->line, &length);
    if (origin->item == NULL || line == NULL)
        return false;
    if (origin->header) {
        const struct section *s = origin->item->section;
        accuse_item(c, s->from != NULL && s->from->pending ? s->from : origin->item, 0, m->text);
    } else if (!is_settled(c, origin->item)) {
        c->accusations->lines++;
        if (says(origin->item->rendered, origin->line, line, length)) {
            accuse_item(c, origin->item, origin->line, m->text);
        } else {
            c->accusations->superseded = true;
            if (origin->item->winner != NULL) /* the whole item is checked again */
                (void)map_put(&c->seen, origin->item->winner->id, c);
        }
    }
    return true;
}

/* ---- words ---- */

/* The places of a word in a section; each fragment is listed once. */
struct spoken {
    const struct item *item; /* NULL: the section was read */
    unsigned line;           /* of its text, 0-based */
    struct spoken *next;
};

static void note_line(struct court *c, const char *section, struct item *item, unsigned number, const char *line,
                      size_t length)
{
    for (size_t at = 0; at < length;) {
        size_t word = strcspn(line + at, " \n");
        CLEANUP(free_ptr) char *key = xasprintf("%s %.*s", section, (int)word, line + at);
        struct spoken *before = word > 0 ? map_get(&c->words, key) : NULL;
        if (word > 0 && (before == NULL || before->item->winner != item->winner)) {
            struct spoken *spoken = xmalloc(sizeof(*spoken));
            *spoken = (struct spoken){item, number, before};
            (void)map_put(&c->words, key, spoken);
        }
        at += word + 1;
    }
}

static void note_words(struct court *c, const struct section *s)
{
    for (size_t i = 0; i < s->pieces.length; i++) {
        struct item *item = s->pieces.items[i];
        c->accusations->steps++;
        if (!item->pending || item->winner == NULL || item->rendered == NULL || !is_unchanged(item))
            continue;
        unsigned number = 0;
        for (const char *at = item->rendered->bytes; *at != '\0'; number++) {
            size_t length = strcspn(at, "\n");
            note_line(c, s->name, item, number, at, length);
            at += length + (at[length] == '\n');
        }
    }
}

/* For a message such as "Proxy 'http': unable to find required use_backend: 'x'". It has no line, only the section and,
 * in the last quotes, a word of it. Accuses at most as many fragments as there are complaints. */
static bool accuse_word(struct court *c, const struct check_message *m)
{
    static const char *const types[] = {"backend", "frontend", "listen"};
    const char *end = strrchr(m->text, '\'');
    const char *begin = end != NULL ? memrchr(m->text, '\'', (size_t)(end - m->text)) : NULL;

    if (m->line > 0 || m->name == NULL || begin == NULL || strstr(m->text, "unable to find") == NULL)
        return false;
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        CLEANUP(free_ptr) char *name = xasprintf("%s %s", types[i], m->name);
        CLEANUP(free_ptr) char *key = xasprintf("%s %.*s", name, (int)(end - begin - 1), begin + 1);
        const struct section *s = model_section(c->model, name);
        if (s != NULL && map_get(&c->words, name) == NULL) {
            (void)map_put(&c->words, name, xcalloc(1, sizeof(struct spoken)));
            note_words(c, s);
        }
        struct spoken *spoken = map_get(&c->words, key);
        if (spoken == NULL)
            continue;
        accuse_item(c, spoken->item, spoken->line, m->text);
        if (spoken->next != NULL) {
            (void)map_put(&c->words, key, spoken->next);
            free(spoken);
        }
        return true;
    }
    return false;
}

static void words_done(struct map *words)
{
    struct map_slot *slot;

    for (size_t it = 0; (slot = map_next(words, &it)) != NULL;)
        for (struct spoken *spoken = slot->value, *next; spoken != NULL; spoken = next) {
            next = spoken->next;
            free(spoken);
        }
    map_done(words);
}

/* For a complaint about a whole section: accuses its pending pieces if all of them come from one fragment. */
static bool judge_section(struct court *c, const struct check_message *m)
{
    static const char *const types[] = {"backend", "frontend", "listen", "defaults"};
    const struct item *found = NULL;

    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        if (m->section != NULL && strcmp(m->section, "proxy") != 0 && strcmp(m->section, types[i]) != 0)
            continue;
        CLEANUP(free_ptr) char *name = xasprintf("%s %s", types[i], m->name);
        const struct section *s = model_section(c->model, name);
        for (size_t j = 0; s != NULL && j < s->pieces.length; j++) {
            const struct item *item = s->pieces.items[j];
            c->accusations->steps++;
            if (!item->pending || item->winner == NULL)
                continue;
            if (found != NULL && found->winner != item->winner)
                return false;
            found = item;
        }
    }
    if (found == NULL)
        return false;
    if (is_unchanged(found))
        accuse_item(c, found, 0, m->text);
    else
        c->accusations->superseded = true;
    return true;
}

static bool accuse_section(struct court *c, const struct check_message *m)
{
    if (m->name == NULL)
        return false;
    CLEANUP(free_ptr) char *key = xasprintf("%s %s", m->section != NULL ? m->section : "", m->name);
    const void *known = map_get(&c->sections, key);
    if (known != NULL)
        return known == FOUND;
    bool found = judge_section(c, m);
    (void)map_put(&c->sections, key, found ? FOUND : NOT_FOUND);
    return found;
}

void accuse(struct evidence *e, const struct model *m, const struct check_message *messages, size_t count,
            struct accusations *ret_accusations)
{
    struct court c = {.evidence = e, .model = m, .accusations = ret_accusations};

    *ret_accusations = (struct accusations){0};
    map_init(&c.seen, false);
    for (size_t i = 0; i < count; i++)
        if (!accuse_file(&c, &messages[i]) && !accuse_line(&c, &messages[i]) && !accuse_word(&c, &messages[i]))
            (void)accuse_section(&c, &messages[i]);
    map_done(&c.seen);
    map_done(&c.files);
    map_done(&c.sections);
    map_done(&c.maps);
    map_done(&c.lists);
    words_done(&c.words);
}

void accusations_done(struct accusations *a)
{
    for (size_t i = 0; i < a->items.length; i++) {
        free(a->items.items[i].fragment_id);
        free(a->items.items[i].scope);
        free(a->items.items[i].key);
        free(a->items.items[i].message);
    }
    vec_done(&a->items);
}
