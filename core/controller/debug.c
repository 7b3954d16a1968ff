/* Templates are named without a line, because the renderer would have to be asked for the line, and a page does not
 * wait for it. */
#include "controller/debug.h"

#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "data/json.h"
#include "haproxy/cfg.h"
#include "haproxy/route.h"

static void put_bytes(struct buf *out, const char *before, const char *bytes, size_t length)
{
    buf_puts(out, before);
    if (json_write_string(out, bytes, length, NULL) < 0)
        buf_puts(out, "null"); /* only text that is not UTF-8 ends here */
}

static void put_string(struct buf *out, const char *before, const char *text)
{
    put_bytes(out, before, text, strlen(text));
}

/* ,"object":…,"template":…,"fragment":… */
static void put_writer(struct buf *out, const struct item *item)
{
    const struct fragment *f = item ? route_item_owner(item, MODEL_ACCEPTED) : NULL;

    if (f == NULL) {
        buf_puts(out, ",\"object\":null,\"template\":null,\"fragment\":null");
        return;
    }
    CLEANUP(free_ptr) char *object = xasprintf("%s %s", f->owner_kind, f->owner_id);
    if (*f->owner_kind)
        put_string(out, ",\"object\":", object);
    else
        buf_puts(out, ",\"object\":null");
    put_string(out, ",\"template\":", f->template_name);
    put_string(out, ",\"fragment\":", f->id);
}

void debug_config(const struct model *m, struct buf *out)
{
    CLEANUP(model_lines_done) struct model_lines lines = {0};
    CLEANUP(buf_done) struct buf text = {0};

    model_write_config(m, MODEL_ACCEPTED, &text, &lines);
    buf_puts(out, "{\"lines\":[");
    const char *at = buf_str(&text);
    for (size_t i = 0; i < lines.lines.length && *at != '\0'; i++) {
        const struct model_origin *origin = &lines.lines.items[i];
        size_t length = strcspn(at, "\n");
        buf_printf(out, "%s\n{\"line\":%zu", i ? "," : "", i + 1);
        put_bytes(out, ",\"text\":", at, length);
        if (origin->item != NULL) {
            put_string(out, ",\"section\":", origin->item->scope);
            put_string(out, ",\"piece\":", origin->header ? "" : origin->item->key);
            put_writer(out, origin->item);
        }
        buf_putc(out, '}');
        at += length + (at[length] == '\n');
    }
    buf_puts(out, "\n]}\n");
}

/* ---- maps ---- */

struct map_writing {
    const struct model *m;
    const char *map;
    struct buf *out;
    size_t count;
};

static void put_entry(void *ctx, const char *key, const char *value)
{
    struct map_writing *w = ctx;

    put_string(w->out, w->count++ ? ",\n{\"key\":" : "\n{\"key\":", key);
    put_string(w->out, ",\"value\":", value);
    put_writer(w->out, model_map_item(w->m, w->map, key));
    buf_putc(w->out, '}');
}

void debug_map(const struct model *m, const char *name, struct buf *out)
{
    struct map_writing w = {.m = m, .map = name, .out = out};

    put_string(out, "{\"map\":", name);
    buf_puts(out, ",\"entries\":[");
    model_each_map_entry(m, MODEL_ACCEPTED, name, put_entry, &w);
    buf_puts(out, "\n]}\n");
}

static void put_name(void *ctx, const char *name)
{
    struct map_writing *w = ctx;

    if (model_map_exists(w->m, MODEL_ACCEPTED, name))
        buf_printf(w->out, "%s\n", name);
}

void debug_map_names(const struct model *m, struct buf *out)
{
    model_each_map(m, put_name, &(struct map_writing){.m = m, .out = out});
}

/* ---- routes ---- */

static void put_servers(const struct model *m, const struct section *section, struct buf *out)
{
    CLEANUP(buf_done) struct buf text = {0};
    CLEANUP(cfg_backend_done) struct cfg_backend backend = {0};
    const char *from = NULL;

    buf_puts(out, ",\"servers\":[");
    if (model_section_text(m, section, MODEL_ACCEPTED, &text, &from))
        cfg_backend_parse(buf_str(&text), text.length, from ? from : "", &backend);
    for (size_t i = 0; i < backend.servers.length; i++) {
        const struct cfg_server *s = backend.servers.items[i];
        put_string(out, i ? ",{\"name\":" : "{\"name\":", s->name);
        put_string(out, ",\"address\":", s->address);
        buf_printf(out, ",\"port\":%d,\"weight\":%d}", s->port, s->weight);
    }
    buf_puts(out, "]");
}

static void put_backend(const struct model *m, const struct route *r, struct buf *out)
{
    bool first = true;

    put_bytes(out, "{\"name\":", r->value, r->backend_length);
    put_servers(m, r->section, out);
    buf_puts(out, ",\"writers\":[");
    for (size_t i = 0; i < r->section->pieces.length; i++) {
        const struct item *piece = r->section->pieces.items[i];
        if (piece->accepted == NULL)
            continue;
        put_string(out, first ? "{\"piece\":" : ",{\"piece\":", piece->key);
        put_writer(out, piece);
        buf_putc(out, '}');
        first = false;
    }
    buf_puts(out, "]}");
}

void debug_route(const struct model *m, const char *host, const char *path, struct buf *out)
{
    struct route r;

    put_string(out, "{\"host\":", host);
    put_string(out, ",\"path\":", path);
    buf_puts(out, ",\"entry\":");
    if (!route_find(m, MODEL_ACCEPTED, host, path, &r)) {
        buf_puts(out, "null,\"backend\":null}\n");
        return;
    }
    put_string(out, "{\"map\":", r.entry->scope);
    put_string(out, ",\"key\":", r.entry->key);
    put_string(out, ",\"value\":", r.value);
    put_writer(out, r.entry);
    buf_puts(out, "},\"backend\":");
    if (r.section != NULL && r.section->accepted_pieces > 0)
        put_backend(m, &r, out);
    else
        buf_puts(out, "null");
    buf_puts(out, "}\n");
}
