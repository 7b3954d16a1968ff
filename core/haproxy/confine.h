/* confine.h — run a program in a jail.
 * Thread:  any; blocks for as long as a vfork and exec take.
 * Units:   *_bytes bytes, *_s seconds.
 * Errors:  ERR_SYS: it could not be started.
 *
 * The child has a session of its own, dies with the thread that started it, gets no descriptor but /dev/null and
 * output_fd (as 1 and 2), no new privileges, no core dumps, the limits below, an empty network namespace where the
 * kernel permits, write access below cwd only (Landlock, where the kernel has it), and a system call filter: no
 * connecting, binding, sending, no further processes.
 */
#ifndef HAPTIC_HAPROXY_CONFINE_H
#define HAPTIC_HAPROXY_CONFINE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"

struct confine_spec {
    const char *const *arguments;   /* the first is the executable's path; ended by NULL */
    const char *const *environment; /* ended by NULL; nothing is added */
    const char *cwd;
    int output_fd;
    size_t memory_bytes;  /* RLIMIT_AS */
    size_t file_bytes;    /* RLIMIT_FSIZE */
    unsigned cpu_s;       /* RLIMIT_CPU */
    unsigned descriptors; /* RLIMIT_NOFILE, if less than now */
    bool idle;            /* SCHED_IDLE: only when nothing else wants a processor */
};

int confine_spawn(const struct confine_spec *spec, pid_t *ret_pid, struct err *err) MUST_CHECK;

#endif
