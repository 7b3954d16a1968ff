/* penalties.h — namespaces one of whose fragments has ended a renderer: their others rest for a time in the next one.
 * Thread:  loop thread only.
 * Owns:    copies of the names.
 * Units:   *_ns nanoseconds.
 *
 * It begins with a tenth of the deadline and is four times as long with each further end, so that a namespace with many
 * such fragments takes a renderer from the others ever more seldom. It is forgotten when all of its fragments have run.
 */
#ifndef HAPTIC_ENGINE_PENALTIES_H
#define HAPTIC_ENGINE_PENALTIES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/vec.h"
#include "engine/renderer.h"

struct penalty {
    char *namespace_name;
    unsigned ends;
    int64_t until_ns;
};

struct penalties {
    VEC(struct penalty) items;
};

void penalties_done(struct penalties *p);
/* A fragment of that owner ended a renderer. Nothing for owners without a namespace. */
void penalties_add(struct penalties *p, const char *owner_id, int64_t deadline_ns, int64_t now_ns);
/* Tell a new process whose rest lasts. */
void penalties_send(const struct penalties *p, struct buf *out, int64_t now_ns);
/* A rendering has ended: rests that are over, and after which nothing waits, are forgotten. */
void penalties_review(struct penalties *p, const struct render_stats *stats, int64_t now_ns);

#endif
