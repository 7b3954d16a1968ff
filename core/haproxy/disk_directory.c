/* The directory itself: created, opened without following links, removed. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/linkless.h"
#include "haproxy/disk.h"

const char *const disk_folders[DISK_FOLDERS] = {"maps", "files", "certs", DISK_SAVED};

static int directory_make(int at, const char *path, struct err *err)
{
    if (mkdirat(at, path, 0700) < 0 && errno != EEXIST)
        return err_set_sys(err, errno, "directory %s", path);
    return 0;
}

int disk_folder_open(int at, const char *name, struct err *err)
{
    int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 && (errno == ELOOP || errno == ENOTDIR))
        return err_set(err, ERR_INVALID, "%s is a link or no directory", name);
    return fd < 0 ? err_set_sys(err, errno, "directory %s", name) : fd;
}

int disk_prepare(const char *directory, struct err *err)
{
    if (directory_make(AT_FDCWD, directory, err) < 0)
        return -1;
    CLEANUP(close_fd) int at = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (at < 0)
        return err_set_sys(err, errno, "directory %s", directory);
    for (size_t i = 0; i < DISK_FOLDERS; i++) {
        int below = directory_make(at, disk_folders[i], err) < 0 ? -1 : disk_folder_open(at, disk_folders[i], err);
        if (below < 0)
            return err_wrap(err, "%s", directory);
        close(below);
    }
    return 0;
}

/* The next part of the path. */
static int part_open(int at, const char *path, const char *part, bool is_last, struct err *err)
{
    int fd = openat(at, part, O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC | (is_last ? O_RDONLY : O_PATH));
    if (fd >= 0)
        return fd;
    if (errno == ENOENT)
        return err_set(err, ERR_NOTFOUND, "directory %s does not exist", path);
    if (errno == ELOOP || errno == ENOTDIR)
        return err_set(err, ERR_INVALID, "directory %s: \"%s\" in its path is a link or no directory", path, part);
    return err_set_sys(err, errno, "directory %s", path);
}

int disk_directory_open(const char *directory, int *ret_fd, struct err *err)
{
    CLEANUP(free_ptr) char *copy = xstrdup(directory);
    char *rest = copy, *part;
    int at = linkless_open(directory, O_RDONLY);
    if (at >= 0) {
        *ret_fd = at;
        return 0;
    }
    at = open(directory[0] == '/' ? "/" : ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (at < 0)
        return err_set_sys(err, errno, "directory %s", directory);
    while ((part = strsep(&rest, "/"))) {
        if (!*part)
            continue;
        int next = part_open(at, directory, part, !rest || !rest[strspn(rest, "/")], err);
        close(at);
        if (next < 0)
            return -1;
        at = next;
    }
    *ret_fd = at;
    return 0;
}

int disk_ensure(const char *directory, struct err *err)
{
    CLEANUP(close_fd) int at = -1;
    struct err own;
    if (disk_directory_open(directory, &at, &own) < 0 && own.kind != ERR_NOTFOUND) {
        if (err)
            *err = own;
        return -1;
    }
    return disk_prepare(directory, err);
}

static void remove_entries(int at, int levels)
{
    int fd = dup(at);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (!dir)
        return;
    rewinddir(dir);
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (unlinkat(at, entry->d_name, 0) == 0 || levels == 0)
            continue;
        CLEANUP(close_fd) int below = openat(at, entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        if (below >= 0) {
            remove_entries(below, levels - 1);
            (void)unlinkat(at, entry->d_name, AT_REMOVEDIR);
        }
    }
    closedir(dir);
}

void disk_remove(const char *directory)
{
    int at = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (at < 0)
        return;
    remove_entries(at, 2);
    close(at);
    (void)rmdir(directory);
}
