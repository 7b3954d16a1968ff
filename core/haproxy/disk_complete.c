/* All files that a configuration names must exist, or HAProxy refuses to load it. All texts are searched for paths in
 * the directory, whatever their source.
 */
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "engine/reference.h"
#include "haproxy/disk.h"

struct completing {
    struct disk_files *files;
    struct map present; /* paths of the set */
    struct map *named;
    int directory;
    bool only_missing;
    VEC(char *) added;
};

static void on_reference(void *ctx, const struct reference *r)
{
    struct completing *c = ctx;

    if (c->named)
        (void)map_putn(c->named, r->path, r->path_length, c);
    /* HAProxy does not load an empty certificate. */
    if (r->folder == REFERENCE_CERTS || map_getn(&c->present, r->path, r->path_length))
        return;
    (void)map_putn(&c->present, r->path, r->path_length, c);
    char *path = xmemdup0(r->path, r->path_length);
    if (disk_path_valid(path) && !(c->only_missing && faccessat(c->directory, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0))
        vec_push(&c->added, path);
    else
        free(path);
}

void disk_files_complete(struct disk_files *files, int directory, bool only_missing, struct map *ret_named)
{
    struct completing c = {.files = files, .named = ret_named, .directory = directory, .only_missing = only_missing};

    map_init(&c.present, false);
    for (size_t i = 0; i < files->items.length; i++)
        (void)map_put(&c.present, files->items.items[i].path, &c);
    for (size_t i = 0; i < files->items.length; i++) {
        const struct disk_file *file = &files->items.items[i];
        if (strncmp(file->path, "maps/", 5) != 0)
            references_each(file->bytes, file->length, on_reference, &c);
    }
    for (size_t i = 0; i < c.added.length; i++) {
        disk_files_add(files, c.added.items[i], "", 0);
        free(c.added.items[i]);
    }
    vec_done(&c.added);
    map_done(&c.present);
}
