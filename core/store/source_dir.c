/* The folder's files are a table by path, each with the stat data it was read at and the keys ("kind/id") it claims. A
 * round reads the files that changed, then settles every touched key: the claimant with the smallest path owns it, its
 * object is put, and a key that nobody claims any more is deleted, after all puts. An object whose owner changed
 * without its new owner having been read in the round is taken from another reading of that file.
 * Rounds are started by dir_watch, at once after quiet and else when 20 ms have passed, and by a slow timer. A file
 * that is missing has to be missing twice, 20 ms apart: editors move a file away before they write the new one. */
#include "store/source_dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <uv.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/log.h"
#include "base/map.h"
#include "base/vec.h"
#include "data/selector.h"
#include "store/dir_watch.h"
#include "store/manifest.h"

#define BURST_MS 20
#define POLL_MS 5000
/* The slow timer leaves a file alone that was written this recently: its writer may not be done. */
#define UNSETTLED_S 1

struct keys {
    char **items;
    size_t length, capacity;
};

/* An object of a file that was read in this round, for one kind of the store. */
struct entry {
    struct store_kind *kind;
    char *key;
    size_t object; /* in the manifest */
};

struct file {
    char *path;
    struct stat stat;
    bool is_seen, is_wrong;
    bool is_missing; /* not there when last looked for */
    bool is_gone;    /* not there twice */
    struct keys keys;
    /* while a round runs: */
    bool is_fresh;
    struct manifest manifest;
    VEC(struct entry) entries;
};

/* Who defines an object. */
struct claim {
    VEC(struct file *) files;
    struct file *owner; /* whose object is in the store */
    bool is_touched;
};

struct filter {
    struct label_selector *labels;
    struct field_selector *fields;
};

/* A folder on the way down, to see a loop of links. */
struct level {
    const struct level *above;
    dev_t device;
    ino_t inode;
    unsigned depth;
};

struct source_dir {
    uv_timer_t burst, poll;
    unsigned open_handles;
    struct store *store;
    char *dir;
    source_dir_report *report;
    void *ctx;
    struct dir_watch *watch;
    struct map files;    /* path → file */
    struct map claims;   /* key → claim */
    struct map filters;  /* name of kind → filter */
    struct map troubled; /* folders that could not be read or watched, and were reported */
    struct map pending;  /* paths that changed while a burst lasted */
    bool pending_everything, is_burst, is_full_reported;
    bool is_postponed;        /* something was missing for the first time: look again before anything is done */
    VEC(struct file *) dirty; /* of the round */
    struct keys touched;
};

static void keys_clear(struct keys *keys)
{
    for (size_t i = 0; i < keys->length; i++)
        free(keys->items[i]);
    vec_clear(keys);
}

/* ── filters ─────────────────────────────────────────────────────────────────────────────────────────────────────────── */

static void filters_clear(struct map *filters)
{
    struct map_slot *slot;

    for (size_t it = 0; (slot = map_next(filters, &it));) {
        struct filter *filter = slot->value;
        label_selector_free(filter->labels);
        field_selector_free(filter->fields);
        free(filter);
    }
    map_clear(filters);
}

static int filters_make(struct source_dir *d, struct err *err)
{
    struct map filters;

    map_init(&filters, false);
    for (size_t i = 0; i < store_kind_count(d->store); i++) {
        const struct store_kind_spec *spec = store_kind_spec(store_kind_at(d->store, i));
        struct filter *filter = xcalloc(1, sizeof(*filter));
        (void)map_put(&filters, spec->name, filter);
        if (label_selector_compile(spec->label_selector, &filter->labels, err) < 0 ||
            field_selector_compile(spec->field_selector, &filter->fields, err) < 0) {
            filters_clear(&filters);
            return err_wrap(err, "watched resource \"%s\"", spec->name);
        }
    }
    filters_clear(&d->filters);
    d->filters = filters;
    return 0;
}

