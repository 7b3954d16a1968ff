/* Two tables: the contested keys with their losers, which show what is new; and the losing fragments with the keys that
 * they lost, for questions about a fragment. */
#include "controller/conflicts.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/vec.h"
#include "controller/winner.h"
#include "data/json.h"

#define DESCRIBED_MAX 1000

/* One key that a fragment lost. */
struct loss {
    const struct contested *to;
    char *what, *message, *winner;
};

/* A fragment that lost at least one key. */
struct side {
    char *fragment_id, *owner;
    size_t count; /* of all lost keys */
    VEC(struct loss) told;
};

struct contested {
    struct map losers; /* fragment id → its side */
};

/* The contested item at hand. */
struct update {
    struct conflicts *c;
    const struct model *model;
    notice_tell *tell;
    void *ctx;
    const struct item *item;
    struct contested *contested;
    struct map now; /* fragment id → fragment */
};

/* ---- texts ---- */

static const char *reason_of(const struct update *u, char *reason, size_t size)
{
    const char *declared = u->item->kind == CONTRIBUTION_MAP_ENTRY ? model_map_declaration(u->model, u->item->scope)
                                                                   : NULL;
    size_t length = declared ? strcspn(declared, " ") : 0;

    if (length == 0 || length >= size)
        return "DuplicateKey";
    memcpy(reason, declared, length);
    reason[length] = '\0';
    return reason;
}

/* The key in words. */
static char *what_of(const struct update *u)
{
    const struct item *item = u->item;
    const char *declared, *means;

    switch (item->kind) {
    case CONTRIBUTION_MAP_ENTRY:
        declared = model_map_declaration(u->model, item->scope);
        means = declared ? strchr(declared, ' ') : NULL;
        return means ? xasprintf("%s %s", means + 1, item->key) : xasprintf("key %s of map %s", item->key, item->scope);
    case CONTRIBUTION_SECTION:
        return xasprintf("piece %s of section %s", item->key, item->scope);
    case CONTRIBUTION_SECTION_FROM:
        return xasprintf("the defaults section of section %s", item->scope);
    case CONTRIBUTION_FILE:
    case CONTRIBUTION_CERTIFICATE:
        return xasprintf("file %s", item->scope);
    case CONTRIBUTION_CRT_LIST:
        return *item->key ? xasprintf("TLS host %s", item->key) : xasprintf("the default of the list %s", item->scope);
    case CONTRIBUTION_GUARD:
    case CONTRIBUTION_FETCH:
    case CONTRIBUTION_OBJECT:
    case CONTRIBUTION_STATUS:
    case CONTRIBUTION_EVENT:
    case CONTRIBUTION_WARNING:
        break;
    }
    return xstrdup(item->key);
}

static void tell(const struct update *u, enum notice_kind kind, const struct fragment *f, const char *reason,
                 const char *message)
{
    u->tell(u->ctx, &(struct notice){.kind = kind,
                                     .fragment_id = f->id,
                                     .owner_kind = f->owner_kind,
                                     .owner_id = f->owner_id,
                                     .reason = reason,
                                     .message = message});
}

/* ---- the two tables ---- */

static void loss_done(struct loss *l)
{
    free(l->what);
    free(l->message);
    free(l->winner);
}

static struct side *side_get(struct conflicts *c, const struct fragment *f)
{
    struct side *s = map_get(&c->sides, f->id);

    if (s != NULL)
        return s;
    s = xcalloc(1, sizeof(*s));
    s->fragment_id = xstrdup(f->id);
    s->owner = xasprintf("%s%s%s", f->owner_kind, *f->owner_id ? " " : "", f->owner_id);
    (void)map_put(&c->sides, f->id, s);
    return s;
}

static struct loss *loss_find(const struct side *s, const struct contested *to)
{
    for (size_t i = 0; i < s->told.length; i++)
        if (s->told.items[i].to == to)
            return &s->told.items[i];
    return NULL;
}

