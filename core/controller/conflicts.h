/* conflicts.h — equal keys of two objects: who loses, by what, to whom.
 * Thread:  loop thread only.
 * Owns:    copies of all texts.
 *
 * The oldest object's value of a key counts (fragment_compare). The owner of another one is told so once, and once more
 * when his value counts after all. The winner's name is told within its own namespace only; the debug page has it.
 */
#ifndef HAPTIC_CONTROLLER_CONFLICTS_H
#define HAPTIC_CONTROLLER_CONFLICTS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/map.h"
#include "controller/notices.h"
#include "haproxy/model.h"

/* Told for one fragment at a time. All are counted. */
#define CONFLICTS_TOLD 20

/* A zeroed struct is ready for use. */
struct conflicts {
    struct map items; /* item.name → struct contested */
    struct map sides; /* fragment id → struct side */
    size_t count;
};
void conflicts_done(struct conflicts *c);

/* Look again at what the model says may have changed; tell what is new (NOTICE_CONFLICT, NOTICE_GAIN). The notice's
 * strings are valid during the call. */
void conflicts_update(struct conflicts *c, struct model *m, notice_tell *tell, void *ctx);
/* A fragment that is in no model has another text than the item, and the item's winner comes before it: what its owner
 * would be told. The caller frees it. NULL: nothing of this is so. */
char *conflicts_foresee(const struct model *m, const struct item *item, const struct fragment *f,
                        const struct contribution *c);
/* Is such a notice still true? */
bool conflicts_holds(const struct conflicts *c, const struct notice *n);
/* Keys that count for nothing at the moment, because an older object has them. */
size_t conflicts_count(const struct conflicts *c);
/* JSON objects in the order of fragments, each with a comma before it when first is false:
 * {"state":"conflict","fragment":…,"object":…,"message":…,"winner":…}. At most CONFLICTS_TOLD of one fragment and 1000
 * in all. */
void conflicts_describe(const struct conflicts *c, bool first, struct buf *out);

#endif
