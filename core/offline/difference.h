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

/* Both are rendered and were checked by HAProxy, so that everything is accepted. caps: of the HAProxy that runs. */
int difference_judge(struct workbench *before, struct workbench *now, const struct haproxy_caps *caps,
                     struct difference *ret_difference, struct err *err) MUST_CHECK;
/* The same for any state that runs: before are its files, whose handles are exchanged in place for their values from
 * that vault; wanted has everything accepted, and is what now renders. */
int difference_forecast(struct disk_files *before, struct vault *vault, struct model *wanted, struct workbench *now,
                        const struct haproxy_caps *caps, struct difference *ret_difference, struct err *err) MUST_CHECK;
void difference_done(struct difference *d);
/* Append "3 runtime commands, no reload", or "a reload: …", without a line end. */
void difference_put_text(const struct difference *d, struct buf *out);
/* Append the verdict as a JSON object. */
void difference_put_json(const struct difference *d, const char *version, struct buf *out);
/* Append "+ ~ -" and the fragment, which names template and object, and the lines that came and went; or a JSON
 * list (change.h). Returns the number of fragments. */
size_t difference_write(struct workbench *before, struct workbench *now, bool as_json, struct buf *out);
/* The same of two sets of fragments: id → struct fragment. */
size_t difference_write_fragments(const struct map *before, const struct map *now, bool as_json, struct buf *out);

#endif
