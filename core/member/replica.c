/* What undoes the open offers is a list per offer, used from the newest to the oldest. What they say is kept as bytes
 * until the commit appends it to the file.
 */
#include "member/replica.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/vec.h"
#include "haproxy/disk.h"
#include "haproxy/expand.h"

#define TEMPORARY ".bundle.tmp"
#define FILE_MAX_BYTES ((size_t)1 << 30)
#define GROWTH_MIN_BYTES ((uint64_t)1 << 20)
#define HEADER "haptic sealed 1 "
#define HEADER_MAX 128
#define WARN_NS (60 * NS_PER_S)
#define UNDO_MAX 64 /* lists, and */
#define OPEN_MAX ((size_t)16 << 20)

struct replica {
    char *directory;
    struct model *model;
    struct vault *vault;
    bool is_minimal, was_minimal; /* now; at the last commit */
    int64_t transitions, committed_transitions;
    uint64_t generation, committed_generation;
    char holder[OFFER_HOLDER_SIZE];
    VEC(struct direct_changes) undo;
    struct buf open;     /* sealed offers since the last commit */
    bool open_is_whole;  /* they make a whole copy by themselves */
    bool file_is_behind; /* it lacks a commit: a new one has to be made */
    uint64_t file_bytes, base_bytes;
    struct log_limit limit;
    struct metric *failures;
};

struct replica *replica_new(const char *directory, struct model *model, struct vault *vault, struct metrics *metrics)
{
    struct replica *r = xcalloc(1, sizeof(*r));
    r->directory = xstrdup(directory);
    r->model = model;
    r->vault = vault;
    r->file_is_behind = true;
    r->failures = metric_counter(metrics, "haptic_agent_seal_failures_total",
                                 "Times that the configuration could not be saved for a restart.");
    return r;
}

static void forget_open(struct replica *r)
{
    for (size_t i = 0; i < r->undo.length; i++)
        direct_done(&r->undo.items[i]);
    vec_done(&r->undo);
    expand_wipe(&r->open);
    r->open_is_whole = false;
}

struct replica *replica_free(struct replica *r)
{
    if (!r)
        return NULL;
    forget_open(r);
    free(r->directory);
    free(r);
    return NULL;
}

/* ---- the file ---- */

static void seal(struct buf *out, const char *bytes, size_t length)
{
    char hex[DIGEST_HEX_SIZE];
    buf_printf(out, HEADER "%zu %s\n", length, digest_hex(digest_of(bytes, length), hex));
    buf_add(out, bytes, length);
    buf_putc(out, '\n');
}

static int write_all(int fd, const char *bytes, size_t length)
{
    while (length > 0) {
        ssize_t n = write(fd, bytes, length);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return -1;
        bytes += n;
        length -= (size_t)n;
    }
    return 0;
}

static void warn_of_write(struct replica *r, const char *what, int reason)
{
    uint64_t similar;
    r->file_is_behind = true;
    metric_add(r->failures, 1);
    if (log_limit_pass(&r->limit, WARN_NS, &similar))
        log_warn(
            "Cannot save the configuration that HAProxy serves; after a restart the agent would begin with an older one",
            "directory", r->directory, "step", what, "reason", strerror(reason), "similar", log_int((int64_t)similar));
}

static bool append(struct replica *r, int at)
{
    CLEANUP(close_fd) int fd = openat(at, REPLICA_FILE, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0 || (uint64_t)st.st_size != r->file_bytes ||
        write_all(fd, r->open.data, r->open.length) < 0) {
        int reason = errno;
        if (fd >= 0 && ftruncate(fd, (off_t)r->file_bytes) < 0)
            log_debug("Cannot cut off a write that failed", "file", REPLICA_FILE, "error", strerror(errno));
        warn_of_write(r, "append", reason);
        return false;
    }
    r->file_bytes += r->open.length;
    return true;
}

static void replace(struct replica *r, int at, const struct buf *bytes)
{
    (void)unlinkat(at, TEMPORARY, 0);
    CLEANUP(close_fd) int fd = openat(at, TEMPORARY, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0 || write_all(fd, bytes->data, bytes->length) < 0 || fsync(fd) < 0) {
        warn_of_write(r, "write " TEMPORARY, errno);
        return;
    }
    (void)unlinkat(at, REPLICA_PREVIOUS, 0);
    if (linkat(at, REPLICA_FILE, at, REPLICA_PREVIOUS, 0) < 0 && errno != ENOENT)
        log_debug("Cannot keep the previous copy", "file", REPLICA_PREVIOUS, "error", strerror(errno));
    if (renameat(at, TEMPORARY, at, REPLICA_FILE) < 0 || fsync(at) < 0) {
        warn_of_write(r, "rename to " REPLICA_FILE, errno);
        return;
    }
    r->file_bytes = r->base_bytes = bytes->length;
    r->file_is_behind = false;
    r->limit = (struct log_limit){0};
}

