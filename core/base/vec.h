/* vec.h — a growing array of one type.
 *
 *     VEC(struct server) servers = {0};
 *     vec_push(&servers, s);
 *     for (size_t i = 0; i < servers.length; i++) use(servers.items[i]);
 *     vec_done(&servers);
 *
 * Elements are moved by memcpy; what they own is the caller's business. Allocation failure aborts.
 */
#ifndef HAPTIC_BASE_VEC_H
#define HAPTIC_BASE_VEC_H

#include <stddef.h>
#include <string.h>

#include "base/alloc.h"

#define VEC(type) \
    struct { \
        type *items; \
        size_t length; \
        size_t capacity; \
    }

#define vec_reserve(v, wanted) \
    do { \
        size_t vec_wanted_ = (wanted); \
        if (vec_wanted_ > (v)->capacity) { \
            size_t vec_cap_ = (v)->capacity ? (v)->capacity : 8; \
            while (vec_cap_ < vec_wanted_) \
                vec_cap_ *= 2; \
            (v)->items = xreallocarray((v)->items, vec_cap_, sizeof(*(v)->items)); \
            (v)->capacity = vec_cap_; \
        } \
    } while (0)

#define vec_push(v, item) \
    do { \
        vec_reserve(v, (v)->length + 1); \
        (v)->items[(v)->length++] = (item); \
    } while (0)

/* Remove element i by moving the last one into its place. */
#define vec_swap_remove(v, i) ((v)->items[(i)] = (v)->items[--(v)->length])

#define vec_clear(v) ((void)((v)->length = 0))

#define vec_done(v) \
    do { \
        free((v)->items); \
        (v)->items = NULL; \
        (v)->length = (v)->capacity = 0; \
    } while (0)

#endif
