/* The model knows which fragment wrote a line; the renderer runs that fragment again and says from which line of the
 * template. */
#include "offline/origin.h"

#include <string.h>
#include <strings.h>

#include "base/alloc.h"
#include "data/json.h"

char *origin_where(struct workbench *w, const struct model_origin *origin)
{
    const struct fragment *f = origin->item ? origin->item->winner : NULL;
    const struct contribution *c = f ? fragment_contribution(f, origin->item->kind, origin->item->scope,
                                                             origin->item->key)
                                     : NULL;

    return c != NULL ? workbench_where(w, f->id, c, origin->line) : xstrdup("");
}

static void put_writer(struct workbench *w, const struct fragment *f, const struct contribution *c, unsigned line,
                       struct buf *out)
{
    CLEANUP(free_ptr) char *where = workbench_where(w, f->id, c, line);

    buf_printf(out, "  object:   %s%s%s\n", *f->owner_kind ? f->owner_kind : "none", *f->owner_kind ? " " : "",
               f->owner_id);
    buf_printf(out, "  template: %s\n  fragment: %s\n", *where ? where : f->template_name, f->id);
}

int origin_of_line(struct workbench *w, size_t line, struct buf *out, struct err *err)
{
    CLEANUP(model_lines_done) struct model_lines lines = {0};
    CLEANUP(buf_done) struct buf text = {0};

    model_write_config(workbench_model(w), MODEL_RENDERED, &text, &lines);
    if (line == 0 || line > lines.lines.length)
        return err_set(err, ERR_NOTFOUND, "haproxy.cfg has %zu lines", lines.lines.length);
    const char *at = buf_str(&text);
    for (size_t i = 1; i < line; i++)
        at = strchr(at, '\n') + 1;
    buf_printf(out, "haproxy.cfg:%zu: %.*s\n", line, (int)strcspn(at, "\n"), at);
    const struct model_origin *origin = &lines.lines.items[line - 1];
    if (origin->item == NULL) {
        buf_puts(out, "  an empty line between sections\n");
        return 0;
    }
    const struct fragment *f = origin->item->winner;
    buf_printf(out, "  section:  %s%s%s\n", origin->item->scope, origin->header ? " (its header)" : ", piece ",
               origin->header ? "" : origin->item->key);
    const struct contribution *c = f ? fragment_contribution(f, origin->item->kind, origin->item->scope,
                                                             origin->item->key)
                                     : NULL;
    if (c != NULL)
        put_writer(w, f, c, origin->line, out);
    return 0;
}

struct object_origin {
    const struct model *model;
    struct buf *out;
    size_t fragments;
};

static void put_fragment(void *ctx, const struct fragment *f)
{
    static const char *const names[] = {
        [CONTRIBUTION_SECTION] = "section",  [CONTRIBUTION_SECTION_FROM] = "derived",
        [CONTRIBUTION_MAP_ENTRY] = "map",    [CONTRIBUTION_FILE] = "file",
        [CONTRIBUTION_CERTIFICATE] = "cert", [CONTRIBUTION_CRT_LIST] = "crt-list",
        [CONTRIBUTION_STATUS] = "status",    [CONTRIBUTION_EVENT] = "event",
        [CONTRIBUTION_WARNING] = "warning",  [CONTRIBUTION_GUARD] = "guard",
        [CONTRIBUTION_FETCH] = "fetch",      [CONTRIBUTION_OBJECT] = "object",
    };
    struct object_origin *o = ctx;

    o->fragments++;
    buf_printf(o->out, "fragment %s (%s)\n", f->id, f->template_name);
    const char *reason = model_quarantine_reason(o->model, f->id);
    if (reason != NULL)
        buf_printf(o->out, "  quarantined: %s\n", reason);
    for (size_t i = 0; i < f->count; i++) {
        const struct contribution *c = &f->items[i];
        const struct item *item = c->item;
        const struct fragment *winner = item != NULL && item->winner != f ? item->winner : NULL;
        CLEANUP(free_ptr)
        char *lost = winner ? xasprintf(" (lost to %s %s, which is older)", winner->owner_kind, winner->owner_id)
                            : xstrdup("");
        size_t first = strcspn(c->text->bytes, "\n");
        buf_printf(o->out, "  %-8s %s%s%s%s\n", names[c->kind], c->scope, *c->key && *c->scope ? " " : "", c->key,
                   lost);
        if (first > 0)
            buf_printf(o->out, "           %.*s%s\n", (int)first, c->text->bytes, c->text->bytes[first] ? " …" : "");
    }
}

/* The watched kind of that name, or that has the object under that kind. */
static struct store_kind *find_kind(struct store *s, const char *name, const char *id)
{
    struct store_kind *kind = store_kind_by_name(s, name);

    for (size_t i = 0; kind == NULL && i < store_kind_count(s); i++) {
        struct object *o = store_get(store_kind_at(s, i), id);
        CLEANUP(json_doc_done) struct yyjson_doc *doc = NULL;
        if (o == NULL || object_parse(o, SIZE_MAX, &doc, NULL) < 0)
            continue;
        const char *kind_name = json_str(yyjson_doc_get_root(doc), "kind");
        if (kind_name != NULL && strcasecmp(kind_name, name) == 0)
            kind = store_kind_at(s, i);
    }
    return kind;
}

int origin_of_object(struct workbench *w, const char *kind_name, const char *id, struct buf *out, struct err *err)
{
    struct object_origin o = {.model = workbench_model(w), .out = out};
    struct store_kind *kind = find_kind(workbench_store(w), kind_name, id);

    if (kind == NULL || store_get(kind, id) == NULL)
        return err_set(err, ERR_NOTFOUND, "there is no %.64s %.300s among the objects", kind_name, id);
    const char *name = store_kind_spec(kind)->name;
    buf_printf(out, "%s %s\n", name, id);
    workbench_each_of(w, name, id, put_fragment, &o);
    if (o.fragments == 0)
        buf_puts(out, "  no fragment is made for it; others may read it\n");
    return 0;
}
