/* The renderer's answer comes in parts: lua/haptic/timings.lua. */
#include "offline/timings.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/clock.h"

static int compare(const void *left, const void *right)
{
    const struct timing *a = left, *b = right;

    if (a->total_ns != b->total_ns)
        return a->total_ns > b->total_ns ? -1 : 1;
    return strcmp(a->name, b->name);
}

/* "RUNS NANOSECONDS BYTES NANOSECONDS_OF_ONE NAME\tID" */
static void take_line(struct timings *t, const char *line, size_t length)
{
    struct timing row = {0};
    int name_at = 0;
    const char *tab = memchr(line, '\t', length);

    if (tab == NULL || sscanf(line, "%" SCNu64 " %" SCNd64 " %" SCNd64 " %" SCNd64 " %n", &row.runs, &row.total_ns,
                              &row.bytes, &row.most_ns, &name_at) != 4)
        return;
    row.name = xmemdup0(line + name_at, (size_t)(tab - line - name_at));
    row.most_name = xmemdup0(tab + 1, length - (size_t)(tab + 1 - line));
    vec_push(&t->items, row);
}

void timings_take(struct timings *t, struct workbench *w)
{
    unsigned long next = 1;

    while (next > 0) {
        CLEANUP(free_ptr) char *question = xasprintf("%lu", next);
        CLEANUP(free_ptr) char *answer = workbench_ask(w, "timings", question);
        char *at;
        unsigned long former = next;
        next = strtoul(answer, &at, 10);
        while (*at == '\n' && at[1] != '\0') {
            size_t length = strcspn(at + 1, "\n");
            take_line(t, at + 1, length);
            at += 1 + length;
        }
        if (next <= former)
            break;
    }
    if (t->items.length > 1)
        qsort(t->items.items, t->items.length, sizeof(*t->items.items), compare);
}

void timings_done(struct timings *t)
{
    for (size_t i = 0; i < t->items.length; i++) {
        free(t->items.items[i].name);
        free(t->items.items[i].most_name);
    }
    vec_done(&t->items);
}

const struct timing *timings_find(const struct timings *t, const char *name)
{
    for (size_t i = 0; i < t->items.length; i++)
        if (strcmp(t->items.items[i].name, name) == 0)
            return &t->items.items[i];
    return NULL;
}

void timings_put(const struct timings *t, size_t max, struct buf *out)
{
    buf_puts(out, "      runs   total ms   most ms      KiB  fragments of\n");
    for (size_t i = 0; i < t->items.length && (max == 0 || i < max); i++) {
        const struct timing *x = &t->items.items[i];
        buf_printf(out, "%10" PRIu64 " %10.3f %9.3f %8" PRId64 "  %s", x->runs, (double)x->total_ns / NS_PER_MS,
                   (double)x->most_ns / NS_PER_MS, x->bytes / 1024, x->name);
        if (x->runs > 1)
            buf_printf(out, "  (most: %s)", x->most_name);
        buf_putc(out, '\n');
    }
}
