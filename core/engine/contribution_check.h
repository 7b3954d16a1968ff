/* contribution_check.h — what a contribution may hold.
 * Thread:  any.
 *
 * Both sides ask: the renderer to blame the fragment that emits nonsense, the core to be sure that no renderer does.
 */
#ifndef HAPTIC_ENGINE_CONTRIBUTION_CHECK_H
#define HAPTIC_ENGINE_CONTRIBUTION_CHECK_H

#include "engine/contribution.h"

/* Of one fragment. */
#define CONTRIBUTIONS_MAX 100000
#define SCOPE_MAX 512
#define KEY_MAX ((size_t)16 << 10)

/* What is wrong with a contribution, or NULL. */
const char *contribution_problem(const struct contribution_input *c);

#endif