static void write_whole(struct replica *r, int at)
{
    CLEANUP(expand_wipe) struct buf offer = {0}, bytes = {0};
    struct offer head = {.transitions = r->transitions, .generation = r->generation};
    memcpy(head.holder, r->holder, sizeof(head.holder));
    if (r->open_is_whole) {
        replace(r, at, &r->open);
        return;
    }
    offer_write_whole(&offer, r->model, r->vault, &head);
    seal(&bytes, buf_str(&offer), offer.length);
    replace(r, at, &bytes);
}

void replica_commit(struct replica *r)
{
    CLEANUP(close_fd) int at = -1;
    struct err err;
    bool is_news = replica_is_open(r);
    if (is_news && disk_directory_open(r->directory, &at, &err) < 0) {
        warn_of_write(r, err.text, err.sys);
    } else if (is_news) {
        uint64_t grown = r->file_bytes - r->base_bytes + r->open.length;
        bool is_large = grown > GROWTH_MIN_BYTES && grown > r->base_bytes;
        if (r->file_is_behind || r->open_is_whole || is_large || !append(r, at))
            write_whole(r, at);
    }
    forget_open(r);
    r->was_minimal = r->is_minimal;
    r->committed_transitions = r->transitions;
    r->committed_generation = r->generation;
}

/* ---- offers ---- */

static int take(struct replica *r, const struct offer *o, struct direct_changes *ret_undo, struct err *err)
{
    char hex[DIGEST_HEX_SIZE];
    if (*o->from && strcmp(o->from, replica_digest(r, hex)) != 0)
        return err_set(err, ERR_CONFLICT, "it begins from %s, and the state here is %s", o->from,
                       *hex ? hex : "not configured");
    if (model_direct_apply(r->model, &o->changes, !*o->from, o->result, o->result_count, ret_undo, err) < 0)
        return -1;
    offer_take_values(o, r->vault);
    r->is_minimal = false;
    r->transitions = o->transitions;
    r->generation = o->generation;
    memcpy(r->holder, o->holder, sizeof(r->holder));
    return 0;
}

/* HAProxy is away for long, and offers go on: one list is enough to go back to the last commit, which is the oldest
 * text of each item, and the next commit writes everything. */
static void fold(struct replica *r)
{
    struct direct_changes *oldest = &r->undo.items[0];
    for (size_t i = 1; i < r->undo.length; i++) {
        struct direct_changes *later = &r->undo.items[i];
        for (size_t k = 0; k < later->items.length; k++) {
            const struct direct_change *c = &later->items.items[k];
            if (!direct_find(oldest, c->kind, c->scope, c->key))
                (void)!direct_put(oldest, c, NULL);
        }
        direct_done(later);
    }
    r->undo.length = 1;
    expand_wipe(&r->open);
    r->open_is_whole = false;
    r->file_is_behind = true;
}

int replica_take(struct replica *r, const struct offer *o, const char *bytes, size_t length, struct err *err)
{
    struct direct_changes undo;
    if (take(r, o, &undo, err) < 0)
        return -1;
    vec_push(&r->undo, undo);
    if (!*o->from) {
        expand_wipe(&r->open);
        r->open_is_whole = true;
    }
    seal(&r->open, bytes, length);
    if (r->undo.length > UNDO_MAX || (r->undo.length > 1 && r->open.length > OPEN_MAX))
        fold(r);
    return 0;
}

bool replica_is_open(const struct replica *r)
{
    return r->undo.length > 0;
}

void replica_roll_back(struct replica *r)
{
    for (size_t i = r->undo.length; i-- > 0;)
        model_direct_undo(r->model, &r->undo.items[i]);
    forget_open(r);
    r->is_minimal = r->was_minimal;
    r->transitions = r->committed_transitions;
    r->generation = r->committed_generation;
}

/* ---- start ---- */

/* One sealed offer; *ret_size 0: it was not written to its end. */
static int unseal(const char *bytes, size_t length, const char **ret_offer, size_t *ret_length, size_t *ret_size,
                  struct err *err)
{
    const char *end = memchr(bytes, '\n', length < HEADER_MAX ? length : HEADER_MAX);
    char hex[DIGEST_HEX_SIZE] = "", is[DIGEST_HEX_SIZE], line[HEADER_MAX + 1] = "";
    size_t size = 0;
    *ret_size = 0;
    if (!end && length < HEADER_MAX)
        return 0;
    if (end)
        memcpy(line, bytes, (size_t)(end - bytes));
    if (sscanf(line, HEADER "%zu %32[0-9a-f]", &size, hex) != 2)
        return err_set(err, ERR_INVALID, "not a sealed offer");
    size_t begin = (size_t)(end - bytes) + 1;
    if (size > length - begin || size + 1 > length - begin)
        return 0;
    if (strcmp(digest_hex(digest_of(bytes + begin, size), is), hex) != 0)
        return err_set(err, ERR_INVALID, "damaged: the digest of its bytes is %s, not the one that is noted", is);
    *ret_offer = bytes + begin;
    *ret_length = size;
    *ret_size = begin + size + 1;
    return 0;
}

