/* stream.h — JSON documents, one a line, out of chunks that are cut anywhere.
 * Owns:    the unfinished line.
 * Errors:  none of its own; a line over the limit is handed out as its beginning and skipped to its end, so the lines
 *          after it arrive as if nothing had been.
 */
#ifndef HAPTIC_KUBE_STREAM_H
#define HAPTIC_KUBE_STREAM_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

#define KUBE_STREAM_HEAD 4096 /* how much of a line over the limit is handed out */

struct kube_stream {
    struct buf partial;
    size_t max_line_bytes;
    bool is_skipping; /* until the end of a line that was over the limit */
    /* One line without its newline, never empty. false: stop feeding (the stream was ended by its user). */
    bool (*line)(void *ctx, const char *line, size_t length);
    /* A line was longer than max_line_bytes; its first bytes. */
    bool (*too_long)(void *ctx, const char *head, size_t length);
    void *ctx;
};

void kube_stream_done(struct kube_stream *s); /* NULL is fine */
/* Forget the unfinished line: another connection begins. */
void kube_stream_reset(struct kube_stream *s);
/* false when a callback said stop; the stream must not be touched then, it may be gone. */
bool kube_stream_feed(struct kube_stream *s, const char *bytes, size_t length);

/* Name and namespace of an object from the beginning of its JSON text, for naming what could not be read. Each is ""
 * when not found there. */
struct kube_stream_name {
    char namespace[254], name[254];
};
void kube_stream_find_name(const char *head, size_t length, struct kube_stream_name *ret_name);

#endif
