/* The distance doubles with each line in the same words. Changes of words come out of a store that refills with
 * time. */
#include "base/log_lasting.h"

#include <string.h>

#include "base/clock.h"
#include "base/map.h"

#define REPEAT_FIRST_NS (2 * NS_PER_S)
#define REPEAT_CAP_NS (60 * NS_PER_S)
#define CHANGES_AT_ONCE 4
#define CHANGE_EVERY_NS (10 * NS_PER_S)

/* A change takes ten seconds of what is refilled with time; as long as less than four of them are owed, it may. */
static bool take_change(struct log_lasting *r, int64_t now_ns)
{
    int64_t owed_until_ns = r->changes_ns > now_ns ? r->changes_ns : now_ns;

    if (owed_until_ns - now_ns > (CHANGES_AT_ONCE - 1) * CHANGE_EVERY_NS)
        return false;
    r->changes_ns = owed_until_ns + CHANGE_EVERY_NS;
    return true;
}

bool log_lasting_pass(struct log_lasting *r, const char *words, uint64_t *ret_suppressed)
{
    int64_t now = clock_now_ns();
    uint64_t hash = map_hash(words, strlen(words));
    bool is_due = r->last_ns == 0 || now - r->last_ns >= r->distance_ns;

    if (!is_due && (hash == r->words || !take_change(r, now))) {
        r->suppressed++;
        return false;
    }
    bool is_same = r->last_ns != 0 && hash == r->words;
    r->distance_ns = is_same ? 2 * r->distance_ns : REPEAT_FIRST_NS;
    if (r->distance_ns > REPEAT_CAP_NS)
        r->distance_ns = REPEAT_CAP_NS;
    r->words = hash;
    r->last_ns = now;
    *ret_suppressed = r->suppressed;
    r->suppressed = 0;
    return true;
}

void log_lasting_end(struct log_lasting *r)
{
    if (r->last_ns != 0 && clock_now_ns() - r->last_ns >= REPEAT_CAP_NS)
        *r = (struct log_lasting){0};
}