static void loss_remove(struct conflicts *c, struct side *s, const struct contested *to)
{
    struct loss *l = loss_find(s, to);

    if (l != NULL) {
        loss_done(l);
        vec_swap_remove(&s->told, (size_t)(l - s->told.items));
    }
    c->count--;
    if (--s->count > 0)
        return;
    (void)map_del(&c->sides, s->fragment_id);
    vec_done(&s->told);
    free(s->fragment_id);
    free(s->owner);
    free(s);
}

/* ---- what is new ---- */

static void note_now(void *ctx, const struct fragment *loser)
{
    struct update *u = ctx;

    (void)map_put(&u->now, loser->id, (void *)(uintptr_t)loser);
}

static char *message_of(const struct update *u, const char *what, const struct fragment *f)
{
    CLEANUP(free_ptr) char *winner = winner_for(u->item->winner, f);

    return xasprintf("%s is also written by %s, which is older and wins", what, winner);
}

char *conflicts_foresee(const struct model *m, const struct item *item, const struct fragment *f,
                        const struct contribution *c)
{
    const struct update u = {.model = m, .item = item};
    const struct fragment *winner = item->winner;

    if (winner == NULL || strcmp(winner->id, f->id) == 0 || item->rendered == NULL ||
        text_equal(item->rendered, c->text) || fragment_compare(winner, f) >= 0)
        return NULL;
    CLEANUP(free_ptr) char *what = what_of(&u);
    return message_of(&u, what, f);
}

/* before is the message that was told last about this key; NULL when there is none. */
static void add_loss(const struct update *u, struct side *s, const struct fragment *f, const char *before)
{
    char reason[64];

    if (s->told.length >= CONFLICTS_TOLD)
        return;
    struct loss l = {.to = u->contested, .what = what_of(u), .winner = winner_owner(u->item->winner)};
    l.message = message_of(u, l.what, f);
    vec_push(&s->told, l);
    if (before == NULL || strcmp(before, l.message) != 0)
        tell(u, NOTICE_CONFLICT, f, reason_of(u, reason, sizeof(reason)), l.message);
}

static void update_loser(const struct update *u, const struct fragment *f)
{
    struct side *s = map_get(&u->contested->losers, f->id);

    if (s == NULL) {
        s = side_get(u->c, f);
        (void)map_put(&u->contested->losers, f->id, s);
        s->count++;
        u->c->count++;
        add_loss(u, s, f, NULL);
        return;
    }
    /* This loss is known. Has the winner changed? */
    struct loss *l = loss_find(s, u->contested);
    CLEANUP(free_ptr) char *winner = winner_owner(u->item->winner);
    if (l == NULL || strcmp(l->winner, winner) == 0)
        return;
    CLEANUP(free_ptr) char *before = STEAL(l->message);
    loss_done(l);
    vec_swap_remove(&s->told, (size_t)(l - s->told.items));
    add_loss(u, s, f, before);
}

/* Fragments that are no longer among the losers and have won. */
static void end_loss(const struct update *u, const char *fragment_id, struct side *s)
{
    const struct fragment *winner = u->item->winner;

    if (winner != NULL && strcmp(winner->id, fragment_id) == 0) {
        CLEANUP(free_ptr) char *what = what_of(u);
        CLEANUP(free_ptr)
        char *message = xasprintf("%s: the older object is gone; this object's output is in force now", what);
        tell(u, NOTICE_GAIN, winner, "TakesOver", message);
    }
    loss_remove(u->c, s, u->contested);
}

