/* Which rules hold for a file depends on its folder. */
#include "offline/expanded.h"

#include <stdlib.h>
#include <string.h>

#include "haproxy/expand.h"

int expanded_file(struct vault *v, struct disk_file *file, struct err *err)
{
    enum expand_as as = strcmp(file->path, DISK_CONFIG) == 0   ? EXPAND_CONFIG
                        : strncmp(file->path, "maps/", 5) == 0 ? EXPAND_MAP
                                                               : EXPAND_FILE;
    struct buf text = {0};

    buf_add(&text, file->bytes, file->length);
    if (expand_buf(v, as, &text, NULL, err) < 0) {
        expand_wipe(&text);
        return err_wrap(err, "%s", file->path);
    }
    explicit_bzero(file->bytes, file->length);
    free(file->bytes);
    file->length = text.length;
    file->bytes = buf_steal(&text);
    return 0;
}
