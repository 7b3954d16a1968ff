#include "offline/archive.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "base/alloc.h"
#include "base/cleanup.h"

#define BLOCK 512
#define SIZE_MAX_OCTAL (((size_t)1 << 33) - 1) /* eleven octal digits */

struct archive {
    gzFile file;
};

/* ustar's header. All numbers are octal text. */
struct header {
    char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], checksum[8], type, link[100], magic[6], version[2],
        owner[32], group[32], major[8], minor[8], prefix[155], rest[12];
};
_Static_assert(sizeof(struct header) == BLOCK, "a header is one block");

int archive_new(const char *path, struct archive **ret_archive, struct err *err)
{
    CLEANUP(close_fd) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    if (fd < 0)
        return err_set_sys(err, errno, "write %s", path);
    gzFile file = gzdopen(fd, "wb");
    if (file == NULL)
        return err_set(err, ERR_IO, "write %s", path);
    (void)steal_fd(&fd);
    *ret_archive = xcalloc(1, sizeof(**ret_archive));
    (*ret_archive)->file = file;
    return 0;
}

static int put(struct archive *a, const void *bytes, size_t length, struct err *err)
{
    while (length > 0) {
        unsigned part = length < (1U << 30) ? (unsigned)length : 1U << 30;
        if (gzwrite(a->file, bytes, part) != (int)part)
            return err_set(err, ERR_IO, "the archive cannot be written");
        bytes = (const char *)bytes + part;
        length -= part;
    }
    return 0;
}

static int split_name(struct header *h, const char *name, struct err *err)
{
    const char *slash = strrchr(name, '/');
    size_t before = slash ? (size_t)(slash - name) : 0, length = strlen(name);

    if (length < sizeof(h->name)) {
        memcpy(h->name, name, length);
        return 0;
    }
    if (slash == NULL || before > sizeof(h->prefix) || strlen(slash + 1) >= sizeof(h->name))
        return err_set(err, ERR_LIMIT, "the name %.60s… is too long for an archive", name);
    memcpy(h->prefix, name, before);
    memcpy(h->name, slash + 1, strlen(slash + 1));
    return 0;
}

int archive_add(struct archive *a, const char *name, const char *bytes, size_t length, struct err *err)
{
    static const char zeros[BLOCK];
    struct header h = {.mode = "0000644", .uid = "0000000", .gid = "0000000", .mtime = "00000000000", .type = '0'};
    unsigned sum = 0;

    if (length > SIZE_MAX_OCTAL)
        return err_set(err, ERR_LIMIT, "%s is too large for an archive", name);
    if (split_name(&h, name, err) < 0)
        return -1;
    memcpy(h.magic, "ustar", sizeof(h.magic));
    memcpy(h.version, "00", sizeof(h.version));
    snprintf(h.size, sizeof(h.size), "%011zo", length);
    memset(h.checksum, ' ', sizeof(h.checksum)); /* as the sum is defined */
    for (size_t i = 0; i < sizeof(h); i++)
        sum += ((const unsigned char *)&h)[i];
    snprintf(h.checksum, sizeof(h.checksum), "%06o", sum & 0777777);
    if (put(a, &h, sizeof(h), err) < 0 || put(a, bytes, length, err) < 0)
        return -1;
    return put(a, zeros, (BLOCK - length % BLOCK) % BLOCK, err);
}

int archive_end(struct archive *a, struct err *err)
{
    static const char end[2 * BLOCK];
    int result = put(a, end, sizeof(end), err);

    if (gzclose(a->file) != Z_OK && result == 0)
        result = err_set(err, ERR_IO, "the archive cannot be written");
    free(a);
    return result;
}

struct archive *archive_free(struct archive *a)
{
    if (a != NULL)
        (void)gzclose(a->file);
    free(a);
    return NULL;
}
