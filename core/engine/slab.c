/* One list of free blocks for each multiple of SLAB_STEP_BYTES. New blocks are cut from a chunk. The rest of a chunk
 * that is too short goes to the list of its size. Larger blocks come from malloc().
 */
#include "engine/slab.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* A huge page: the collector walks through all memory, and needs few address translations in huge pages. */
#define CHUNK_BYTES ((size_t)2 << 20)

static size_t class_of(size_t bytes)
{
    return (bytes + SLAB_STEP_BYTES - 1) / SLAB_STEP_BYTES;
}

static bool is_small(size_t bytes)
{
    return bytes <= SLAB_SMALL_BYTES;
}

static void push(void **list, void *block)
{
    memcpy(block, list, sizeof(void *));
    *list = block;
}

static void *pop(void **list)
{
    void *block = *list;

    memcpy(list, block, sizeof(void *));
    /* The next block is mostly not in the cache, and the next caller would wait for it. */
    __builtin_prefetch(*list, 1);
    return block;
}

static void *map(size_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    return memory == MAP_FAILED ? NULL : memory;
}

/* A chunk that begins at a possible huge page. The kernel places most of them there by itself: each below the last one.
 */
static char *map_chunk(void)
{
    char *chunk = map(CHUNK_BYTES);

    if (!chunk || (uintptr_t)chunk % CHUNK_BYTES == 0)
        return chunk;
    munmap(chunk, CHUNK_BYTES);
    char *room = map(2 * CHUNK_BYTES);
    if (!room)
        return NULL;
    size_t before = CHUNK_BYTES - (uintptr_t)room % CHUNK_BYTES;
    munmap(room, before);
    if (before < CHUNK_BYTES)
        munmap(room + before + CHUNK_BYTES, CHUNK_BYTES - before);
    return room + before;
}

static bool add_chunk(struct slab *s)
{
    char *chunk = map_chunk();

    if (!chunk)
        return false;
    madvise(chunk, CHUNK_BYTES, MADV_HUGEPAGE); /* without huge pages, small ones are used */
    size_t left = (size_t)(s->end - s->at) / SLAB_STEP_BYTES;
    if (left)
        push(&s->free[left], s->at);
    push(&s->chunks, chunk);
    s->at = chunk + SLAB_STEP_BYTES; /* after the address of the next chunk */
    s->end = chunk + CHUNK_BYTES;
    return true;
}

static void *take(struct slab *s, size_t bytes)
{
    if (!is_small(bytes))
        return malloc(bytes);
    size_t class = class_of(bytes);
    if (s->free[class])
        return pop(&s->free[class]);
    if ((size_t)(s->end - s->at) < class * SLAB_STEP_BYTES && !add_chunk(s))
        return NULL;
    char *block = s->at;
    s->at += class * SLAB_STEP_BYTES;
    return block;
}

static void give_back(struct slab *s, void *block, size_t bytes)
{
    if (is_small(bytes))
        push(&s->free[class_of(bytes)], block);
    else
        free(block);
}

void *slab_resize(struct slab *s, void *old, size_t old_bytes, size_t new_bytes)
{
    if (new_bytes == 0) {
        if (old_bytes)
            give_back(s, old, old_bytes);
        return NULL;
    }
    if (old_bytes == 0)
        return take(s, new_bytes);
    if (is_small(old_bytes) && is_small(new_bytes) && class_of(old_bytes) == class_of(new_bytes))
        return old;
    if (!is_small(old_bytes) && !is_small(new_bytes))
        return realloc(old, new_bytes);
    void *block = take(s, new_bytes);
    if (!block)
        return NULL;
    memcpy(block, old, old_bytes < new_bytes ? old_bytes : new_bytes);
    give_back(s, old, old_bytes);
    return block;
}

void slab_done(struct slab *s)
{
    while (s->chunks)
        munmap(pop(&s->chunks), CHUNK_BYTES);
    *s = (struct slab){0};
}
