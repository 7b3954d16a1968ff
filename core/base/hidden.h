/* hidden.h — locked memory for secrets, excluded from core dumps.
 * Thread:  loop thread only.
 * Owns:    the pages; whoever allocates gives each block back, or hidden_done() takes all.
 * Errors:  allocation failure aborts, as in alloc.h.
 *
 * Blocks lie in pages of their own that neither a core dump nor a forked child contains (MADV_DONTDUMP,
 * MADV_WIPEONFORK) and that are not swapped out as far as the limit of locked memory goes. A block is wiped when it is
 * given back.
 */
#ifndef HAPTIC_BASE_HIDDEN_H
#define HAPTIC_BASE_HIDDEN_H

#include <stddef.h>

#include "base/vec.h"

#define HIDDEN_CLASSES 12 /* blocks of 32, 64, … 65536 bytes; larger ones have pages for themselves */

struct hidden_pages {
    void *start;
    size_t size;
};

/* Zeroed: nothing allocated. */
struct hidden {
    void *free[HIDDEN_CLASSES];
    VEC(struct hidden_pages) pages;
    char *unused; /* of the newest pages */
    size_t unused_size;
};

/* A block of at least size bytes, owned by the caller until hidden_free(). Its content is undefined. */
void *hidden_alloc(struct hidden *h, size_t size) __attribute__((returns_nonnull));
void hidden_free(struct hidden *h, void *block, size_t size); /* size as allocated; block NULL is fine */
void hidden_done(struct hidden *h);

#endif
