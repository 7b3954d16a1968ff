/* What the templates wish for the status of objects: one file for each object, in the order of their names. */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "controller/status_merge.h"
#include "controller/status_room.h"
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

static void add_entry(struct workbench *w, const struct status_entry *e, struct disk_files *files)
{
    CLEANUP(buf_done) struct buf text = {0};
    CLEANUP(free_ptr) char *path = xasprintf("status/%s/%s.json", e->kind, e->id);
    VEC(const char *) wishes = {0};
    struct err err;

    for (uint32_t i = 0; i < e->count; i++)
        vec_push(&wishes, e->wishes[i].contribution->text->bytes);
    int result = status_merge_wishes(wishes.items, wishes.length, &text, &err);
    vec_done(&wishes);
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

void workbench_status(struct workbench *w, struct disk_files *ret_files)
{
    struct status_room room;
    struct map_slot *slot;

    status_room_init(&room, ignore, ignore, w);
    for (size_t it = 0; (slot = map_next(&w->fragments, &it)) != NULL;)
        status_room_put(&room, NULL, slot->value);
    for (size_t it = 0; (slot = map_next(&room.entries, &it)) != NULL;)
        add_entry(w, slot->value, ret_files);
    status_room_done(&room);
    if (ret_files->items.length > 0)
        qsort(ret_files->items.items, ret_files->items.length, sizeof(*ret_files->items.items), compare_paths);
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
