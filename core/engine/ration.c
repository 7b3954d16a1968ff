/* The table knows fragments by a keyed hash of 64 bits, for which collisions cannot be constructed. Two fragments with
 * the same hash by chance would count as one. A removed fragment keeps its place until the table grows. The allowance
 * of the log is a leaky bucket, stored as the time at which it will be empty. */
#include "engine/ration.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/map.h"

#define CAPACITY_MIN 64

void ration_begin(struct ration *r, size_t max_bytes)
{
    ration_done(r);
    r->max_bytes = max_bytes;
}

void ration_done(struct ration *r)
{
    free(r->entries);
    *r = (struct ration){0};
}

static struct ration_entry *place_of(const struct ration *r, uint64_t hash)
{
    size_t at = (size_t)hash & (r->capacity - 1);

    while (r->entries[at].hash != 0 && r->entries[at].hash != hash)
        at = (at + 1) & (r->capacity - 1);
    return &r->entries[at];
}

/* Grows when a quarter is free at most. Removed fragments are not copied. */
static void reserve(struct ration *r)
{
    struct ration old = *r;
    size_t alive = 0;

    if (r->used < r->capacity / 4 * 3)
        return;
    for (size_t i = 0; i < old.capacity; i++)
        alive += old.entries[i].cost > 0;
    for (r->capacity = CAPACITY_MIN; r->capacity / 2 <= alive;)
        r->capacity *= 2;
    r->entries = xcalloc(r->capacity, sizeof(*r->entries));
    r->used = alive;
    for (size_t i = 0; i < old.capacity; i++)
        if (old.entries[i].cost > 0)
            *place_of(r, old.entries[i].hash) = old.entries[i];
    free(old.entries);
}

static struct ration_entry *entry_of(struct ration *r, const char *id)
{
    uint64_t hash = map_hash(id, strlen(id));

    reserve(r);
    struct ration_entry *entry = place_of(r, hash ? hash : 1);
    if (entry->hash == 0) {
        entry->hash = hash ? hash : 1;
        r->used++;
    }
    return entry;
}

void ration_rendering(struct ration *r)
{
    r->rendering_bytes = 0;
}

static int spend(struct ration *r, size_t cost, struct err *err)
{
    r->rendering_bytes += cost;
    if (r->rendering_bytes > r->max_bytes)
        return err_set(err, ERR_LIMIT, "one rendering gives more than %zu bytes", r->max_bytes);
    return 0;
}

int ration_fragment(struct ration *r, const char *id, size_t cost, struct err *err)
{
    struct ration_entry *entry = entry_of(r, id);

    r->alive_bytes += cost - entry->cost;
    entry->cost = cost;
    if (r->alive_bytes > r->max_bytes)
        return err_set(err, ERR_LIMIT, "the output in all is more than %zu bytes", r->max_bytes);
    return spend(r, cost, err);
}

int ration_gone(struct ration *r, const char *id, struct err *err)
{
    struct ration_entry *entry = entry_of(r, id);

    r->alive_bytes -= entry->cost;
    entry->cost = 0;
    return spend(r, RATION_FRAGMENT_BYTES, err);
}

int ration_log(struct ration *r, int64_t now_ns, struct err *err)
{
    const int64_t each_ns = NS_PER_S / RATION_LOG_PER_S;

    r->log_ns = (r->log_ns > now_ns ? r->log_ns : now_ns) + each_ns;
    if (r->log_ns - now_ns > RATION_LOG_BURST * each_ns)
        return err_set(err, ERR_LIMIT, "more than %d messages for the log at once", RATION_LOG_BURST);
    return 0;
}
