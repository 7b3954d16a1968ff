/* parallel.h — the same work for many items, by as many threads as there are processors.
 * Thread:  any; fn runs in several at a time, and returns before parallel_each() does.
 */
#ifndef HAPTIC_BASE_PARALLEL_H
#define HAPTIC_BASE_PARALLEL_H

#include <stddef.h>

/* Call fn for 0 … count - 1, in no order, by at most max_threads threads, the caller's being one of them. */
void parallel_each(size_t count, size_t max_threads, void (*fn)(void *ctx, size_t i), void *ctx);

#endif
