/* intake.h — what a renderer said, made into fragments and failures; nothing of it is trusted.
 * Thread:  loop thread only.
 * Owns:    an intake owns its scratch memory, which results may point into until the next call.
 * Errors:  -1 with ERR_INVALID or ERR_LIMIT: the renderer broke the protocol.
 */
#ifndef HAPTIC_ENGINE_INTAKE_H
#define HAPTIC_ENGINE_INTAKE_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/vec.h"
#include "engine/contribution.h"
#include "engine/frame.h"
#include "engine/renderer.h"

struct intake {
    struct buf strings;
    VEC(struct contribution_input) items;
    VEC(const struct contribution_input *) sorted;
    /* Fragments get a declaration of each map and file that their texts name (engine/reference), so that it exists as
     * long as they do. */
    bool declares;
    VEC(struct render_held) held; /* told in the rendering that is under way; names owned */
};

void intake_done(struct intake *in);

/* Reads a FRAME_FRAGMENT. The caller owns a reference to *ret_fragment. */
int intake_fragment(struct intake *in, struct frame *frame, struct fragment **ret_fragment, struct err *err) MUST_CHECK;
/* The strings live until the next call. */
int intake_failure(struct intake *in, struct frame *frame, struct fragment_failure *ret_failure, struct err *err)
    MUST_CHECK;
/* A namespace that waits: added to those of this rendering. */
int intake_held(struct intake *in, struct frame *frame, struct err *err) MUST_CHECK;
/* Another rendering begins. */
void intake_held_clear(struct intake *in);
/* A name (id of a fragment) or a message, as a C string that lives until the next call. Control characters of a message
 * other than newline and tab become "?". */
int intake_name(struct intake *in, struct frame *frame, size_t max, const char **ret_name, struct err *err) MUST_CHECK;
int intake_message(struct intake *in, struct frame *frame, const char **ret_message, struct err *err) MUST_CHECK;
/* ret_wait_ms: until there is more to do; -1: nothing waits. */
int intake_rendered(struct frame *frame, struct render_stats *ret_stats, int64_t *ret_wait_ms, struct err *err)
    MUST_CHECK;

#endif
