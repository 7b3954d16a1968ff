/* One entry for each namespace and reason. An entry that a rendering did not report again is over. */
#include "controller/held.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/vec.h"
#include "data/json.h"
#include "net/backoff.h"

#define TIME_LASTS_NS (5 * NS_PER_S) /* waiting for time is reported after this */
#define AGAIN_MIN_NS (60 * NS_PER_S)
#define AGAIN_MAX_NS (3600 * NS_PER_S)
/* The minimum between lines for two namespaces, when many begin to wait at once. */
#define NAMED_NS (NS_PER_S / 2)
#define DESCRIBED_MAX 1000
#define START_MAX_NS (60 * NS_PER_S)

struct entry {
    char *name;
    bool for_room;
    uint64_t fragments;
    int64_t since_ns, logged_ns; /* logged_ns 0: never */
    unsigned repeated;           /* the number of repeated log lines */
    unsigned round;
};

void held_init(struct held *h, struct metrics *metrics)
{
    static const char help[] = "Fragments that wait so that other namespaces are not harmed, by what they wait for.";

    *h = (struct held){0};
    map_init(&h->by_namespace, false);
    h->fragments_by_size = metric_gauge(metrics, "haptic_held_back_fragments", help, "for", "room");
    h->fragments_by_time = metric_gauge(metrics, "haptic_held_back_fragments", help, "for", "time");
    h->namespaces = metric_gauge(metrics, "haptic_held_back_namespaces", "Namespaces whose fragments wait.");
}

static void entry_free(struct entry *e)
{
    free(e->name);
    free(e);
}

void held_done(struct held *h)
{
    struct map_slot *slot;

    for (size_t it = 0; (slot = map_next(&h->by_namespace, &it)) != NULL;)
        entry_free(slot->value);
    map_done(&h->by_namespace);
}

static void note(struct held *h, const char *name, bool for_room, uint64_t fragments, int64_t now_ns)
{
    CLEANUP(free_ptr) char *key = xasprintf("%c%s", for_room ? 'r' : 't', name);
    struct entry *e = map_get(&h->by_namespace, key);

    if (e == NULL) {
        e = xcalloc(1, sizeof(*e));
        *e = (struct entry){.name = xstrdup(name), .for_room = for_room, .since_ns = now_ns};
        (void)map_put(&h->by_namespace, key, e);
    }
    e->fragments = fragments;
    e->round = h->round;
}

static void log_entry(struct held *h, struct entry *e, int64_t now_ns)
{
    bool due = e->logged_ns == 0 ? e->for_room || now_ns - e->since_ns >= TIME_LASTS_NS
                                 : now_ns - e->logged_ns >= net_backoff_step(AGAIN_MIN_NS, AGAIN_MAX_NS, e->repeated);

    if (!due || (h->named_ns != 0 && now_ns - h->named_ns < NAMED_NS))
        return;
    if (e->logged_ns != 0)
        e->repeated++;
    e->logged_ns = h->named_ns = now_ns;
    log_warn(e->for_room
                 ? "Namespace has used its share of the output; more output waits, other namespaces are not affected"
                 : "Namespace takes long to render; its changes wait, other namespaces are not affected",
             "namespace", *e->name ? e->name : "(none)", "fragments", log_int((int64_t)e->fragments), "for",
             log_duration(now_ns - e->since_ns));
}

/* Ends the entries that were not reported this time. */
static void drop_old(struct held *h, int64_t now_ns)
{
    VEC(char *) gone = {0};
    struct map_slot *slot;

    for (size_t it = 0; (slot = map_next(&h->by_namespace, &it)) != NULL;)
        if (((struct entry *)slot->value)->round != h->round)
            vec_push(&gone, xmemdup0(slot->key, slot->key_length));
    for (size_t i = 0; i < gone.length; i++) {
        struct entry *e = map_del(&h->by_namespace, gone.items[i]);
        if (e->logged_ns != 0)
            log_info("Namespace no longer waits", "namespace", *e->name ? e->name : "(none)", "after",
                     log_duration(now_ns - e->since_ns));
        entry_free(e);
        free(gone.items[i]);
    }
    vec_done(&gone);
}

void held_update(struct held *h, const struct render_stats *stats, int64_t now_ns)
{
    struct map_slot *slot;

    if (stats->held_count == 0 && h->by_namespace.count == 0)
        return;
    h->round++;
    h->by_size = h->by_time = 0;
    for (size_t i = 0; i < stats->held_count; i++) {
        const struct render_held *held = &stats->held[i];
        if (held->by_size > 0)
            note(h, held->namespace_name, true, held->by_size, now_ns);
        if (held->by_time > 0)
            note(h, held->namespace_name, false, held->by_time, now_ns);
        h->by_size += held->by_size;
        h->by_time += held->by_time;
    }
    drop_old(h, now_ns);
    for (size_t it = 0; (slot = map_next(&h->by_namespace, &it)) != NULL;)
        log_entry(h, slot->value, now_ns);
    metric_set(h->fragments_by_size, (double)h->by_size);
    metric_set(h->fragments_by_time, (double)h->by_time);
    metric_set(h->namespaces, (double)h->by_namespace.count);
}

bool held_delays_start(uint64_t fragments, int64_t age_ns)
{
    return fragments > 0 && age_ns < START_MAX_NS;
}

static int compare_entries(const void *a, const void *b)
{
    const struct entry *x = *(const struct entry *const *)a, *y = *(const struct entry *const *)b;
    int names = strcmp(x->name, y->name);

    return names != 0 ? names : (int)x->for_room - (int)y->for_room;
}

void held_describe(const struct held *h, struct buf *out)
{
    VEC(const struct entry *) sorted = {0};
    struct map_slot *slot;

    for (size_t it = 0; (slot = map_next(&h->by_namespace, &it)) != NULL;)
        vec_push(&sorted, slot->value);
    if (sorted.length > 0)
        qsort(sorted.items, sorted.length, sizeof(*sorted.items), compare_entries);
    buf_putc(out, '[');
    for (size_t i = 0; i < sorted.length && i < DESCRIBED_MAX; i++) {
        buf_puts(out, i > 0 ? ",{\"namespace\":" : "{\"namespace\":");
        if (json_write_string(out, sorted.items[i]->name, strlen(sorted.items[i]->name), NULL) < 0)
            buf_puts(out, "null");
        buf_printf(out, ",\"for\":\"%s\",\"fragments\":%llu}", sorted.items[i]->for_room ? "room" : "time",
                   (unsigned long long)sorted.items[i]->fragments);
    }
    buf_putc(out, ']');
    vec_done(&sorted);
}
