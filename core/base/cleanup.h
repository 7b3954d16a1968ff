/* cleanup.h — scope-bound release of what a function owns.
 *
 * CLEANUP(fn) calls fn(&variable) when the variable leaves its scope. The function is declared in the
 * header of the variable's type and takes NULL and half-built objects. STEAL(p) hands p to the caller and leaves NULL.
 * The attribute does not run when a Lua error longjmps past it: code that calls Lua owns nothing across the call.
 */
#ifndef HAPTIC_BASE_CLEANUP_H
#define HAPTIC_BASE_CLEANUP_H

#include <stdlib.h>
#include <unistd.h>

#define CLEANUP(fn) __attribute__((cleanup(fn)))
#define MUST_CHECK __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, first) __attribute__((format(printf, fmt, first)))
#define UNUSED __attribute__((unused))
#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

#define STEAL(p) \
    __extension__({ \
        __typeof__(p) steal_ = (p); \
        (p) = NULL; \
        steal_; \
    })

/* CLEANUP(free_ptr) char *text = ...; */
static inline void free_ptr(void *pointer_to_pointer)
{
    free(*(void **)pointer_to_pointer);
}

/* CLEANUP(close_fd) int fd = -1; Leaves -1: the number may be somebody else's the next moment. */
static inline void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* As STEAL(), for a descriptor: leaves -1. */
static inline int steal_fd(int *fd)
{
    int stolen = *fd;
    *fd = -1;
    return stolen;
}

#endif