static int restore_offer(struct replica *r, const char *bytes, size_t length, struct err *err)
{
    struct direct_changes undo;
    struct offer o;
    if (offer_read(bytes, length, &o, err) < 0)
        return -1;
    int result = take(r, &o, &undo, err);
    offer_done(&o);
    if (result == 0)
        direct_done(&undo);
    return result;
}

static int restore_file(struct replica *r, const char *file, size_t *ret_cut, struct err *err)
{
    CLEANUP(expand_wipe) struct buf bytes = {0};
    size_t at = 0;
    if (disk_read_file(r->directory, file, FILE_MAX_BYTES, &bytes, err) < 0)
        return -1;
    while (at < bytes.length) {
        const char *offer;
        size_t length, size;
        if (unseal(bytes.data + at, bytes.length - at, &offer, &length, &size, err) < 0 ||
            (size > 0 && restore_offer(r, offer, length, err) < 0))
            return err_wrap(err, "at byte %zu", at);
        if (size == 0)
            break;
        at += size;
    }
    if (at == 0)
        return err_set(err, ERR_INVALID, "there is no whole state in it");
    *ret_cut = bytes.length - at;
    return 0;
}

static void empty_model(struct replica *r)
{
    struct direct_changes none, undo;
    struct err err;
    direct_init(&none);
    if (model_direct_apply(r->model, &none, true, (struct digest){0, 0}, 0, &undo, &err) == 0)
        direct_done(&undo);
    direct_done(&none);
}

static int64_t age_of(const struct replica *r, const char *file)
{
    CLEANUP(free_ptr) char *path = xasprintf("%s/%s", r->directory, file);
    struct stat st;
    return stat(path, &st) == 0 ? (int64_t)(time(NULL) - st.st_mtime) : 0;
}

bool replica_restore(struct replica *r, struct replica_restored *ret_restored,
                     void (*complain)(const char *file, const struct err *err))
{
    static const char *const files[] = {REPLICA_FILE, REPLICA_PREVIOUS};
    *ret_restored = (struct replica_restored){0};
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        struct err err;
        if (restore_file(r, files[i], &ret_restored->cut, &err) == 0) {
            ret_restored->file = files[i];
            ret_restored->items = model_accepted_count(r->model);
            ret_restored->transitions = r->transitions;
            ret_restored->generation = r->generation;
            ret_restored->age_s = age_of(r, files[i]);
            replica_commit(r);
            return true;
        }
        empty_model(r);
        if (err.kind != ERR_NOTFOUND)
            complain(files[i], &err);
    }
    return false;
}

void replica_set_minimal(struct replica *r, const char *bind)
{
    CLEANUP(free_ptr)
    char *text = xasprintf("mode http\ntimeout client 10s\nbind %s\n"
                           "http-request return status 503 content-type text/plain string \"not configured\\n\"\n",
                           bind);
    const struct contribution_input input = {.kind = CONTRIBUTION_SECTION,
                                             .scope = "frontend haptic-agent",
                                             .scope_length = strlen("frontend haptic-agent"),
                                             .key = "body",
                                             .key_length = strlen("body"),
                                             .text = text,
                                             .text_length = strlen(text)};
    const struct fragment_head head = {.id = "agent", .template_name = "agent", .owner_kind = "", .owner_id = ""};
    struct fragment *owner = fragment_new(&head, &input, 1);
    const struct contribution *c = &owner->items[0];
    struct direct_changes changes, undo;
    struct digest digest;
    struct err err;
    direct_init(&changes);
    const struct direct_change change = {.kind = c->kind,
                                         .scope = (char *)(uintptr_t)c->scope,
                                         .key = (char *)(uintptr_t)c->key,
                                         .text = c->text,
                                         .owner = owner};
    (void)!direct_put(&changes, &change, NULL);
    digest = direct_digest(&changes);
    if (model_direct_apply(r->model, &changes, true, digest, 1, &undo, &err) == 0)
        direct_done(&undo);
    direct_done(&changes);
    fragment_unref(owner);
    r->is_minimal = r->was_minimal = true;
}

bool replica_is_minimal(const struct replica *r)
{
    return r->is_minimal;
}

const char *replica_digest(const struct replica *r, char ret_hex[DIGEST_HEX_SIZE])
{
    if (r->is_minimal || model_is_empty(r->model, MODEL_ACCEPTED))
        *ret_hex = '\0';
    else
        digest_hex(model_digest(r->model, MODEL_ACCEPTED), ret_hex);
    return ret_hex;
}

int64_t replica_transitions(const struct replica *r)
{
    return r->transitions;
}

uint64_t replica_generation(const struct replica *r)
{
    return r->generation;
}
