#include "engine/questions.h"

#include <string.h>

uint64_t questions_next(struct questions *q)
{
    return ++q->number;
}

void questions_add(struct questions *q, void (*done)(void *ctx, const char *answer), void *ctx)
{
    vec_push(&q->items, ((struct question){.number = q->number, .done = done, .ctx = ctx}));
}

bool questions_answer(struct questions *q, uint64_t number, const char *answer)
{
    if (q->items.length == 0 || q->items.items[0].number != number)
        return false;
    struct question first = q->items.items[0];
    q->items.length--;
    memmove(q->items.items, q->items.items + 1, q->items.length * sizeof(first));
    first.done(first.ctx, answer);
    return true;
}

void questions_drop(struct questions *q)
{
    VEC(struct question) items = {.items = q->items.items, .length = q->items.length};

    q->items.items = NULL;
    q->items.length = q->items.capacity = 0;
    for (size_t i = 0; i < items.length; i++)
        items.items[i].done(items.items[i].ctx, "");
    vec_done(&items);
}
