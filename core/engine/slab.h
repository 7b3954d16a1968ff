/* slab.h — memory for many small objects of few sizes.
 * Thread:  one.
 * Owns:    all that was taken from it, to the end of its life.
 * Units:   *_bytes bytes.
 *
 * Sizes are told when memory is given back, as Lua does. Small blocks have no header and are never joined: what was
 * freed serves the next request of its size, without a look at its neighbours.
 */
#ifndef HAPTIC_ENGINE_SLAB_H
#define HAPTIC_ENGINE_SLAB_H

#include <stddef.h>

#define SLAB_STEP_BYTES ((size_t)8)
#define SLAB_SMALL_BYTES ((size_t)512)

struct slab {
    void *free[SLAB_SMALL_BYTES / SLAB_STEP_BYTES + 1]; /* by size; each block holds the address of the next */
    void *chunks;                                       /* likewise */
    char *at, *end;                                     /* what is left of the newest chunk */
};

/* As realloc(), with the size of old (0: none); new_bytes 0 frees. NULL: no memory, old is as it was. */
void *slab_resize(struct slab *s, void *old, size_t old_bytes, size_t new_bytes);
/* Give back the small blocks; no large one may be left. */
void slab_done(struct slab *s);

#endif