static bool passes(const struct source_dir *d, const struct store_kind_spec *spec, const struct manifest_object *o)
{
    const struct filter *filter = map_get(&d->filters, spec->name);
    bool is_listed = !spec->namespaces || !spec->namespaces[0] || !*o->namespace;

    for (size_t i = 0; !is_listed && spec->namespaces[i]; i++)
        is_listed = strcmp(spec->namespaces[i], o->namespace) == 0;
    return is_listed && filter && label_selector_matches(filter->labels, json_at(o->value, "metadata", "labels")) &&
           field_selector_matches(filter->fields, o->value);
}

/* ── reading one file ────────────────────────────────────────────────────────────────────────────────────────────────── */

static void file_wrong(struct source_dir *d, struct file *file, size_t line, const char *message)
{
    file->is_wrong = true;
    d->report(d->ctx, file->path, line, message);
}

static int file_read(const char *path, struct buf *ret_text, struct stat *ret_stat, struct err *err)
{
    CLEANUP(close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0 || fstat(fd, ret_stat) < 0)
        return err_set_sys(err, errno, "cannot read the file");
    for (;;) {
        char *room = buf_room(ret_text, 65536, err);
        if (!room)
            return err_wrap(err, "the file is too large");
        ssize_t length = read(fd, room, 65536);
        if (length < 0 && errno == EINTR)
            continue;
        if (length < 0)
            return err_set_sys(err, errno, "cannot read the file");
        buf_grew(ret_text, (size_t)length);
        if (length == 0)
            return 0;
    }
}

static bool has_end(const char *path, const char *end)
{
    size_t length = strlen(path), end_length = strlen(end);

    return length > end_length && strcmp(path + length - end_length, end) == 0;
}

static bool is_manifest_name(const char *path)
{
    return has_end(path, ".yaml") || has_end(path, ".yml") || has_end(path, ".json");
}

static int file_parse(struct file *file, struct json_position *at, struct manifest *ret_manifest, struct err *err)
{
    CLEANUP(buf_done) struct buf text = {.max = SOURCE_DIR_FILE_BYTES_MAX + 65536};

    if (file_read(file->path, &text, &file->stat, err) < 0)
        return -1;
    return manifest_parse(buf_str(&text), text.length, has_end(file->path, ".json"), SOURCE_DIR_FILE_BYTES_MAX,
                          ret_manifest, at, err);
}

static void file_add_entry(struct source_dir *d, struct file *file, struct map *own, struct store_kind *kind,
                           size_t object)
{
    const struct manifest_object *o = &file->manifest.items[object];
    char *key = xasprintf("%s/%s%s%s", store_kind_spec(kind)->name, o->namespace, *o->namespace ? "/" : "", o->name);

    if (map_get(own, key)) {
        CLEANUP(free_ptr)
        char *message = xasprintf("%s %s/%s is defined twice in this file; the first one is used", o->kind,
                                  o->namespace, o->name);
        file_wrong(d, file, o->line, message);
        free(key);
        return;
    }
    vec_push(&file->entries, ((struct entry){kind, key, object}));
    (void)map_put(own, key, kind);
}

static void file_match_kinds(struct source_dir *d, struct file *file, struct map *own, size_t object)
{
    const struct manifest_object *o = &file->manifest.items[object];
    CLEANUP(free_ptr) char *resource = manifest_resource_of(o->kind);
    bool is_watched = false;

    for (size_t i = 0; i < store_kind_count(d->store); i++) {
        struct store_kind *kind = store_kind_at(d->store, i);
        const struct store_kind_spec *spec = store_kind_spec(kind);
        if (strcmp(spec->api_version, o->api_version) != 0 || strcmp(spec->resource, resource) != 0)
            continue;
        is_watched = true;
        store_kind_set_object_kind(kind, o->kind);
        if (passes(d, spec, o))
            file_add_entry(d, file, own, kind, object);
    }
    if (!is_watched && log_enabled(LOG_DEBUG))
        log_debug("Object of a kind that is not watched", "file", file->path, "apiVersion", o->api_version, "kind",
                  o->kind, "name", o->name);
}

