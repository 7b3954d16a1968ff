/* messages.h — what a fragment says to the owner of its object: the first MESSAGES_MAX, found by kind and reason.
 * Thread:  loop thread only.
 * Owns:    borrows the fragment, which must outlive it.
 *
 * A fragment may say as much as its output may be large. What is told, compared and kept waiting is bounded: the rest
 * is counted, in one more message.
 */
#ifndef HAPTIC_CONTROLLER_MESSAGES_H
#define HAPTIC_CONTROLLER_MESSAGES_H

#include <stdbool.h>
#include <stddef.h>

#include "base/map.h"
#include "base/vec.h"
#include "engine/contribution.h"

#define MESSAGES_MAX 50

struct message {
    enum contribution_kind kind; /* CONTRIBUTION_EVENT or _WARNING */
    const char *reason, *text;
};
struct messages {
    VEC(struct message) items; /* in the order of the fragment; the last one tells of the rest, if there is a rest */
    struct map index;          /* kind and reason → place in items, from 1 */
    char rest[96];
};
/* f NULL: it says nothing. */
void messages_init(struct messages *m, const struct fragment *f);
void messages_done(struct messages *m);
bool messages_has_reason(const struct messages *m, enum contribution_kind kind, const char *reason);
bool messages_has(const struct messages *m, enum contribution_kind kind, const char *reason, const char *text);

#endif
