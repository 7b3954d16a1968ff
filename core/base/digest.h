/* digest.h — SHA-256 cut to 128 bits, and sums of such hashes.
 * Thread:  any.
 *
 * A set's hash is the sum (mod 2^128) of its members' hashes: independent of order, and one changed member costs one
 * subtraction and one addition. Names of profiles and the model hash are made of it.
 */
#ifndef HAPTIC_BASE_DIGEST_H
#define HAPTIC_BASE_DIGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct digest {
    uint64_t low, high;
};

#define DIGEST_HEX_SIZE 33

struct digest digest_of(const void *bytes, size_t length);
/* The hash of several strings such that ("ab","c") and ("a","bc") differ. */
struct digest digest_of_parts(size_t count, const char *const parts[], const size_t lengths[]);
struct digest digest_add(struct digest sum, struct digest member);
struct digest digest_sub(struct digest sum, struct digest member);
bool digest_equal(struct digest a, struct digest b);
/* 32 lower-case hexadecimal digits and a NUL. */
const char *digest_hex(struct digest d, char ret_hex[DIGEST_HEX_SIZE]);

#endif
