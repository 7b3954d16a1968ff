/* landlock.h — rights to files, ports and signals that a process gives up for good.
 * Thread:  any; a ruleset confines the thread that enforces it, and what that becomes by exec.
 * Owns:    the descriptor of a ruleset is the caller's.
 * Errors:  -1 with errno.
 * Source:  landlock(7); the version of the kernel's Landlock is asked from the kernel, not from the headers.
 *
 * A ruleset handles everything that this kernel can handle: all that no rule allows is refused. Version 3 (Linux 6.2)
 * adds truncation, 4 TCP ports, 5 ioctl of devices, 6 (Linux 6.12) signals and abstract sockets of others.
 */
#ifndef HAPTIC_BASE_LANDLOCK_H
#define HAPTIC_BASE_LANDLOCK_H

/* A ruleset that allows nothing yet. -1 with ENOSYS or EOPNOTSUPP where the kernel has no Landlock. */
int landlock_new(void);
/* The same for rights to files alone: ports and signals stay as they were. */
int landlock_new_for_files(void);
/* Allow reading, and executing, what lies below path (or the file itself). 0 also when there is no such path; -1 with
 * errno when the rule cannot be made. */
int landlock_allow_reading(int ruleset, const char *path);
/* Allow reading and writing the file (or device) at path; as above. */
int landlock_allow_writing(int ruleset, const char *path);
/* Allow everything below path: making and removing, too; as above. */
int landlock_allow_everything(int ruleset, const char *path);
/* Confine the calling thread. One system call; no_new_privs must be set. */
int landlock_enforce(int ruleset);

#endif
