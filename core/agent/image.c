/* The directory is written from the model's accepted state, but only at moments when that is what is live (the digests
 * tell), or right before a reload or start that makes it live. haproxy.cfg begins with a global section of our own:
 * the lineage mark by which a running process is recognised, and the command line's socket unless the templates have
 * bound it themselves.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/agent_state.h"
#include "base/alloc.h"
#include "base/log.h"

#define CONFIG_MAX_BYTES ((size_t)1 << 30)
#define WRITE_WARN_NS (60 * NS_PER_S)
#define WRITE_WARN_MAX_NS (3600 * NS_PER_S)
#define WRITE_COST_FACTOR 200 /* a write may take a two-hundredth of the time between two, with all its threads */

static void lineage_new(char out[LIVE_LINEAGE_SIZE])
{
    unsigned char random[16];
    if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
        abort();
    for (size_t i = 0; i < sizeof(random); i++)
        snprintf(out + 2 * i, 3, "%02x", random[i]);
}

/* "maps/host.map": a name without a slash relative to the directory HAProxy runs in. */
static bool config_binds(const struct buf *config, const char *socket)
{
    const char *name = strrchr(socket, '/');
    const char *line = buf_str(config);
    while ((line = strstr(line, "stats socket "))) {
        const char *path = line + strlen("stats socket ");
        size_t length = strcspn(path, " \n");
        const char *base = path;
        for (const char *c = path; c < path + length; c++)
            if (*c == '/')
                base = c + 1;
        size_t base_length = (size_t)(path + length - base);
        if (name && strlen(name + 1) == base_length && memcmp(name + 1, base, base_length) == 0)
            return true;
        line = path;
    }
    return false;
}

struct building {
    struct agent *a;
    struct disk_files *files;
    struct live *live;
    struct err err; /* the first one */
};

static void build_map(void *ctx, const char *name)
{
    struct building *b = ctx;
    struct buf text = {0};
    if (b->err.kind != ERR_NONE || !model_map_exists(b->a->model, MODEL_ACCEPTED, name))
        return;
    model_write_map(b->a->model, MODEL_ACCEPTED, name, &text);
    CLEANUP(free_ptr) char *path = xasprintf("maps/%s", name);
    if (expand_buf(b->a->config.vault, EXPAND_MAP, &text, NULL, &b->err) < 0) {
        err_wrap(&b->err, "%s", path);
        buf_done(&text);
        return;
    }
    if (b->live)
        live_load_map(b->live, name, buf_str(&text), text.length);
    size_t length = text.length;
    disk_files_take(b->files, path, buf_steal(&text), length);
}

bool image_has_file(enum contribution_kind kind)
{
    return kind == CONTRIBUTION_FILE || kind == CONTRIBUTION_CERTIFICATE || kind == CONTRIBUTION_CRT_LIST;
}

char *image_file_path(enum contribution_kind kind, const char *name)
{
    return xasprintf("%s/%s", kind == CONTRIBUTION_FILE ? "files" : "certs", name);
}

static void build_file(void *ctx, enum contribution_kind kind, const char *name, const char *bytes, size_t length)
{
    struct building *b = ctx;
    struct buf text = {0};
    CLEANUP(free_ptr) char *path = image_file_path(kind, name);
    if (b->err.kind != ERR_NONE)
        return;
    if (expand(b->a->config.vault, EXPAND_FILE, bytes, length, &text, NULL, &b->err) < 0) {
        err_wrap(&b->err, "%s", path);
        expand_wipe(&text);
        return;
    }
    length = text.length;
    if (b->live)
        live_load_file(b->live, path, buf_str(&text), length);
    disk_files_take(b->files, path, buf_steal(&text), length);
}

int image_build(struct agent *a, struct disk_files *files, bool new_lineage, struct err *err)
{
    CLEANUP(expand_wipe) struct buf body = {0};
    struct buf config = {0};
    struct building b = {.a = a, .files = files};

    model_write_config(a->model, MODEL_ACCEPTED, &body, NULL);
    if (expand_buf(a->config.vault, EXPAND_CONFIG, &body, NULL, err) < 0)
        return -1;
    if (new_lineage) {
        lineage_new(a->next_lineage);
        a->next = live_free(a->next);
        b.live = a->next = live_new();
    }
    buf_printf(&config, "global\n    setenv HAPTIC_LINEAGE %s\n", new_lineage ? a->next_lineage : a->lineage);
    if (!config_binds(&body, a->config.runtime_socket))
        buf_printf(&config, "    stats socket %s mode 600 level admin\n", a->config.runtime_socket);
    buf_putc(&config, '\n');
    buf_add(&config, buf_str(&body), body.length);
    pace_learn(a, buf_str(&config));
    if (b.live)
        live_load_config(b.live, buf_str(&config), config.length);
    model_each_map(a->model, build_map, &b);
    model_each_file(a->model, MODEL_ACCEPTED, build_file, &b);
    addresses_load(a);
    addresses_add_file(a, new_lineage ? a->next : a->live, files);
    size_t length = config.length;
    disk_files_take(files, DISK_CONFIG, buf_steal(&config), length);
    if (b.err.kind != ERR_NONE) {
        disk_files_done(files);
        if (new_lineage)
            a->next = live_free(a->next);
        *err = b.err;
        return -1;
    }
    a->writing_digest = model_digest(a->model, MODEL_ACCEPTED);
    return 0;
}

