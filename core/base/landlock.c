/* The kernel takes a larger attribute than it knows as long as the rest of it is zero, so one struct serves all
 * versions. Headers may be older than the kernel: what they lack is spelled out here, with the kernel's numbers. */
#include "base/landlock.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"

struct ruleset_attribute {
    uint64_t handled_access_fs, handled_access_net, scoped;
};

/* The rights to files that version 1 has, and how many each later version has. */
#define FS_EXECUTE (UINT64_C(1) << 0)
#define FS_WRITE_FILE (UINT64_C(1) << 1)
#define FS_READ_FILE (UINT64_C(1) << 2)
#define FS_READ_DIR (UINT64_C(1) << 3)
#define FS_TRUNCATE (UINT64_C(1) << 14)
#define FS_IOCTL (UINT64_C(1) << 15)
#define FS_RIGHTS_1 13
#define FS_RIGHTS_2 14 /* moving between folders */
#define FS_RIGHTS_3 15 /* truncation */
#define FS_RIGHTS_5 16 /* ioctl of devices */
#define NET_BIND_CONNECT_TCP UINT64_C(3)
#define SCOPE_SOCKETS_SIGNALS UINT64_C(3)

static long kernel_version(void)
{
    return syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
}

/* All rights to files that this version has. */
static uint64_t rights_of(long version)
{
    unsigned rights = version >= 5   ? FS_RIGHTS_5
                      : version >= 3 ? FS_RIGHTS_3
                      : version == 2 ? FS_RIGHTS_2
                                     : FS_RIGHTS_1;

    return (UINT64_C(1) << rights) - 1;
}

int landlock_new_for_files(void)
{
    long version = kernel_version();

    if (version < 1)
        return -1;
    struct ruleset_attribute attribute = {.handled_access_fs = rights_of(version)};
    return (int)syscall(SYS_landlock_create_ruleset, &attribute, sizeof(attribute), 0);
}

int landlock_new(void)
{
    long version = kernel_version();

    if (version < 1)
        return -1;
    struct ruleset_attribute attribute = {
        .handled_access_fs = rights_of(version),
        .handled_access_net = version >= 4 ? NET_BIND_CONNECT_TCP : 0,
        .scoped = version >= 6 ? SCOPE_SOCKETS_SIGNALS : 0,
    };
    return (int)syscall(SYS_landlock_create_ruleset, &attribute, sizeof(attribute), 0);
}

static int allow(int ruleset, const char *path, uint64_t of_files, uint64_t of_folders)
{
    CLEANUP(close_fd) int fd = open(path, O_PATH | O_CLOEXEC);
    struct stat status;

    if (fd < 0)
        return errno == ENOENT || errno == EACCES || errno == ENOTDIR ? 0 : -1;
    if (fstat(fd, &status) < 0)
        return -1;
    struct landlock_path_beneath_attr rule = {
        .allowed_access = of_files | (S_ISDIR(status.st_mode) ? of_folders : 0),
        .parent_fd = fd,
    };
    return (int)syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
}

int landlock_allow_reading(int ruleset, const char *path)
{
    return allow(ruleset, path, FS_EXECUTE | FS_READ_FILE, FS_READ_DIR);
}

int landlock_allow_writing(int ruleset, const char *path)
{
    return allow(ruleset, path, FS_READ_FILE | FS_WRITE_FILE, 0);
}

int landlock_allow_everything(int ruleset, const char *path)
{
    uint64_t all = rights_of(kernel_version());
    uint64_t of_files = FS_EXECUTE | FS_WRITE_FILE | FS_READ_FILE | (all & FS_TRUNCATE) | (all & FS_IOCTL);

    return allow(ruleset, path, of_files, all & ~of_files);
}

int landlock_enforce(int ruleset)
{
    return (int)syscall(SYS_landlock_restrict_self, ruleset, 0);
}
