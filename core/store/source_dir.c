/* The folder's files are a table by path. Each entry has the stat data of the time when the file was read. Files that
 * may have changed are checked, files that did change are dirty, and a round updates the store from them. dir_watch
 * starts a round, at once after a pause and otherwise after 20 ms; so does a slow timer.
 */
#include "store/source_dir.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "store/source_dir_state.h"

#define BURST_MS 20
#define POLL_MS 5000

static void look_at_pending(struct source_dir *d)
{
    struct map_slot *slot;

    if (d->pending_everything)
        dir_look_everywhere(d, false);
    else
        for (size_t it = 0; (slot = map_next(&d->pending, &it));)
            dir_look_at(d, slot->key);
}

static void on_burst_over(uv_timer_t *timer);

/* Dirty files are read now, or after another look if a file was missing for the first time. */
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
    dir_round_run(d);
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
    dir_look_everywhere(d, true);
    d->pending_everything = d->is_postponed;
    if (d->is_postponed || d->dirty.length > 0)
        finish_look(d);
}

/* ── public ──────────────────────────────────────────────────────────────────────────────────────────────────────────── */

int source_dir_reload(struct source_dir *d, struct err *err)
{
    struct map_slot *slot;

    if (dir_filters_make(d, err) < 0)
        return -1;
    d->is_burst = true; /* a listener of the store may run the loop: what changes meanwhile waits */
    for (size_t i = 0; i < store_kind_count(d->store); i++)
        if (!store_kind_is_synced(store_kind_at(d->store, i)))
            store_replace_begin(store_kind_at(d->store, i));
    dir_look_everywhere(d, false);
    /* Unchanged files may have objects of the new kinds. */
    for (size_t it = 0; (slot = map_next(&d->files, &it));)
        if (!((struct dir_file *)slot->value)->is_missing)
            vec_push(&d->dirty, (struct dir_file *)slot->value);
    dir_round_run(d);
    d->pending_everything = d->pending_everything || d->is_postponed;
    d->is_postponed = false;
    (void)uv_timer_start(&d->burst, on_burst_over, BURST_MS, 0);
    for (size_t i = 0; i < store_kind_count(d->store); i++)
        if (!store_kind_is_synced(store_kind_at(d->store, i)))
            store_replace_commit(store_kind_at(d->store, i));
    return 0;
}

bool source_dir_is_readable(const struct source_dir *d)
{
    struct map_slot *slot;

    for (size_t it = 0; (slot = map_next(&d->files, &it));) {
        const struct dir_file *file = slot->value;
        if (file->is_wrong && !file->was_right && !file->is_gone)
            return false;
    }
    return d->unread_folders == 0;
}

static int add_root(struct source_dir *d, const char *path, bool files, struct err *err)
{
    struct stat st;
    size_t length = strlen(path);

    if (stat(path, &st) < 0)
        return err_set_sys(err, errno, "source %s%s", files ? "" : "folder ", path);
    if (!S_ISDIR(st.st_mode) && !files)
        return err_set(err, ERR_INVALID, "source %s is not a folder", path);
    if (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode))
        return err_set(err, ERR_INVALID, "source %s is neither a folder nor a file", path);
    while (length > 1 && path[length - 1] == '/')
        length--;
    vec_push(&d->roots, xmemdup0(path, length));
    return 0;
}

static int source_new(uv_loop_t *loop, struct store *store, const char *const *paths, bool files,
                      source_dir_report *report, void *ctx, struct source_dir **ret_source, struct err *err)
{
    struct source_dir *d = xcalloc(1, sizeof(*d));
    d->store = store;
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
    for (size_t i = 0; paths[i] != NULL; i++)
        if (add_root(d, paths[i], files, err) < 0) {
            source_dir_free(d);
            return -1;
        }
    struct err watch_err = {0};
    if (dir_watch_new(loop, on_changed, d, &d->watch, &watch_err) < 0)
        report(ctx, SOURCE_DIR_WRONG, paths[0], 0, watch_err.text); /* the slow timer still works */
    if (source_dir_reload(d, err) < 0) {
        source_dir_free(d);
        return -1;
    }
    (void)uv_timer_start(&d->poll, on_poll, POLL_MS, POLL_MS);
    *ret_source = d;
    return 0;
}

int source_dir_new(uv_loop_t *loop, struct store *store, const char *dir, source_dir_report *report, void *ctx,
                   struct source_dir **ret_source, struct err *err)
{
    return source_new(loop, store, (const char *const[]){dir, NULL}, false, report, ctx, ret_source, err);
}

int source_dir_open(uv_loop_t *loop, struct store *store, const char *const *paths, source_dir_report *report,
                    void *ctx, struct source_dir **ret_source, struct err *err)
{
    return source_new(loop, store, paths, true, report, ctx, ret_source, err);
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
        dir_file_free(slot->value);
    dir_claims_done(&d->claims);
    dir_filters_clear(&d->filters);
    map_done(&d->files);
    map_done(&d->troubled);
    map_done(&d->pending);
    vec_done(&d->dirty);
    dir_keys_clear(&d->touched);
    vec_done(&d->touched);
    dir_keys_clear(&d->roots);
    vec_done(&d->roots);
    buf_done(&d->skipped_names);
    uv_close((uv_handle_t *)&d->burst, on_closed);
    uv_close((uv_handle_t *)&d->poll, on_closed);
    return NULL;
}
