/* vault_filter.h — could a short text have a part of any of many values? Answered by the text's length alone.
 * Thread:  any, one at a time.
 * Owns:    a table of bits, made of hashes under a key that is not told; wiped when it goes.
 *
 * A part is VAULT_FILTER_PART bytes or more of a value, or a whole value that is shorter, or the beginning of a value
 * at the end of the text; always VAULT_FILTER_MIN bytes or more. "No" is always right; "yes" may be wrong, now and
 * then.
 */
#ifndef HAPTIC_STORE_VAULT_FILTER_H
#define HAPTIC_STORE_VAULT_FILTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VAULT_FILTER_PART 8
#define VAULT_FILTER_MIN 4

struct vault_filter {
    unsigned char *bits; /* NULL: nothing was added */
    size_t slots;        /* bits; a power of two */
    size_t added, room;
    bool has_shortest; /* a value of VAULT_FILTER_MIN bytes */
    uint64_t key;
};

/* Room for values of so many bytes in all; what was added before is forgotten. key: not 0, and nobody knows it. */
void vault_filter_begin(struct vault_filter *f, size_t bytes, uint64_t key);
/* A value; one with less than VAULT_FILTER_MIN bytes does not count. False when there is no room for it: begin again
 * with more. */
bool vault_filter_add(struct vault_filter *f, const char *bytes, size_t length);
bool vault_filter_may_have(const struct vault_filter *f, const char *text, size_t length);
void vault_filter_done(struct vault_filter *f);

#endif
