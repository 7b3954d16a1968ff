/* The directory is written from the model's accepted state, but only when this state is live (the digests are
 * compared), or just before a reload or start that makes it live. haproxy.cfg begins with a global section of the
 * agent: the lineage mark, which identifies a running process, and the socket of the command line, unless the templates
 * bind it themselves.
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
#include "haproxy/draft.h"

#define CONFIG_MAX_BYTES ((size_t)1 << 30)

static void lineage_new(char out[LIVE_LINEAGE_SIZE])
{
    unsigned char random[16];
    if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
        abort();
    for (size_t i = 0; i < sizeof(random); i++)
        snprintf(out + 2 * i, 3, "%02x", random[i]);
}

/* "maps/host.map": a relative name is resolved in the directory that HAProxy runs in. */
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

void image_head(struct buf *out, const char *lineage, const char *socket, const struct buf *body)
{
    buf_printf(out, "global\n    setenv HAPTIC_LINEAGE %s\n", lineage);
    if (!config_binds(body, socket))
        buf_printf(out, "    stats socket %s mode 600 level admin\n", socket);
    buf_putc(out, '\n');
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

static void build_file(void *ctx, enum contribution_kind kind, const char *name, const char *bytes, size_t length)
{
    struct building *b = ctx;
    struct buf text = {0};
    CLEANUP(free_ptr) char *path = draft_path(kind, name);
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
    image_head(&config, new_lineage ? a->next_lineage : a->lineage, a->config.runtime_socket, &body);
    buf_add(&config, buf_str(&body), body.length);
    pace_learn(a, buf_str(&config));
    if (b.live)
        live_load_config(b.live, buf_str(&config), config.length);
    model_each_map(a->model, build_map, &b);
    model_each_file(a->model, MODEL_ACCEPTED, build_file, &b);
    addresses_load(a);
    addresses_add_file(a, new_lineage ? a->next : a->live, files);
    acme_files_add(a, files);
    size_t length = config.length;
    disk_files_take(files, DISK_CONFIG, buf_steal(&config), length);
    if (b.err.kind != ERR_NONE) {
        disk_files_done(files);
        if (new_lineage)
            a->next = live_free(a->next);
        *err = b.err;
        return -1;
    }
    if (new_lineage)
        live_starts(a->next);
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
    /* HAProxy cannot report the content of files: those on disk are those that it was started with. */
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
        acme_files_failed(a);
    if (result->err)
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

static void write_begin(struct agent *a, void (*after)(struct agent *a, const struct err *err))
{
    a->writing = true;
    a->after_write = after;
}

void image_write(struct agent *a, struct disk_files *files, bool whole,
                 void (*after)(struct agent *a, const struct err *err))
{
    write_begin(a, after);
    if (!disk_write(a->disk, files, whole, on_written, a))
        abort(); /* callers wait until no write is running */
}

void image_write_composed(struct agent *a, struct disk_files *files, disk_compose *compose, void *ctx,
                          void (*after)(struct agent *a, const struct err *err))
{
    write_begin(a, after);
    if (!disk_write_composed(a->disk, files, compose, ctx, on_written, a))
        abort(); /* see above */
}
