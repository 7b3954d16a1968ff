/* nearest.h — the known name that is nearest to one that is not known, for messages.
 * Thread:  any.
 * Owns:    nothing.
 */
#ifndef HAPTIC_BASE_NEAREST_H
#define HAPTIC_BASE_NEAREST_H

#include <stddef.h>

/* How many characters have to be put in, taken out or exchanged to turn a into b; letter case does not count. Names of
 * more than 64 characters are far from everything. */
size_t nearest_distance(const char *a, const char *b);

/* The best of the names that were offered one by one. Begin with {.word = …}. */
struct nearest {
    const char *word, *found; /* borrowed; found NULL: none is near, more than half of the characters differ */
    size_t best;              /* distance + 1; 0: none yet */
};
void nearest_offer(struct nearest *n, const char *name);

#endif
