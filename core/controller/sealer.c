/* States:
 *
 *   IDLE ──may write──► BUILDING ──all written──► SYNCING ──renamed──► OPEN ──grown too large──► BUILDING
 *     ▲                     └───────────┴── cannot write ──┴─► FAILED ──after a while──► BUILDING
 *     └──────────────────────── may not write any more ───────────────┘
 *
 * There are at most two files: the present one, to which changes are always appended, and the next one. The next file
 * begins with a list of all versions that are kept at that moment. The list is written in slices. A version that
 * changes in the meantime is written as a change and left out of the list. A
 * commit mark in the next file waits until the list is complete.
 */
#include "controller/sealer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/vec.h"
#include "haproxy/bundle_seal.h"
#include "haproxy/disk.h"
#include "haproxy/expand.h"
#include "net/backoff.h"

#define TEMPORARY ".accepted.tmp"
#define SLICE_BYTES ((size_t)64 << 10)
#define SLICE_PARTS 64
#define COST_FACTOR 20 /* writing may take one part in so many of the time */
#define GROWTH_MIN_BYTES ((uint64_t)1 << 20)
#define STALE_VALUES_NS (60 * NS_PER_S)
#define RETRY_MIN_NS (2 * NS_PER_S)
#define RETRY_MAX_NS (60 * NS_PER_S)
#define WARN_NS (60 * NS_PER_S)

enum sealer_state { SEALER_IDLE, SEALER_BUILDING, SEALER_SYNCING, SEALER_OPEN, SEALER_FAILED };

/* A file that is written. */
struct sealed_file {
    int fd; /* -1: there is none */
    uint64_t bytes;
    struct map values; /* digits of the values that are in it */
    struct digest values_digest;
    struct buf out;  /* to be written */
    bool has_values; /* out contains values */
};

struct sealer {
    uv_loop_t *loop;
    char *directory, *haproxy;
    struct model *model;
    struct vault *vault;
    struct sealer_ops ops;
    void *ctx;
    enum sealer_state state;
    struct sealed_file file, next;
    uint64_t base_bytes;  /* of the file when it was new */
    struct digest digest; /* of what was read from the model */
    size_t parts;
    VEC(struct fragment *) list; /* versions for the next file; referenced */
    size_t listed;               /* how many of them are written */
    struct buf scratch;
    int64_t not_before_ns, stale_values_ns;
    struct net_backoff backoff;
    struct log_limit limit;
    bool warned, stopped, closing;
    uv_timer_t timer;
    uv_work_t sync;
    bool syncing, discard_sync;
    int sync_fd, sync_errno;
    struct metric *failures, *bytes;
};

/* ---- one file ---- */

static void file_init(struct sealed_file *f)
{
    *f = (struct sealed_file){.fd = -1};
    map_init(&f->values, false);
}

static void file_close(struct sealed_file *f)
{
    close_fd(&f->fd);
    map_done(&f->values);
    expand_wipe(&f->out);
    file_init(f);
}

/* Writes a value that is not in the file yet. */
struct adding {
    struct sealer *s;
    struct sealed_file *file;
};

static void add_value(void *ctx, const char *digits)
{
    struct adding *a = ctx;
    struct vault_value value;
    char handle[VAULT_HANDLE_LENGTH + 1];

    if (map_get(&a->file->values, digits) != NULL)
        return;
    snprintf(handle, sizeof(handle), VAULT_PREFIX "%sEnd", digits);
    if (vault_get(a->s->vault, handle, &value, NULL) < 0)
        return; /* a reader skips the parts that need it */
    (void)map_put(&a->file->values, digits, a);
    a->file->has_values = true;
    a->file->values_digest = digest_add(
        a->file->values_digest, bundle_value_digest(digits, value.secret, value.key, value.bytes, value.length));
    seal_value(&a->file->out, digits, value.secret, value.key, value.bytes, value.length);
}

static void file_add(struct sealer *s, struct sealed_file *f, const struct fragment *part, const struct buf *frame)
{
    struct adding adding = {s, f};

    if (f->fd < 0)
        return;
    if (part != NULL)
        (void)bundle_each_handle(part, add_value, &adding);
    buf_add(&f->out, frame->data, frame->length);
}

static void file_mark(struct sealer *s, struct sealed_file *f)
{
    struct bundle_stamp stamp = s->ops.stamp(s->ctx);

    seal_mark(&f->out, &stamp, s->parts, s->digest, f->values_digest);
}

