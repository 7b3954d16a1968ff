/* A library in front of haptic's calls that change files: the power is cut at one of them. The process ends there, and
 * what was written and not synced is lost.
 *
 * HAPTIC_SPEC_POWER names a file. While it exists the calls are counted; it has "N DIRECTORY": the N-th call ends the
 * process (0: none does), before it is made, or in the middle of a write. Only writes below DIRECTORY count. The number
 * of calls so far is in FILE.count. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FILES_MAX 64

/* A file with bytes that are not synced. */
static struct unsynced {
    int fd; /* opened anew, so that it shares no lock; -1: free */
    dev_t device;
    ino_t inode;
    off_t synced_bytes;
} unsynced[FILES_MAX];

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned long count;
static int is_haptic; /* and not the HAProxy that it has started */

__attribute__((constructor)) static void begin(void)
{
    is_haptic = strcmp(program_invocation_short_name, "haptic") == 0;
    for (size_t i = 0; i < FILES_MAX; i++)
        unsynced[i].fd = -1;
}

static void cut(void)
{
    for (size_t i = 0; i < FILES_MAX; i++)
        if (unsynced[i].fd >= 0)
            (void)!syscall(SYS_ftruncate, unsynced[i].fd, unsynced[i].synced_bytes);
    kill(getpid(), SIGKILL);
    for (;;)
        pause();
}

static int read_order(unsigned long *ret_at, char *directory, size_t size)
{
    const char *path = getenv("HAPTIC_SPEC_POWER");
    FILE *file = path && is_haptic ? fopen(path, "re") : NULL;
    char word[4096] = "";
    int is_order = file != NULL && fscanf(file, "%lu %4095s", ret_at, word) == 2;

    if (file != NULL)
        fclose(file);
    snprintf(directory, size, "%s", word);
    return is_order;
}

static void tell_count(void)
{
    char path[4096], text[32];
    int length = snprintf(text, sizeof(text), "%lu\n", count);

    snprintf(path, sizeof(path), "%s.count", getenv("HAPTIC_SPEC_POWER"));
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd >= 0)
        (void)!syscall(SYS_write, fd, text, (size_t)length);
    close(fd);
}

/* Is it this one? Called with the lock. */
static int is_the_one(void)
{
    unsigned long at = 0;
    char directory[4096];

    if (!read_order(&at, directory, sizeof(directory)))
        return 0;
    count++;
    tell_count();
    return count == at;
}

static void step(void)
{
    pthread_mutex_lock(&lock);
    if (is_the_one())
        cut();
    pthread_mutex_unlock(&lock);
}

/* Is fd a file below the directory? */
static int is_inside(int fd)
{
    char link[64], target[4096], directory[4096];
    unsigned long at;
    struct stat st;

    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || !read_order(&at, directory, sizeof(directory)))
        return 0;
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, target, sizeof(target) - 1);
    if (length < 0)
        return 0;
    target[length] = '\0';
    return strncmp(target, directory, strlen(directory)) == 0;
}

static void note_unsynced(int fd)
{
    struct stat st;
    char link[64];
    struct unsynced *place = NULL;

    if (fstat(fd, &st) < 0)
        return;
    for (size_t i = 0; i < FILES_MAX; i++) {
        if (unsynced[i].fd >= 0 && unsynced[i].device == st.st_dev && unsynced[i].inode == st.st_ino)
            return;
        if (unsynced[i].fd < 0 && place == NULL)
            place = &unsynced[i];
    }
    if (place == NULL)
        abort();
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    int again = (int)syscall(SYS_openat, AT_FDCWD, link, O_WRONLY | O_CLOEXEC);
    *place = (struct unsynced){again, st.st_dev, st.st_ino, st.st_size};
}

static void note_synced(int fd)
{
    struct stat st;

    if (fstat(fd, &st) < 0)
        return;
    for (size_t i = 0; i < FILES_MAX; i++)
        if (unsynced[i].fd >= 0 && unsynced[i].device == st.st_dev && unsynced[i].inode == st.st_ino) {
            close(unsynced[i].fd);
            unsynced[i].fd = -1;
        }
}

/* at -1: at the end of what was written. */
static ssize_t put(int fd, const void *bytes, size_t length, off_t at)
{
    if (is_inside(fd)) {
        pthread_mutex_lock(&lock);
        int last = is_the_one();
        note_unsynced(fd);
        if (last) {
            if (at < 0)
                (void)!syscall(SYS_write, fd, bytes, length / 2);
            else
                (void)!syscall(SYS_pwrite64, fd, bytes, length / 2, at);
            cut();
        }
        pthread_mutex_unlock(&lock);
    }
    return at < 0 ? syscall(SYS_write, fd, bytes, length) : syscall(SYS_pwrite64, fd, bytes, length, at);
}

ssize_t write(int fd, const void *bytes, size_t length)
{
    return put(fd, bytes, length, -1);
}

ssize_t pwrite(int fd, const void *bytes, size_t length, off_t at)
{
    return put(fd, bytes, length, at);
}

ssize_t pwrite64(int fd, const void *bytes, size_t length, off_t at) __attribute__((alias("pwrite")));

int fsync(int fd)
{
    step();
    int result = (int)syscall(SYS_fsync, fd);
    pthread_mutex_lock(&lock);
    note_synced(fd);
    pthread_mutex_unlock(&lock);
    return result;
}

int ftruncate(int fd, off_t length)
{
    step();
    return (int)syscall(SYS_ftruncate, fd, length);
}

int ftruncate64(int fd, off_t length) __attribute__((alias("ftruncate")));

int renameat(int from_at, const char *from, int to_at, const char *to)
{
    step();
    return (int)syscall(SYS_renameat2, from_at, from, to_at, to, 0);
}

int unlinkat(int at, const char *path, int flags)
{
    step();
    return (int)syscall(SYS_unlinkat, at, path, flags);
}

int linkat(int from_at, const char *from, int to_at, const char *to, int flags)
{
    step();
    return (int)syscall(SYS_linkat, from_at, from, to_at, to, flags);
}

int symlinkat(const char *target, int at, const char *path)
{
    step();
    return (int)syscall(SYS_symlinkat, target, at, path);
}

int openat(int at, const char *path, int flags, ...)
{
    mode_t mode = 0;

    if ((flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE) {
        va_list more;
        va_start(more, flags);
        mode = va_arg(more, mode_t);
        va_end(more);
        step();
    }
    return (int)syscall(SYS_openat, at, path, flags, mode);
}

int openat64(int at, const char *path, int flags, ...) __attribute__((alias("openat")));
