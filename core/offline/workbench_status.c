/* Writes the status that templates wish for objects, and the objects that they want: one file for each object, in the
 * order of their names. */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "controller/status_merge.h"
#include "controller/status_room.h"
#include "data/json.h"
#include "offline/workbench_state.h"

static void ignore(void *ctx, struct status_entry *entry)
{
    (void)ctx;
    (void)entry;
}

static int compare_paths(const void *left, const void *right)
{
    const struct disk_file *a = left, *b = right;

    return strcmp(a->path, b->path);
}

/* The manifest of the oldest fragment that wants it, without options. */
static int write_manifest(const struct status_entry *e, struct buf *out, struct err *err)
{
    CLEANUP(json_doc_done) struct yyjson_doc *doc = NULL;
    const struct text *text = e->wishes[0].contribution->text;
    size_t length = 0;

    if (json_parse(text->bytes, text->length, SIZE_MAX, &doc, err) < 0)
        return -1;
    yyjson_mut_doc *copy = yyjson_doc_mut_copy(doc, NULL);
    (void)yyjson_mut_obj_remove_key(yyjson_mut_doc_get_root(copy), "$options");
    CLEANUP(free_ptr) char *json = yyjson_mut_write(copy, 0, &length);
    yyjson_mut_doc_free(copy);
    if (json == NULL)
        return err_set(err, ERR_INVALID, "the object is no valid UTF-8");
    return buf_try_add(out, json, length, err);
}

static int write_status(const struct status_entry *e, struct buf *out, struct err *err)
{
    VEC(const char *) wishes = {0};

    for (uint32_t i = 0; i < e->count; i++)
        vec_push(&wishes, e->wishes[i].contribution->text->bytes);
    int result = status_merge_wishes(wishes.items, wishes.length, out, err);
    vec_done(&wishes);
    return result;
}

static void add_entry(struct workbench *w, const struct status_entry *e, enum contribution_kind kind,
                      struct disk_files *files)
{
    CLEANUP(buf_done) struct buf text = {0};
    bool is_status = kind == CONTRIBUTION_STATUS;
    CLEANUP(free_ptr) char *path = xasprintf("%s/%s/%s.json", is_status ? "status" : "objects", e->kind, e->id);
    struct err err;
    int result = is_status ? write_status(e, &text, &err) : write_manifest(e, &text, &err);

    if (result < 0) {
        CLEANUP(free_ptr) char *object = workbench_object_name(e->kind, e->id);
        findings_add(w->findings, &(struct finding){.code = FINDING_FRAGMENT_FAILED,
                                                    .file = e->wishes[0].fragment->template_name,
                                                    .object = object,
                                                    .message = err.text});
        return;
    }
    buf_putc(&text, '\n');
    disk_files_add(files, path, buf_str(&text), text.length);
}

static void write_wishes(struct workbench *w, enum contribution_kind kind, struct disk_files *ret_files)
{
    struct status_room room;
    struct map_slot *slot;

    status_room_init(&room, kind, ignore, ignore, w);
    for (size_t it = 0; (slot = map_next(&w->fragments, &it)) != NULL;)
        status_room_put(&room, NULL, slot->value);
    for (size_t it = 0; (slot = map_next(&room.entries, &it)) != NULL;)
        add_entry(w, slot->value, kind, ret_files);
    status_room_done(&room);
    if (ret_files->items.length > 0)
        qsort(ret_files->items.items, ret_files->items.length, sizeof(*ret_files->items.items), compare_paths);
}

void workbench_status(struct workbench *w, struct disk_files *ret_files)
{
    write_wishes(w, CONTRIBUTION_STATUS, ret_files);
}

void workbench_objects(struct workbench *w, struct disk_files *ret_files)
{
    write_wishes(w, CONTRIBUTION_OBJECT, ret_files);
}

/* ---- events ---- */

static int compare_lines(const void *left, const void *right)
{
    return strcmp(*(char *const *)left, *(char *const *)right);
}

void workbench_events(struct workbench *w, struct buf *out)
{
    VEC(char *) lines = {0};
    struct map_slot *slot;

    for (size_t it = 0; (slot = map_next(&w->fragments, &it)) != NULL;) {
        const struct fragment *f = slot->value;
        for (size_t i = 0; i < f->count; i++) {
            const struct contribution *c = &f->items[i];
            if (c->kind != CONTRIBUTION_EVENT && c->kind != CONTRIBUTION_WARNING)
                continue;
            CLEANUP(free_ptr) char *object = workbench_object_name(f->owner_kind, f->owner_id);
            vec_push(&lines, xasprintf("%s %s %s %s", c->kind == CONTRIBUTION_WARNING ? "Warning" : "Normal", c->key,
                                       object ? object : "-", c->text->bytes));
        }
    }
    if (lines.length > 1)
        qsort(lines.items, lines.length, sizeof(*lines.items), compare_lines);
    for (size_t i = 0; i < lines.length; i++) {
        if (i == 0 || strcmp(lines.items[i], lines.items[i - 1]) != 0)
            buf_printf(out, "%s\n", lines.items[i]);
    }
    for (size_t i = 0; i < lines.length; i++)
        free(lines.items[i]);
    vec_done(&lines);
}