/* Writes what is due. After an error the file is unchanged. */
static int file_flush(struct sealer *s, struct sealed_file *f)
{
    size_t done = 0;

    while (done < f->out.length) {
        ssize_t n = write(f->fd, f->out.data + done, f->out.length - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            int reason = n < 0 ? errno : EIO;
            if (ftruncate(f->fd, (off_t)f->bytes) < 0)
                log_debug("Cannot cut off a write that failed", "file", SEALER_FILE, "error", strerror(errno));
            errno = reason;
            return -1;
        }
        done += (size_t)n;
    }
    f->bytes += done;
    metric_add(s->bytes, (double)done);
    if (f->has_values)
        expand_wipe(&f->out);
    else
        buf_clear(&f->out);
    f->has_values = false;
    return 0;
}

/* ---- the list ---- */

static void list_clear(struct sealer *s)
{
    for (size_t i = s->listed; i < s->list.length; i++)
        fragment_unref(s->list.items[i]);
    vec_done(&s->list);
    s->listed = 0;
}

static void list_fragment(void *ctx, struct fragment *f)
{
    struct sealer *s = ctx;

    vec_push(&s->list, fragment_ref(f));
}

/* ---- states ---- */

static void work(struct sealer *s);

static void on_timer(uv_timer_t *timer)
{
    work(timer->data);
}

static void wake(struct sealer *s, int64_t after_ns)
{
    if (!s->closing && !s->stopped && !uv_is_active((uv_handle_t *)&s->timer))
        uv_timer_start(&s->timer, on_timer, (uint64_t)(after_ns > 0 ? after_ns / NS_PER_MS + 1 : 0), 0);
}

/* -1 with errno, also when a part of its path has become a link. */
static int directory_open(const struct sealer *s, int *ret_fd)
{
    struct err err;

    errno = 0;
    if (disk_directory_open(s->directory, ret_fd, &err) == 0)
        return 0;
    errno = err.kind == ERR_INVALID ? ELOOP : err.kind == ERR_NOTFOUND ? ENOENT : errno ? errno : EIO;
    return -1;
}

static void drop_next(struct sealer *s)
{
    CLEANUP(close_fd) int at = -1;

    if (s->next.fd >= 0 && directory_open(s, &at) == 0)
        (void)unlinkat(at, TEMPORARY, 0);
    file_close(&s->next);
    list_clear(s);
    s->discard_sync = s->syncing;
}

static void rest(struct sealer *s, enum sealer_state state)
{
    drop_next(s);
    file_close(&s->file);
    model_track_kept(s->model, false);
    s->digest = (struct digest){0, 0};
    s->parts = 0;
    s->stale_values_ns = 0;
    s->state = state;
}

static void fail(struct sealer *s, const char *what, int reason)
{
    uint64_t similar;

    metric_add(s->failures, 1);
    int64_t retry_ns = net_backoff_next(&s->backoff, 0);
    s->not_before_ns = clock_now_ns() + retry_ns;
    if (log_limit_pass(&s->limit, WARN_NS, &similar)) {
        s->warned = true;
        log_warn(
            "Cannot save the accepted configuration in the HAProxy directory; after a restart the controller would begin with an older one",
            "directory", s->directory, "error", what, "reason", strerror(reason), "retry_in", log_duration(retry_ns),
            "similar", log_int((int64_t)similar));
    }
    rest(s, SEALER_FAILED);
    wake(s, retry_ns);
}

