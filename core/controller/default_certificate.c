/* When two processes start in one directory at the same time, both use the same file: link() makes it visible, and
 * fails for the second process.
 */
#include "controller/default_certificate.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "data/certificate.h"
#include "haproxy/disk.h"
#include "haproxy/expand.h"

#define FILE_MAX_BYTES 65536

static int make(struct buf *out, struct err *err)
{
    CLEANUP(expand_wipe) struct buf chain = {0}, key = {0};

    if (certificate_make_default(&chain, &key, err) < 0)
        return -1;
    buf_add(out, buf_str(&chain), chain.length);
    buf_add(out, buf_str(&key), key.length);
    return 0;
}

/* A value of this process: equal states have equal values. It is never shown. */
static int copy_own(struct buf *out, struct err *err)
{
    static struct buf own;

    if (own.length == 0 && make(&own, err) < 0)
        return -1;
    buf_add(out, buf_str(&own), own.length);
    return 0;
}

/* True for a certificate with its key that is valid now. */
static bool is_usable(const struct buf *pem)
{
    CLEANUP(buf_done) struct buf chain = {0};
    struct certificate_facts f;
    int64_t now_s = clock_wall_s();

    certificate_read("tls", buf_str(pem), pem->length, buf_str(pem), pem->length, &f, &chain);
    bool usable = !f.problem[0] && f.not_before_s <= now_s && now_s < f.not_after_s;
    certificate_facts_done(&f);
    return usable;
}

static int write_all(int fd, const struct buf *text)
{
    for (size_t at = 0; at < text->length;) {
        ssize_t n = write(fd, text->data + at, text->length - at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        at += (size_t)n;
    }
    return fsync(fd);
}

/* Puts the file into the directory, unless another process was faster. */
static int keep(const char *directory, const struct buf *pem, struct err *err)
{
    CLEANUP(close_fd) int at = -1;
    CLEANUP(free_ptr) char *temporary = xasprintf("." DEFAULT_CERTIFICATE_FILE ".%d", (int)getpid());

    if (disk_directory_open(directory, &at, err) < 0)
        return -1;
    (void)unlinkat(at, temporary, 0);
    CLEANUP(close_fd) int fd = openat(at, temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0 || write_all(fd, pem) < 0) {
        (void)err_set_sys(err, errno, "write %s/" DEFAULT_CERTIFICATE_FILE, directory);
        (void)unlinkat(at, temporary, 0);
        return -1;
    }
    int result = linkat(at, temporary, at, DEFAULT_CERTIFICATE_FILE, 0);
    int failed = errno;
    (void)unlinkat(at, temporary, 0);
    if (result < 0 && failed != EEXIST)
        return err_set_sys(err, failed, "write %s/" DEFAULT_CERTIFICATE_FILE, directory);
    return fsync(at) < 0 ? err_set_sys(err, errno, "sync %s", directory) : 0;
}

static int read_or_make(const char *directory, struct buf *pem, struct err *err)
{
    if (disk_read_file(directory, DEFAULT_CERTIFICATE_FILE, FILE_MAX_BYTES, pem, err) == 0 && is_usable(pem))
        return 0;
    if (err->kind != ERR_NOTFOUND || pem->length) {
        CLEANUP(free_ptr) char *path = xasprintf("%s/" DEFAULT_CERTIFICATE_FILE, directory);
        CLEANUP(close_fd) int at = -1;
        log_warn("The default certificate cannot be used any more; making another one", "file", path);
        if (disk_directory_open(directory, &at, NULL) == 0)
            (void)unlinkat(at, DEFAULT_CERTIFICATE_FILE, 0);
    }
    expand_wipe(pem);
    if (make(pem, err) < 0 || keep(directory, pem, err) < 0)
        return -1;
    expand_wipe(pem);
    return disk_read_file(directory, DEFAULT_CERTIFICATE_FILE, FILE_MAX_BYTES, pem, err);
}

int default_certificate_init(struct default_certificate *d, const char *directory, struct vault *v, struct err *err)
{
    CLEANUP(expand_wipe) struct buf pem = {0};
    char fingerprint[CERTIFICATE_FINGERPRINT_SIZE] = "";
    struct vault_name name = {.namespace = "",
                              .name = "haptic",
                              .uid = directory ? fingerprint : "",
                              .resource_version = directory ? "1" : "",
                              .key = "default certificate"};

    *d = (struct default_certificate){0};
    *err = (struct err){0};
    if ((directory ? read_or_make(directory, &pem, err) : copy_own(&pem, err)) < 0)
        return err_wrap(err, "the default certificate");
    (void)certificate_fingerprint(buf_str(&pem), pem.length, fingerprint);
    return vault_put(v, &d->hold, &name, buf_str(&pem), pem.length, d->handle, err);
}

void default_certificate_done(struct default_certificate *d)
{
    vault_release(d->hold);
    *d = (struct default_certificate){0};
}
