/* DIRECTORY/journal covers the time until the directory is level again: words of server lines and backends cannot be
 * asked of HAProxy, so a successor that adopts it learns them here. Before commands go out, a comment tells which
 * sections are about to change; afterwards each is appended as it is now, in haproxy.cfg's own format. A section that
 * is only announced has an unknown outcome: of its servers nothing but what HAProxy tells is believed. No sync: the
 * journal has to outlive this process, not the machine, which takes HAProxy with it.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "agent/agent_state.h"
#include "base/alloc.h"

#define JOURNAL_MAX_BYTES ((size_t)64 << 20)
#define ANNOUNCED "# changing "

static void journal_write(struct agent *a, const struct buf *text)
{
    if (a->journal_fd < 0) {
        CLEANUP(free_ptr) char *path = xasprintf("%s/journal", a->config.directory);
        a->journal_fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    }
    /* Without a journal a successor may believe haproxy.cfg too much for a second: no reason to stop deploying. */
    if (a->journal_fd < 0 || write(a->journal_fd, text->data, text->length) != (ssize_t)text->length)
        metric_add(metric_counter(a->metrics, "haptic_deployment_errors_total", "Deployments that failed.", "reason",
                                  "journal"),
                   1);
    a->journal_size += text->length;
}

void journal_begin(struct agent *a, const struct touched *t)
{
    CLEANUP(buf_done) struct buf text = {0};
    for (size_t i = 0; i < t->backends.length; i++)
        if (t->backends.items[i].has_ops)
            buf_printf(&text, ANNOUNCED "%s\n", t->backends.items[i].name);
    if (text.length)
        journal_write(a, &text);
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
        for (size_t k = 0; k < b->cfg.servers.length; k++) {
            const struct cfg_server *s = b->cfg.servers.items[k];
            if (!s->words_known)
                continue;
            bool v6 = s->literal && strchr(s->address, ':');
            buf_printf(&text, "    server %s %s%s%s:%d weight %d", s->name, v6 ? "[" : "", s->address, v6 ? "]" : "",
                       s->port, s->weight);
            append_words(&text, s);
            buf_putc(&text, '\n');
        }
    }
    if (text.length)
        journal_write(a, &text);
}

void journal_clear(struct agent *a, uint64_t size)
{
    if (a->journal_size > size)
        return;
    CLEANUP(free_ptr) char *path = xasprintf("%s/journal", a->config.directory);
    if (truncate(path, 0) == 0 || errno == ENOENT)
        a->journal_size = 0;
}

struct loading {
    struct live *live;
    struct map announced;
};

/* Servers as they were left; the rest of a section that haproxy.cfg has stays as it is there. */
static void load_section(void *ctx, const char *name, const char *from, const char *text, size_t length)
{
    struct loading *l = ctx;
    struct live_backend *before = live_backend(l->live, name);
    struct cfg_backend parsed = {0};
    (void)map_del(&l->announced, name);
    cfg_backend_parse(text, length, from, &parsed);
    if (before) {
        parsed.other = before->cfg.other;
        parsed.by_hand |= before->cfg.by_hand;
        buf_add(&parsed.default_words, buf_str(&before->cfg.default_words), before->cfg.default_words.length);
    } else {
        before = live_backend_get(l->live, name);
    }
    cfg_backend_done(&before->cfg);
    before->cfg = parsed;
}

void journal_load(struct agent *a, struct live *live)
{
    CLEANUP(buf_done) struct buf text = {0};
    struct loading l = {.live = live};
    struct map_slot *slot;
    if (disk_read(a->disk, "journal", JOURNAL_MAX_BYTES, &text, NULL) || !text.length)
        return;
    /* Announcements first: what follows one takes it back, and what was announced again later is in the last ones. */
    const char *last = text.data;
    for (const char *line = text.data; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
        const char *end = strchr(line, '\n');
        if (!end || strncmp(line, ANNOUNCED, strlen(ANNOUNCED)) != 0)
            continue;
        cfg_split(last, (size_t)(line - last), load_section, &l);
        const char *name = line + strlen(ANNOUNCED);
        map_putn(&l.announced, name, (size_t)(end - name), live);
        last = end + 1;
    }
    cfg_split(last, (size_t)(text.data + text.length - last), load_section, &l);
    for (size_t it = 0; (slot = map_next(&l.announced, &it));) {
        struct live_backend *b = live_backend(live, slot->key);
        for (size_t i = 0; b && i < b->cfg.servers.length; i++)
            b->cfg.servers.items[i]->words_known = false;
    }
    map_done(&l.announced);
}
