/* jail.h — give up every power but computing and talking on one descriptor.
 * Thread:  the process must have one thread.
 * Units:   *_bytes bytes.
 * Errors:  -1 with ERR_SYS when a wall can't be put up; the caller must not go on then.
 * Source:  seccomp(2), landlock(7), prctl(2), setrlimit(2).
 */
#ifndef HAPTIC_ENGINE_JAIL_H
#define HAPTIC_ENGINE_JAIL_H

#include <stddef.h>

#include "base/err.h"

/* Descriptors other than fd are closed. Afterwards the process can read and write fd, use memory up to memory_bytes of
 * address space (0: no limit) and end; any other system call kills it at once. It dies with its parent. */
int jail_enter(int fd, size_t memory_bytes, struct err *err) MUST_CHECK;

/* Write the filter of system calls to fd as the BPF program that the kernel runs, without putting it up: for tests. */
int jail_filter_write(int fd, struct err *err) MUST_CHECK;

/* True in a build with AddressSanitizer: its shadow memory rules out a limit of address space, and its runtime makes a
 * few calls more. */
#if defined(__SANITIZE_ADDRESS__)
#define JAIL_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define JAIL_SANITIZED 1
#endif
#endif
#ifndef JAIL_SANITIZED
#define JAIL_SANITIZED 0
#endif

#endif
