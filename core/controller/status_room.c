/* Most fragments want no status, and cost one look at their contributions. The wish of the oldest fragment comes first,
 * as with equal keys. */
#include "controller/status_room.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

void status_room_init(struct status_room *room, enum contribution_kind kind,
                      void (*changed)(void *ctx, struct status_entry *entry),
                      void (*gone)(void *ctx, struct status_entry *entry), void *ctx)
{
    *room = (struct status_room){.kind = kind, .changed = changed, .gone = gone, .ctx = ctx};
    map_init(&room->entries, true);
}

static void entry_free(struct status_entry *e)
{
    for (uint32_t i = 0; i < e->count; i++)
        fragment_unref(e->wishes[i].fragment);
    free(e->wishes);
    free(e);
}

void status_room_done(struct status_room *room)
{
    struct map_slot *slot;

    for (size_t it = 0; (slot = map_next(&room->entries, &it)) != NULL;)
        entry_free(slot->value);
    map_done(&room->entries);
}

static size_t name_write(char *to, size_t size, const char *kind, const char *id)
{
    size_t a = strlen(kind), b = strlen(id);

    if (a + b + 2 > size)
        return 0;
    memcpy(to, kind, a + 1);
    memcpy(to + a + 1, id, b + 1);
    return a + 1 + b;
}

struct status_entry *status_room_find(const struct status_room *room, const char *kind, const char *id)
{
    char name[1024];
    size_t length = name_write(name, sizeof(name), kind, id);

    return length > 0 ? map_getn(&room->entries, name, length) : NULL;
}

static struct status_entry *entry_get(struct status_room *room, const char *kind, const char *id)
{
    struct status_entry *e = status_room_find(room, kind, id);
    size_t size = strlen(kind) + strlen(id) + 2;

    if (e != NULL)
        return e;
    e = xcalloc(1, sizeof(*e) + size);
    size_t length = name_write(e->name, size, kind, id);
    e->kind = e->name;
    e->id = e->name + strlen(kind) + 1;
    e->slot = UINT32_MAX;
    (void)map_putn(&room->entries, e->name, length, e);
    return e;
}

static void entry_drop(struct status_room *room, struct status_entry *e)
{
    room->gone(room->ctx, e);
    (void)map_deln(&room->entries, e->name, (size_t)(e->id - e->name) + strlen(e->id));
    entry_free(e);
}

/* The object whose status a contribution describes. */
static void target_of(const struct fragment *f, const struct contribution *c, const char **ret_kind,
                      const char **ret_id)
{
    bool own = *c->scope == '\0';

    *ret_kind = own ? f->owner_kind : c->scope;
    *ret_id = own ? f->owner_id : c->key;
}

static void wish_remove(struct status_entry *e, uint32_t at)
{
    fragment_unref(e->wishes[at].fragment);
    memmove(e->wishes + at, e->wishes + at + 1, (e->count - at - 1) * sizeof(*e->wishes));
    e->count--;
}

static void wish_add(struct status_entry *e, struct fragment *f, const struct contribution *c)
{
    uint32_t at = 0;

    e->wishes = xreallocarray(e->wishes, e->count + 1, sizeof(*e->wishes));
    while (at < e->count && fragment_compare(e->wishes[at].fragment, f) < 0)
        at++;
    memmove(e->wishes + at + 1, e->wishes + at, (e->count - at) * sizeof(*e->wishes));
    e->wishes[at] = (struct status_wish){.fragment = fragment_ref(f), .contribution = c};
    e->count++;
}

/* The same wish in another version of the fragment. */
static const struct contribution *find_wish(const struct fragment *f, const struct contribution *like)
{
    for (size_t i = 0; f != NULL && i < f->count; i++) {
        const struct contribution *c = &f->items[i];
        if (c->kind == like->kind && strcmp(c->scope, like->scope) == 0 && strcmp(c->key, like->key) == 0)
            return c;
    }
    return NULL;
}

/* Compares by name, because the model may hold another copy of the fragment. */
static bool is_same_wish(const struct status_wish *w, const struct fragment *f, const struct contribution *c)
{
    return strcmp(w->fragment->id, f->id) == 0 && strcmp(w->contribution->scope, c->scope) == 0 &&
           strcmp(w->contribution->key, c->key) == 0;
}

static void put_one(struct status_room *room, struct fragment *before, const struct contribution *was,
                    struct fragment *now, const struct contribution *is)
{
    const char *kind, *id;
    bool differs = was == NULL || is == NULL || !text_equal(was->text, is->text);

    target_of(is != NULL ? now : before, is != NULL ? is : was, &kind, &id);
    if (*kind == '\0' || *id == '\0')
        return;
    struct status_entry *e = entry_get(room, kind, id);
    for (uint32_t i = e->count; was != NULL && i-- > 0;)
        if (is_same_wish(&e->wishes[i], before, was)) {
            wish_remove(e, i);
            room->wishes--;
        }
    if (is != NULL) {
        wish_add(e, now, is);
        room->wishes++;
    }
    if (e->count == 0) {
        entry_drop(room, e);
    } else if (differs) {
        e->anew = e->anew || was != NULL;
        room->changed(room->ctx, e);
    }
}

void status_room_put(struct status_room *room, struct fragment *before, struct fragment *now)
{
    if (before == now)
        return;
    for (size_t i = 0; now != NULL && i < now->count; i++)
        if (now->items[i].kind == room->kind)
            put_one(room, before, find_wish(before, &now->items[i]), now, &now->items[i]);
    for (size_t i = 0; before != NULL && room->wishes > 0 && i < before->count; i++)
        if (before->items[i].kind == room->kind && find_wish(now, &before->items[i]) == NULL)
            put_one(room, before, &before->items[i], NULL, NULL);
}

void status_room_review(struct status_room *room, bool (*exists)(void *ctx, const char *fragment_id), void *ctx)
{
    struct map_slot *slot;

    for (size_t it = 0; (slot = map_next(&room->entries, &it)) != NULL;) {
        struct status_entry *e = slot->value;
        for (uint32_t i = e->count; i-- > 0;)
            if (!exists(ctx, e->wishes[i].fragment->id)) {
                wish_remove(e, i);
                room->wishes--;
            }
        if (e->count == 0)
            entry_drop(room, e); /* removing the present entry is allowed */
    }
}