/* Fill manifest and entries. False when the file as a whole is wrong, and was reported. */
static bool file_load(struct source_dir *d, struct file *file)
{
    struct json_position at = {0};
    struct err err = {0};
    struct map own;

    file->is_wrong = false;
    if (file_parse(file, &at, &file->manifest, &err) < 0) {
        file_wrong(d, file, at.line, err.text);
        return false;
    }
    file->is_fresh = true;
    map_init(&own, true);
    for (size_t i = 0; i < file->manifest.length; i++) {
        if (file->manifest.items[i].problem)
            file_wrong(d, file, file->manifest.items[i].line, file->manifest.items[i].problem);
        else
            file_match_kinds(d, file, &own, i);
    }
    map_done(&own);
    return true;
}

static void file_unload(struct file *file)
{
    for (size_t i = 0; i < file->entries.length; i++)
        free(file->entries.items[i].key);
    vec_clear(&file->entries);
    manifest_done(&file->manifest);
    file->is_fresh = false;
}

static void file_free(struct file *file)
{
    file_unload(file);
    vec_done(&file->entries);
    keys_clear(&file->keys);
    vec_done(&file->keys);
    free(file->path);
    free(file);
}

/* ── claims ──────────────────────────────────────────────────────────────────────────────────────────────────────────── */

static struct claim *claim_touch(struct source_dir *d, const char *key)
{
    struct claim *claim = map_get(&d->claims, key);

    if (!claim) {
        claim = xcalloc(1, sizeof(*claim));
        (void)map_put(&d->claims, key, claim);
    }
    if (!claim->is_touched)
        vec_push(&d->touched, xstrdup(key));
    claim->is_touched = true;
    return claim;
}

static void claim_remove(struct source_dir *d, const char *key, struct file *file)
{
    struct claim *claim = claim_touch(d, key);

    for (size_t i = 0; i < claim->files.length; i++)
        if (claim->files.items[i] == file) {
            vec_swap_remove(&claim->files, i);
            break;
        }
    if (claim->owner == file)
        claim->owner = NULL;
}

/* True when the file did not claim the key before. */
static bool claim_add(struct source_dir *d, const char *key, struct file *file)
{
    struct claim *claim = claim_touch(d, key);

    for (size_t i = 0; i < claim->files.length; i++)
        if (claim->files.items[i] == file)
            return false;
    vec_push(&claim->files, file);
    return true;
}

/* The file's claims become its entries; a wrong file gives up none. */
static void file_claim(struct source_dir *d, struct file *file)
{
    struct keys before = {0};

    if (!file->is_wrong || file->is_gone) {
        before = file->keys;
        file->keys = (struct keys){0};
        for (size_t i = 0; i < before.length; i++)
            claim_remove(d, before.items[i], file);
    }
    for (size_t i = 0; i < file->entries.length; i++)
        if (claim_add(d, file->entries.items[i].key, file))
            vec_push(&file->keys, xstrdup(file->entries.items[i].key));
    keys_clear(&before);
    vec_done(&before);
}

static struct file *claim_first(const struct claim *claim)
{
    struct file *first = NULL;

    for (size_t i = 0; i < claim->files.length; i++)
        if (!first || strcmp(claim->files.items[i]->path, first->path) < 0)
            first = claim->files.items[i];
    return first;
}

static void put_entry(struct source_dir *d, struct file *file, const struct entry *entry)
{
    const struct manifest_object *o = &file->manifest.items[entry->object];
    struct err err = {0};

    if (store_put_value(entry->kind, o->value, NULL, &err) < 0)
        file_wrong(d, file, o->line, err.text);
}

static void report_second(struct source_dir *d, struct file *file, const struct entry *entry, const struct file *owner)
{
    const struct manifest_object *o = &file->manifest.items[entry->object];
    CLEANUP(free_ptr)
    char *message = xasprintf("%s %s%s%s is also defined in %s; that one is used", o->kind, o->namespace,
                              *o->namespace ? "/" : "", o->name, owner->path);

    file_wrong(d, file, o->line, message);
}

static void delete_key(struct source_dir *d, const char *key)
{
    const char *slash = strchr(key, '/'), *second = strchr(slash + 1, '/');
    CLEANUP(free_ptr) char *kind_name = xmemdup0(key, (size_t)(slash - key));
    CLEANUP(free_ptr) char *namespace = second ? xmemdup0(slash + 1, (size_t)(second - slash - 1)) : xstrdup("");
    struct store_kind *kind = store_kind_by_name(d->store, kind_name);

    if (kind)
        store_delete(kind, namespace, second ? second + 1 : slash + 1, NULL);
}

