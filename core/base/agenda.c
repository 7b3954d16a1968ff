/* A binary heap: no entry is earlier than its parent, which is at half its place. */
#include "base/agenda.h"

#include <stdlib.h>

void agenda_done(struct agenda *a)
{
    vec_done(&a->entries);
}

static struct agenda_entry *at(const struct agenda *a, size_t place)
{
    return a->entries.items[place - 1];
}

static void put(struct agenda *a, size_t place, struct agenda_entry *entry)
{
    a->entries.items[place - 1] = entry;
    entry->place = place;
}

/* Moves the entry up or down until it is where its time belongs. */
static void settle(struct agenda *a, struct agenda_entry *entry, size_t place)
{
    size_t count = a->entries.length;

    for (; place > 1 && at(a, place / 2)->at_ns > entry->at_ns; place /= 2)
        put(a, place, at(a, place / 2));
    for (size_t child; (child = 2 * place) <= count; place = child) {
        if (child < count && at(a, child + 1)->at_ns < at(a, child)->at_ns)
            child++;
        if (at(a, child)->at_ns >= entry->at_ns)
            break;
        put(a, place, at(a, child));
    }
    put(a, place, entry);
}

void agenda_set(struct agenda *a, struct agenda_entry *entry, int64_t at_ns)
{
    entry->at_ns = at_ns;
    if (entry->place == 0) {
        vec_push(&a->entries, entry);
        entry->place = a->entries.length;
    }
    settle(a, entry, entry->place);
}

void agenda_remove(struct agenda *a, struct agenda_entry *entry)
{
    size_t place = entry->place;

    if (place == 0)
        return;
    struct agenda_entry *last = at(a, a->entries.length);
    a->entries.length--;
    entry->place = 0;
    if (last != entry)
        settle(a, last, place);
}

struct agenda_entry *agenda_first(const struct agenda *a)
{
    return a->entries.length > 0 ? at(a, 1) : NULL;
}
