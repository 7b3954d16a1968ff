/* problems.h — which fragments have a problem, for metrics and the debug page.
 * Thread:  loop thread only.
 * Owns:    copies of all texts.
 */
#ifndef HAPTIC_CONTROLLER_PROBLEMS_H
#define HAPTIC_CONTROLLER_PROBLEMS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/map.h"
#include "haproxy/model.h"

struct problems {
    struct map failures; /* fragment id → struct failure */
    struct map warned;   /* ids of the fragments that warn */
    unsigned epoch;
};

void problems_init(struct problems *p);
void problems_done(struct problems *p);
/* False when this fragment is known to fail with the same message. */
bool problems_set(struct problems *p, const char *fragment_id, const char *owner_kind, const char *owner_id,
                  const char *message);
/* Does it fail with this message? */
bool problems_has(const struct problems *p, const char *fragment_id, const char *message);
/* What it fails with; NULL when it does not. */
const char *problems_message(const struct problems *p, const char *fragment_id);
/* It is as it was, also after problems_replace_end(). */
void problems_keep(struct problems *p, const char *fragment_id);
void problems_clear(struct problems *p, const char *fragment_id);
/* Note whether a fragment warns the owner of its object. */
void problems_warn(struct problems *p, const struct fragment *f);
void problems_unwarn(struct problems *p, const char *fragment_id);
size_t problems_warned(const struct problems *p);
/* Forget the failures that were not set again since the matching begin, and the warnings of fragments that the model
 * does not have. */
void problems_replace_begin(struct problems *p);
void problems_replace_end(struct problems *p, const struct model *model);
/* The owners of those that fail: "kind namespace/name"; "" for the templates themselves. */
void problems_each_owner(const struct problems *p, void (*fn)(void *ctx, const char *owner), void *ctx);
/* Does it fail? */
bool problems_is_failing(const struct problems *p, const char *fragment_id);
/* Which of those that fail have an accepted output, which stays in force. */
struct problems_kept {
    size_t count;
    const char *message; /* of the first one by id; NULL: there is none */
};
/* objects: the first few, for people; may be NULL. */
void problems_kept(const struct problems *p, const struct model *model, struct buf *objects,
                   struct problems_kept *ret_kept);
size_t problems_count(const struct problems *p);
/* JSON, in the order of fragments: [{"state":"failed","fragment":…,"object":…,"message":…}, …], the model's
 * quarantined ones after it, then those that warn ("warning", with a "reason"; at most 1000). */
void problems_describe(const struct problems *p, const struct model *model, struct buf *out);

#endif
