/* Each look compares stat data: a file with the same data as when it was read is unchanged, any other is dirty. A
 * missing file must be missing twice, 20 ms apart: editors move a file away before they write the new one.
 */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/log.h"
#include "store/source_dir_state.h"

/* The slow timer ignores a file that was written this recently, because its writer may not have finished. */
#define UNSETTLED_S 1

/* The number of names in the message about files that are not read. */
#define SKIPPED_NAMED 5
/* The kernel's limit of links in one path. */
#define LINKS_MAX 40

/* A folder on the way down, to detect a loop of links. */
struct level {
    const struct level *above;
    dev_t device;
    ino_t inode;
    unsigned depth;
};

static void dirty_add(struct source_dir *d, struct dir_file *file)
{
    for (size_t i = d->dirty.length; i-- > 0 && d->dirty.length - i < 8;)
        if (d->dirty.items[i] == file)
            return;
    vec_push(&d->dirty, file);
}

static bool stat_same(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec &&
           a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

static void file_look(struct source_dir *d, const char *path, const struct stat *st, bool only_settled)
{
    struct dir_file *file = map_get(&d->files, path);

    if (file) {
        file->is_seen = true;
        file->is_missing = false;
        if (stat_same(&file->stat, st))
            return;
    }
    if (only_settled && time(NULL) - st->st_mtim.tv_sec <= UNSETTLED_S)
        return;
    if (!file) {
        if (d->files.count >= SOURCE_DIR_FILES_MAX) {
            if (!d->is_full_reported)
                d->report(d->ctx, SOURCE_DIR_WRONG, path, 0,
                          "too many files in the folder: this one and others are not read");
            d->is_full_reported = true;
            return;
        }
        file = xcalloc(1, sizeof(*file));
        file->path = xstrdup(path);
        file->is_seen = true;
        (void)map_put(&d->files, path, file);
    }
    /* Also for a file that cannot be read: it is tried again when it changes, not in each round. */
    file->stat = *st;
    dirty_add(d, file);
}

/* The content of a folder that cannot be read is unknown, so all its objects stay. */
static void folder_trouble(struct source_dir *d, const char *path, const char *message)
{
    struct map_slot *slot;
    size_t length = strlen(path);

    for (size_t it = 0; (slot = map_next(&d->files, &it));)
        if (strncmp(slot->key, path, length) == 0 && slot->key[length] == '/')
            ((struct dir_file *)slot->value)->is_seen = true;
    d->unread_folders++;
    if (!map_put(&d->troubled, path, d))
        d->report(d->ctx, SOURCE_DIR_WRONG, path, 0, message);
}

static void close_folder(DIR **stream)
{
    if (*stream)
        closedir(*stream);
}

static bool is_loop(const struct level *here)
{
    const struct level *level = here->above;

    while (level && (level->device != here->device || level->inode != here->inode))
        level = level->above;
    return level != NULL;
}

/* True for a file that is not read: hidden, or with another ending. Names with two dots belong to the kubelet or to the
 * folder itself. */
static void skip(struct source_dir *d, const char *name)
{
    if (d->is_skipped_told || strcmp(name, ".") == 0 || strncmp(name, "..", 2) == 0)
        return;
    if (d->skipped++ < SKIPPED_NAMED)
        buf_printf(&d->skipped_names, "%s%s", d->skipped_names.length > 0 ? " " : "", name);
}

static void tell_skipped(struct source_dir *d)
{
    if (!d->is_skipped_told && d->skipped > 0)
        log_info(
            "Files in the folder that are not read: hidden files, and files without the ending .yaml, .yml or .json",
            "count", log_int((int64_t)d->skipped), "names", buf_str(&d->skipped_names));
    d->is_skipped_told = true;
    buf_done(&d->skipped_names);
}

/* The path from the root on, with a slash at its end. */
static char *from_root(const char *dir)
{
    char here[PATH_MAX];

    if (*dir == '/' || getcwd(here, sizeof(here)) == NULL)
        return xasprintf("%s/", dir);
    return xasprintf("%s/%s/", here, dir);
}

/* When links are part of the folder's own path, a changed link changes the folder. So the folders that contain these
 * links are watched as well. */
static void watch_links(struct source_dir *d, const char *root)
{
    CLEANUP(free_ptr) char *path = from_root(root);
    struct err err;

    for (int links = 0; d->watch && links < LINKS_MAX; links++) {
        char target[PATH_MAX];
        ssize_t length = -1;
        char *slash = path;
        while (length < 0 && (slash = strchr(slash + 1, '/')) != NULL) {
            *slash = '\0';
            length = readlink(path, target, sizeof(target) - 1);
            *slash = '/';
            if (length >= 0 || slash[1] == '\0')
                break;
        }
        if (length < 0 || slash == NULL)
            return;
        target[length] = '\0';
        CLEANUP(free_ptr) char *link = xmemdup0(path, (size_t)(slash - path));
        char *name = strrchr(link, '/');
        CLEANUP(free_ptr) char *parent = xmemdup0(link, name == link ? 1 : (size_t)(name - link));
        if (dir_watch_add(d->watch, parent, &err) < 0)
            return; /* the slow timer notices the change */
        char *next = target[0] == '/' ? xasprintf("%s%s", target, slash) : xasprintf("%s/%s%s", parent, target, slash);
        free(path);
        path = next;
    }
}

static void folder_look(struct source_dir *d, const char *path, const struct level *above, bool only_settled)
{
    struct err err = {0};
    struct stat st;
    struct level here = {.above = above, .depth = above ? above->depth + 1 : 0};
    bool is_watched = !d->watch || dir_watch_add(d->watch, path, &err) == 0;
    CLEANUP(close_folder) DIR *stream = opendir(path);

    if (!stream || fstat(dirfd(stream), &st) < 0) {
        if (errno == ENOENT && above)
            return;
        (void)err_set_sys(&err, errno, "cannot read the folder");
        folder_trouble(d, path, err.text);
        return;
    }
    here.device = st.st_dev;
    here.inode = st.st_ino;
    if (is_loop(&here))
        return;
    if (here.depth > SOURCE_DIR_DEPTH_MAX) {
        folder_trouble(d, path, "folders nested too deep: this one is not read");
        return;
    }
    if (is_watched)
        (void)map_del(&d->troubled, path);
    else if (!map_put(&d->troubled, path, d))
        d->report(d->ctx, SOURCE_DIR_WRONG, path, 0, err.text);

    struct dirent *item;
    while ((item = readdir(stream))) {
        if (item->d_name[0] == '.') {
            skip(d, item->d_name);
            continue;
        }
        CLEANUP(free_ptr) char *child = xasprintf("%s/%s", path, item->d_name);
        if (stat(child, &st) < 0)
            continue;
        if (S_ISDIR(st.st_mode))
            folder_look(d, child, &here, only_settled);
        else if (S_ISREG(st.st_mode) && dir_is_manifest(child))
            file_look(d, child, &st, only_settled);
        else if (S_ISREG(st.st_mode))
            skip(d, item->d_name);
    }
}

/* Without a watch, the slow timer notices the change. */
static void watch_folder_of(struct source_dir *d, const char *file)
{
    const char *slash = strrchr(file, '/');
    CLEANUP(free_ptr) char *folder = slash != NULL ? xmemdup0(file, (size_t)(slash - file)) : xstrdup(".");
    struct err ignored;

    if (d->watch != NULL && *folder != '\0')
        (void)!dir_watch_add(d->watch, folder, &ignored);
}

/* A file that was named itself is read, whatever its ending. */
static void root_look(struct source_dir *d, const char *path, bool only_settled)
{
    struct stat st;

    if (stat(path, &st) == 0 && S_ISREG(st.st_mode)) {
        watch_folder_of(d, path);
        file_look(d, path, &st, only_settled);
    } else {
        folder_look(d, path, NULL, only_settled);
    }
}

static void file_missed(struct source_dir *d, struct dir_file *file)
{
    if (!file->is_missing) {
        file->is_missing = true;
        d->is_postponed = true;
        return;
    }
    file->is_gone = true;
    dirty_add(d, file);
}

void dir_look_everywhere(struct source_dir *d, bool only_settled)
{
    struct map_slot *slot;

    d->unread_folders = 0;
    for (size_t it = 0; (slot = map_next(&d->files, &it));)
        ((struct dir_file *)slot->value)->is_seen = false;
    for (size_t i = 0; i < d->roots.length; i++) {
        watch_links(d, d->roots.items[i]);
        root_look(d, d->roots.items[i], only_settled);
    }
    tell_skipped(d);
    for (size_t it = 0; (slot = map_next(&d->files, &it));) {
        struct dir_file *file = slot->value;
        if (!file->is_seen)
            file_missed(d, file);
    }
}

/* Folders that contain links of a root's path contain other files as well. */
static bool is_below_root(const struct source_dir *d, const char *path)
{
    for (size_t i = 0; i < d->roots.length; i++) {
        size_t length = strlen(d->roots.items[i]);
        if (strncmp(path, d->roots.items[i], length) == 0 && path[length] == '/')
            return true;
    }
    return false;
}

void dir_look_at(struct source_dir *d, const char *path)
{
    struct stat st;

    if (strncmp(path, "./", 2) == 0 && map_get(&d->files, path + 2) != NULL)
        path += 2; /* a file that was named without a folder */
    struct dir_file *file = map_get(&d->files, path);

    if (file == NULL && (!dir_is_manifest(path) || !is_below_root(d, path)))
        return;
    if (stat(path, &st) == 0 && S_ISREG(st.st_mode))
        file_look(d, path, &st, false);
    else if (file)
        file_missed(d, file);
}
