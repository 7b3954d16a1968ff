/* The directory follows HAProxy with a delay. Writing everything costs as much as the cluster is large, so it may take
 * only a small share of the time. Texts are collected from the model in slices, and changes continue between the
 * slices. The thread that writes the texts joins them. At the end of the last slice, all that is accepted must be live.
 */
#include <string.h>

#include "agent/agent_state.h"
#include "base/alloc.h"
#include "base/log.h"
#include "haproxy/draft.h"
#include "net/backoff.h"

#define WRITE_WARN_NS (60 * NS_PER_S)
#define WRITE_WARN_MAX_NS (3600 * NS_PER_S)
#define WRITE_COST_FACTOR 800 /* a write may take one part in so many of the time, with all its threads */
#define SLICE_NS (NS_PER_MS / 2)
#define BETWEEN_SLICES_MS 1
#define RETRY_MS 50
#define REFUSALS_MAX 40

static void draft_drop(struct agent *a)
{
    struct leveling *l = &a->leveling;

    l->draft = draft_free(l->draft);
    free(l->lineage);
    free(l->socket);
    *l = (struct leveling){0};
}

void level_done(struct agent *a)
{
    draft_drop(a);
}

static void after_leveling(struct agent *a, const struct err *err)
{
    uint64_t similar;

    draft_drop(a);
    if (err && log_repeat_pass(&a->write_repeat, WRITE_WARN_NS, WRITE_WARN_MAX_NS, &similar))
        log_warn("Cannot write the HAProxy directory; it is tried again", "error", err->text, "similar",
                 log_int((int64_t)similar));
    if (!err) {
        a->files_foreign = false;
        if (a->write_repeat.seen_ns) {
            log_info("The HAProxy directory can be written again", "directory", a->config.directory);
            a->write_repeat = (struct log_repeat){0};
        }
        a->disk_digest = a->writing_digest;
        a->level = digest_equal(a->disk_digest, a->live_digest);
        journal_clear(a, a->journal_mark);
    }
    level_schedule(a);
}

void level_schedule(struct agent *a)
{
    if (a->stopping || a->level || uv_is_active((uv_handle_t *)&a->disk_timer))
        return;
    int64_t earliest = a->last_write_ns + a->write_cost_ns * WRITE_COST_FACTOR - clock_now_ns();
    /* The members of a fleet get a change at the same moment. They do not write at the same moment. */
    int64_t delay = net_random_between(a->config.disk_delay_ns, 2 * a->config.disk_delay_ns);
    if (delay < earliest)
        delay = earliest;
    uv_timer_start(&a->disk_timer, level_on_timer, (uint64_t)(delay / NS_PER_MS), 0);
}

/* True when the live state is known and this process may write it. */
static bool may_collect(const struct agent *a)
{
    return !a->level && !a->writing && a->known && *a->lineage && a->fenced &&
           (a->leveling.draft || !model_parts_are_held(a->model));
}

/* The directory must not be ahead of HAProxy, so no accepted text may be waiting for an apply. */
static bool all_is_live(const struct agent *a)
{
    return digest_equal(a->live_digest, model_digest(a->model, MODEL_ACCEPTED));
}

static bool fence_holds(struct agent *a)
{
    struct err err;

    if (agent_check_fence(a, &err) == 0)
        return true;
    agent_forget_live(a, err.text);
    return false;
}

bool level_now(struct agent *a)
{
    struct disk_files files = {0};
    struct err err;
    int64_t start_ns = clock_now_ns();

    if (!may_collect(a) || !all_is_live(a) || !fence_holds(a))
        return false;
    draft_drop(a);
    if (image_build(a, &files, false, &err) < 0) {
        log_debug("Cannot bring the HAProxy directory level", "error", err.text);
        return false;
    }
    a->journal_mark = a->journal_size;
    /* The thread needs about the same time again for hashing and writing. */
    a->write_cost_ns = 2 * (clock_now_ns() - start_ns);
    image_write(a, &files, true, after_leveling);
    disk_files_done(&files);
    return true;
}

/* Runs in the thread. */
static void compose(void *ctx, struct disk_files *files)
{
    struct leveling *l = ctx;
    struct buf body = {0}, config = {0};

    draft_compose(l->draft, &body, files);
    l->draft = draft_free(l->draft); /* to wipe and free so much would hold up the loop */
    image_head(&config, l->lineage, l->socket, &body);
    buf_add(&config, buf_str(&body), body.length);
    expand_wipe(&body);
    size_t length = config.length;
    disk_files_take(files, DISK_CONFIG, buf_steal(&config), length);
}

static void write_draft(struct agent *a)
{
    struct leveling *l = &a->leveling;
    struct disk_files files = {0};

    l->lineage = xstrdup(a->lineage);
    l->socket = xstrdup(a->config.runtime_socket);
    addresses_load(a);
    addresses_add_file(a, a->live, &files);
    a->writing_digest = model_digest(a->model, MODEL_ACCEPTED);
    a->journal_mark = a->journal_size;
    /* The thread needs about twice that time for sorting, hashing and writing. */
    a->write_cost_ns = 3 * l->spent_ns;
    image_write_composed(a, &files, compose, l, after_leveling);
    disk_files_done(&files);
}

/* Runs one slice. ready: everything is collected, and all of it is live. -1: the draft cannot be used. */
static int level_step(struct agent *a, bool *ret_is_ready)
{
    struct leveling *l = &a->leveling;
    int64_t start_ns = clock_now_ns();
    bool is_done;
    struct err err;

    if (!l->draft)
        l->draft = draft_begin(a->model, a->config.vault);
    int rc = draft_step(l->draft, SLICE_NS, &is_done, &err);
    *ret_is_ready = rc == 0 && is_done && all_is_live(a) && fence_holds(a);
    if (rc == 0 && is_done && !*ret_is_ready && ++l->refusals == REFUSALS_MAX)
        return -1; /* the changes since its beginning would pile up */
    if (*ret_is_ready)
        rc = draft_end(l->draft, &err);
    l->spent_ns += clock_now_ns() - start_ns;
    if (rc < 0)
        log_debug("Cannot bring the HAProxy directory level", "error", err.text);
    return rc;
}

void level_on_timer(uv_timer_t *timer)
{
    struct agent *a = timer->data;
    bool is_ready = false;

    if (!may_collect(a)) {
        if (!a->writing)
            draft_drop(a);
        if (!a->level)
            uv_timer_start(timer, level_on_timer, RETRY_MS, 0);
        return;
    }
    if (level_step(a, &is_ready) < 0)
        draft_drop(a);
    if (is_ready && a->leveling.draft)
        write_draft(a);
    else
        uv_timer_start(timer, level_on_timer, a->leveling.draft && !a->leveling.refusals ? BETWEEN_SLICES_MS : RETRY_MS,
                       0);
}
