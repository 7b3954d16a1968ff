/* expiry.h — certificates of Secrets become valid and end: the store's facts follow the time, and metrics tell.
 * Thread:  loop thread only.
 * Owns:    its timer.
 */
#ifndef HAPTIC_CONTROLLER_EXPIRY_H
#define HAPTIC_CONTROLLER_EXPIRY_H

#include <uv.h>

#include "base/metric.h"
#include "store/store.h"

struct expiry;

/* store and metrics are borrowed. The facts are looked at each minute. */
struct expiry *expiry_new(uv_loop_t *loop, struct store *store, struct metrics *metrics);
struct expiry *expiry_free(struct expiry *e); /* NULL is fine; always returns NULL */
/* Bring the metrics up to date. */
void expiry_collect(struct expiry *e);

#endif
