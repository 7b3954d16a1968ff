/* A mounted Secret or projected token is replaced by switching a symbolic link, so the identity of the file behind the
 * path (device, inode, size, time) tells whether it changed. It is read through one descriptor, whose identity is what
 * is kept. */
#include "kube/blob.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/clock.h"

static void wipe(struct kube_blob *b)
{
    if (b->bytes)
        explicit_bzero(b->bytes, b->length);
    free(b->bytes);
    b->bytes = NULL;
    b->length = 0;
}

void kube_blob_done(struct kube_blob *b)
{
    if (!b)
        return;
    wipe(b);
    free(b->path);
    *b = (struct kube_blob){0};
}

void kube_blob_set(struct kube_blob *b, const char *bytes, size_t length)
{
    kube_blob_done(b);
    b->bytes = xmemdup0(bytes, length);
    b->length = length;
}

static struct kube_blob_stamp stamp_of(const struct stat *st)
{
    return (struct kube_blob_stamp){.device = (uint64_t)st->st_dev,
                                    .inode = (uint64_t)st->st_ino,
                                    .size = (int64_t)st->st_size,
                                    .mtime_ns = (int64_t)st->st_mtim.tv_sec * NS_PER_S + (int64_t)st->st_mtim.tv_nsec};
}

static bool stamp_equal(const struct kube_blob_stamp *a, const struct kube_blob_stamp *b)
{
    return a->device == b->device && a->inode == b->inode && a->size == b->size && a->mtime_ns == b->mtime_ns;
}

static int blob_read(struct kube_blob *b, struct err *err)
{
    CLEANUP(close_fd) int fd = open(b->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return err_set_sys(err, errno, "read %s", b->path);
    if (!S_ISREG(st.st_mode))
        return err_set(err, ERR_INVALID, "read %s: not a regular file", b->path);
    if ((uint64_t)st.st_size > KUBE_BLOB_MAX)
        return err_set(err, ERR_LIMIT, "read %s: larger than %zu bytes", b->path, KUBE_BLOB_MAX);
    size_t length = 0, size = (size_t)st.st_size;
    CLEANUP(free_ptr) char *bytes = xmalloc(size + 1);
    while (length < size) {
        ssize_t n = read(fd, bytes + length, size - length);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set_sys(err, errno, "read %s", b->path);
        if (n == 0)
            break;
        length += (size_t)n;
    }
    if (length == 0)
        return err_set(err, ERR_INVALID, "read %s: the file is empty", b->path);
    bytes[length] = '\0';
    wipe(b);
    b->bytes = STEAL(bytes);
    b->length = length;
    b->stamp = stamp_of(&st);
    return 0;
}

int kube_blob_open(struct kube_blob *b, const char *path, struct err *err)
{
    kube_blob_done(b);
    b->path = xstrdup(path);
    return blob_read(b, err);
}

int kube_blob_refresh(struct kube_blob *b, bool *ret_changed, struct err *err)
{
    *ret_changed = false;
    if (!b->path)
        return 0;
    struct stat st;
    if (stat(b->path, &st) < 0)
        return err_set_sys(err, errno, "read %s", b->path);
    struct kube_blob_stamp now = stamp_of(&st);
    if (b->bytes && stamp_equal(&now, &b->stamp))
        return 0;
    if (blob_read(b, err) < 0)
        return -1;
    *ret_changed = true;
    return 0;
}

int kube_blob_set_base64(struct kube_blob *b, const char *text, struct err *err)
{
    size_t length = strlen(text);
    if (length > KUBE_BLOB_MAX)
        return err_set(err, ERR_LIMIT, "more than %zu bytes of base64", KUBE_BLOB_MAX);
    CLEANUP(free_ptr) char *bytes = xmalloc(length + 3);
    EVP_ENCODE_CTX *decoder = EVP_ENCODE_CTX_new();
    if (!decoder)
        abort();
    int n = 0, rest = 0;
    EVP_DecodeInit(decoder);
    bool is_good = EVP_DecodeUpdate(decoder, (unsigned char *)bytes, &n, (const unsigned char *)text, (int)length) >=
                       0 &&
                   EVP_DecodeFinal(decoder, (unsigned char *)bytes + n, &rest) == 1 && n + rest > 0;
    EVP_ENCODE_CTX_free(decoder);
    if (is_good)
        kube_blob_set(b, bytes, (size_t)(n + rest));
    explicit_bzero(bytes, length + 3);
    return is_good ? 0 : err_set(err, ERR_INVALID, "not base64");
}

char *kube_base64_encode(const char *bytes, size_t length)
{
    char *text = xmalloc((length + 2) / 3 * 4 + 1);
    EVP_EncodeBlock((unsigned char *)text, (const unsigned char *)bytes, (int)length);
    return text;
}
