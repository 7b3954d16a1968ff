/* Everything that HAProxy tells is read, and the live view becomes what it says:
 *
 *   names, servers, … ─► merge, in slices ─► maps ─► merge, in slices ─► certificates, crt-lists ─► end
 *
 * The answers are held while they are merged. They have a line for each server and each entry of a map, so a change
 * that arrives meanwhile waits for one slice only.
 */
#include <stdio.h>
#include <string.h>

#include "agent/agent_state.h"
#include "base/alloc.h"

#define SLICE_STEPS 1000 /* of a merge, between two turns of the loop */
#define LOCKED_MAX 40    /* reads anew while HAProxy replaces certificates, each 25 ms later */

enum {
    READ_HELP,
    READ_VERSION,
    READ_LINEAGE,
    READ_INFO,
    READ_BACKENDS,
    READ_MAPS,
    READ_CERTIFICATES, /* and the others of enum ssl_file_kind */
    READ_LISTS = READ_CERTIFICATES + SSL_FILE_KINDS,
    READ_SERVERS,
    READ_COUNT
};
/* clang-format off */
static const char *const read_commands[READ_COUNT] = {
    "help", "show version", "show env HAPTIC_LINEAGE", "show info", "show backend", "show map", "show ssl cert",
    "show ssl ca-file", "show ssl crl-file", "show ssl crt-list", "show servers state",
};
/* clang-format on */

void reading_done(struct reading *r)
{
    r->merge = live_merge_free(r->merge);
    runtime_held_done(&r->held);
    vec_done(&r->maps);
    r->next = 0;
}

static void read_end(struct agent *a, enum read_outcome outcome, const struct err *err)
{
    reading_done(&a->apply.reading);
    a->apply.after_read(a, outcome, err);
}

/* Runs commands that only read; done gets their answers, which are held. */
static void read_run(struct agent *a, const char *const *commands, size_t count, runtime_done *done)
{
    struct err err;
    int64_t deadline_ns;
    if (agent_may_run_batch(a, count, &deadline_ns, &err)) {
        agent_forget_live(a, err.text);
        read_end(a, READ_FAILED, &err);
        return;
    }
    a->call = runtime_run(a->loop, a->config.runtime_socket, commands, count, deadline_ns, AGENT_READ_MAX_BYTES, done,
                          a);
    runtime_hold(a->call, &a->apply.reading.held);
}

/* HAProxy replaces certificates that it has obtained at times of its own choice, and does not list them meanwhile. Then
 * everything is read again, or reading fails. */
static bool read_is_locked(struct agent *a, const struct runtime_answer *answers, size_t count)
{
    struct err err;
    bool locked = false;
    for (size_t i = 0; i < count; i++)
        locked |= ssl_file_answer_is_locked(answers[i].text);
    if (!locked)
        return false;
    if (a->apply.reading.locked++ < LOCKED_MAX) {
        reading_done(&a->apply.reading);
        apply_step_later(a, read_begin, 25 * NS_PER_MS);
        return true;
    }
    err_set(&err, ERR_TIMEOUT, "HAProxy replaces certificates all the time, and tells of none");
    read_end(a, READ_FAILED, &err);
    return true;
}

static void step_certificates(struct agent *a)
{
    struct reading *r = &a->apply.reading;
    certificates_merge(a, r->held.answers + r->maps.length, r->others);
    read_end(a, READ_EVERYTHING, NULL);
}

static void step_maps(struct agent *a)
{
    struct reading *r = &a->apply.reading;
    if (!r->merge && r->next == r->maps.length) {
        step_certificates(a);
        return;
    }
    if (!r->merge)
        r->merge = live_merge_map(r->maps.items[r->next], r->held.answers[r->next].text);
    if (live_merge_step(r->merge, SLICE_STEPS)) {
        r->merge = live_merge_free(r->merge);
        r->next++;
    }
    apply_step_later(a, step_maps, 0);
}

static void on_maps(void *ctx, const struct err *err, const struct runtime_answer *answers, size_t count)
{
    struct agent *a = ctx;
    struct reading *r = &a->apply.reading;
    a->call = NULL;
    if (err) {
        read_end(a, READ_FAILED, err);
        return;
    }
    r->others = count - r->maps.length;
    if (!read_is_locked(a, answers + r->maps.length, r->others))
        step_maps(a);
}

