/* archive.h — a tar file, compressed by gzip (ustar).
 * Thread:  any; one owner.
 * Owns:    the open file.
 * Errors:  ERR_SYS, ERR_LIMIT: a name that is too long; ERR_IO.
 * Source:  POSIX.1-2017 pax: ustar interchange format; zlib.
 *
 * No file has an owner or a time: the same content gives the same bytes.
 */
#ifndef HAPTIC_OFFLINE_ARCHIVE_H
#define HAPTIC_OFFLINE_ARCHIVE_H

#include <stddef.h>

#include "base/err.h"

struct archive;

int archive_new(const char *path, struct archive **ret_archive, struct err *err) MUST_CHECK;
/* name: relative, at most 99 bytes behind its last "/", 155 before it. */
int archive_add(struct archive *a, const char *name, const char *bytes, size_t length, struct err *err) MUST_CHECK;
/* Complete the file. Also frees; a failure leaves an incomplete file. */
int archive_end(struct archive *a, struct err *err) MUST_CHECK;
/* Without completing it; NULL is fine. */
struct archive *archive_free(struct archive *a);

#endif
