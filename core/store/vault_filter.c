/* A Bloom filter of grams: five bytes at every fourth position of a value. Any part of eight bytes contains one of
 * these grams, wherever it begins. So a text that contains none of the grams has no such part. The first gram is the
 * beginning of the value, so a text without it has no whole short value and does not end with five bytes of a
 * beginning. For values of four bytes, and for a text that ends with four bytes of a beginning, there is a gram of
 * four bytes.
 */
#include "store/vault_filter.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

#define GRAM 5
#define STRIDE (VAULT_FILTER_PART - GRAM + 1)
#define HEAD VAULT_FILTER_MIN
#define HASHES 8
#define BITS_OF_GRAM 32 /* one text of 200 bytes in a thousand is said to have something by mistake */
#define SLOTS_MIN 4096

/* Two hashes from which the others are computed; the second one is odd. */
static void hash(const struct vault_filter *f, const char *gram, size_t length, uint64_t *ret_first, uint64_t *ret_step)
{
    uint64_t h = (uint64_t)length << 56;

    memcpy(&h, gram, length);
    h = (h ^ f->key) * UINT64_C(0x9e3779b97f4a7c15);
    h = (h ^ (h >> 29)) * UINT64_C(0xbf58476d1ce4e5b9);
    h ^= h >> 32;
    *ret_first = h;
    *ret_step = (h >> 40) | 1;
}

void vault_filter_begin(struct vault_filter *f, size_t bytes, uint64_t key)
{
    size_t grams = bytes / STRIDE + 1, slots = SLOTS_MIN;

    vault_filter_done(f);
    while (slots / BITS_OF_GRAM < grams)
        slots *= 2;
    f->bits = xcalloc(slots / 8, 1);
    f->slots = slots;
    f->room = slots / BITS_OF_GRAM;
    f->key = key;
}

static void gram_add(struct vault_filter *f, const char *gram, size_t length)
{
    uint64_t at, step;

    hash(f, gram, length, &at, &step);
    for (int k = 0; k < HASHES; k++, at += step)
        f->bits[(at & (f->slots - 1)) / 8] |= (unsigned char)(1u << (at % 8));
}

static bool gram_may_be(const struct vault_filter *f, const char *gram, size_t length)
{
    uint64_t at, step;
    int k = 0;

    hash(f, gram, length, &at, &step);
    while (k < HASHES && f->bits[(at & (f->slots - 1)) / 8] & (1u << (at % 8)))
        k++, at += step;
    return k == HASHES;
}

bool vault_filter_add(struct vault_filter *f, const char *bytes, size_t length)
{
    size_t grams = length < GRAM ? 0 : (length - GRAM) / STRIDE + 1;

    if (length < HEAD)
        return true;
    if (grams + 1 > f->room - f->added)
        return false;
    f->added += grams + 1;
    f->has_shortest = f->has_shortest || length == HEAD;
    gram_add(f, bytes, HEAD);
    for (size_t i = 0; i < grams; i++)
        gram_add(f, bytes + i * STRIDE, GRAM);
    return true;
}

bool vault_filter_may_have(const struct vault_filter *f, const char *text, size_t length)
{
    if (!f->bits || length < HEAD)
        return false;
    for (size_t i = 0; i + GRAM <= length; i++)
        if (gram_may_be(f, text + i, GRAM))
            return true;
    for (size_t i = f->has_shortest ? 0 : length - HEAD; i + HEAD <= length; i++)
        if (gram_may_be(f, text + i, HEAD))
            return true;
    return false;
}

void vault_filter_done(struct vault_filter *f)
{
    if (f->bits)
        explicit_bzero(f->bits, f->slots / 8);
    free(f->bits);
    *f = (struct vault_filter){0};
}