/* ── a round ─────────────────────────────────────────────────────────────────────────────────────────────────────────── */

static void dirty_add(struct source_dir *d, struct file *file)
{
    for (size_t i = d->dirty.length; i-- > 0 && d->dirty.length - i < 8;)
        if (d->dirty.items[i] == file)
            return;
    vec_push(&d->dirty, file);
}

static int compare_files(const void *a, const void *b)
{
    return strcmp((*(struct file *const *)a)->path, (*(struct file *const *)b)->path);
}

/* Put what fresh files own; what they do not own is somebody else's. */
static void put_fresh(struct source_dir *d, struct file *file, struct map *settled)
{
    for (size_t i = 0; i < file->entries.length; i++) {
        const struct entry *entry = &file->entries.items[i];
        struct claim *claim = map_get(&d->claims, entry->key);
        struct file *owner = claim_first(claim);

        if (owner != file) {
            report_second(d, file, entry, owner);
            continue;
        }
        claim->owner = file;
        (void)map_put(settled, entry->key, claim);
        put_entry(d, file, entry);
    }
}

/* A key whose owner was not read in this round: its object is in a file that did not change. */
static void put_inherited(struct source_dir *d, const char *key, struct claim *claim, struct file *owner)
{
    if (!owner->is_fresh) {
        struct stat known = owner->stat; /* so that a change since then is still seen as one */
        bool is_read = file_load(d, owner);
        owner->stat = known;
        if (!is_read)
            return;
        vec_push(&d->dirty, owner);
    }
    for (size_t i = 0; i < owner->entries.length; i++)
        if (strcmp(owner->entries.items[i].key, key) == 0) {
            claim->owner = owner;
            put_entry(d, owner, &owner->entries.items[i]);
        }
}

static void settle(struct source_dir *d)
{
    struct map settled;

    map_init(&settled, true);
    for (size_t i = 0; i < d->dirty.length; i++)
        put_fresh(d, d->dirty.items[i], &settled);
    /* Somebody in this round may have put itself before the owner so far. */
    for (size_t i = 0; i < d->touched.length; i++) {
        struct claim *claim = map_get(&d->claims, d->touched.items[i]);
        struct file *first = claim_first(claim);
        if (first && !map_get(&settled, d->touched.items[i]) && claim->owner != first)
            put_inherited(d, d->touched.items[i], claim, first);
    }
    map_done(&settled);
    for (size_t i = 0; i < d->touched.length; i++) {
        struct claim *claim = map_get(&d->claims, d->touched.items[i]);
        claim->is_touched = false;
        if (claim->files.length > 0)
            continue;
        delete_key(d, d->touched.items[i]);
        vec_done(&claim->files);
        free(map_del(&d->claims, d->touched.items[i]));
    }
    keys_clear(&d->touched);
}

/* Read the dirty files, bring the store level with them. */
static void round_run(struct source_dir *d)
{
    if (d->dirty.length == 0)
        return;
    qsort(d->dirty.items, d->dirty.length, sizeof(d->dirty.items[0]), compare_files);
    size_t count = 0;
    for (size_t i = 0; i < d->dirty.length; i++)
        if (i == 0 || d->dirty.items[i] != d->dirty.items[i - 1])
            d->dirty.items[count++] = d->dirty.items[i];
    d->dirty.length = count;

    CLEANUP(free_ptr) bool *was_wrong = xcalloc(count, sizeof(*was_wrong));
    for (size_t i = 0; i < count; i++) {
        struct file *file = d->dirty.items[i];
        was_wrong[i] = file->is_wrong;
        if (file->is_gone)
            file->is_wrong = false;
        else
            (void)file_load(d, file);
        file_claim(d, file);
    }
    settle(d);
    for (size_t i = 0; i < d->dirty.length; i++) {
        struct file *file = d->dirty.items[i];
        file_unload(file);
        if (i < count && was_wrong[i] && !file->is_wrong)
            d->report(d->ctx, file->path, 0, NULL);
    }
    for (size_t i = 0; i < count; i++)
        if (d->dirty.items[i]->is_gone) {
            (void)map_del(&d->files, d->dirty.items[i]->path);
            file_free(d->dirty.items[i]);
        }
    vec_clear(&d->dirty);
}

