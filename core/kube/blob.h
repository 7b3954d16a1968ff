/* blob.h — bytes that are given inline or kept in a file that may change (a token, a CA, a certificate, a key).
 * Thread:  loop thread only (it reads small local files).
 * Owns:    its path and bytes; the bytes are wiped before they are freed.
 * Errors:  ERR_SYS, ERR_LIMIT (KUBE_BLOB_MAX), ERR_INVALID (an empty file).
 */
#ifndef HAPTIC_KUBE_BLOB_H
#define HAPTIC_KUBE_BLOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define KUBE_BLOB_MAX ((size_t)1 << 20)

struct kube_blob {
    char *path;  /* NULL: given inline */
    char *bytes; /* NULL: nothing; NUL after length */
    size_t length;
    struct kube_blob_stamp {
        uint64_t device, inode;
        int64_t size, mtime_ns;
    } stamp; /* of the file when it was read */
};

void kube_blob_done(struct kube_blob *b); /* NULL is fine; leaves nothing */
void kube_blob_set(struct kube_blob *b, const char *bytes, size_t length);
/* Remember the file and read it. */
int kube_blob_open(struct kube_blob *b, const char *path, struct err *err) MUST_CHECK;
/* Read the file again if it is another one than last time. On an error the old bytes stay. */
int kube_blob_refresh(struct kube_blob *b, bool *ret_changed, struct err *err) MUST_CHECK;

/* Base64 (RFC 4648, padded; white space between characters is fine), as kubeconfig files hold data. */
int kube_blob_set_base64(struct kube_blob *b, const char *text, struct err *err) MUST_CHECK;
char *kube_base64_encode(const char *bytes, size_t length);

#endif
