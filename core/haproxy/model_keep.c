/* A certificate whose Secret cannot be used at present keeps the text of the fragment's last good version. Such a
 * contribution has the rank CONTRIBUTION_KEEP. Without a good version, it has its own text, or is left out. Then lines
 * of crt-lists that were to stay and name it are left out, too, and so are entries of maps that belong to such a line.
 * So every version in the model is complete by itself, also for a bundle and after a restart.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/vec.h"
#include "engine/reference.h"
#include "haproxy/model_state.h"

static bool gives_way(const struct contribution *c)
{
    return c->rank == CONTRIBUTION_KEEP && (c->kind == CONTRIBUTION_CERTIFICATE || c->kind == CONTRIBUTION_CRT_LIST ||
                                            c->kind == CONTRIBUTION_MAP_ENTRY);
}

static const struct text *text_before(const struct fragment *before, const struct contribution *wanted)
{
    for (size_t i = 0; before && i < before->count; i++) {
        const struct contribution *c = &before->items[i];
        if (c->kind == wanted->kind && strcmp(c->scope, wanted->scope) == 0 && strcmp(c->key, wanted->key) == 0)
            return c->text;
    }
    return NULL;
}

struct resolving {
    VEC(struct contribution_input) items;
    VEC(struct text *) texts;
    struct map certificates; /* names of the certificates that exist */
    struct map names;        /* that have a line */
    struct buf line;
    size_t named, missing; /* certificates of the line at hand */
    const char *done;      /* this much of the line is copied to `line` */
    const char *options;   /* where they begin; NULL: none */
    bool incomplete;       /* an option names a certificate that does not exist */
};

static void resolve(struct resolving *r, const struct contribution *c, const struct text *text)
{
    vec_push(&r->items, ((struct contribution_input){.kind = c->kind,
                                                     .rank = gives_way(c) ? 0 : c->rank,
                                                     .order = c->order,
                                                     .scope = c->scope,
                                                     .scope_length = strlen(c->scope),
                                                     .key = c->key,
                                                     .key_length = strlen(c->key),
                                                     .text = text->bytes,
                                                     .text_length = text->length}));
}

static void take_certificate(void *ctx, const struct reference *ref)
{
    struct resolving *r = ctx;
    if (ref->folder != REFERENCE_CERTS)
        return;
    r->named += !r->options || ref->path < r->options;
    if (map_getn(&r->certificates, ref->name, ref->name_length))
        return;
    if (r->options && ref->path > r->options) {
        r->incomplete = true;
        return;
    }
    r->missing++;
    buf_add(&r->line, r->done, (size_t)(ref->path - r->done));
    r->done = ref->path + ref->path_length;
}

/* The line without missing certificates. No line when all are missing, or when an option names a missing one, because
 * clients may be verified by that one. Certificates that HAProxy obtains by itself are no files of a fragment. */
static void resolve_line(struct resolving *r, const struct contribution *c, const struct fragment *f)
{
    if (!gives_way(c)) {
        resolve(r, c, c->text);
        (void)map_put(&r->names, c->key, (void *)(uintptr_t)f);
        return;
    }
    buf_clear(&r->line);
    r->named = r->missing = 0;
    r->done = c->text->bytes;
    r->options = strchr(c->text->bytes, '[');
    r->incomplete = false;
    references_each(c->text->bytes, c->text->length, take_certificate, r);
    buf_puts(&r->line, r->done);
    if ((r->missing > 0 && r->missing == r->named) || r->incomplete)
        return;
    struct text *text = text_new(buf_str(&r->line), r->line.length);
    vec_push(&r->texts, text);
    resolve(r, c, text);
    (void)map_put(&r->names, c->key, (void *)(uintptr_t)f);
}

struct fragment *model_resolve_kept(struct model *m, struct record *record, struct fragment *f)
{
    struct resolving r = {0};
    bool any = false;

    for (size_t i = 0; i < f->count && !any; i++)
        any = gives_way(&f->items[i]);
    if (!any)
        return fragment_ref(f);
    record_settle(m, record);
    const struct fragment *before = record->good ? record->good : record->newest;
    for (size_t i = 0; i < f->count; i++) {
        const struct contribution *c = &f->items[i];
        if (c->kind != CONTRIBUTION_CERTIFICATE)
            continue;
        const struct text *text = gives_way(c) ? text_before(before, c) : c->text;
        text = text ? text : c->text;
        if (text->length == 0)
            continue;
        resolve(&r, c, text);
        (void)map_put(&r.certificates, c->scope, f);
    }
    for (size_t i = 0; i < f->count; i++)
        if (f->items[i].kind == CONTRIBUTION_CRT_LIST)
            resolve_line(&r, &f->items[i], f);
    for (size_t i = 0; i < f->count; i++) {
        const struct contribution *c = &f->items[i];
        bool is_done = c->kind == CONTRIBUTION_CERTIFICATE || c->kind == CONTRIBUTION_CRT_LIST;
        if (!is_done && (!gives_way(c) || map_get(&r.names, c->key)))
            resolve(&r, c, c->text);
    }
    const struct fragment_head head = {f->id, f->template_name, f->owner_kind, f->owner_id, f->owner_created_s};
    struct fragment *resolved = fragment_new(&head, r.items.items, r.items.length);
    for (size_t i = 0; i < r.texts.length; i++)
        text_unref(r.texts.items[i]);
    vec_done(&r.texts);
    buf_done(&r.line);
    map_done(&r.certificates);
    map_done(&r.names);
    vec_done(&r.items);
    return resolved;
}
