/* frame.h — messages between core and renderer: a length, a type, and counted fields.
 * Thread:  any; nothing is shared.
 * Owns:    nothing: a frame points into the bytes it was read from.
 * Units:   lengths in bytes; numbers travel as decimal text.
 * Errors:  -1 with ERR_LIMIT or ERR_INVALID. Whoever reads treats any of them as the end of the peer.
 * Source:  docs/design.md, "The wire between core and renderer".
 *
 *     u32 length of what follows (little endian) | u8 type | field…          field: u32 length | bytes
 */
#ifndef HAPTIC_ENGINE_FRAME_H
#define HAPTIC_ENGINE_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

enum frame_type {
    /* from the core */
    FRAME_CONFIGURE = 'C',
    FRAME_PUT = 'P',
    FRAME_DELETE = 'D',
    FRAME_SKIP = 'S',
    FRAME_REST = 'A',
    FRAME_RENDER = 'R',
    FRAME_EXPLAIN = 'X',
    FRAME_ASK = 'Q',
    FRAME_ANSWER = 'N',
    /* from the renderer */
    FRAME_CONFIGURED = 'c',
    FRAME_FRAGMENT = 'f',
    FRAME_GONE = 'g',
    FRAME_FAILED = 'e',
    FRAME_WAITS = 'w',
    FRAME_HELD = 'h',
    FRAME_RENDERED = 'r',
    FRAME_EXPLAINED = 'x', /* also what answers FRAME_ASK */
    FRAME_LOG = 'l',
    FRAME_NEED = 'n',
    /* in a sealed bundle (haproxy/bundle_seal), beside FRAME_FRAGMENT and FRAME_GONE */
    FRAME_SEAL_HEAD = 'H',
    FRAME_SEAL_VALUE = 'v',
    FRAME_SEAL_MARK = 'm',
    /* in an offer (haproxy/offer), beside FRAME_FRAGMENT and FRAME_SEAL_VALUE */
    FRAME_OFFER_HEAD = 'O',
    FRAME_OFFER_REMOVE = 'z',
    FRAME_OFFER_GUARDED = 'u',
    FRAME_OFFER_END = 'E',
    /* in a question for a proof (haproxy/proof), beside FRAME_OFFER_HEAD */
    FRAME_PROOF_ITEM = 'q',
};

/* The largest frame that a renderer takes: an object or the program. */
#define FRAME_TO_RENDERER_MAX ((size_t)32 << 20)
/* The largest frame from a renderer that is no fragment: messages are cut long before. */
#define FRAME_MESSAGE_MAX ((size_t)64 << 10)
/* Longer error and log messages are cut by the renderer. */
#define MESSAGE_MAX ((size_t)16 << 10)

struct field {
    const char *bytes;
    size_t length;
};

struct frame {
    char type;
    const char *at, *end; /* what is left of the fields */
};

/* Write a frame: begin returns a mark for end. The buffer's maximum must hold it. */
size_t frame_begin(struct buf *out, enum frame_type type);
void frame_add(struct buf *out, const void *bytes, size_t length);
void frame_add_string(struct buf *out, const char *string);
void frame_add_number(struct buf *out, int64_t number);
void frame_end(struct buf *out, size_t mark);

/* Read the frame that starts at bytes. 1: *ret_frame is it and *ret_size its length with the header; 0: more bytes are
 * needed;
 * -1: it is longer than max, or empty. */
int frame_read(const char *bytes, size_t length, size_t max, struct frame *ret_frame, size_t *ret_size, struct err *err)
    MUST_CHECK;
/* Take the next field. -1 when there is none or it is cut off. */
int frame_field(struct frame *frame, struct field *ret_field, struct err *err) MUST_CHECK;
/* A field that names something: at most max bytes, no NUL and no other control character. */
int frame_name(struct frame *frame, size_t max, struct field *ret_field, struct err *err) MUST_CHECK;
/* A decimal number within [min, max], in the one notation that frame_add_number() writes. */
int frame_number(struct frame *frame, int64_t min, int64_t max, int64_t *ret_number, struct err *err) MUST_CHECK;
/* No field may be left. */
int frame_finish(const struct frame *frame, struct err *err) MUST_CHECK;

#endif
