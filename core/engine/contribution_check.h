/* contribution_check.h — what a contribution may hold.
 * Thread:  any.
 *
 * Both sides ask: the renderer to blame the fragment that emits nonsense, the core to be sure that no renderer does.
 */
#ifndef HAPTIC_ENGINE_CONTRIBUTION_CHECK_H
#define HAPTIC_ENGINE_CONTRIBUTION_CHECK_H

#include <stdbool.h>

#include "engine/contribution.h"

/* Of one fragment. */
#define CONTRIBUTIONS_MAX 100000
#define CONTRIBUTION_MESSAGES_MAX 128 /* warnings, events, status */
#define SCOPE_MAX 512
#define KEY_MAX ((size_t)16 << 10)

static inline bool contribution_is_message(enum contribution_kind kind)
{
    return kind == CONTRIBUTION_WARNING || kind == CONTRIBUTION_EVENT || kind == CONTRIBUTION_STATUS;
}

/* What is wrong with a contribution, or NULL. */
const char *contribution_problem(const struct contribution_input *c);

#endif
