/* The C library has no wrapper for openat2(). */
#include "base/linkless.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

int linkless_open_file(const char *path, int flags)
{
    const struct open_how how = {.flags = (unsigned)(flags | O_NOFOLLOW | O_CLOEXEC), .resolve = RESOLVE_NO_SYMLINKS};
    return (int)syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof(how));
}

int linkless_open(const char *directory, int flags)
{
    return linkless_open_file(directory, flags | O_DIRECTORY);
}
