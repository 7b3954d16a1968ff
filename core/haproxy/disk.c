/* For each file on disk, a record keeps its digest and its metadata (inode, size, times, mode). A write runs in a
 * thread of libuv's pool, which owns the records and the files until it is done. Files whose digest differs, or that do
 * not match their record any more, are written to ".NAME.tmp" beside their place, many of them before the first is
 * fsynced and renamed. Each changed directory is fsynced once. Then haproxy.cfg is written, and unused files are
 * removed. A check compares the records with the directory in the same thread. It reads a file only when the metadata
 * has changed, or when the check is deep. The record of an altered file is deleted, so that the next write restores the
 * file.
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
#include "base/map.h"
#include "haproxy/pending.h"

#define FILE_MAX_BYTES ((size_t)1 << 30)
#define PATH_PART_MAX 250 /* leaves room for ".tmp" in NAME_MAX */

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
    struct map records; /* path → struct record; belongs to the thread while busy */
    bool busy;
    /* the running write or check */
    uv_work_t work;
    struct disk_files files;
    bool whole, deep;
    disk_compose *compose; /* NULL: files is complete */
    void *compose_ctx;
    disk_done *done;
    void *ctx;
    struct err err;
    unsigned written, removed, altered;
    char first_altered[PATH_PART_MAX + 16];
};

/* If one path is wrong, nothing is written. */
static int paths_check(const struct disk_files *files, struct err *err)
{
    for (size_t i = 0; i < files->items.length; i++)
        if (!disk_path_valid(files->items.items[i].path))
            return err_set(err, ERR_INVALID,
                           "\"%s\" is no name for a file: letters, digits and ._-+@:=,~ and one / only",
                           files->items.items[i].path);
    return 0;
}

int disk_dump(const char *directory, struct disk_files *files, struct err *err)
{
    CLEANUP(close_fd) int at = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (at < 0)
        return err_set_sys(err, errno, "directory %s", directory);
    disk_files_complete(files, at, false, NULL);
    if (paths_check(files, err) < 0)
        return -1;
    for (size_t i = 0; i < files->items.length; i++) {
        const struct disk_file *file = &files->items.items[i];
        if (pending_create(at, file, err) < 0)
            return -1;
    }
    return 0;
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

/* Records the present state of the file; false when it does not exist. */
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
    if (file_digest(at, path, &digest) == 0) /* a file that cannot be read is written again */
        record_put(d, at, path, digest);
}

/* True while the file matches its record. deep: reads it even if the metadata matches. */
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
    int fd = disk_folder_open(at, name, err);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (fd >= 0 && !dir) {
        err_set_sys(err, errno, "directory %s", name);
        close(fd);
    }
    return dir;
}

/* Records the digests of the files in a subdirectory, and removes files that a crash left incomplete. */
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
    for (size_t i = 0; i < DISK_SWEPT; i++)
        if (subdirectory_learn(d, at, disk_folders[i], err) < 0)
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

/* Fsyncs the directory of path. */
static int directory_sync(int at, const char *path, struct err *err)
{
    const char *slash = strchr(path, '/');
    CLEANUP(free_ptr) char *name = slash ? xmemdup0(path, (size_t)(slash - path)) : xstrdup(".");
    CLEANUP(close_fd) int fd = disk_folder_open(at, name, err);
    if (fd < 0)
        return -1;
    return fsync(fd) < 0 ? err_set_sys(err, errno, "sync directory of %s", path) : 0;
}

static int file_replace(int at, const struct disk_file *file, struct err *err)
{
    struct pending p;
    return pending_write(at, file, &p, err) < 0 || pending_place(&p, err) < 0 ? -1 : 0;
}

/* --- in the thread --- */

/* This many files are written before the first of them is synced, so that one commit of the file system covers many of
 * them. */
#define BATCH_MAX 128

struct batch {
    struct pending items[BATCH_MAX];
    size_t count;
    bool touched[DISK_FOLDERS + 1];
};

static void batch_drop(struct batch *b)
{
    for (size_t i = 0; i < b->count; i++)
        pending_drop(&b->items[i]);
    b->count = 0;
}

static int batch_place(struct disk *d, int at, struct batch *b, struct err *err)
{
    for (size_t i = 0; i < b->count; i++) {
        struct pending p = b->items[i];
        if (pending_place(&p, err) < 0) {
            memmove(b->items, b->items + i + 1, (b->count - i - 1) * sizeof(p));
            b->count -= i + 1;
            return -1;
        }
        d->written++;
        size_t sub = 0;
        while (sub < DISK_FOLDERS && strncmp(p.file->path, disk_folders[sub], strcspn(p.file->path, "/")) != 0)
            sub++;
        if (sub < DISK_SWEPT || sub == DISK_FOLDERS)
            record_put(d, at, p.file->path, p.digest);
        b->touched[sub] = true;
    }
    b->count = 0;
    return 0;
}

static int batch_add(struct disk *d, int at, struct batch *b, const struct disk_file *file, struct err *err)
{
    struct digest digest = digest_of(file->bytes, file->length);
    struct record *known = map_get(&d->records, file->path);
    bool same = known && digest_equal(known->digest, digest);
    if (known && file_intact(at, file->path, known, false)) {
        if (same)
            return 0;
    } else if (known) {
        note_altered(d, file->path);
    }
    free(map_del(&d->records, file->path)); /* unknown until it is in its place */
    if (b->count == BATCH_MAX && batch_place(d, at, b, err) < 0)
        return -1;
    if (pending_write(at, file, &b->items[b->count], err) < 0)
        return -1;
    b->items[b->count++].digest = digest;
    return 0;
}

