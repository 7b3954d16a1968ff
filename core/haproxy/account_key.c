/* The lines are found by this keyword. A false match only adds a file that nothing reads. */
#include "haproxy/account_key.h"

#include <string.h>

#include "base/alloc.h"
#include "data/certificate.h"
#include "haproxy/expand.h"

#define WORD "account-key " DISK_SAVED "/"
#define KEYS_MAX 100

static bool has_file(const struct disk_files *files, const char *path)
{
    for (size_t i = 0; i < files->items.length; i++)
        if (strcmp(files->items.items[i].path, path) == 0)
            return true;
    return false;
}

static int key_add(struct disk_files *files, const char *path, struct err *err)
{
    CLEANUP(buf_done) struct buf chain = {0};
    CLEANUP(expand_wipe) struct buf key = {0};
    if (certificate_make_default(&chain, &key, err) < 0)
        return err_wrap(err, "%s", path);
    disk_files_add(files, path, buf_str(&key), key.length);
    return 0;
}

int account_keys_complete(struct disk_files *files, struct err *err)
{
    const char *config = NULL;
    for (size_t i = 0; i < files->items.length; i++)
        if (strcmp(files->items.items[i].path, DISK_CONFIG) == 0)
            config = files->items.items[i].bytes;
    for (unsigned keys = 0; config && keys < KEYS_MAX && (config = strstr(config, WORD)); keys++) {
        config += strlen("account-key ");
        CLEANUP(free_ptr) char *path = xmemdup0(config, strcspn(config, " \t\n\""));
        if (disk_path_valid(path) && !has_file(files, path) && key_add(files, path, err) < 0)
            return -1;
    }
    return 0;
}
