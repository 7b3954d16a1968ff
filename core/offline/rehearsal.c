/* The model is made when the first change is judged: from the fragments of that moment, with the changed ones as they
 * were. */
#include "offline/rehearsal.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/map.h"

struct noted {
    struct fragment *before, *now; /* referenced; NULL: there was, or is, none */
};

struct rehearsal {
    struct workbench *w;
    struct model *model; /* NULL: not made yet */
    struct map noted;    /* fragment id → struct noted */
};

struct rehearsal *rehearsal_new(struct workbench *w)
{
    struct rehearsal *r = xcalloc(1, sizeof(*r));

    r->w = w;
    map_init(&r->noted, false);
    return r;
}

static struct fragment *keep(const struct fragment *f)
{
    return f != NULL ? fragment_ref((struct fragment *)(uintptr_t)f) : NULL; /* only the count of references changes */
}

static void release(struct fragment *f)
{
    if (f != NULL)
        fragment_unref(f);
}

static void clear(struct rehearsal *r)
{
    struct map_slot *slot;

    for (size_t it = 0; (slot = map_next(&r->noted, &it));) {
        struct noted *n = slot->value;
        release(n->before);
        release(n->now);
        free(n);
    }
    map_clear(&r->noted);
}

void rehearsal_forget(struct rehearsal *r)
{
    clear(r);
    r->model = model_free(r->model);
}

struct rehearsal *rehearsal_free(struct rehearsal *r)
{
    if (r == NULL)
        return NULL;
    rehearsal_forget(r);
    map_done(&r->noted);
    free(r);
    return NULL;
}

void rehearsal_note(struct rehearsal *r, const struct fragment *before, const struct fragment *now)
{
    const char *id = now ? now->id : before->id;
    struct noted *n = map_get(&r->noted, id);

    if (n == NULL) {
        n = xcalloc(1, sizeof(*n));
        n->before = keep(before);
        (void)map_put(&r->noted, id, n);
    }
    struct fragment *former = n->now;
    n->now = keep(now);
    release(former);
}

/* A fragment knows its places in one model, so that another one needs a copy. */
static void put_copy(struct model *m, const struct fragment *f)
{
    VEC(struct contribution_input) inputs = {0};
    const struct fragment_head head = {.id = f->id,
                                       .template_name = f->template_name,
                                       .owner_kind = f->owner_kind,
                                       .owner_id = f->owner_id,
                                       .owner_created_s = f->owner_created_s};

    for (size_t i = 0; i < f->count; i++) {
        const struct contribution *c = &f->items[i];
        vec_push(&inputs, contribution_input_of(c->kind, c->rank, c->order, c->scope, c->key, c->text));
    }
    struct fragment *copy = fragment_new(&head, inputs.items, inputs.length);
    model_fragment_put(m, copy);
    fragment_unref(copy);
    vec_done(&inputs);
}

static void add_unchanged(void *ctx, const struct fragment *f)
{
    struct rehearsal *r = ctx;

    if (map_get(&r->noted, f->id) == NULL)
        put_copy(r->model, f);
}

static void accept_all(struct model *m)
{
    model_check_begin(m);
    model_check_end(m, true);
}

static void make_model(struct rehearsal *r)
{
    struct map_slot *slot;

    r->model = model_new();
    workbench_each_fragment(r->w, add_unchanged, r);
    for (size_t it = 0; (slot = map_next(&r->noted, &it));)
        if (((struct noted *)slot->value)->before != NULL)
            put_copy(r->model, ((struct noted *)slot->value)->before);
    accept_all(r->model);
}

int rehearsal_judge(struct rehearsal *r, struct difference *ret_difference, struct err *err)
{
    CLEANUP(disk_files_done) struct disk_files running = {0};
    struct map_slot *slot;

    *ret_difference = (struct difference){0};
    if (r->noted.count == 0) {
        ret_difference->place = xstrdup("");
        return 0;
    }
    if (r->model == NULL)
        make_model(r);
    workbench_model_files(r->model, MODEL_ACCEPTED, &running);
    for (size_t it = 0; (slot = map_next(&r->noted, &it));) {
        struct noted *n = slot->value;
        if (n->now != NULL)
            put_copy(r->model, n->now);
        else
            model_fragment_drop(r->model, slot->key);
    }
    model_review_gone(r->model);
    accept_all(r->model);
    clear(r);
    return difference_forecast(&running, store_vault(workbench_store(r->w)), r->model, r->w, ret_difference, err);
}