static void update_item(void *ctx, const struct item *item)
{
    struct update *u = ctx;
    struct map_slot *slot;
    VEC(char *) gone = {0};

    u->item = item;
    u->contested = map_getn(&u->c->items, item->name, (size_t)(item->key - item->name) + strlen(item->key));
    if (u->contested == NULL) {
        u->contested = xcalloc(1, sizeof(*u->contested));
        (void)map_putn(&u->c->items, item->name, (size_t)(item->key - item->name) + strlen(item->key), u->contested);
    }
    model_each_loser(item, note_now, u);
    for (size_t it = 0; (slot = map_next(&u->contested->losers, &it)) != NULL;)
        if (map_getn(&u->now, slot->key, slot->key_length) == NULL)
            vec_push(&gone, xmemdup0(slot->key, slot->key_length));
    for (size_t i = 0; i < gone.length; i++) {
        end_loss(u, gone.items[i], map_del(&u->contested->losers, gone.items[i]));
        free(gone.items[i]);
    }
    vec_done(&gone);
    for (size_t it = 0; (slot = map_next(&u->now, &it)) != NULL;)
        update_loser(u, slot->value);
    map_done(&u->now);
    u->now = (struct map){0};
    if (u->contested->losers.count > 0)
        return;
    (void)map_deln(&u->c->items, item->name, (size_t)(item->key - item->name) + strlen(item->key));
    map_done(&u->contested->losers);
    free(u->contested);
}

void conflicts_update(struct conflicts *c, struct model *m, notice_tell *tell_new, void *ctx)
{
    struct update u = {.c = c, .model = m, .tell = tell_new, .ctx = ctx};

    model_take_contested(m, update_item, &u);
}

bool conflicts_holds(const struct conflicts *c, const struct notice *n)
{
    const struct side *s = map_get(&c->sides, n->fragment_id);

    for (size_t i = 0; s != NULL && i < s->told.length; i++) {
        const struct loss *l = &s->told.items[i];
        size_t length = strlen(l->what);
        if (n->kind == NOTICE_CONFLICT && strcmp(l->message, n->message) == 0)
            return true;
        if (n->kind == NOTICE_GAIN && strncmp(n->message, l->what, length) == 0 && n->message[length] == ':')
            return false; /* lost again */
    }
    return n->kind == NOTICE_GAIN;
}

size_t conflicts_count(const struct conflicts *c)
{
    return c->count;
}

/* ---- the debug page ---- */

static int compare_sides(const void *a, const void *b)
{
    const struct side *const *x = a, *const *y = b;

    return strcmp((*x)->fragment_id, (*y)->fragment_id);
}

static void put_string(struct buf *out, const char *name, const char *text)
{
    buf_printf(out, ",\"%s\":", name);
    if (json_write_string(out, text, strlen(text), NULL) < 0)
        buf_puts(out, "null"); /* only a full buffer ends here */
}

void conflicts_describe(const struct conflicts *c, bool first, struct buf *out)
{
    VEC(const struct side *) sorted = {0};
    const struct map_slot *slot;
    size_t written = 0;

    for (size_t it = 0; (slot = map_next(&c->sides, &it)) != NULL;)
        vec_push(&sorted, slot->value);
    if (sorted.length > 0)
        qsort(sorted.items, sorted.length, sizeof(*sorted.items), compare_sides);
    for (size_t i = 0; i < sorted.length; i++)
        for (size_t k = 0; k < sorted.items[i]->told.length && written < DESCRIBED_MAX; k++, written++) {
            const struct side *s = sorted.items[i];
            buf_puts(out, first && written == 0 ? "{\"state\":\"conflict\"" : ",{\"state\":\"conflict\"");
            put_string(out, "fragment", s->fragment_id);
            put_string(out, "object", s->owner);
            put_string(out, "message", s->told.items[k].message);
            put_string(out, "winner", s->told.items[k].winner);
            buf_putc(out, '}');
        }
    vec_done(&sorted);
}

void conflicts_done(struct conflicts *c)
{
    struct map_slot *slot;

    for (size_t it = 0; (slot = map_next(&c->items, &it)) != NULL;) {
        struct contested *contested = slot->value;
        map_done(&contested->losers);
        free(contested);
    }
    map_done(&c->items);
    for (size_t it = 0; (slot = map_next(&c->sides, &it)) != NULL;) {
        struct side *s = slot->value;
        for (size_t i = 0; i < s->told.length; i++)
            loss_done(&s->told.items[i]);
        vec_done(&s->told);
        free(s->fragment_id);
        free(s->owner);
        free(s);
    }
    map_done(&c->sides);
}
