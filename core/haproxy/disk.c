/* How it works: for each file on disk a record by path keeps its digest and what the file system says of it (inode,
 * size, times, mode). A write runs in a thread of libuv's pool, which owns the records and the files until it is done:
 * files whose digest differs, or that are not as the record says any more, go to ".NAME.tmp" beside their place, are
 * fsynced and renamed; each directory that was touched is fsynced once; then comes haproxy.cfg, then the removal of
 * what nothing refers to any more. A check compares the records with the directory in the same thread; a file is read
 * only when what the file system says of it has changed, or when the check is to be deep. The record of a file that
 * was altered is forgotten, so that the next write puts the file in its place again.
 */
#include "haproxy/disk.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/digest.h"
#include "base/linkless.h"
#include "base/map.h"

#define FILE_MAX_BYTES ((size_t)1 << 30)
#define PATH_PART_MAX 250 /* leaves room for ".tmp" in NAME_MAX */

static const char *const subdirectories[] = {"maps", "files", "certs"};

struct record {
    struct digest digest;
    dev_t device;
    ino_t inode;
    off_t size;
    mode_t mode;
    struct timespec modified, changed;
};

struct disk {
    uv_loop_t *loop;
    char *directory;
    struct map records; /* path → struct record; the thread's while busy */
    bool busy;
    /* the write or check under way */
    uv_work_t work;
    struct disk_files files;
    bool whole, deep;
    disk_done *done;
    void *ctx;
    struct err err;
    unsigned written, removed, altered;
    char first_altered[PATH_PART_MAX + 16];
};

void disk_files_take(struct disk_files *files, const char *path, char *bytes, size_t length)
{
    struct disk_file file = {.path = xstrdup(path), .bytes = bytes, .length = length};
    vec_push(&files->items, file);
}

void disk_files_add(struct disk_files *files, const char *path, const void *bytes, size_t length)
{
    disk_files_take(files, path, length ? xmemdup0(bytes, length) : xstrdup(""), length);
}

void disk_files_done(struct disk_files *files)
{
    for (size_t i = 0; i < files->items.length; i++) {
        free(files->items.items[i].path);
        /* It may have the values of Secrets in it. */
        explicit_bzero(files->items.items[i].bytes, files->items.items[i].length);
        free(files->items.items[i].bytes);
    }
    vec_done(&files->items);
}

bool disk_path_valid(const char *path)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-+@:=,~";
    for (int part = 0; part < 2; part++) {
        size_t length = strspn(path, allowed);
        if (length == 0 || length > PATH_PART_MAX || path[0] == '.')
            return false;
        path += length;
        if (*path == '\0')
            return true;
        if (*path++ != '/')
            return false;
    }
    return false;
}

static int directory_make(int at, const char *path, struct err *err)
{
    if (mkdirat(at, path, 0700) < 0 && errno != EEXIST)
        return err_set_sys(err, errno, "directory %s", path);
    return 0;
}

