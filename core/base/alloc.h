/* alloc.h — allocation that does not fail.
 *
 * Small allocations abort when memory is gone: nothing sensible can go on then, and the restart replays the cluster's
 * state. Whatever an input sizes has a maximum that is checked before it comes here.
 */
#ifndef HAPTIC_BASE_ALLOC_H
#define HAPTIC_BASE_ALLOC_H

#include <stddef.h>
#include <stdlib.h>

void *xmalloc(size_t size) __attribute__((malloc, returns_nonnull));
void *xcalloc(size_t count, size_t size) __attribute__((malloc, returns_nonnull));
void *xrealloc(void *old, size_t size) __attribute__((returns_nonnull));
void *xreallocarray(void *old, size_t count, size_t size) __attribute__((returns_nonnull));
char *xstrdup(const char *string) __attribute__((malloc, returns_nonnull));
/* length bytes of string and a NUL; string may hold NULs. */
char *xmemdup0(const char *string, size_t length) __attribute__((malloc, returns_nonnull));
/* printf into a malloc'ed string. */
char *xasprintf(const char *format, ...) __attribute__((malloc, returns_nonnull, format(printf, 1, 2)));

#endif
