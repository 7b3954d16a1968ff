/* skips.h — fragments that have ended a renderer: no other process runs them until their owner changes.
 * Thread:  loop thread only.
 * Owns:    copies of the names.
 */
#ifndef HAPTIC_ENGINE_SKIPS_H
#define HAPTIC_ENGINE_SKIPS_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/vec.h"
#include "engine/shared_page.h"

struct skip {
    char *id, *owner_kind, *owner_id;
};

struct skips {
    VEC(struct skip) items;
    char suspect[AT_HAND_ID_MAX + 1]; /* at hand when a process was last killed from outside */
};

void skips_done(struct skips *s);
/* Can the fragment of that id have ended a process that was running it, for this reason (struct renderer_death)? */
bool skips_blame(struct skips *s, const char *reason, const char *id);
/* What was at hand when a process ended. */
void skips_add(struct skips *s, const struct at_hand *at_hand);
void skips_drop_owner(struct skips *s, const char *kind, const char *id);
/* Tell a new process. */
void skips_send(const struct skips *s, struct buf *out);

#endif
