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
    struct fragment *copy = fragment_copy(f, NULL, NULL);

    model_fragment_put(m, copy);
    fragment_unref(copy);
}

static void add_unchanged(void *ctx, const struct fragment *f)
{
    struct rehearsal *r = ctx;

    if (map_get(&r->noted, f->id) == NULL)
        put_copy(r->model, f);
}

static void make_model(struct rehearsal *r)
{
    struct map_slot *slot;

    r->model = model_new();
    workbench_each_fragment(r->w, add_unchanged, r);
    for (size_t it = 0; (slot = map_next(&r->noted, &it));)
        if (((struct noted *)slot->value)->before != NULL)
            put_copy(r->model, ((struct noted *)slot->value)->before);
    model_accept_all(r->model);
}

/* The files are changed by the comparison: each version gets a copy. */
static int judge_for(struct rehearsal *r, const struct disk_files *running, const struct haproxy_caps *caps,
                     struct verdicts *verdicts, struct err *err)
{
    CLEANUP(disk_files_done) struct disk_files copy = {0};
    CLEANUP(difference_done) struct difference d = {0};

    for (size_t i = 0; i < running->items.length; i++) {
        const struct disk_file *f = &running->items.items[i];
        disk_files_add(&copy, f->path, f->bytes, f->length);
    }
    if (difference_forecast(&copy, store_vault(workbench_store(r->w)), r->model, r->w, caps, &d, err) < 0)
        return -1;
    verdicts_add(verdicts, &d, caps->text);
    return 0;
}

int rehearsal_judge(struct rehearsal *r, const struct versions *versions, struct verdicts *verdicts, struct err *err)
{
    CLEANUP(disk_files_done) struct disk_files running = {0};
    struct map_slot *slot;

    if (r->noted.count > 0 && r->model == NULL)
        make_model(r);
    if (r->model != NULL)
        workbench_model_files(r->model, MODEL_ACCEPTED, &running);
    for (size_t it = 0; (slot = map_next(&r->noted, &it));) {
        struct noted *n = slot->value;
        if (n->now != NULL)
            put_copy(r->model, n->now);
        else
            model_fragment_drop(r->model, slot->key);
    }
    if (r->noted.count > 0) {
        model_review_gone(r->model);
        model_accept_all(r->model);
    }
    bool differs = r->noted.count > 0;
    clear(r);
    for (size_t i = 0; i < versions->items.length; i++) {
        const struct haproxy_caps *caps = &versions->items.items[i].caps;
        if (differs && judge_for(r, &running, caps, verdicts, err) < 0)
            return -1;
        if (!differs)
            verdicts_add(verdicts, &(struct difference){.place = (char[]){""}}, caps->text);
    }
    return 0;
}
