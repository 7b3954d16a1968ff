/* A set of files with their contents, and the paths that they may have. */
#include <string.h>

#include "base/alloc.h"
#include "haproxy/disk.h"

#define PATH_PART_MAX 250 /* leaves room for ".tmp" in NAME_MAX */

void disk_files_take(struct disk_files *files, const char *path, char *bytes, size_t length)
{
    struct disk_file file = {.path = xstrdup(path), .bytes = bytes, .length = length};
    vec_push(&files->items, file);
}

void disk_files_add(struct disk_files *files, const char *path, const void *bytes, size_t length)
{
    disk_files_take(files, path, length ? xmemdup0(bytes, length) : xstrdup(""), length);
}

void disk_files_done(struct disk_files *files)
{
    for (size_t i = 0; i < files->items.length; i++) {
        free(files->items.items[i].path);
        /* The content may contain values of Secrets. */
        explicit_bzero(files->items.items[i].bytes, files->items.items[i].length);
        free(files->items.items[i].bytes);
    }
    vec_done(&files->items);
}

bool disk_path_valid(const char *path)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-+@:=,~";
    for (int part = 0; part < 2; part++) {
        size_t length = strspn(path, allowed);
        if (length == 0 || length > PATH_PART_MAX || path[0] == '.')
            return false;
        path += length;
        if (*path == '\0')
            return true;
        if (*path++ != '/')
            return false;
    }
    return false;
}