/* ── looking at the folder ───────────────────────────────────────────────────────────────────────────────────────────── */

static bool stat_same(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec &&
           a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

static void file_look(struct source_dir *d, const char *path, const struct stat *st, bool only_settled)
{
    struct file *file = map_get(&d->files, path);

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
            ((struct file *)slot->value)->is_seen = true;
    if (!map_put(&d->troubled, path, d))
        d->report(d->ctx, path, 0, message);
}

static void folder_look(struct source_dir *d, const char *path, const struct level *above, bool only_settled)
{
    struct err err = {0};
    struct stat st;
    struct level here = {.above = above, .depth = above ? above->depth + 1 : 0};
    bool is_watched = !d->watch || dir_watch_add(d->watch, path, &err) == 0;
    DIR *stream = opendir(path);

    if (!stream || fstat(dirfd(stream), &st) < 0) {
        int problem = errno;
        if (stream)
            closedir(stream);
        if (problem == ENOENT && above)
            return;
        (void)err_set_sys(&err, problem, "cannot read the folder");
        folder_trouble(d, path, err.text);
        return;
    }
    here.device = st.st_dev;
    here.inode = st.st_ino;
    for (const struct level *level = above; level; level = level->above)
        if (level->device == here.device && level->inode == here.inode) {
            closedir(stream);
            return;
        }
    if (here.depth > SOURCE_DIR_DEPTH_MAX) {
        closedir(stream);
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
        else if (S_ISREG(st.st_mode) && is_manifest_name(child))
            file_look(d, child, &st, only_settled);
    }
    closedir(stream);
}

static void file_missed(struct source_dir *d, struct file *file)
{
    if (!file->is_missing) {
        file->is_missing = true;
        d->is_postponed = true;
        return;
    }
    file->is_gone = true;
    dirty_add(d, file);
}

static void look_everywhere(struct source_dir *d, bool only_settled)
{
    struct map_slot *slot;

    for (size_t it = 0; (slot = map_next(&d->files, &it));)
        ((struct file *)slot->value)->is_seen = false;
    folder_look(d, d->dir, NULL, only_settled);
    for (size_t it = 0; (slot = map_next(&d->files, &it));) {
        struct file *file = slot->value;
        if (!file->is_seen)
            file_missed(d, file);
    }
}

static void look_at(struct source_dir *d, const char *path)
{
    struct stat st;

    if (!is_manifest_name(path))
        return;
    struct file *file = map_get(&d->files, path);
    if (stat(path, &st) == 0 && S_ISREG(st.st_mode))
        file_look(d, path, &st, false);
    else if (file)
        file_missed(d, file);
}

static void look_at_pending(struct source_dir *d)
{
    struct map_slot *slot;

    if (d->pending_everything)
        look_everywhere(d, false);
    else
        for (size_t it = 0; (slot = map_next(&d->pending, &it));)
            look_at(d, slot->key);
}

/* ── when ────────────────────────────────────────────────────────────────────────────────────────────────────────────── */

static void on_burst_over(uv_timer_t *timer);

/* What was found dirty is done now, or, when something was missing for the first time, after another look. */
static void finish_look(struct source_dir *d)
{
    d->is_burst = true;
    (void)uv_timer_start(&d->burst, on_burst_over, BURST_MS, 0);
    if (d->is_postponed) {
        d->is_postponed = false;
        return;
    }
    d->pending_everything = false;
    map_clear(&d->pending);
    round_run(d);
}

static void on_burst_over(uv_timer_t *timer)
{
    struct source_dir *d = timer->data;

    d->is_burst = false;
    if (!d->pending_everything && d->pending.count == 0)
        return;
    look_at_pending(d);
    finish_look(d);
}

static void on_changed(void *ctx, bool everything, size_t count, char *const *paths)
{
    struct source_dir *d = ctx;

    d->pending_everything = d->pending_everything || everything;
    for (size_t i = 0; i < count; i++)
        (void)map_put(&d->pending, paths[i], d);
    if (d->is_burst)
        return;
    look_at_pending(d);
    finish_look(d);
}

static void on_poll(uv_timer_t *timer)
{
    struct source_dir *d = timer->data;

    if (d->is_burst)
        return;
    look_everywhere(d, true);
    d->pending_everything = d->is_postponed;
    if (d->is_postponed || d->dirty.length > 0)
        finish_look(d);
}

/* ── public ──────────────────────────────────────────────────────────────────────────────────────────────────────────── */

int source_dir_reload(struct source_dir *d, struct err *err)
{
    struct map_slot *slot;

    if (filters_make(d, err) < 0)
        return -1;
    for (size_t i = 0; i < store_kind_count(d->store); i++)
        if (!store_kind_is_synced(store_kind_at(d->store, i)))
            store_replace_begin(store_kind_at(d->store, i));
    look_everywhere(d, false);
    /* Files that did not change have objects of the new kinds. */
    for (size_t it = 0; (slot = map_next(&d->files, &it));)
        if (!((struct file *)slot->value)->is_missing)
            vec_push(&d->dirty, (struct file *)slot->value);
    round_run(d);
    if (d->is_postponed) {
        d->is_postponed = false;
        d->is_burst = d->pending_everything = true;
        (void)uv_timer_start(&d->burst, on_burst_over, BURST_MS, 0);
    }
    for (size_t i = 0; i < store_kind_count(d->store); i++)
        if (!store_kind_is_synced(store_kind_at(d->store, i)))
            store_replace_commit(store_kind_at(d->store, i));
    return 0;
}

int source_dir_new(uv_loop_t *loop, struct store *store, const char *dir, source_dir_report *report, void *ctx,
                   struct source_dir **ret_source, struct err *err)
{
    struct stat st;
    size_t length = strlen(dir);

    if (stat(dir, &st) < 0)
        return err_set_sys(err, errno, "source folder %s", dir);
    if (!S_ISDIR(st.st_mode))
        return err_set(err, ERR_INVALID, "source %s is not a folder", dir);
    while (length > 1 && dir[length - 1] == '/')
        length--;

    struct source_dir *d = xcalloc(1, sizeof(*d));
    d->store = store;
    d->dir = xmemdup0(dir, length);
    d->report = report;
    d->ctx = ctx;
    map_init(&d->files, false);
    map_init(&d->claims, false);
    map_init(&d->filters, false);
    map_init(&d->troubled, false);
    map_init(&d->pending, false);
    (void)uv_timer_init(loop, &d->burst);
    (void)uv_timer_init(loop, &d->poll);
    d->burst.data = d->poll.data = d;
    d->open_handles = 2;
    struct err watch_err = {0};
    if (dir_watch_new(loop, on_changed, d, &d->watch, &watch_err) < 0)
        report(ctx, dir, 0, watch_err.text); /* the slow timer still works */
    if (source_dir_reload(d, err) < 0) {
        source_dir_free(d);
        return -1;
    }
    (void)uv_timer_start(&d->poll, on_poll, POLL_MS, POLL_MS);
    *ret_source = d;
    return 0;
}

static void on_closed(uv_handle_t *handle)
{
    struct source_dir *d = handle->data;

    if (--d->open_handles == 0)
        free(d);
}

struct source_dir *source_dir_free(struct source_dir *d)
{
    struct map_slot *slot;

    if (!d)
        return NULL;
    d->watch = dir_watch_free(d->watch);
    for (size_t it = 0; (slot = map_next(&d->files, &it));)
        file_free(slot->value);
    for (size_t it = 0; (slot = map_next(&d->claims, &it));) {
        struct claim *claim = slot->value;
        vec_done(&claim->files);
        free(claim);
    }
    filters_clear(&d->filters);
    map_done(&d->files);
    map_done(&d->claims);
    map_done(&d->troubled);
    map_done(&d->pending);
    vec_done(&d->dirty);
    keys_clear(&d->touched);
    vec_done(&d->touched);
    free(d->dir);
    uv_close((uv_handle_t *)&d->burst, on_closed);
    uv_close((uv_handle_t *)&d->poll, on_closed);
    return NULL;
}
