/* scratch.h — directories for the time of a check, and what is left of them when a process is killed meanwhile.
 * Thread:  any; blocks for file operations.
 * Owns:    haptic-check-?????? in the temporary place.
 * Errors:  ERR_SYS.
 *
 * A directory is locked (flock) by who made it until it is removed. The kernel releases the lock with the process,
 * whatever ends it, and does not care about process ids: containers that share a temporary place see each other's.
 */
#ifndef HAPTIC_HAPROXY_SCRATCH_H
#define HAPTIC_HAPROXY_SCRATCH_H

#include <sys/types.h>

#include "base/err.h"

struct scratch {
    char *path;  /* NULL: none */
    int lock_fd; /* < 0: none */
};

/* The environment variable with the place for a process that may write nowhere else. */
#define SCRATCH_VARIABLE "HAPTIC_SCRATCH"

/* Where they are made unless somebody says otherwise: the variable's place, /dev/shm when writable, else TMPDIR or
 * /tmp. */
const char *scratch_place(void);
/* An empty directory in the place, for this user only. */
int scratch_make(const char *place, struct scratch *ret_scratch, struct err *err) MUST_CHECK;
/* Let a group read what is in it, two levels deep; writing stays this user's. */
int scratch_share(const struct scratch *s, gid_t group, struct err *err) MUST_CHECK;
/* With all that is in it. A struct with path NULL is fine. */
void scratch_remove(struct scratch *s);
/* Remove those of this user in the place that nobody has locked; symbolic links are not followed. Returns how many. */
unsigned scratch_sweep(const char *place);

#endif
