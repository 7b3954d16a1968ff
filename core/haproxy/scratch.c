/* Between the creation of a directory and its lock, another process may sweep: it has then removed or locked the
 * directory, and the creator makes another one. A locked directory is safe, because a sweep takes the lock before it
 * removes. */
#include "haproxy/scratch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "haproxy/disk.h"

#define PREFIX "haptic-check-"
#define UNIQUE "XXXXXX"
#define ATTEMPTS 100

const char *scratch_place(void)
{
    const char *set = getenv("TMPDIR"), *own = getenv(SCRATCH_VARIABLE);
    if (own && own[0])
        return own;
    if (access("/dev/shm", W_OK | X_OK) == 0)
        return "/dev/shm";
    return set && set[0] ? set : "/tmp";
}

/* Without locks in the file system nothing can be swept. */
static bool lock_mine(const char *path, int fd)
{
    bool is_mine = flock(fd, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK;
    return is_mine && access(path, F_OK) == 0; /* not swept before it was locked */
}

int scratch_make(const char *place, struct scratch *ret_scratch, struct err *err)
{
    *ret_scratch = (struct scratch){.lock_fd = -1};
    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        CLEANUP(free_ptr) char *path = xasprintf("%s/" PREFIX UNIQUE, place);
        if (!mkdtemp(path))
            return err_set_sys(err, errno, "temporary directory in %s", place);
        CLEANUP(close_fd) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0 && errno != ENOENT)
            return err_set_sys(err, errno, "temporary directory %s", path);
        if (fd >= 0 && lock_mine(path, fd)) {
            ret_scratch->path = STEAL(path);
            ret_scratch->lock_fd = steal_fd(&fd);
            return 0;
        }
    }
    return err_set(err, ERR_SYS, "temporary directory in %s: each one was swept away", place);
}

static int share_entries(int at, gid_t group, int levels)
{
    int fd = openat(at, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    int result = dir && fchown(fd, (uid_t)-1, group) == 0 && fchmod(fd, 0750) == 0 ? 0 : -1;

    for (struct dirent *entry; result == 0 && (entry = readdir(dir));) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        CLEANUP(close_fd) int below = levels ? openat(at, entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
        if (below >= 0)
            result = share_entries(below, group, levels - 1);
        else
            result = fchownat(at, entry->d_name, (uid_t)-1, group, AT_SYMLINK_NOFOLLOW) < 0 ||
                             fchmodat(at, entry->d_name, 0640, 0) < 0
                         ? -1
                         : 0;
    }
    if (dir)
        closedir(dir);
    else
        close_fd(&fd);
    return result;
}

int scratch_share(const struct scratch *s, gid_t group, struct err *err)
{
    if (share_entries(s->lock_fd, group, 1) < 0)
        return err_set_sys(err, errno, "temporary directory %s: cannot give it to group %d", s->path, (int)group);
    return 0;
}

void scratch_remove(struct scratch *s)
{
    if (s->path == NULL)
        return;
    disk_remove(s->path);
    close_fd(&s->lock_fd);
    free(STEAL(s->path));
}

static bool is_name(const char *name)
{
    return strncmp(name, PREFIX, strlen(PREFIX)) == 0 && strlen(name) == strlen(PREFIX UNIQUE);
}

unsigned scratch_sweep(const char *place)
{
    unsigned count = 0;
    struct stat status;
    DIR *dir = opendir(place);
    if (!dir)
        return 0;
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (!is_name(entry->d_name))
            continue;
        CLEANUP(close_fd)
        int fd = openat(dirfd(dir), entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0 || fstat(fd, &status) < 0 || status.st_uid != geteuid() || flock(fd, LOCK_EX | LOCK_NB) < 0)
            continue;
        CLEANUP(free_ptr) char *path = xasprintf("%s/%s", place, entry->d_name);
        disk_remove(path);
        count += access(path, F_OK) < 0;
    }
    closedir(dir);
    return count;
}
