/* fence.h — the highest writer seen, in a file beside the HAProxy, so that several controllers can stand around one.
 * Thread:  any; blocks for the time a file lock is held (microseconds).
 * Owns:    DIRECTORY/fence.
 * Errors:  ERR_STALE with *ret_highest set; ERR_SYS; ERR_TIMEOUT: another process holds the lock.
 *
 * The lock is held only while comparing and writing, not while a writer works: a writer that was stopped in the middle
 * must not keep its successor out. So every step towards HAProxy or the directory is preceded by fence_check(); what a
 * stale writer may have in flight after that is found by its successor's comparison.
 *
 * Less is: fewer transitions; as many by another holder, whatever the generations are, for two holders count their own;
 * as many by the same holder with a smaller generation. Holders are the same when their texts are.
 *
 * The file, for people too, is two lines:
 *
 *     17 4031 haptic-7d9f since 2026-07-04T16:22:01.123456Z
 *     # version 2: lease transitions, generation, holder
 *
 * Version 1 was the first line alone, with a holder that may be missing. The first line stays as it is in any version.
 */
#ifndef HAPTIC_AGENT_FENCE_H
#define HAPTIC_AGENT_FENCE_H

#include "agent/agent.h"

#define FENCE_HOLDER_SIZE 320 /* a name and what tells two processes of that name apart; longer ones are cut */

struct fence_record {
    int64_t transitions;
    uint64_t generation;
    char holder[FENCE_HOLDER_SIZE];
    bool is_damaged; /* as read: there is text and it is no fence */
};

/* Raise the fence to this writer's; less than what is there is refused. The file is synced when
 * transitions rose: within one leadership a lost generation does no harm, because a machine that forgot it has lost
 * its HAProxy, too. */
int fence_raise(const char *directory, const struct fence *fence, struct fence_record *ret_highest, struct err *err)
    MUST_CHECK;
/* Is it still the highest? */
int fence_check(const char *directory, const struct fence *fence, struct fence_record *ret_highest, struct err *err)
    MUST_CHECK;

#endif