static void load_file(struct agent *a, struct live *live, const char *folder, const char *name)
{
    CLEANUP(expand_wipe) struct buf bytes = {0};
    CLEANUP(free_ptr) char *path = xasprintf("%s/%s", folder, name);
    if (disk_read(a->disk, path, CONFIG_MAX_BYTES, &bytes, NULL) == 0)
        live_load_file(live, path, buf_str(&bytes), bytes.length);
}

static void load_folder(struct agent *a, struct live *live, const char *folder)
{
    CLEANUP(close_fd) int at = -1;
    if (disk_directory_open(a->config.directory, &at, NULL) < 0)
        return;
    int fd = openat(at, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (!dir) {
        close_fd(&fd);
        return;
    }
    for (struct dirent *entry; (entry = readdir(dir));)
        if (entry->d_name[0] != '.')
            load_file(a, live, folder, entry->d_name);
    closedir(dir);
}

void image_load(struct agent *a, struct live *live)
{
    CLEANUP(expand_wipe) struct buf text = {0};
    if (disk_read(a->disk, DISK_CONFIG, CONFIG_MAX_BYTES, &text, NULL))
        return;
    live_load_config(live, buf_str(&text), text.length);
    pace_learn(a, buf_str(&text));
    journal_load(a, live);
    /* Files cannot be asked of HAProxy: those on disk are those it was started with. */
    load_folder(a, live, "files");
    load_folder(a, live, "certs");
}

static void on_written(void *ctx, const struct disk_result *result)
{
    struct agent *a = ctx;
    void (*after)(struct agent *, const struct err *) = STEAL(a->after_write);
    a->writing = false;
    a->last_write_ns = clock_now_ns();
    altered_note(a, result);
    if (!result->err)
        altered_tell(a);
    else
        metric_add(
            metric_counter(a->metrics, "haptic_deployment_errors_total", "Deployments that failed.", "reason", "disk"),
            1);
    if (after)
        after(a, result->err);
    image_release(a);
}

void image_release(struct agent *a)
{
    void (*waiting)(struct agent *) = a->writing ? NULL : STEAL(a->step_after_write);
    if (waiting)
        waiting(a);
}

void image_write(struct agent *a, struct disk_files *files, bool whole,
                 void (*after)(struct agent *a, const struct err *err))
{
    a->writing = true;
    a->after_write = after;
    if (!disk_write(a->disk, files, whole, on_written, a))
        abort(); /* the callers wait until the disk is free */
}

/* ---- bringing it level ---- */

static void after_leveling(struct agent *a, const struct err *err)
{
    uint64_t similar;
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
    image_schedule(a);
}

void image_schedule(struct agent *a)
{
    if (a->stopping || a->level || uv_is_active((uv_handle_t *)&a->disk_timer))
        return;
    int64_t earliest = a->last_write_ns + a->write_cost_ns * WRITE_COST_FACTOR - clock_now_ns();
    int64_t delay = earliest > a->config.disk_delay_ns ? earliest : a->config.disk_delay_ns;
    uv_timer_start(&a->disk_timer, image_on_timer, (uint64_t)(delay / NS_PER_MS), 0);
}

bool image_level_now(struct agent *a)
{
    /* What was accepted since the last apply is not live: the directory must not be ahead of it. */
    if (a->level || a->writing || !a->known || !*a->lineage || !a->fenced ||
        !digest_equal(a->live_digest, model_digest(a->model, MODEL_ACCEPTED)))
        return false;
    struct err err;
    if (agent_check_fence(a, &err)) {
        agent_forget_live(a, err.text);
        return false;
    }
    int64_t start = clock_now_ns();
    struct disk_files files = {0};
    if (image_build(a, &files, false, &err) < 0) {
        log_debug("Cannot bring the HAProxy directory level", "error", err.text);
        return false;
    }
    a->journal_mark = a->journal_size;
    /* Hashing and writing in the thread costs about as much again. */
    a->write_cost_ns = 2 * (clock_now_ns() - start);
    image_write(a, &files, true, after_leveling);
    disk_files_done(&files);
    return true;
}

void image_on_timer(uv_timer_t *timer)
{
    struct agent *a = timer->data;
    if (!a->level && !image_level_now(a))
        uv_timer_start(&a->disk_timer, image_on_timer, 50, 0);
}
