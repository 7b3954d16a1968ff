/* The folder acme/ of the directory. HAProxy reports the end of each of its certificates, and a new certificate is
 * recognised by its end. Files on disk are read once; afterwards the end is enough. A file that is no longer used stays
 * until its certificate has expired, so a host that comes back needs no new certificate.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/agent_state.h"
#include "base/alloc.h"
#include "data/certificate.h"

#define FOLDER DISK_SAVED "/"
#define FILES_MAX 20000

bool acme_is_file(const char *path)
{
    return strncmp(path, FOLDER, strlen(FOLDER)) == 0 && disk_path_valid(path);
}

/* The end of the certificate in such a file; 0 when the file has no usable certificate. */
static int64_t end_of(const char *pem, size_t length)
{
    CLEANUP(buf_done) struct buf chain = {0};
    struct certificate_facts facts = {0};
    certificate_read("tls", pem, length, pem, length, &facts, &chain);
    int64_t end_s = *facts.problem ? 0 : facts.not_after_s;
    certificate_facts_done(&facts);
    return end_s;
}

static void note(struct acme *c, const char *path, int64_t end_s)
{
    int64_t *end = map_get(&c->saved, path);
    if (!end && c->saved.count < FILES_MAX) {
        end = xcalloc(1, sizeof(*end));
        map_put(&c->saved, path, end);
    }
    if (end)
        *end = end_s;
}

static void forget(struct acme *c)
{
    struct map_slot *slot;
    for (size_t it = 0; (slot = map_next(&c->saved, &it));)
        free(slot->value);
    map_done(&c->saved);
    map_init(&c->saved, false);
    c->saved_known = false;
}

static void learn(void *ctx, const char *name)
{
    struct agent *a = ctx;
    CLEANUP(expand_wipe) struct buf pem = {0};
    CLEANUP(free_ptr) char *path = xasprintf(FOLDER "%s", name);
    if (disk_read(a->disk, path, CERTIFICATE_BYTES_MAX, &pem, NULL) < 0)
        return;
    int64_t end_s = end_of(buf_str(&pem), pem.length);
    if (end_s)
        note(&a->acme, path, end_s);
}

bool acme_files_have(struct agent *a, const char *path, int64_t end_s)
{
    if (!a->acme.saved_known) {
        a->acme.saved_known = true;
        disk_each_saved(a->disk, learn, a);
    }
    const int64_t *saved = map_get(&a->acme.saved, path);
    return saved && *saved == end_s;
}

bool acme_files_take(struct agent *a, const char *path, const char *pem, size_t length)
{
    int64_t end_s = end_of(pem, length);
    if (!end_s)
        return false;
    for (size_t i = 0; i < a->acme.files.items.length; i++) {
        struct disk_file *file = &a->acme.files.items.items[i];
        if (strcmp(file->path, path) != 0)
            continue;
        explicit_bzero(file->bytes, file->length);
        free(file->bytes);
        file->bytes = xmemdup0(pem, length);
        file->length = length;
        return true;
    }
    disk_files_add(&a->acme.files, path, pem, length);
    return true;
}

void acme_files_add(struct agent *a, struct disk_files *files)
{
    struct disk_files *own = &a->acme.files;
    for (size_t i = 0; i < own->items.length; i++) {
        struct disk_file *file = &own->items.items[i];
        note(&a->acme, file->path, end_of(file->bytes, file->length));
        disk_files_take(files, file->path, STEAL(file->bytes), file->length);
        file->length = 0;
    }
    disk_files_done(own);
}

void acme_files_failed(struct agent *a)
{
    forget(&a->acme);
}

void acme_files_sweep(struct agent *a, const struct map *used, int64_t now_s)
{
    struct map_slot *slot;
    for (size_t it = 0; (slot = map_next(&a->acme.saved, &it));) {
        int64_t *end = slot->value;
        if (*end >= now_s || map_getn(used, slot->key, slot->key_length))
            continue;
        disk_remove_saved(a->disk, slot->key);
        free(map_deln(&a->acme.saved, slot->key, slot->key_length));
    }
}

void acme_files_done(struct agent *a)
{
    forget(&a->acme);
    disk_files_done(&a->acme.files);
}
