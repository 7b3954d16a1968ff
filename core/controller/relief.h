/* relief.h — which problems the owners of objects were told of, to tell them when one is over.
 * Thread:  loop thread only.
 * Owns:    copies of all texts.
 *
 * Every replica keeps it, as each of them would have told; only who leads sends Events. A process knows of what was
 * told in its own time.
 */
#ifndef HAPTIC_CONTROLLER_RELIEF_H
#define HAPTIC_CONTROLLER_RELIEF_H

#include <stdbool.h>
#include <stddef.h>

#include "base/map.h"

struct relief {
    struct map told; /* fragment id → struct told */
};

void relief_init(struct relief *r);
void relief_done(struct relief *r);
/* The owner was told of this. A reason is noted once. */
void relief_note(struct relief *r, const char *fragment_id, const char *owner_kind, const char *owner_id,
                 const char *reason);
/* Which of them are over? Those for which holds says false are forgotten, and over is called for each. holds NULL: none
 * holds. Cheap where nothing was told of the fragment. */
void relief_review(struct relief *r, const char *fragment_id, bool (*holds)(void *ctx, const char *reason),
                   void (*over)(void *ctx, const char *owner_kind, const char *owner_id, const char *reason),
                   void *ctx);
/* Walk the fragments of which something was told; fn may review the one at hand. */
void relief_each(struct relief *r, void (*fn)(void *ctx, const char *fragment_id), void *ctx);
size_t relief_count(const struct relief *r); /* fragments */

#endif
