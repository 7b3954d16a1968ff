/* confine.h — run a program in a jail.
 * Thread:  any; blocks for as long as a vfork and exec take.
 * Units:   *_bytes bytes, *_s seconds.
 * Errors:  ERR_SYS: it could not be started.
 *
 * The child has a session of its own, dies with the thread that started it, gets no descriptor but /dev/null and
 * output_fd (as 1 and 2), no capability and no new privileges, no core dumps, the limits below, an empty network
 * namespace where the kernel permits, a user of its own if spec->user says so, and a list of allowed system calls
 * (confine_filter.c): it changes no file, reaches no network, starts no process, signals and adjusts nobody. Where the
 * kernel has Landlock it reads what lies below cwd, in the folders of the system, beside its executable and in
 * spec->readable; nothing of other processes in /proc.
 */
#ifndef HAPTIC_HAPROXY_CONFINE_H
#define HAPTIC_HAPROXY_CONFINE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"

/* The user and the group that a program becomes when the controller is root: a number that neither Debian nor systemd
 * gives to anybody. */
#define CONFINE_USER ((uid_t)61001)

struct confine_spec {
    const char *const *arguments;   /* the first is the executable's path; ended by NULL */
    const char *const *environment; /* ended by NULL; nothing is added */
    const char *cwd;
    const char *readable; /* further paths, absolute, separated by ":"; NULL: none */
    /* Not 0: become this user and group, which must be able to read below cwd; see confine_user(). Left out when the
     * executable or cwd is out of that user's reach: it stays root without capabilities then. */
    uid_t user;
    int output_fd;
    size_t memory_bytes;  /* RLIMIT_AS */
    unsigned cpu_s;       /* RLIMIT_CPU */
    unsigned descriptors; /* RLIMIT_NOFILE, if less than now */
    bool idle;            /* SCHED_IDLE: only when nothing else wants a processor */
    int niceness;         /* by how much it gives way to others more than this process does */
};

/* CONFINE_USER when this process is root, may change users and stop those of other users; else 0. */
uid_t confine_user(void);
int confine_spawn(const struct confine_spec *spec, pid_t *ret_pid, struct err *err) MUST_CHECK;
/* Confine this process, and what it starts, to reading the folders of the system and of these programs (ended by NULL),
 * and to working in directory. Sockets and signals stay as they are. *ret_done false: the kernel has no Landlock, and
 * nothing is confined. no_new_privs is set. */
int confine_files(const char *const *programs, const char *directory, bool *ret_done, struct err *err) MUST_CHECK;

#endif
