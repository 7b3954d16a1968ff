/* processor_time.h — what a process did with its time: it ran, it waited for a processor, or neither.
 *
 * A process that is stopped and one that gets no processor look alike to a clock. The kernel tells them apart: the time
 * in the run queue (/proc/PID/schedstat, proc(5)) grows only for the second one.
 */
#ifndef HAPTIC_ENGINE_PROCESSOR_TIME_H
#define HAPTIC_ENGINE_PROCESSOR_TIME_H

#include <stdbool.h>
#include <stdint.h>

/* Sums since the process began, except wall_ns. Differences of two of them say what happened in between. */
struct processor_time {
    int64_t wall_ns;   /* clock_now_ns() */
    int64_t used_ns;   /* processor time of all threads; 0 if unknown */
    int64_t queued_ns; /* time in the run queue of the first thread; 0 if unknown */
};

/* Opens the kernel's record of a child that has not been reaped. Returns -1 where there is none, which
 * processor_time_now() takes; otherwise the caller closes it. */
int processor_time_open(int pid);

/* The sums of a process at this moment. fd: of processor_time_open(), or -1 (queued_ns is 0 then). */
struct processor_time processor_time_now(int pid, int fd);

/* Has the process had limit_ns since begun? Time in the run queue does not count, and a process that neither computes
 * nor is stopped has several times as long: it may wait for this process. */
bool processor_time_is_over(const struct processor_time *begun, const struct processor_time *now, int64_t limit_ns,
                            int pid);

#endif
