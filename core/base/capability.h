/* capability.h — what root may do, asked and given up.
 * Thread:  any; capabilities are those of the calling thread. System calls only: usable between vfork and exec.
 * Errors:  -1 with errno.
 * Source:  capabilities(7).
 */
#ifndef HAPTIC_BASE_CAPABILITY_H
#define HAPTIC_BASE_CAPABILITY_H

#include <stdbool.h>
#include <stdint.h>

/* Are all of these in force? Each is 1 << CAP_…, of the first 32. */
bool capability_has(uint32_t mask);
/* Give up what an exec as root would bring back, and keep what is in force: before a change of user. */
int capability_bound_none(void);
/* Give up all capabilities, and those too. */
int capability_drop_all(void);

#endif
