/* One block holds the fragment, the array of its contributions and all their strings, in this order. Only texts are
 * separate, because the model shares them between fragments that emit the same text.
 */
#include "engine/contribution.h"

#include <string.h>

#include "base/alloc.h"
#include "base/vec.h"

/* Copy a string to *at, advance it, and return where the copy starts. */
static const char *place(char **at, const char *string, size_t length)
{
    char *start = *at;
    if (length)
        memcpy(start, string, length);
    start[length] = '\0';
    *at = start + length + 1;
    return start;
}

struct contribution_input contribution_input_of(enum contribution_kind kind, int32_t rank, int32_t order,
                                                const char *scope, const char *key, const struct text *text)
{
    return (struct contribution_input){.kind = kind,
                                       .rank = rank,
                                       .order = order,
                                       .scope = scope,
                                       .scope_length = strlen(scope),
                                       .key = key,
                                       .key_length = strlen(key),
                                       .text = text->bytes,
                                       .text_length = text->length};
}

const struct contribution *fragment_contribution(const struct fragment *f, enum contribution_kind kind,
                                                 const char *scope, const char *key)
{
    for (size_t i = 0; f != NULL && i < f->count; i++)
        if (f->items[i].kind == kind && strcmp(f->items[i].scope, scope) == 0 && strcmp(f->items[i].key, key) == 0)
            return &f->items[i];
    return NULL;
}

struct fragment *fragment_new(const struct fragment_head *head, const struct contribution_input *items, size_t count)
{
    size_t id = strlen(head->id), template_name = strlen(head->template_name), owner_kind = strlen(head->owner_kind),
           owner_id = strlen(head->owner_id);
    size_t size = sizeof(struct fragment) + count * sizeof(struct contribution) + id + template_name + owner_kind +
                  owner_id + 4;
    for (size_t i = 0; i < count; i++)
        size += items[i].scope_length + items[i].key_length + 2;

    struct fragment *f = xmalloc(size);
    f->refs = 1;
    f->stale = false;
    f->count = count;
    f->owner_created_s = head->owner_created_s;
    f->items = (struct contribution *)(void *)(f + 1);
    char *at = (char *)(f->items + count);
    f->id = place(&at, head->id, id);
    f->template_name = place(&at, head->template_name, template_name);
    f->owner_kind = place(&at, head->owner_kind, owner_kind);
    f->owner_id = place(&at, head->owner_id, owner_id);
    for (size_t i = 0; i < count; i++) {
        struct contribution *c = &f->items[i];
        c->kind = items[i].kind;
        c->rank = items[i].rank;
        c->order = items[i].order;
        c->scope = place(&at, items[i].scope, items[i].scope_length);
        c->key = place(&at, items[i].key, items[i].key_length);
        c->text = text_new(items[i].text, items[i].text_length);
        c->item = NULL;
        c->slot = 0;
    }
    return f;
}

struct fragment *fragment_copy(const struct fragment *f, bool (*keeps)(void *ctx, const struct contribution *c),
                               void *ctx)
{
    VEC(struct contribution_input) inputs = {0};
    const struct fragment_head head = {.id = f->id,
                                       .template_name = f->template_name,
                                       .owner_kind = f->owner_kind,
                                       .owner_id = f->owner_id,
                                       .owner_created_s = f->owner_created_s};

    for (size_t i = 0; i < f->count; i++) {
        const struct contribution *c = &f->items[i];
        if (keeps == NULL || keeps(ctx, c))
            vec_push(&inputs, contribution_input_of(c->kind, c->rank, c->order, c->scope, c->key, c->text));
    }
    struct fragment *copy = fragment_new(&head, inputs.items, inputs.length);
    vec_done(&inputs);
    return copy;
}

struct fragment *fragment_ref(struct fragment *f)
{
    if (f)
        f->refs++;
    return f;
}

struct fragment *fragment_unref(struct fragment *f)
{
    if (!f || --f->refs)
        return NULL;
    for (size_t i = 0; i < f->count; i++)
        text_unref(f->items[i].text);
    free(f);
    return NULL;
}

int fragment_compare(const struct fragment *a, const struct fragment *b)
{
    if (a->owner_created_s != b->owner_created_s)
        return a->owner_created_s < b->owner_created_s ? -1 : 1;
    int owner = strcmp(a->owner_id, b->owner_id);
    return owner ? owner : strcmp(a->id, b->id);
}
