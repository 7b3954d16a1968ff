/* DIRECTORY/journal covers the time until the directory is up to date again. HAProxy cannot report the words of server
 * lines and backends, so a successor that adopts this HAProxy reads them here. Before commands are sent, a comment
 * announces the sections that are about to change. Afterwards each of them is appended in its new form, in
 * haproxy.cfg's own format. A section that was only announced has an unknown result. The announcement contains its
 * servers as wanted; words on which these and the earlier servers agree are trusted. For all others only HAProxy's own
 * answers count. The file is not synced: it has to survive this process, but not a crash of the machine, which also
 * ends HAProxy.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/agent_state.h"
#include "base/alloc.h"

#define JOURNAL_MAX_BYTES ((size_t)64 << 20)
#define ANNOUNCED "# changing "
#define WANTED "#= " /* a server of the section that was announced before it */

static void journal_write(struct agent *a, const struct buf *text)
{
    if (a->journal_fd < 0) {
        CLEANUP(close_fd) int at = -1;
        if (disk_directory_open(a->config.directory, &at, NULL) == 0)
            a->journal_fd = openat(at, "journal", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    }
    /* Without a journal, a successor may trust an outdated haproxy.cfg for a second. This is no reason to stop
     * deploying. */
    if (a->journal_fd < 0 || write(a->journal_fd, text->data, text->length) != (ssize_t)text->length)
        metric_add(metric_counter(a->metrics, "haptic_deployment_errors_total", "Deployments that failed.", "reason",
                                  "journal"),
                   1);
    a->journal_size += text->length;
}

static void append_words(struct buf *out, const struct cfg_server *s)
{
    const char *end = s->words + s->words_length;
    for (const char *w = s->words; w < end; w += strlen(w) + 1) {
        buf_puts(out, " '");
        for (const char *c = w; *c; c++)
            if (*c == '\'')
                buf_puts(out, "'\\''");
            else
                buf_putc(out, *c);
        buf_putc(out, '\'');
    }
}

static void append_server(struct buf *out, const char *before, const struct cfg_server *s)
{
    bool v6 = s->literal && strchr(s->address, ':');
    if (!s->words_known)
        return;
    buf_printf(out, "%sserver %s %s%s%s:%d weight %d", before, s->name, v6 ? "[" : "", s->address, v6 ? "]" : "",
               s->port, s->weight);
    append_words(out, s);
    buf_putc(out, '\n');
}

void journal_begin(struct agent *a, const struct touched *t)
{
    CLEANUP(buf_done) struct buf text = {0};
    for (size_t i = 0; i < t->backends.length; i++) {
        const struct touched_backend *b = &t->backends.items[i];
        if (!b->has_ops)
            continue;
        buf_printf(&text, ANNOUNCED "%s\n", b->name);
        for (size_t k = 0; b->is_wanted && k < b->wanted.servers.length; k++)
            append_server(&text, WANTED, b->wanted.servers.items[k]);
    }
    if (text.length)
        journal_write(a, &text);
}

void journal_end(struct agent *a, const struct touched *t)
{
    CLEANUP(buf_done) struct buf text = {0};
    for (size_t i = 0; i < t->backends.length; i++) {
        const struct live_backend *b = live_backend(a->live, t->backends.items[i].name);
        if (!t->backends.items[i].has_ops || !b)
            continue;
        buf_puts(&text, t->backends.items[i].name);
        if (b->cfg.from && *b->cfg.from)
            buf_printf(&text, " from %s", b->cfg.from);
        buf_putc(&text, '\n');
        for (size_t k = 0; k < b->cfg.servers.length; k++)
            append_server(&text, "    ", b->cfg.servers.items[k]);
    }
    if (text.length)
        journal_write(a, &text);
}

void journal_clear(struct agent *a, uint64_t size)
{
    if (a->journal_size > size)
        return;
    CLEANUP(close_fd) int at = -1;
    if (disk_directory_open(a->config.directory, &at, NULL) < 0)
        return;
    CLEANUP(close_fd) int fd = openat(at, "journal", O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd >= 0 ? ftruncate(fd, 0) == 0 : errno == ENOENT)
        a->journal_size = 0;
}

struct loading {
    struct live *live;
    struct map announced; /* section → struct cfg_backend, its servers as they were wanted */
};

static void announced_free(struct cfg_backend *b)
{
    if (!b)
        return;
    cfg_backend_done(b);
    free(b);
}

/* Loads a section whose last change has an unknown result. */
static void load_unfinished(struct live *l, struct live_backend *b, const struct cfg_backend *wanted)
{
    for (size_t i = 0; i < b->cfg.servers.length; i++) {
        struct cfg_server *s = b->cfg.servers.items[i];
        const struct cfg_server *w = cfg_backend_server(wanted, s->name);
        s->words_known = s->words_known && wanted->servers.length && (!w || cfg_server_same_words(s, w));
    }
    /* If a new server exists, it has these words. */
    for (size_t i = 0; i < wanted->servers.length; i++) {
        const struct cfg_server *w = wanted->servers.items[i];
        if (cfg_backend_server(&b->cfg, w->name))
            continue;
        live_note_trusted(l, w->words, w->words_length);
        cfg_backend_insert(&b->cfg, cfg_server_copy(w, w->address, w->port));
    }
}

/* Loads the servers of a section. Everything else of a section that haproxy.cfg contains stays as it is there. */
static void load_section(void *ctx, const char *name, const char *from, const char *text, size_t length)
{
    struct loading *l = ctx;
    struct live_backend *before = live_backend(l->live, name);
    struct cfg_backend parsed = {0};
    announced_free(map_del(&l->announced, name));
    cfg_backend_parse(text, length, from, &parsed);
    if (before) {
        parsed.other = before->cfg.other;
        parsed.by_hand |= before->cfg.by_hand;
        buf_add(&parsed.default_words, buf_str(&before->cfg.default_words), before->cfg.default_words.length);
    } else {
        before = live_backend_get(l->live, name);
    }
    live_backend_take(l->live, before, &parsed);
}

void journal_load(struct agent *a, struct live *live)
{
    CLEANUP(buf_done) struct buf text = {0};
    struct loading l = {.live = live};
    struct map_slot *slot;
    if (disk_read(a->disk, "journal", JOURNAL_MAX_BYTES, &text, NULL) || !text.length)
        return;
    /* First pass: the announcements. A section that follows an announcement ends it; a later announcement replaces an
     * earlier one. */
    struct cfg_backend *announced = NULL;
    const char *last = text.data;
    for (const char *line = text.data; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
        const char *end = strchr(line, '\n');
        bool is_wanted = strncmp(line, WANTED, strlen(WANTED)) == 0;
        if (!end || (!is_wanted && strncmp(line, ANNOUNCED, strlen(ANNOUNCED)) != 0))
            continue;
        cfg_split(last, (size_t)(line - last), load_section, &l);
        last = end + 1;
        if (is_wanted) {
            struct cfg_server *s;
            const char *text_of = line + strlen(WANTED);
            if (announced && cfg_server_parse(text_of, (size_t)(end - text_of), &s, NULL) == 0)
                cfg_backend_insert(announced, s);
            continue;
        }
        const char *name = line + strlen(ANNOUNCED);
        announced = xcalloc(1, sizeof(*announced));
        announced_free(map_putn(&l.announced, name, (size_t)(end - name), announced));
    }
    cfg_split(last, (size_t)(text.data + text.length - last), load_section, &l);
    for (size_t it = 0; (slot = map_next(&l.announced, &it));) {
        struct live_backend *b = live_backend(live, slot->key);
        if (b)
            load_unfinished(live, b, slot->value);
        announced_free(slot->value);
    }
    map_done(&l.announced);
}
