/* The file is written in place under an exclusive lock, so a reader with the lock never sees a partial write. After a
 * crash of the machine, an unreadable line counts as no line. The comparison uses the values as they would be read
 * back, so a holder whose name was cut still recognises itself.
 */
#include "agent/fence.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/linkless.h"
#include "haproxy/disk.h"

#define LINE_SIZE (FENCE_HOLDER_SIZE + 128)
#define LOCK_ATTEMPTS 50
#define LOCK_PAUSE_NS (2 * NS_PER_MS)

static int fence_lock(const char *path, int fd, int how, struct err *err)
{
    for (int attempt = 0; attempt < LOCK_ATTEMPTS; attempt++) {
        if (flock(fd, how | LOCK_NB) == 0)
            return 0;
        if (errno != EWOULDBLOCK && errno != EINTR)
            return err_set_sys(err, errno, "lock %s", path);
        nanosleep(&(struct timespec){.tv_nsec = LOCK_PAUSE_NS}, NULL);
    }
    return err_set(err, ERR_TIMEOUT, "lock %s: another process holds it", path);
}

static int fence_read(const char *path, int fd, struct fence_record *ret_record, ssize_t *ret_length, struct err *err)
{
    char line[LINE_SIZE];
    ssize_t n = pread(fd, line, sizeof(line) - 1, 0);
    if (n < 0)
        return err_set_sys(err, errno, "read %s", path);
    line[n] = '\0';
    *ret_length = n;
    *ret_record = (struct fence_record){.transitions = INT64_MIN, .is_damaged = n > 0};
    struct fence_record r = {0};
    if (sscanf(line, "%" SCNd64 " %" SCNu64 " %319[^\n]", &r.transitions, &r.generation, r.holder) >= 2)
        *ret_record = r;
    return 0;
}

static void record_from_fence(struct fence_record *ret_record, const struct fence *fence)
{
    ret_record->transitions = fence->transitions;
    ret_record->generation = fence->generation;
    snprintf(ret_record->holder, sizeof(ret_record->holder), "%s", fence->holder ? fence->holder : "");
    ret_record->holder[strcspn(ret_record->holder, "\n")] = '\0';
}

static int fence_compare(const struct fence_record *a, const struct fence_record *r)
{
    if (a->transitions != r->transitions)
        return a->transitions < r->transitions ? -1 : 1;
    if (strcmp(a->holder, r->holder) != 0)
        return -1;
    return a->generation < r->generation ? -1 : a->generation > r->generation;
}

static int fence_refuse(const struct fence_record *a, const struct fence_record *r, struct err *err)
{
    return err_set(err, ERR_STALE,
                   "writer %s (transitions %" PRId64 ", generation %" PRIu64 ") is behind %s (%" PRId64 ", %" PRIu64
                   ")",
                   a->holder, a->transitions, a->generation, r->holder, r->transitions, r->generation);
}

static int fence_write(const char *path, int fd, const struct fence_record *a, ssize_t length_before, bool sync,
                       struct err *err)
{
    char line[LINE_SIZE];
    int n = snprintf(line, sizeof(line),
                     "%" PRId64 " %" PRIu64 " %s\n# version 2: lease transitions, generation, holder\n", a->transitions,
                     a->generation, a->holder);
    if (pwrite(fd, line, (size_t)n, 0) != n || (n != length_before && ftruncate(fd, n)))
        return err_set_sys(err, errno, "write %s", path);
    if (sync && fsync(fd))
        return err_set_sys(err, errno, "sync %s", path);
    return 0;
}

/* Most often it is there, and one call opens it. */
static int fence_open(const char *directory, const char *path, struct err *err)
{
    int fd = linkless_open_file(path, O_RDWR);
    if (fd >= 0)
        return fd;
    CLEANUP(close_fd) int at = -1;
    if (disk_directory_open(directory, &at, err) < 0)
        return -1;
    fd = openat(at, "fence", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    return fd < 0 ? err_set_sys(err, errno, "open %s", path) : fd;
}

static int fence_use(const char *directory, const struct fence *fence, bool raise, struct fence_record *ret_highest,
                     struct err *err)
{
    char path[4096];
    struct fence_record wanted;
    snprintf(path, sizeof(path), "%s/fence", directory);
    CLEANUP(close_fd) int fd = fence_open(directory, path, err);
    if (fd < 0)
        return -1;
    ssize_t length = 0; /* gcc 12 does not see that fence_read() sets it */
    if (fence_lock(path, fd, raise ? LOCK_EX : LOCK_SH, err) || fence_read(path, fd, ret_highest, &length, err))
        return -1;
    record_from_fence(&wanted, fence);
    int order = fence_compare(&wanted, ret_highest);
    if (order < 0)
        return fence_refuse(&wanted, ret_highest, err);
    if (order == 0 || !raise)
        return 0;
    return fence_write(path, fd, &wanted, length, wanted.transitions != ret_highest->transitions, err);
}

int fence_raise(const char *directory, const struct fence *fence, struct fence_record *ret_highest, struct err *err)
{
    return fence_use(directory, fence, true, ret_highest, err);
}

int fence_check(const char *directory, const struct fence *fence, struct fence_record *ret_highest, struct err *err)
{
    return fence_use(directory, fence, false, ret_highest, err);
}
