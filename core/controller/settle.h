/* settle.h — accept at once what cannot harm.
 * Thread:  loop thread only.
 *
 * The pending items of one fragment are judged together: all of them are structural (agent_is_structural) and become
 * accepted, or none does and HAProxy is asked about the whole.
 */
#ifndef HAPTIC_CONTROLLER_SETTLE_H
#define HAPTIC_CONTROLLER_SETTLE_H

#include <stdbool.h>

#include "agent/agent.h"
#include "haproxy/model.h"

struct settled {
    unsigned groups;     /* fragments whose items were accepted */
    bool beyond_servers; /* among them new or removed items: the whole is to be checked when there is time */
};

/* True when something is left that only HAProxy can judge and that no check under way will settle. */
bool settle_structural(struct model *model, struct agent *agent, struct settled *ret_settled);

#endif
