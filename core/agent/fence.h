/* fence.h — the highest writer seen, in a file beside the HAProxy, so that several controllers can stand around one.
 * Thread:  any; blocks for the time a file lock is held (microseconds).
 * Errors:  ERR_STALE with *ret_highest set; ERR_SYS; ERR_TIMEOUT: another process holds the lock.
 *
 * The lock is held only while comparing and writing, not while a writer works: a writer that was stopped in the middle
 * must not keep its successor out. So every step towards HAProxy or the directory is preceded by fence_check(); what a
 * stale writer may have in flight after that is found by its successor's comparison.
 */
#ifndef HAPTIC_AGENT_FENCE_H
#define HAPTIC_AGENT_FENCE_H

#include "agent/agent.h"

struct fence_record {
    int64_t transitions;
    uint64_t generation;
    char holder[256];
};

/* Raise the fence in DIRECTORY/fence to this writer's; less than what is there is refused. The file is synced when
 * transitions rose: within one leadership a lost generation does no harm, because a machine that forgot it has lost
 * its HAProxy, too. */
int fence_raise(const char *directory, const struct fence *fence, struct fence_record *ret_highest, struct err *err)
    MUST_CHECK;
/* Is it still the highest? */
int fence_check(const char *directory, const struct fence *fence, struct fence_record *ret_highest, struct err *err)
    MUST_CHECK;

#endif
