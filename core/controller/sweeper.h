/* sweeper.h — from time to time, values of Secrets that nothing refers to any more are wiped.
 * Thread:  loop thread only.
 * Owns:    its timer. Borrows vault and model, which must outlive it.
 * Units:   SWEEPER_AGE_NS nanoseconds.
 *
 * What the model may still put out keeps a value: also one of a Secret that was changed or deleted meanwhile, for as
 * long as an accepted text has its handle. A value that was just released stays for a while, as a rendering with it may
 * be under way.
 */
#ifndef HAPTIC_CONTROLLER_SWEEPER_H
#define HAPTIC_CONTROLLER_SWEEPER_H

#include <uv.h>

#include "base/clock.h"
#include "haproxy/model.h"
#include "store/vault.h"

#define SWEEPER_AGE_NS (60 * NS_PER_S)

struct sweeper;

struct sweeper *sweeper_new(uv_loop_t *loop, struct vault *vault, const struct model *model);
struct sweeper *sweeper_free(struct sweeper *s); /* NULL is fine; the loop has to run once more */

#endif
