/* disk.h — the HAProxy directory: haproxy.cfg and what it refers to, written so that a crash leaves whole files.
 * Thread:  loop thread; reading and writing of many files runs in libuv's thread pool on copies.
 * Owns:    a disk owns records of what it knows to be on disk; a file set owns its paths and bytes.
 * Errors:  ERR_SYS with the path; ERR_INVALID for a path that leaves the directory; ERR_LIMIT.
 *
 *     haproxy.cfg   maps/NAME   files/NAME   certs/NAME   acme/NAME      0600 in directories 0700
 *
 * Each file is written to a temporary name beside it, fsynced, renamed, and its directory fsynced. haproxy.cfg is
 * written after, and unwanted files are removed after, everything else. What the new haproxy.cfg names is never
 * removed, and made when it is missing: what is there always refers to files that exist. In acme/ is what HAProxy has
 * obtained itself: it is neither compared nor removed with the rest.
 */
#ifndef HAPTIC_HAPROXY_DISK_H
#define HAPTIC_HAPROXY_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/map.h"
#include "base/vec.h"

#define DISK_CONFIG "haproxy.cfg"
#define DISK_SAVED "acme" /* what HAProxy has obtained */
#define DISK_FOLDERS 4
#define DISK_SWEPT 3                                 /* the first of them have only what is written here */
extern const char *const disk_folders[DISK_FOLDERS]; /* "maps", "files", "certs", "acme" */

/* A file: path relative to the directory: "haproxy.cfg", "maps/host.map", "fence". */
struct disk_file {
    char *path;
    char *bytes;
    size_t length;
};
struct disk_files {
    VEC(struct disk_file) items;
};
/* bytes: copied, or (take) malloc'ed and taken over. */
void disk_files_add(struct disk_files *files, const char *path, const void *bytes, size_t length);
void disk_files_take(struct disk_files *files, const char *path, char *bytes, size_t length);
void disk_files_done(struct disk_files *files);

/* At most one "/", only letters, digits and "._-+@:=,~" besides, not beginning with a dot, at most 255 bytes a part. */
bool disk_path_valid(const char *path);

/* A descriptor of the directory, whose path must be absolute and free of links: when a part of it has become a link,
 * somebody else may have chosen the target, and it is ERR_INVALID. ERR_NOTFOUND when it is not there. */
int disk_directory_open(const char *directory, int *ret_fd, struct err *err) MUST_CHECK;
/* A folder of the directory (a descriptor): a descriptor, or -1; ERR_INVALID when it has become a link, likewise. */
int disk_folder_open(int at, const char *name, struct err *err) MUST_CHECK;
/* disk_prepare() of a directory whose path is free of links, or that is not there. */
int disk_ensure(const char *directory, struct err *err) MUST_CHECK;
/* Make directory (0700) with maps/, files/, certs/, acme/. Blocking: a few system calls. */
int disk_prepare(const char *directory, struct err *err) MUST_CHECK;
/* Add an empty file for each map and file that haproxy.cfg or a file of the set names and the set has not, so that
 * HAProxy can load it. only_missing: not for what exists in that directory (a descriptor). ret_named (may be NULL): the
 * paths that are named, certificates included; its values mean nothing. */
void disk_files_complete(struct disk_files *files, int directory, bool only_missing, struct map *ret_named);
/* Complete the files and write them plainly, without fsync, into a directory made by disk_prepare(). Blocking: for
 * temporary directories and threads. */
int disk_dump(const char *directory, struct disk_files *files, struct err *err) MUST_CHECK;
/* Append a file of the directory to out. Blocking. ERR_NOTFOUND when it is not there, ERR_INVALID when it is none. */
int disk_read_file(const char *directory, const char *path, size_t max_bytes, struct buf *out, struct err *err)
    MUST_CHECK;
/* Remove directory and what is in it, two levels deep, following no symbolic link. Blocking. */
void disk_remove(const char *directory);

struct disk;

/* Make the directory and take the digests of what is in it. Blocking: for the start. */
struct disk *disk_open(uv_loop_t *loop, const char *directory, struct err *err) MUST_CHECK;
struct disk *disk_free(struct disk *d); /* not while busy; NULL is fine */

/* Read a file back. Blocking: for the start. ERR_NOTFOUND when it is not there. */
int disk_read(const struct disk *d, const char *path, size_t max_bytes, struct buf *out, struct err *err) MUST_CHECK;

struct disk_result {
    const struct err *err; /* NULL: everything is on disk and synced */
    unsigned written, removed;
    unsigned altered; /* files that somebody else has changed, removed or added since they were written or read */
    const char *first_altered; /* "maps/host.map"; "maps/": the whole directory; valid during the call */
};
typedef void disk_done(void *ctx, const struct disk_result *result);

/* Write those files whose content differs from what is on disk, also when somebody else has altered it. whole: the set
 * is all there is to be: other files in maps/, files/ and certs/ are removed. files is taken over and left empty.
 * False (and files untouched) when a write is under way. */
bool disk_write(struct disk *d, struct disk_files *files, bool whole, disk_done *done, void *ctx);
/* The same with whole, for a set that compose completes in the thread. compose_ctx is its own until done is called. */
typedef void disk_compose(void *compose_ctx, struct disk_files *files);
bool disk_write_composed(struct disk *d, struct disk_files *files, disk_compose *compose, void *compose_ctx,
                         disk_done *done, void *ctx);
/* Compare the directory with what was written there. deep: by content; else a file is read only when its inode, size,
 * mode or times differ. What was altered is written again by the next write that has it, and removed by the next whole
 * write that has not. False when a write is under way. */
bool disk_check(struct disk *d, bool deep, disk_done *done, void *ctx);
bool disk_busy(const struct disk *d);

/* The names of the files in acme/, for fn. Blocking: for the start. */
void disk_each_saved(const struct disk *d, void (*fn)(void *ctx, const char *name), void *ctx);
/* Remove "acme/NAME". Blocking: one system call. */
void disk_remove_saved(const struct disk *d, const char *path);
/* Write one small file now, synced before it returns (blocking: about a disk flush). For the fence, which must be on
 * disk before anything is done under it. */
int disk_write_now(struct disk *d, const char *path, const void *bytes, size_t length, struct err *err) MUST_CHECK;

#endif
