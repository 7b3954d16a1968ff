/* A table of failures. The model knows what is quarantined. */
#include "controller/problems.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/vec.h"
#include "data/json.h"

#define KEPT_NAMED 5
/* Ten thousand objects may have the same problem. */
#define WARNED_DESCRIBED 1000

struct failure {
    char *owner, *message;
    unsigned epoch;
};

static void failure_free(struct failure *f)
{
    if (f == NULL)
        return;
    free(f->owner);
    free(f->message);
    free(f);
}

void problems_init(struct problems *p)
{
    map_init(&p->failures, false);
    map_init(&p->warned, false);
}

void problems_done(struct problems *p)
{
    struct map_slot *slot;

    for (size_t it = 0; (slot = map_next(&p->failures, &it)) != NULL;)
        failure_free(slot->value);
    map_done(&p->failures);
    map_done(&p->warned);
}

bool problems_set(struct problems *p, const char *fragment_id, const char *owner_kind, const char *owner_id,
                  const char *message)
{
    struct failure *failure = xcalloc(1, sizeof(*failure));

    failure->owner = xasprintf("%s%s%s", owner_kind, *owner_id ? " " : "", owner_id);
    failure->message = xstrdup(message);
    failure->epoch = p->epoch;
    struct failure *before = map_put(&p->failures, fragment_id, failure);
    bool is_new = before == NULL || strcmp(before->message, message) != 0;
    failure_free(before);
    return is_new;
}

bool problems_has(const struct problems *p, const char *fragment_id, const char *message)
{
    const struct failure *f = map_get(&p->failures, fragment_id);

    return f != NULL && strcmp(f->message, message) == 0;
}

const char *problems_message(const struct problems *p, const char *fragment_id)
{
    const struct failure *f = map_get(&p->failures, fragment_id);

    return f != NULL ? f->message : NULL;
}

void problems_keep(struct problems *p, const char *fragment_id)
{
    struct failure *f = map_get(&p->failures, fragment_id);

    if (f != NULL)
        f->epoch = p->epoch;
}

void problems_clear(struct problems *p, const char *fragment_id)
{
    failure_free(map_del(&p->failures, fragment_id));
}

void problems_replace_begin(struct problems *p)
{
    p->epoch++;
}

static bool warns(const struct fragment *f)
{
    for (size_t i = 0; i < f->count; i++)
        if (f->items[i].kind == CONTRIBUTION_WARNING)
            return true;
    return false;
}

void problems_warn(struct problems *p, const struct fragment *f)
{
    if (warns(f))
        (void)map_put(&p->warned, f->id, p);
    else
        (void)map_del(&p->warned, f->id);
}

void problems_unwarn(struct problems *p, const char *fragment_id)
{
    (void)map_del(&p->warned, fragment_id);
}

size_t problems_warned(const struct problems *p)
{
    return p->warned.count;
}

/* The failures of fragments that the model does not have. */
static void warned_forget(struct problems *p, const struct model *model)
{
    VEC(char *) gone = {0};
    struct map_slot *slot;

    for (size_t it = 0; (slot = map_next(&p->warned, &it)) != NULL;)
        if (model_fragment(model, slot->key) == NULL)
            vec_push(&gone, xmemdup0(slot->key, slot->key_length));
    for (size_t i = 0; i < gone.length; i++) {
        (void)map_del(&p->warned, gone.items[i]);
        free(gone.items[i]);
    }
    vec_done(&gone);
}

void problems_replace_end(struct problems *p, const struct model *model)
{
    VEC(char *) gone = {0};
    struct map_slot *slot;

    warned_forget(p, model);

    for (size_t it = 0; (slot = map_next(&p->failures, &it)) != NULL;)
        if (((struct failure *)slot->value)->epoch != p->epoch)
            vec_push(&gone, xmemdup0(slot->key, slot->key_length));
    for (size_t i = 0; i < gone.length; i++) {
        problems_clear(p, gone.items[i]);
        free(gone.items[i]);
    }
    vec_done(&gone);
}

void problems_each_owner(const struct problems *p, void (*fn)(void *ctx, const char *owner), void *ctx)
{
    const struct map_slot *slot;

    for (size_t it = 0; (slot = map_next(&p->failures, &it)) != NULL;)
        fn(ctx, ((const struct failure *)slot->value)->owner);
}