/* A folder of the directory; ERR_INVALID when it has become a link: somebody else may have chosen the target. */
static int subdirectory_at(int at, const char *name, struct err *err)
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
    for (size_t i = 0; i < ARRAY_LEN(subdirectories); i++) {
        CLEANUP(close_fd) int below = -1;
        if (directory_make(at, subdirectories[i], err) < 0 || (below = subdirectory_at(at, subdirectories[i], err)) < 0)
            return err_wrap(err, "%s", directory);
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

static int write_all(int fd, const char *bytes, size_t length)
{
    while (length > 0) {
        ssize_t n = write(fd, bytes, length);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        bytes += n;
        length -= (size_t)n;
    }
    return 0;
}

/* Create path anew in the directory at and write it; sync: through to the disk. */
static int file_create(int at, const char *path, const struct disk_file *file, bool sync, struct err *err)
{
    CLEANUP(close_fd) int fd = openat(at, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0 || write_all(fd, file->bytes, file->length) < 0 || (sync && fsync(fd) < 0))
        return err_set_sys(err, errno, "write %s", file->path);
    return 0;
}

int disk_dump(const char *directory, struct disk_files *files, struct err *err)
{
    CLEANUP(close_fd) int at = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (at < 0)
        return err_set_sys(err, errno, "directory %s", directory);
    disk_files_complete(files, at, false, NULL);
    for (size_t i = 0; i < files->items.length; i++) {
        const struct disk_file *file = &files->items.items[i];
        if (!disk_path_valid(file->path))
            return err_set(err, ERR_INVALID,
                           "\"%s\" is no name for a file: letters, digits and ._-+@:=,~ and one / only", file->path);
        if (file_create(at, file->path, file, false, err) < 0)
            return -1;
    }
    return 0;
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

static int read_into(int at, const char *path, size_t max_bytes, struct buf *out, struct err *err)
{
    CLEANUP(close_fd) int fd = openat(at, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    struct stat status;
    if (fd < 0 || fstat(fd, &status) < 0)
        return errno == ENOENT ? err_set(err, ERR_NOTFOUND, "%s does not exist", path)
                               : err_set_sys(err, errno, "read %s", path);
    if (!S_ISREG(status.st_mode))
        return err_set(err, ERR_INVALID, "%s is not a file", path);
    if ((size_t)status.st_size > max_bytes)
        return err_set(err, ERR_LIMIT, "%s has more than %zu bytes", path, max_bytes);
    size_t had = out->length;
    for (;;) {
        char *room = buf_room(out, 65536, err);
        if (!room)
            return -1;
        ssize_t n = read(fd, room, 65536);
        if (n < 0)
            return err_set_sys(err, errno, "read %s", path);
        if (n == 0)
            return 0;
        buf_grew(out, (size_t)n);
        if (out->length - had > max_bytes)
            return err_set(err, ERR_LIMIT, "%s has more than %zu bytes", path, max_bytes);
    }
}

/* Note the file as it is now; false when it is not there. */
static bool record_stat(struct record *r, int at, const char *path)
{
    struct stat status;
    if (fstatat(at, path, &status, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(status.st_mode))
        return false;
    r->device = status.st_dev;
    r->inode = status.st_ino;
    r->size = status.st_size;
    r->mode = status.st_mode;
    r->modified = status.st_mtim;
    r->changed = status.st_ctim;
    return true;
}

static bool same_time(struct timespec a, struct timespec b)
{
    return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

static bool record_same(const struct record *a, const struct record *b)
{
    return a->device == b->device && a->inode == b->inode && a->size == b->size && a->mode == b->mode &&
           same_time(a->modified, b->modified) && same_time(a->changed, b->changed);
}

static void record_put(struct disk *d, int at, const char *path, struct digest digest)
{
    struct record *r = xcalloc(1, sizeof(*r));
    r->digest = digest;
    if (record_stat(r, at, path))
        r = map_put(&d->records, path, r);
    free(r);
}

static int file_digest(int at, const char *path, struct digest *ret_digest)
{
    CLEANUP(buf_done) struct buf bytes = {0};
    if (read_into(at, path, FILE_MAX_BYTES, &bytes, NULL) < 0)
        return -1;
    *ret_digest = digest_of(buf_str(&bytes), bytes.length);
    return 0;
}

static void file_learn(struct disk *d, int at, const char *path)
{
    struct digest digest;
    if (file_digest(at, path, &digest) == 0) /* what cannot be read is written anew */
        record_put(d, at, path, digest);
}

/* Is the file still what was recorded? deep: read it even when the file system says so. */
static bool file_intact(int at, const char *path, struct record *r, bool deep)
{
    struct record now = *r;
    if (!record_stat(&now, at, path) || now.mode != r->mode)
        return false;
    if (record_same(&now, r) && !deep)
        return true;
    struct digest digest;
    if (file_digest(at, path, &digest) < 0 || !digest_equal(digest, r->digest))
        return false;
    *r = now;
    return true;
}

static void note_altered(struct disk *d, const char *path)
{
    if (d->altered++ == 0)
        snprintf(d->first_altered, sizeof(d->first_altered), "%s", path);
}

static DIR *subdirectory_open(int at, const char *name, struct err *err)
{
    int fd = subdirectory_at(at, name, err);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (fd >= 0 && !dir) {
        err_set_sys(err, errno, "directory %s", name);
        close(fd);
    }
    return dir;
}

/* Take the digests of what is in a subdirectory, and remove what a crash left half-written. */
static int subdirectory_learn(struct disk *d, int at, const char *name, struct err *err)
{
    DIR *dir = subdirectory_open(at, name, err);
    if (!dir)
        return -1;
    for (struct dirent *entry; (entry = readdir(dir));) {
        CLEANUP(free_ptr) char *path = xasprintf("%s/%s", name, entry->d_name);
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (entry->d_name[0] == '.')
            (void)unlinkat(dirfd(dir), entry->d_name, 0);
        else
            file_learn(d, at, path);
    }
    closedir(dir);
    return 0;
}

struct disk *disk_open(uv_loop_t *loop, const char *directory, struct err *err)
{
    CLEANUP(close_fd) int at = -1;
    if (disk_ensure(directory, err) < 0 || disk_directory_open(directory, &at, err) < 0)
        return NULL;
    struct disk *d = xcalloc(1, sizeof(*d));
    d->loop = loop;
    d->directory = xstrdup(directory);
    d->work.data = d;
    file_learn(d, at, DISK_CONFIG);
    for (size_t i = 0; i < ARRAY_LEN(subdirectories); i++)
        if (subdirectory_learn(d, at, subdirectories[i], err) < 0)
            return disk_free(d);
    return d;
}

struct disk *disk_free(struct disk *d)
{
    if (!d)
        return NULL;
    assert(!d->busy);
    struct map_slot *slot;
    for (size_t it = 0; (slot = map_next(&d->records, &it));)
        free(slot->value);
    map_done(&d->records);
    free(d->directory);
    free(d);
    return NULL;
}

int disk_read_file(const char *directory, const char *path, size_t max_bytes, struct buf *out, struct err *err)
{
    if (!disk_path_valid(path))
        return err_set(err, ERR_INVALID, "\"%s\" is no name for a file", path);
    CLEANUP(close_fd) int at = -1;
    if (disk_directory_open(directory, &at, err) < 0)
        return -1;
    return read_into(at, path, max_bytes, out, err) < 0 ? err_wrap(err, "%s", directory) : 0;
}

int disk_read(const struct disk *d, const char *path, size_t max_bytes, struct buf *out, struct err *err)
{
    return disk_read_file(d->directory, path, max_bytes, out, err);
}

/* Fsync the directory that path is in. */
static int directory_sync(int at, const char *path, struct err *err)
{
    const char *slash = strchr(path, '/');
    CLEANUP(free_ptr) char *name = slash ? xmemdup0(path, (size_t)(slash - path)) : xstrdup(".");
    CLEANUP(close_fd) int fd = subdirectory_at(at, name, err);
    if (fd < 0)
        return -1;
    return fsync(fd) < 0 ? err_set_sys(err, errno, "sync directory of %s", path) : 0;
}

/* Put the file in its place in one step; the directory is not synced yet. */
static int file_replace(int at, const struct disk_file *file, struct err *err)
{
    const char *slash = strrchr(file->path, '/'), *name = slash ? slash + 1 : file->path;
    CLEANUP(free_ptr) char *folder = slash ? xmemdup0(file->path, (size_t)(slash - file->path)) : xstrdup(".");
    CLEANUP(free_ptr) char *temporary = xasprintf(".%s.tmp", name);
    CLEANUP(close_fd) int in = subdirectory_at(at, folder, err);
    if (in < 0)
        return -1;
    if (file_create(in, temporary, file, true, err) < 0) {
        (void)unlinkat(in, temporary, 0);
        return -1;
    }
    if (renameat(in, temporary, in, name) < 0) {
        err_set_sys(err, errno, "rename to %s", file->path);
        (void)unlinkat(in, temporary, 0);
        return -1;
    }
    return 0;
}

/* --- in the thread --- */

/* Write what has changed: haproxy.cfg, or everything else. */
static int write_changed(struct disk *d, int at, bool config, struct err *err)
{
    bool touched[ARRAY_LEN(subdirectories) + 1] = {false};
    for (size_t i = 0; i < d->files.items.length; i++) {
        const struct disk_file *file = &d->files.items.items[i];
        if ((strcmp(file->path, DISK_CONFIG) == 0) != config)
            continue;
        struct digest digest = digest_of(file->bytes, file->length);
        struct record *known = map_get(&d->records, file->path);
        bool same = known && digest_equal(known->digest, digest);
        if (known && file_intact(at, file->path, known, false)) {
            if (same)
                continue;
        } else if (known) {
            note_altered(d, file->path);
        }
        free(map_del(&d->records, file->path)); /* unknown until it is in its place */
        if (file_replace(at, file, err) < 0)
            return -1;
        record_put(d, at, file->path, digest);
        d->written++;
        size_t sub = 0;
        while (sub < ARRAY_LEN(subdirectories) &&
               strncmp(file->path, subdirectories[sub], strcspn(file->path, "/")) != 0)
            sub++;
        touched[sub] = true;
    }
    for (size_t sub = 0; sub < ARRAY_LEN(subdirectories); sub++) {
        CLEANUP(free_ptr) char *inside = xasprintf("%s/", subdirectories[sub]);
        if (touched[sub] && directory_sync(at, inside, err) < 0)
            return -1;
    }
    return touched[ARRAY_LEN(subdirectories)] ? directory_sync(at, DISK_CONFIG, err) : 0;
}

static int remove_others(struct disk *d, int at, const struct map *named, struct err *err)
{
    struct map wanted;
    map_init(&wanted, true);
    for (size_t i = 0; i < d->files.items.length; i++)
        map_put(&wanted, d->files.items.items[i].path, d);
    int result = 0;
    for (size_t sub = 0; sub < ARRAY_LEN(subdirectories) && result == 0; sub++) {
        DIR *dir = subdirectory_open(at, subdirectories[sub], err);
        if (!dir) {
            result = -1;
            break;
        }
        bool touched = false;
        for (struct dirent *entry; (entry = readdir(dir));) {
            CLEANUP(free_ptr) char *path = xasprintf("%s/%s", subdirectories[sub], entry->d_name);
            if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 || map_get(&wanted, path) ||
                map_get(named, path))
                continue;
            if (unlinkat(dirfd(dir), entry->d_name, 0) < 0)
                continue; /* a directory of somebody else's */
            free(map_del(&d->records, path));
            d->removed++;
            touched = true;
        }
        closedir(dir);
        CLEANUP(free_ptr) char *inside = xasprintf("%s/", subdirectories[sub]);
        if (touched)
            result = directory_sync(at, inside, err);
    }
    map_done(&wanted);
    return result;
}

static void write_work(uv_work_t *work)
{
    struct disk *d = work->data;
    CLEANUP(close_fd) int at = -1;
    if (disk_ensure(d->directory, &d->err) < 0 || disk_directory_open(d->directory, &at, &d->err) < 0)
        return;
    struct map named = {0};
    disk_files_complete(&d->files, at, !d->whole, &named);
    if (write_changed(d, at, false, &d->err) < 0 || write_changed(d, at, true, &d->err) < 0 ||
        (d->whole && remove_others(d, at, &named, &d->err) < 0))
        err_wrap(&d->err, "%s", d->directory);
    map_done(&named);
}

static void write_nothing(uv_work_t *work UNUSED)
{
}

/* Files of nobody's in a subdirectory, or no subdirectory at all. */
static void check_subdirectory(struct disk *d, int at, const char *name)
{
    CLEANUP(free_ptr) char *inside = xasprintf("%s/", name);
    DIR *dir = subdirectory_open(at, name, NULL);
    if (!dir) {
        note_altered(d, inside);
        return;
    }
    for (struct dirent *entry; (entry = readdir(dir));) {
        CLEANUP(free_ptr) char *path = xasprintf("%s%s", inside, entry->d_name);
        struct stat status;
        if (!map_get(&d->records, path) && fstatat(at, path, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
            !S_ISDIR(status.st_mode))
            note_altered(d, path);
    }
    closedir(dir);
}

static void check_work(uv_work_t *work)
{
    struct disk *d = work->data;
    VEC(const char *) altered = {0};
    struct map_slot *slot;
    CLEANUP(close_fd) int at = -1;
    (void)!disk_directory_open(d->directory, &at, NULL); /* else all of it counts as altered */
    for (size_t it = 0; (slot = map_next(&d->records, &it));)
        if (at < 0 || !file_intact(at, slot->key, slot->value, d->deep))
            vec_push(&altered, slot->key);
    for (size_t i = 0; at >= 0 && i < ARRAY_LEN(subdirectories); i++)
        check_subdirectory(d, at, subdirectories[i]);
    for (size_t i = 0; i < altered.length; i++) {
        note_altered(d, altered.items[i]);
        free(map_del(&d->records, altered.items[i]));
    }
    vec_done(&altered);
}

/* --- on the loop again --- */

static void write_after(uv_work_t *work, int status UNUSED)
{
    struct disk *d = work->data;
    struct err err = d->err;
    struct disk_result result = {.err = err.kind != ERR_NONE ? &err : NULL,
                                 .written = d->written,
                                 .removed = d->removed,
                                 .altered = d->altered,
                                 .first_altered = d->first_altered};
    disk_files_done(&d->files);
    d->busy = false;
    d->done(d->ctx, &result);
}

static bool work_begin(struct disk *d, disk_done *done, void *ctx)
{
    if (d->busy)
        return false;
    d->busy = true;
    d->done = done;
    d->ctx = ctx;
    memset(&d->err, 0, sizeof(d->err));
    d->written = d->removed = d->altered = 0;
    d->first_altered[0] = '\0';
    return true;
}

bool disk_write(struct disk *d, struct disk_files *files, bool whole, disk_done *done, void *ctx)
{
    if (!work_begin(d, done, ctx))
        return false;
    d->files = *files;
    memset(files, 0, sizeof(*files));
    d->whole = whole;
    for (size_t i = 0; i < d->files.items.length && d->err.kind == ERR_NONE; i++)
        if (!disk_path_valid(d->files.items.items[i].path))
            err_set(&d->err, ERR_INVALID, "\"%s\" is no name for a file: letters, digits and ._-+@:=,~ and one / only",
                    d->files.items.items[i].path);
    /* With a wrong name nothing is written at all, and that is told from the loop like everything else. */
    bool refused = d->err.kind != ERR_NONE;
    if (refused)
        disk_files_done(&d->files);
    d->whole = whole && !refused;
    (void)uv_queue_work(d->loop, &d->work, refused ? write_nothing : write_work, write_after);
    return true;
}

bool disk_check(struct disk *d, bool deep, disk_done *done, void *ctx)
{
    if (!work_begin(d, done, ctx))
        return false;
    d->deep = deep;
    (void)uv_queue_work(d->loop, &d->work, check_work, write_after);
    return true;
}

bool disk_busy(const struct disk *d)
{
    return d->busy;
}

int disk_write_now(struct disk *d, const char *path, const void *bytes, size_t length, struct err *err)
{
    if (!disk_path_valid(path) || strchr(path, '/') || strcmp(path, DISK_CONFIG) == 0)
        return err_set(err, ERR_INVALID, "\"%s\" is no name for a file beside haproxy.cfg", path);
    CLEANUP(close_fd) int at = -1;
    if (disk_directory_open(d->directory, &at, err) < 0)
        return -1;
    struct disk_file file = {.path = (char *)(uintptr_t)path, .bytes = (char *)(uintptr_t)bytes, .length = length};
    return file_replace(at, &file, err) < 0 || directory_sync(at, path, err) < 0 ? err_wrap(err, "%s", d->directory)
                                                                                 : 0;
}
