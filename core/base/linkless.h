/* linkless.h — a directory whose path has no symbolic link in it, opened by one system call.
 * Thread:  any.
 * Source:  openat2(2), Linux 5.6.
 */
#ifndef HAPTIC_BASE_LINKLESS_H
#define HAPTIC_BASE_LINKLESS_H

/* A descriptor; -1: there is a link or no such directory, or this kernel cannot do it. Then the path has to be opened
 * part by part, which also tells what is wrong. flags: O_RDONLY or O_PATH. */
int linkless_open(const char *directory, int flags);
/* The same for a file; the last part of the path must not be a link either. */
int linkless_open_file(const char *path, int flags);

#endif