bool problems_is_failing(const struct problems *p, const char *fragment_id)
{
    return map_get(&p->failures, fragment_id) != NULL;
}

void problems_kept(const struct problems *p, const struct model *model, struct buf *objects,
                   struct problems_kept *ret_kept)
{
    const struct map_slot *slot, *first = NULL;

    *ret_kept = (struct problems_kept){0};
    for (size_t it = 0; (slot = map_next(&p->failures, &it)) != NULL;) {
        const struct failure *f = slot->value;
        if (!model_has_good(model, slot->key))
            continue;
        ret_kept->count++;
        if (objects != NULL && ret_kept->count <= KEPT_NAMED)
            buf_printf(objects, "%s%s", objects->length > 0 ? ", " : "", *f->owner ? f->owner : slot->key);
        if (first == NULL || strcmp(slot->key, first->key) < 0) {
            first = slot;
            ret_kept->message = f->message;
        }
    }
}

size_t problems_count(const struct problems *p)
{
    return p->failures.count;
}

static void put_string(struct buf *out, const char *name, const char *text)
{
    buf_printf(out, ",\"%s\":", name);
    if (json_write_string(out, text, strlen(text), NULL) < 0)
        buf_puts(out, "null"); /* only a full buffer ends here */
}

/* reason is that of a warning; otherwise NULL. */
static void put_entry(struct buf *out, const char *state, const char *fragment, const char *owner, const char *reason,
                      const char *message)
{
    if (out->data[out->length - 1] == '}')
        buf_putc(out, ',');
    buf_printf(out, "{\"state\":\"%s\"", state);
    put_string(out, "fragment", fragment);
    put_string(out, "object", owner);
    if (reason != NULL)
        put_string(out, "reason", reason);
    put_string(out, "message", message);
    buf_putc(out, '}');
}

static void put_quarantined(void *ctx, const struct fragment *f, const char *reason)
{
    CLEANUP(free_ptr) char *owner = xasprintf("%s%s%s", f->owner_kind, *f->owner_id ? " " : "", f->owner_id);

    put_entry(ctx, "quarantined", f->id, owner, NULL, reason);
}

static int compare_keys(const void *a, const void *b)
{
    const struct map_slot *const *x = a, *const *y = b;

    return strcmp((*x)->key, (*y)->key);
}

static void put_warnings(struct buf *out, const struct fragment *f)
{
    if (f == NULL)
        return;
    CLEANUP(free_ptr) char *owner = xasprintf("%s%s%s", f->owner_kind, *f->owner_id ? " " : "", f->owner_id);
    for (size_t i = 0; i < f->count; i++)
        if (f->items[i].kind == CONTRIBUTION_WARNING)
            put_entry(out, "warning", f->id, owner, f->items[i].key, f->items[i].text->bytes);
}

void problems_describe(const struct problems *p, const struct model *model, struct buf *out)
{
    VEC(const struct map_slot *) sorted = {0};
    const struct map_slot *slot;

    buf_putc(out, '[');
    for (size_t it = 0; (slot = map_next(&p->failures, &it)) != NULL;)
        vec_push(&sorted, slot);
    if (sorted.length > 0)
        qsort(sorted.items, sorted.length, sizeof(*sorted.items), compare_keys);
    for (size_t i = 0; i < sorted.length; i++) {
        const struct failure *f = sorted.items[i]->value;
        put_entry(out, "failed", sorted.items[i]->key, f->owner, NULL, f->message);
    }
    model_each_quarantined(model, put_quarantined, out);
    vec_clear(&sorted);
    for (size_t it = 0; (slot = map_next(&p->warned, &it)) != NULL;)
        vec_push(&sorted, slot);
    if (sorted.length > 0)
        qsort(sorted.items, sorted.length, sizeof(*sorted.items), compare_keys);
    for (size_t i = 0; i < sorted.length && i < WARNED_DESCRIBED; i++)
        put_warnings(out, model_fragment(model, sorted.items[i]->key));
    vec_done(&sorted);
    buf_putc(out, ']');
}
