/* What is to be reported is noted first: to ask where a template wrote it runs the loop, and with it the fragments may
 * change. */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "controller/status_room.h"
#include "offline/template_place.h"
#include "offline/workbench_state.h"

/* The renderer runs a fragment once more to say which line wrote something. Findings beyond that many name the template
 * only. */
#define PLACES_MAX 200

struct note {
    enum finding_code code;
    struct fragment *fragment; /* referenced */
    const struct contribution *contribution;
    char *message;
};

struct notes {
    struct workbench *w;
    const struct item *item; /* that is contested */
    VEC(struct note) items;
};

static void add(struct notes *n, enum finding_code code, const struct fragment *f, const struct contribution *c,
                char *message)
{
    struct fragment *kept = fragment_ref((struct fragment *)(uintptr_t)f); /* only the count of references changes */

    vec_push(&n->items, ((struct note){.code = code, .fragment = kept, .contribution = c, .message = message}));
}

/* ---- keys and objects that an older object has ---- */

static char *winner_of(const struct fragment *winner)
{
    char *name = winner ? workbench_object_name(winner->owner_kind, winner->owner_id) : NULL;

    return name != NULL ? name : xstrdup("a template of no object");
}

static void note_loser(void *ctx, const struct fragment *loser)
{
    struct notes *n = ctx;
    CLEANUP(free_ptr) char *winner = winner_of(n->item->winner);

    add(n, FINDING_KEY_LOST, loser, fragment_contribution(loser, n->item->kind, n->item->scope, n->item->key),
        xasprintf("%s%s%s is also written by %s, which is older and wins", n->item->scope, *n->item->key ? " " : "",
                  n->item->key, winner));
}

static void note_contest(void *ctx, const struct item *item)
{
    struct notes *n = ctx;

    n->item = item;
    model_each_loser(item, note_loser, n);
}

static void ignore(void *ctx, struct status_entry *entry)
{
    (void)ctx;
    (void)entry;
}

/* Of several wishes for an object the first one counts. */
static void note_objects(struct notes *n)
{
    struct status_room room;
    struct map_slot *slot;

    status_room_init(&room, CONTRIBUTION_OBJECT, ignore, ignore, NULL);
    for (size_t it = 0; (slot = map_next(&n->w->fragments, &it)) != NULL;)
        status_room_put(&room, NULL, slot->value);
    for (size_t it = 0; (slot = map_next(&room.entries, &it)) != NULL;) {
        const struct status_entry *e = slot->value;
        for (uint32_t i = 1; i < e->count; i++) {
            if (text_equal(e->wishes[0].contribution->text, e->wishes[i].contribution->text))
                continue;
            CLEANUP(free_ptr) char *winner = winner_of(e->wishes[0].fragment);
            add(n, FINDING_KEY_LOST, e->wishes[i].fragment, e->wishes[i].contribution,
                xasprintf("object %s %s is also wanted by %s, which is older and wins", e->kind, e->id, winner));
        }
    }
    status_room_done(&room);
}

/* ---- warnings ---- */

static void note_warnings(void *ctx, const struct fragment *f)
{
    struct notes *n = ctx;

    for (size_t i = 0; i < f->count; i++)
        if (f->items[i].kind == CONTRIBUTION_WARNING)
            add(n, FINDING_TEMPLATE_WARNS, f, &f->items[i],
                xasprintf("%s: %s", f->items[i].key, f->items[i].text->bytes));
}

/* ---- findings ---- */

static int compare(const void *left, const void *right)
{
    const struct note *a = left, *b = right;
    int order = strcmp(a->fragment->id, b->fragment->id);

    return order != 0 ? order : strcmp(a->message, b->message);
}

static void report(struct workbench *w, const struct note *note, bool with_place)
{
    const struct fragment *f = note->fragment;
    CLEANUP(free_ptr) char *object = workbench_object_name(f->owner_kind, f->owner_id);
    CLEANUP(free_ptr)
    char *where = with_place && note->contribution != NULL ? workbench_where(w, f->id, note->contribution, 0) : NULL;

    if (where != NULL && *where != '\0') {
        CLEANUP(free_ptr) char *message = xasprintf("%s: %s", where, note->message);
        template_finding(w->config, w->findings, note->code, object, NULL, message);
        return;
    }
    findings_add(
        w->findings,
        &(struct finding){.code = note->code, .file = f->template_name, .object = object, .message = note->message});
}

void workbench_report_fragments(struct workbench *w)
{
    struct notes n = {.w = w};

    workbench_each_fragment(w, note_warnings, &n);
    model_take_contested(w->model, note_contest, &n);
    note_objects(&n);
    if (n.items.length > 1)
        qsort(n.items.items, n.items.length, sizeof(n.items.items[0]), compare);
    for (size_t i = 0; i < n.items.length; i++) {
        report(w, &n.items.items[i], i < PLACES_MAX);
        fragment_unref(n.items.items[i].fragment);
        free(n.items.items[i].message);
    }
    vec_done(&n.items);
}
