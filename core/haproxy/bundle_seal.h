/* bundle_seal.h — a bundle as bytes: a file that outlives its process, written by appending what changes.
 * Thread:  any.
 * Owns:    nothing; the values of Secrets are in the bytes: whoever has them wipes them.
 * Errors:  -1 with ERR_INVALID (not a sealed bundle, a newer version, damaged) or ERR_LIMIT; the text names the offset.
 *
 * A sealed bundle is a row of frames (engine/frame.h):
 *
 *     H  head: "haptic bundle", version, HAProxy's version          the first frame, once
 *     v  value: digits of the handle, Secret, key, bytes             before the first part that needs it
 *     f  part: as on the wire from the renderer                      in the place of this owner's former one
 *     g  gone: id                                                    this owner has no part any more
 *     m  mark: transitions, generation, number of parts, their digest, digest of the values
 *
 * At a mark the frames before it make a whole bundle, with that digest. What comes behind the last mark does not count:
 * it was being written when its writer was killed. So a change of one part is one short write at the end of the file.
 */
#ifndef HAPTIC_HAPROXY_BUNDLE_SEAL_H
#define HAPTIC_HAPROXY_BUNDLE_SEAL_H

#include "base/buf.h"
#include "base/err.h"
#include "haproxy/bundle.h"

struct frame;

#define BUNDLE_VERSION 1
#define BUNDLE_FRAME_MAX ((size_t)64 << 20)
#define BUNDLE_PARTS_MAX 2000000
#define BUNDLE_VALUES_MAX 1000000

/* Append one frame each. haproxy: the version of HAProxy, cut at BUNDLE_HAPROXY_SIZE. */
void seal_head(struct buf *out, const char *haproxy);
void seal_value(struct buf *out, const char *digits, const char *secret, const char *key, const char *bytes,
                size_t length);
/* Reads what seal_value() wrote into the bundle; offers hold the same frames. Wrong or too many: ERR_INVALID,
 * ERR_LIMIT. */
int bundle_read_value(struct bundle *b, struct frame *frame, struct err *err) MUST_CHECK;
void seal_part(struct buf *out, const struct fragment *part);
void seal_gone(struct buf *out, const char *fragment_id);
void seal_mark(struct buf *out, const struct bundle_stamp *stamp, size_t parts, struct digest digest,
               struct digest values);

/* A whole bundle, in the order of ids: equal bundles with equal stamps give equal bytes. */
void bundle_seal(const struct bundle *b, struct buf *out);
/* Read one. *ret_cut is the number of bytes behind the last mark. */
int bundle_unseal(const char *bytes, size_t length, struct bundle **ret_bundle, size_t *ret_cut, struct err *err)
    MUST_CHECK;

#endif
