/* Each thread takes the next item when it is free. When a thread cannot be made, the others do its work. */
#include "base/parallel.h"

#include <stdatomic.h>
#include <uv.h>

#define THREADS_MAX 8

struct work {
    void (*fn)(void *ctx, size_t i);
    void *ctx;
    size_t count;
    atomic_size_t next;
};

static void work_on(void *arg)
{
    struct work *w = arg;

    for (size_t i; (i = atomic_fetch_add(&w->next, 1)) < w->count;)
        w->fn(w->ctx, i);
}

void parallel_each(size_t count, size_t max_threads, void (*fn)(void *ctx, size_t i), void *ctx)
{
    struct work w = {.fn = fn, .ctx = ctx, .count = count};
    uv_thread_t threads[THREADS_MAX];
    size_t wanted = uv_available_parallelism(), made = 0;

    wanted = wanted < max_threads ? wanted : max_threads;
    wanted = wanted < count ? wanted : count;
    while (made + 1 < wanted && made < THREADS_MAX && uv_thread_create(&threads[made], work_on, &w) == 0)
        made++;
    work_on(&w);
    for (size_t i = 0; i < made; i++)
        uv_thread_join(&threads[i]);
}