/* Maps, certificates and crt-lists by their names. */
static void read_named(struct agent *a)
{
    struct reading *r = &a->apply.reading;
    struct batch reads = {0};
    struct map_slot *slot;
    for (size_t it = 0; (slot = map_next(&a->live->maps, &it));) {
        struct live_map *map = slot->value;
        if (!map->used)
            continue;
        vec_push(&r->maps, map);
        (void)batch_add_read(&reads, xasprintf("show map %s", map->path));
    }
    certificates_commands(a, &reads);
    if (reads.commands.length)
        read_run(a, reads.commands.items, reads.commands.length, on_maps);
    else
        read_end(a, READ_EVERYTHING, NULL);
    batch_done(&reads);
}

static void step_servers(struct agent *a)
{
    struct reading *r = &a->apply.reading;
    if (!live_merge_step(r->merge, SLICE_STEPS)) {
        apply_step_later(a, step_servers, 0);
        return;
    }
    live_merge_map_names(a->live, r->held.answers[READ_MAPS].text);
    certificates_merge_names(a, r->held.answers + READ_CERTIFICATES, &r->held.answers[READ_LISTS]);
    reading_done(r);
    read_named(a);
}

/* Checks whether the mark "HAPTIC_LINEAGE=…" is that of the known state. If not, checks whether it is the mark of the
 * directory on disk. */
static bool lineage_is_known(struct agent *a, const char *answer)
{
    const char *mark = strchr(answer, '=');
    mark = mark ? mark + 1 : "";
    size_t length = strspn(mark, "0123456789abcdef");
    if (length != LIVE_LINEAGE_SIZE - 1)
        return false;
    bool is_sure = a->known || a->live_is_new;
    a->live_is_new = false;
    if (is_sure && strncmp(a->live->lineage, mark, length) == 0)
        return true;
    struct live *disk = live_new();
    image_load(a, disk);
    if (strncmp(disk->lineage, mark, length) != 0) {
        live_free(disk);
        return false;
    }
    if (a->live && strncmp(a->live->lineage, mark, length) == 0)
        live_take_counters(disk, a->live);
    live_free(a->live);
    a->live = disk;
    a->apply.gives_way = false;
    a->shapes_due = true;
    memcpy(a->lineage, disk->lineage, sizeof(a->lineage));
    a->level = false;
    return true;
}

static void on_names(void *ctx, const struct err *err, const struct runtime_answer *answers, size_t count)
{
    struct agent *a = ctx;
    a->call = NULL;
    (void)count; /* count is complete when there is no error */
    if (err) {
        a->running = a->running && a->process;
        read_end(a, READ_FAILED, err);
        return;
    }
    a->running = true;
    if (read_is_locked(a, answers + READ_CERTIFICATES, SSL_FILE_KINDS + 1))
        return;
    bool replaces = versions_read(a, answers[READ_VERSION].text, answers[READ_HELP].text);
    const char *pid = strstr(answers[READ_INFO].text, "\nPid: ");
    int worker = 0;
    if (pid && sscanf(pid, "\nPid: %d", &worker) == 1)
        a->known = watch_note_worker(a, worker) && a->known;
    bool lineage = lineage_is_known(a, answers[READ_LINEAGE].text);
    if (!lineage && a->apply.round != ROUND_REST) {
        read_end(a, READ_UNKNOWN, NULL);
        return;
    }
    if (!lineage) {
        /* Only HAProxy's own answers are used. The reload is still needed. */
        live_free(a->live);
        a->live = live_new();
        a->level = false;
    }
    if (replaces && a->apply.round != ROUND_REST) {
        read_end(a, READ_OTHER_VERSION, NULL);
        return;
    }
    a->apply.reading.merge = live_merge_servers(a->live, answers[READ_BACKENDS].text, answers[READ_SERVERS].text);
    step_servers(a);
}

void read_begin(struct agent *a)
{
    read_run(a, read_commands, READ_COUNT, on_names);
}