/* Writes what has changed: haproxy.cfg, or everything else. */
static int write_changed(struct disk *d, int at, bool config, struct err *err)
{
    struct batch b = {.count = 0};
    for (size_t i = 0; i < d->files.items.length; i++) {
        const struct disk_file *file = &d->files.items.items[i];
        if ((strcmp(file->path, DISK_CONFIG) == 0) == config && batch_add(d, at, &b, file, err) < 0) {
            batch_drop(&b);
            return -1;
        }
    }
    if (batch_place(d, at, &b, err) < 0) {
        batch_drop(&b);
        return -1;
    }
    for (size_t sub = 0; sub < DISK_FOLDERS; sub++) {
        CLEANUP(free_ptr) char *inside = xasprintf("%s/", disk_folders[sub]);
        if (b.touched[sub] && directory_sync(at, inside, err) < 0)
            return -1;
    }
    return b.touched[DISK_FOLDERS] ? directory_sync(at, DISK_CONFIG, err) : 0;
}

static int remove_others(struct disk *d, int at, const struct map *named, struct err *err)
{
    struct map wanted;
    map_init(&wanted, true);
    for (size_t i = 0; i < d->files.items.length; i++)
        map_put(&wanted, d->files.items.items[i].path, d);
    int result = 0;
    for (size_t sub = 0; sub < DISK_SWEPT && result == 0; sub++) {
        DIR *dir = subdirectory_open(at, disk_folders[sub], err);
        if (!dir) {
            result = -1;
            break;
        }
        bool touched = false;
        for (struct dirent *entry; (entry = readdir(dir));) {
            CLEANUP(free_ptr) char *path = xasprintf("%s/%s", disk_folders[sub], entry->d_name);
            if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 || map_get(&wanted, path) ||
                map_get(named, path))
                continue;
            if (unlinkat(dirfd(dir), entry->d_name, 0) < 0)
                continue; /* a directory that is not managed here */
            free(map_del(&d->records, path));
            d->removed++;
            touched = true;
        }
        closedir(dir);
        CLEANUP(free_ptr) char *inside = xasprintf("%s/", disk_folders[sub]);
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
    if (d->compose)
        d->compose(d->compose_ctx, &d->files);
    if (paths_check(&d->files, &d->err) < 0 || disk_ensure(d->directory, &d->err) < 0 ||
        disk_directory_open(d->directory, &at, &d->err) < 0)
        return;
    struct map named = {0};
    disk_files_complete(&d->files, at, !d->whole, &named);
    if (write_changed(d, at, false, &d->err) < 0 || write_changed(d, at, true, &d->err) < 0 ||
        (d->whole && remove_others(d, at, &named, &d->err) < 0))
        err_wrap(&d->err, "%s", d->directory);
    map_done(&named);
}

/* Records files without a record, or a missing subdirectory, as altered. */
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
    (void)!disk_directory_open(d->directory, &at, NULL); /* otherwise all of it counts as altered */
    for (size_t it = 0; (slot = map_next(&d->records, &it));)
        if (at < 0 || !file_intact(at, slot->key, slot->value, d->deep))
            vec_push(&altered, slot->key);
    for (size_t i = 0; at >= 0 && i < DISK_SWEPT; i++)
        check_subdirectory(d, at, disk_folders[i]);
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

static bool write_begin(struct disk *d, struct disk_files *files, bool whole, disk_done *done, void *ctx)
{
    if (!work_begin(d, done, ctx))
        return false;
    d->files = *files;
    memset(files, 0, sizeof(*files));
    d->whole = whole;
    d->compose = NULL;
    return true;
}

bool disk_write(struct disk *d, struct disk_files *files, bool whole, disk_done *done, void *ctx)
{
    if (!write_begin(d, files, whole, done, ctx))
        return false;
    (void)uv_queue_work(d->loop, &d->work, write_work, write_after);
    return true;
}

bool disk_write_composed(struct disk *d, struct disk_files *files, disk_compose *compose, void *compose_ctx,
                         disk_done *done, void *ctx)
{
    if (!write_begin(d, files, true, done, ctx))
        return false;
    d->compose = compose;
    d->compose_ctx = compose_ctx;
    (void)uv_queue_work(d->loop, &d->work, write_work, write_after);
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

void disk_each_saved(const struct disk *d, void (*fn)(void *ctx, const char *name), void *ctx)
{
    CLEANUP(close_fd) int at = -1;
    DIR *dir = disk_directory_open(d->directory, &at, NULL) < 0 ? NULL : subdirectory_open(at, DISK_SAVED, NULL);
    for (struct dirent *entry; dir && (entry = readdir(dir));)
        if (entry->d_name[0] != '.')
            fn(ctx, entry->d_name);
    if (dir)
        closedir(dir);
}

void disk_remove_saved(const struct disk *d, const char *path)
{
    CLEANUP(close_fd) int at = -1;
    if (disk_path_valid(path) && strncmp(path, DISK_SAVED "/", strlen(DISK_SAVED "/")) == 0 &&
        disk_directory_open(d->directory, &at, NULL) == 0)
        (void)unlinkat(at, path, 0);
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
