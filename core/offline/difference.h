/* difference.h — two states of a configuration and its objects, compared: what a running HAProxy has to do, and who
 * wrote what changed.
 * Thread:  loop thread only; runs the loop until the renderer has answered.
 * Owns:    nothing.
 * Errors:  ERR_NOTFOUND, ERR_INVALID: a value of a Secret cannot be where its handle is.
 */
#ifndef HAPTIC_OFFLINE_DIFFERENCE_H
#define HAPTIC_OFFLINE_DIFFERENCE_H

#include "base/buf.h"
#include "offline/workbench.h"

struct difference {
    size_t operations; /* runtime commands, when none needs a reload */
    char *reload;      /* why there is one; NULL: there is none */
    char *place;       /* of the reload's reason: "base.lua:41"; "" not known */
};

/* Both are rendered and were checked by HAProxy, so that everything is accepted. */
int difference_judge(struct workbench *before, struct workbench *now, struct difference *ret_difference,
                     struct err *err) MUST_CHECK;
void difference_done(struct difference *d);
/* Append "+ ~ -" and the fragment, which names template and object, and the lines that came and went. Returns the
 * number of fragments. */
size_t difference_write(struct workbench *before, struct workbench *now, struct buf *out);

#endif
