/* Every look goes by stat data: a file that has the same as when it was read is left alone, any other is dirty. A file
 * that is missing has to be missing twice, 20 ms apart: editors move a file away before they write the new one.
 */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "store/source_dir_state.h"

/* The slow timer leaves a file alone that was written this recently: its writer may not be done. */
#define UNSETTLED_S 1

/* A folder on the way down, to see a loop of links. */
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
                d->report(d->ctx, path, 0, "too many files in the folder: this one and others are not read");
            d->is_full_reported = true;
            return;
        }
        file = xcalloc(1, sizeof(*file));
        file->path = xstrdup(path);
        file->is_seen = true;
        (void)map_put(&d->files, path, file);
    }
    /* Even when it cannot be read: it is tried again when it changes, not in every round. */
    file->stat = *st;
    dirty_add(d, file);
}

/* Nothing is known about what is below a folder that cannot be read: it all stays. */
static void folder_trouble(struct source_dir *d, const char *path, const char *message)
{
    struct map_slot *slot;
    size_t length = strlen(path);

    for (size_t it = 0; (slot = map_next(&d->files, &it));)
        if (strncmp(slot->key, path, length) == 0 && slot->key[length] == '/')
            ((struct dir_file *)slot->value)->is_seen = true;
    if (!map_put(&d->troubled, path, d))
        d->report(d->ctx, path, 0, message);
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
        d->report(d->ctx, path, 0, err.text);

    struct dirent *item;
    while ((item = readdir(stream))) {
        if (item->d_name[0] == '.')
            continue;
        CLEANUP(free_ptr) char *child = xasprintf("%s/%s", path, item->d_name);
        if (stat(child, &st) < 0)
            continue;
        if (S_ISDIR(st.st_mode))
            folder_look(d, child, &here, only_settled);
        else if (S_ISREG(st.st_mode) && dir_is_manifest(child))
            file_look(d, child, &st, only_settled);
    }
}

/* A file that was named itself is read whatever its name ends in. */
static void root_look(struct source_dir *d, const char *path, bool only_settled)
{
    struct stat st;

    if (stat(path, &st) == 0 && S_ISREG(st.st_mode))
        file_look(d, path, &st, only_settled);
    else
        folder_look(d, path, NULL, only_settled);
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

    for (size_t it = 0; (slot = map_next(&d->files, &it));)
        ((struct dir_file *)slot->value)->is_seen = false;
    for (size_t i = 0; i < d->roots.length; i++)
        root_look(d, d->roots.items[i], only_settled);
    for (size_t it = 0; (slot = map_next(&d->files, &it));) {
        struct dir_file *file = slot->value;
        if (!file->is_seen)
            file_missed(d, file);
    }
}

void dir_look_at(struct source_dir *d, const char *path)
{
    struct stat st;

    if (!dir_is_manifest(path))
        return;
    struct dir_file *file = map_get(&d->files, path);
    if (stat(path, &st) == 0 && S_ISREG(st.st_mode))
        file_look(d, path, &st, false);
    else if (file)
        file_missed(d, file);
}
