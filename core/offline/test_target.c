/* Files are taken from the same list that `haptic render` writes. */
#include "offline/test_target.h"

#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/nearest.h"
#include "offline/origin.h"
#include "offline/test_wish.h"

#define CONTEXT_LINES 3

static const struct {
    const char *prefix, *folder;
} prefixes[] = {{"map:", "maps/"}, {"file:", "files/"}, {"cert:", "certs/"}, {"crt-list:", "certs/"}};

static void put_errors(const struct findings *findings, struct buf *out)
{
    for (size_t i = 0; i < findings->items.length; i++) {
        const struct finding *f = &findings->items.items[i];
        if (f->code != FINDING_FRAGMENT_FAILED && f->code != FINDING_RENDERER_KILLED && f->code != FINDING_PROGRAM)
            continue;
        if (f->file != NULL)
            buf_printf(out, "%s:%zu: ", f->file, f->line);
        buf_printf(out, "%s\n", f->message);
    }
}

static const char *target_of(const char *path, struct buf *name)
{
    buf_clear(name);
    for (size_t i = 0; i + 1 < ARRAY_LEN(prefixes); i++) {
        size_t length = strlen(prefixes[i].folder);
        if (strncmp(path, prefixes[i].folder, length) == 0)
            buf_printf(name, "%s%s", prefixes[i].prefix, path + length);
    }
    return name->length > 0 ? buf_str(name) : path;
}

static int fail_unknown(const struct disk_files *files, const char *target, struct err *err)
{
    CLEANUP(buf_done) struct buf list = {0}, name = {0};
    CLEANUP(free_ptr) char *near = NULL;
    struct nearest nearest = {.word = target};

    for (size_t i = 0; i < files->items.length; i++) {
        const char *known = target_of(files->items.items[i].path, &name);
        nearest_offer(&nearest, known);
        if (nearest.found == known) { /* it is in a buffer that is used again */
            free(near);
            near = xstrdup(known);
            nearest.found = near;
        }
        if (list.length < 600)
            buf_printf(&list, "%s, ", known);
    }
    for (size_t i = 0; nearest.found == NULL && i < ARRAY_LEN(prefixes); i++) { /* "mpa:x" for "map:x" */
        CLEANUP(free_ptr) char *kind = xasprintf("%.*s:", (int)strcspn(target, ":"), target);
        struct nearest kinds = {.word = kind};
        nearest_offer(&kinds, prefixes[i].prefix);
        near = kinds.found != NULL ? xasprintf("%s%s", kinds.found, target + strlen(kind)) : NULL;
        nearest.found = near;
    }
    nearest_offer(&nearest, "rendering_error");
    nearest_offer(&nearest, "events");
    buf_puts(&list, "rendering_error, events, k8s:KIND/NAMESPACE/NAME, status:KIND/NAMESPACE/NAME");
    return err_set(err, ERR_NOTFOUND, "there is no target \"%.100s\"%s%s%s; there are: %s", target,
                   nearest.found ? "; did you mean \"" : "", nearest.found ? nearest.found : "",
                   nearest.found ? "\"?" : "", buf_str(&list));
}

int test_target(struct workbench *w, const struct findings *findings, const char *target, struct buf *ret_text,
                bool *ret_config, struct err *err)
{
    CLEANUP(disk_files_done) struct disk_files files = {0};
    CLEANUP(free_ptr) char *path = NULL;

    *ret_config = target == NULL || *target == '\0' || strcmp(target, DISK_CONFIG) == 0;
    if (target != NULL && strcmp(target, "rendering_error") == 0) {
        put_errors(findings, ret_text);
        return 0;
    }
    if (target != NULL && strcmp(target, "events") == 0) {
        workbench_events(w, ret_text);
        return 0;
    }
    bool is_wish = false;
    if (target != NULL && test_wish(w, target, ret_text, &is_wish, err) < 0)
        return -1;
    if (is_wish)
        return 0;
    workbench_files(w, &files);
    path = *ret_config ? xstrdup(DISK_CONFIG) : NULL;
    for (size_t i = 0; path == NULL && i < ARRAY_LEN(prefixes); i++)
        if (strncmp(target, prefixes[i].prefix, strlen(prefixes[i].prefix)) == 0)
            path = xasprintf("%s%s", prefixes[i].folder, target + strlen(prefixes[i].prefix));
    for (size_t i = 0; path != NULL && i < files.items.length; i++)
        if (strcmp(files.items.items[i].path, path) == 0) {
            buf_add(ret_text, files.items.items[i].bytes, files.items.items[i].length);
            return 0;
        }
    return fail_unknown(&files, target, err);
}

void test_line_origin(struct workbench *w, size_t line, struct buf *out)
{
    CLEANUP(model_lines_done) struct model_lines lines = {0};
    CLEANUP(buf_done) struct buf text = {0};

    model_write_config(workbench_model(w), MODEL_RENDERED, &text, &lines);
    if (line == 0 || line > lines.lines.length || lines.lines.items[line - 1].item == NULL)
        return;
    const struct item *item = lines.lines.items[line - 1].item;
    const struct fragment *f = item->winner;
    if (f == NULL)
        return;
    CLEANUP(free_ptr) char *where = origin_where(w, &lines.lines.items[line - 1]);
    buf_printf(out, "%s, piece %s, written by %s%s%s (%s)", item->scope, item->key, f->owner_kind,
               *f->owner_kind ? " " : "a template of no object", f->owner_id, *where ? where : f->template_name);
}

void test_put_context(const char *text, size_t line, struct buf *out)
{
    size_t from = line > CONTEXT_LINES ? line - CONTEXT_LINES : 1, at = 1;

    for (const char *p = text; *p != '\0' && at <= line + CONTEXT_LINES; at++) {
        size_t length = strcspn(p, "\n");
        if (at >= from)
            buf_printf(out, "\n  %c %5zu | %.*s", at == line ? '>' : ' ', at, (int)length, p);
        p += length + (p[length] == '\n');
    }
}
