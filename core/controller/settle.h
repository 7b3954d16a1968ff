/* settle.h — accept at once what cannot harm.
 * Thread:  loop thread only.
 *
 * The pending items of one fragment are judged together, those in a running check included: all of them are harmless
 * (agent_is_structural) and become accepted, or none does and HAProxy is asked about the whole.
 */
#ifndef HAPTIC_CONTROLLER_SETTLE_H
#define HAPTIC_CONTROLLER_SETTLE_H

#include <stdbool.h>

#include "haproxy/model.h"

struct settled {
    unsigned groups;     /* fragments whose items were accepted */
    bool beyond_servers; /* among them new or removed items: the whole is to be checked when there is time */
};

/* May all of these become accepted without a check by HAProxy? */
typedef bool settle_judge(const void *ctx, struct item *const *items, size_t count);

/* Accept what is harmless. True when something is left that only HAProxy can judge and that no check under way will
 * settle. */
bool settle_structural(struct model *model, settle_judge *is_harmless, const void *ctx, struct settled *ret_settled);

#endif
