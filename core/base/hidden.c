/* Blocks of a power of two are cut from pages of 256 KiB, which are kept; free ones of a size are a list through their
 * first bytes. */
#include "base/hidden.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define SMALLEST 32
#define PAGES_SIZE ((size_t)256 << 10)

static void *pages_new(size_t size)
{
    void *start = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (start == MAP_FAILED)
        abort();
    /* What the kernel or a limit does not permit is done without. */
    (void)madvise(start, size, MADV_DONTDUMP);
    (void)madvise(start, size, MADV_WIPEONFORK);
    (void)mlock2(start, size, MLOCK_ONFAULT);
    return start;
}

/* HIDDEN_CLASSES: too large for any. */
static size_t class_of(size_t size)
{
    size_t class = 0;
    while (class < HIDDEN_CLASSES && size > (size_t)SMALLEST << class)
        class ++;
    return class;
}

void *hidden_alloc(struct hidden *h, size_t size)
{
    size_t class = class_of(size);
    if (class == HIDDEN_CLASSES)
        return pages_new(size);
    void *block = h->free[class];
    if (block) {
        memcpy(&h->free[class], block, sizeof(void *));
        memset(block, 0, sizeof(void *));
        return block;
    }
    size_t whole = (size_t)SMALLEST << class;
    if (h->unused_size < whole) {
        /* What is left of the last pages serves smaller blocks. */
        for (size_t smaller = class; smaller-- > 0;)
            while (h->unused_size >= (size_t)SMALLEST << smaller) {
                hidden_free(h, h->unused, (size_t)SMALLEST << smaller);
                h->unused += (size_t)SMALLEST << smaller;
                h->unused_size -= (size_t)SMALLEST << smaller;
            }
        h->unused = pages_new(PAGES_SIZE);
        h->unused_size = PAGES_SIZE;
        vec_push(&h->pages, ((struct hidden_pages){h->unused, PAGES_SIZE}));
    }
    block = h->unused;
    h->unused += whole;
    h->unused_size -= whole;
    return block;
}

void hidden_free(struct hidden *h, void *block, size_t size)
{
    size_t class = class_of(size);
    if (!block)
        return;
    explicit_bzero(block, size);
    if (class == HIDDEN_CLASSES) {
        munmap(block, size);
        return;
    }
    memcpy(block, &h->free[class], sizeof(void *));
    h->free[class] = block;
}

void hidden_done(struct hidden *h)
{
    for (size_t i = 0; i < h->pages.length; i++) {
        explicit_bzero(h->pages.items[i].start, h->pages.items[i].size);
        munmap(h->pages.items[i].start, h->pages.items[i].size);
    }
    vec_done(&h->pages);
    memset(h, 0, sizeof(*h));
}
