/* change_log.h — which items of the accepted state have changed since a member was level with it.
 * Thread:  loop thread only.
 * Owns:    the names of items; texts are read from the model when an offer is made.
 *
 * A step is the digest that the state had, and the items that changed to reach it. A member that is at a step of the
 * log needs what came after it. One that is at none needs everything. The log has a maximum of names; older ones go.
 */
#ifndef HAPTIC_CONTROLLER_CHANGE_LOG_H
#define HAPTIC_CONTROLLER_CHANGE_LOG_H

#include <stdbool.h>
#include <stddef.h>

#include "base/digest.h"
#include "base/vec.h"
#include "haproxy/model.h"
#include "haproxy/offer.h"

struct change_step {
    struct digest digest;
    size_t end; /* of its names, counted from the first name ever */
};

struct change_log {
    VEC(struct change_step) steps;
    VEC(struct offer_name) names;
    size_t dropped; /* names that are gone */
};

/* Nothing is known about the past: begin with this state. */
void change_log_reset(struct change_log *l, struct digest digest);
void change_log_add(struct change_log *l, const struct model_changes *changes, struct digest digest);
/* The names that changed since the state with this digest. False: the log does not reach back to it. */
bool change_log_since(const struct change_log *l, struct digest digest, const struct offer_name **ret_names,
                      size_t *ret_count);
void change_log_done(struct change_log *l);

#endif
