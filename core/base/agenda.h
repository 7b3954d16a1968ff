/* agenda.h — what is due when: the first of many times is at hand, and any of them can change.
 * Thread:  none of its own.
 * Owns:    an array of pointers. Entries are parts of the caller's structs, and zeroed ones are ready for use.
 * Units:   at_ns as the caller likes.
 *
 * A change costs the logarithm of the number of entries.
 */
#ifndef HAPTIC_BASE_AGENDA_H
#define HAPTIC_BASE_AGENDA_H

#include <stddef.h>
#include <stdint.h>

#include "base/vec.h"

struct agenda_entry {
    int64_t at_ns;
    size_t place; /* in the array, from 1; 0: it is not in the agenda */
};

/* A zeroed struct is ready for use. */
struct agenda {
    VEC(struct agenda_entry *) entries;
};
void agenda_done(struct agenda *a); /* entries are not touched */

/* It is in the agenda, at this time, whether it was in it before or not. */
void agenda_set(struct agenda *a, struct agenda_entry *entry, int64_t at_ns);
void agenda_remove(struct agenda *a, struct agenda_entry *entry); /* one that is not in it is fine */
struct agenda_entry *agenda_first(const struct agenda *a);        /* NULL: there is none */

#endif