static void begin_building(struct sealer *s)
{
    CLEANUP(close_fd) int at = -1;

    if (s->syncing) { /* for a file that was given up: its descriptor must not be reused before the sync has ended */
        wake(s, RETRY_MIN_NS / 10);
        return;
    }
    drop_next(s);
    if (directory_open(s, &at) == 0) {
        (void)unlinkat(at, TEMPORARY, 0);
        s->next.fd = openat(at, TEMPORARY, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    }
    if (s->next.fd < 0) {
        fail(s, "open " TEMPORARY, errno);
        return;
    }
    seal_head(&s->next.out, s->haproxy);
    model_track_kept(s->model, true);
    model_each_kept(s->model, list_fragment, s);
    s->stale_values_ns = 0;
    s->state = SEALER_BUILDING;
}

static bool take_place(struct sealer *s)
{
    CLEANUP(close_fd) int at = -1;

    if (directory_open(s, &at) < 0 || renameat(at, TEMPORARY, at, SEALER_FILE) < 0) {
        fail(s, "rename to " SEALER_FILE, errno);
        return false;
    }
    file_close(&s->file);
    s->file = s->next;
    file_init(&s->next);
    list_clear(s);
    s->base_bytes = s->file.bytes;
    s->state = SEALER_OPEN;
    net_backoff_reset(&s->backoff);
    if (s->warned)
        log_info("The accepted configuration is saved in the HAProxy directory again", "directory", s->directory);
    s->warned = false;
    s->limit = (struct log_limit){0};
    return true;
}

/* ---- syncing ---- */

static void sync_work(uv_work_t *work_)
{
    struct sealer *s = work_->data;

    s->sync_errno = fsync(s->sync_fd) < 0 ? errno : 0;
}

static void free_when_closed(struct sealer *s);

/* A newer writer exists; this replica will learn of it by another way. */
static void stand_back(struct sealer *s)
{
    rest(s, SEALER_IDLE);
    s->not_before_ns = clock_now_ns() + RETRY_MIN_NS;
}

static void sync_after(uv_work_t *work_, int status)
{
    struct sealer *s = work_->data;
    bool discarded = s->discard_sync;

    (void)status;
    s->syncing = s->discard_sync = false;
    close_fd(&s->sync_fd);
    if (s->closing) {
        free_when_closed(s);
        return;
    }
    if (discarded || s->state != SEALER_SYNCING)
        return;
    if (s->sync_errno != 0)
        fail(s, "sync " TEMPORARY, s->sync_errno);
    else if (s->ops.is_newest(s->ctx))
        (void)take_place(s);
    else
        stand_back(s);
    sealer_step(s);
}

static void begin_sync(struct sealer *s)
{
    s->state = SEALER_SYNCING;
    s->sync_fd = fcntl(s->next.fd, F_DUPFD_CLOEXEC, 0);
    if (s->sync_fd < 0) {
        fail(s, "sync " TEMPORARY, errno);
        return;
    }
    s->syncing = true;
    s->sync.data = s;
    (void)uv_queue_work(s->loop, &s->sync, sync_work, sync_after);
}

/* ---- changes ---- */

static void count_digits(void *ctx, const char *digits)
{
    size_t *count = ctx;

    (void)digits;
    (*count)++;
}

static bool has_handle(const struct fragment *part)
{
    size_t count = 0;

    return !bundle_each_handle(part, count_digits, &count) || count > 0;
}

static bool has_item(struct digest digest)
{
    return !digest_equal(digest, (struct digest){0, 0});
}

static void on_kept(void *ctx, const struct fragment *before, const struct fragment *now)
{
    struct sealer *s = ctx;
    struct digest was = before ? bundle_part_digest(before) : (struct digest){0, 0};
    struct digest is = now ? bundle_part_digest(now) : (struct digest){0, 0};

    if (digest_equal(was, is))
        return;
    s->digest = digest_add(digest_sub(s->digest, was), is);
    s->parts = s->parts + (size_t)has_item(is) - (size_t)has_item(was);
    buf_clear(&s->scratch);
    if (has_item(is))
        seal_part(&s->scratch, now);
    else
        seal_gone(&s->scratch, before->id);
    /* The former version may have been the last use of a value. */
    if (before && s->stale_values_ns == 0 && s->file.values.count > 0 && has_handle(before))
        s->stale_values_ns = clock_now_ns();
    file_add(s, &s->file, has_item(is) ? now : NULL, &s->scratch);
    file_add(s, &s->next, has_item(is) ? now : NULL, &s->scratch);
}

static void write_list(struct sealer *s, size_t max_bytes)
{
    size_t begun = s->next.out.length;

    while (s->listed < s->list.length && s->next.out.length - begun < max_bytes) {
        struct fragment *f = s->list.items[s->listed++];
        if (model_is_kept(s->model, f) && has_item(bundle_part_digest(f))) {
            buf_clear(&s->scratch);
            seal_part(&s->scratch, f);
            file_add(s, &s->next, f, &s->scratch);
        }
        fragment_unref(f);
    }
}

/* Writes one slice: changes first, then the list. False when a file could not be written. */
static bool write_slice(struct sealer *s, size_t max_parts, size_t max_bytes, bool *ret_more)
{
    size_t left = model_take_kept(s->model, max_parts, on_kept, s);

    if (s->file.fd >= 0 && s->file.out.length > 0) {
        file_mark(s, &s->file);
        if (file_flush(s, &s->file) < 0) {
            fail(s, "write " SEALER_FILE, errno);
            return false;
        }
    }
    if (s->state == SEALER_BUILDING)
        write_list(s, max_bytes);
    bool whole = s->state == SEALER_SYNCING ||
                 (s->state == SEALER_BUILDING && left == 0 && s->listed == s->list.length);
    bool complete = whole && s->state == SEALER_BUILDING;
    if (s->next.fd >= 0 && (s->next.out.length > 0 || complete)) {
        if (whole)
            file_mark(s, &s->next);
        if (file_flush(s, &s->next) < 0) {
            fail(s, "write " TEMPORARY, errno);
            return false;
        }
    }
    *ret_more = left > 0 || (s->state == SEALER_BUILDING && !complete);
    if (complete && !s->stopped)
        begin_sync(s);
    return s->state != SEALER_FAILED;
}

static bool must_be_built(const struct sealer *s)
{
    uint64_t grown = s->file.bytes - s->base_bytes;

    return (grown > GROWTH_MIN_BYTES && grown > s->base_bytes) ||
           (s->stale_values_ns != 0 && clock_now_ns() - s->stale_values_ns >= STALE_VALUES_NS);
}

/* Is there anything to write now, or later without another change? */
static bool has_work(const struct sealer *s)
{
    return s->state != SEALER_OPEN || s->file.out.length > 0 || s->stale_values_ns != 0 || must_be_built(s) ||
           model_has_unkept(s->model);
}

static void work(struct sealer *s)
{
    int64_t begun = clock_now_ns();
    bool more = false;

    uv_timer_stop(&s->timer);
    if (s->stopped)
        return;
    if (!s->ops.may_write(s->ctx)) {
        if (s->state != SEALER_IDLE)
            rest(s, SEALER_IDLE);
        return;
    }
    if (begun < s->not_before_ns) {
        if (has_work(s))
            wake(s, s->not_before_ns - begun);
        return;
    }
    if (s->state == SEALER_IDLE || s->state == SEALER_FAILED || (s->state == SEALER_OPEN && must_be_built(s)))
        begin_building(s);
    if (s->state == SEALER_IDLE || s->state == SEALER_FAILED || !write_slice(s, SLICE_PARTS, SLICE_BYTES, &more))
        return;
    int64_t cost = clock_now_ns() - begun;
    s->not_before_ns = begun + cost * COST_FACTOR;
    if (more)
        wake(s, cost * COST_FACTOR);
    else if (s->stale_values_ns != 0)
        wake(s, STALE_VALUES_NS);
}

/* ---- public ---- */

void sealer_step(struct sealer *s)
{
    /* Before anything was accepted there is nothing to write, and the file of the last process stays. */
    if (s->stopped || (s->state == SEALER_IDLE && model_is_empty(s->model, MODEL_ACCEPTED)))
        return;
    work(s);
}

void sealer_stop(struct sealer *s)
{
    bool more = true;

    if (s->stopped)
        return;
    uv_timer_stop(&s->timer);
    s->stopped = true;
    if (!s->ops.may_write(s->ctx) || s->state == SEALER_IDLE || s->state == SEALER_FAILED)
        return;
    while (more && write_slice(s, SIZE_MAX, SIZE_MAX, &more))
        continue;
    if ((s->state == SEALER_BUILDING || s->state == SEALER_SYNCING) && s->ops.is_newest(s->ctx))
        (void)take_place(s);
}

struct sealer *sealer_new(uv_loop_t *loop, const char *directory, const char *haproxy, struct model *model,
                          struct vault *vault, struct metrics *metrics, const struct sealer_ops *ops, void *ctx)
{
    struct sealer *s = xcalloc(1, sizeof(*s));
    s->backoff = (struct net_backoff){.base_ns = RETRY_MIN_NS, .cap_ns = RETRY_MAX_NS};

    s->loop = loop;
    s->directory = xstrdup(directory);
    s->haproxy = xstrdup(haproxy);
    s->model = model;
    s->vault = vault;
    s->ops = *ops;
    s->ctx = ctx;
    s->sync_fd = -1;
    file_init(&s->file);
    file_init(&s->next);
    s->failures = metric_counter(metrics, "haptic_seal_failures_total",
                                 "Times that the accepted configuration could not be saved for a restart.");
    s->bytes = metric_counter(metrics, "haptic_seal_written_bytes_total",
                              "Bytes written to save the accepted configuration for a restart.");
    uv_timer_init(loop, &s->timer);
    s->timer.data = s;
    return s;
}

/* The last of timer and sync to close frees it. */
static void free_when_closed(struct sealer *s)
{
    if (s->syncing || uv_is_active((uv_handle_t *)&s->timer) || s->timer.data != NULL)
        return;
    free(s->directory);
    free(s->haproxy);
    free(s);
}

static void on_closed(uv_handle_t *handle)
{
    struct sealer *s = handle->data;

    handle->data = NULL;
    free_when_closed(s);
}

struct sealer *sealer_free(struct sealer *s)
{
    if (s == NULL)
        return NULL;
    s->stopped = s->closing = true;
    drop_next(s);
    file_close(&s->file);
    buf_done(&s->scratch);
    uv_close((uv_handle_t *)&s->timer, on_closed);
    return NULL;
}
