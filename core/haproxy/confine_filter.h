/* confine_filter.h — the system calls that a confined program may make.
 * Thread:  any.
 * Errors:  ERR_INTERNAL or ERR_SYS: the filter cannot be made.
 * Source:  seccomp(2), libseccomp.
 */
#ifndef HAPTIC_HAPROXY_CONFINE_FILTER_H
#define HAPTIC_HAPROXY_CONFINE_FILTER_H

#include "base/buf.h"
#include "base/err.h"

/* Append the BPF program. executable: the address of the path that execve() may be called with, and no other. */
int confine_filter_build(const char *executable, struct buf *out, struct err *err) MUST_CHECK;

#endif
