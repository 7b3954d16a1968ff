/* feed.h — what a renderer has yet to be told of the store.
 * Thread:  loop thread only.
 * Owns:    references to the objects of the kind being replayed, and the identities of changed objects.
 *
 * A new renderer is given every object, kind by kind, as fast as it reads; changes of kinds it has been given are
 * queued by identity, so that ten changes of one object before it is sent are one frame, with the newest state.
 */
#ifndef HAPTIC_ENGINE_FEED_H
#define HAPTIC_ENGINE_FEED_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/map.h"
#include "base/vec.h"
#include "store/store.h"

struct feed {
    struct store *store;
    const char *const *kinds; /* names, borrowed */
    size_t kind_count;
    size_t next_kind;            /* kinds from here on are not replayed yet */
    VEC(struct object *) replay; /* of kind next_kind - 1 */
    size_t replayed;
    VEC(char *) dirty; /* "kind\0id", oldest first */
    size_t sent;       /* of dirty */
    struct map dirty_keys;
    struct object *pretended; /* told in place of what the store has by its id; NULL: nothing is. Referenced */
    VEC(char *) answers;      /* "kind\0id\0refusal", oldest first ("?": void): what the store has of it goes before */
    size_t answered;
};

/* Everything is to be told anew. */
void feed_begin(struct feed *f, struct store *store, const char *const *kinds, size_t kind_count);
void feed_done(struct feed *f); /* leaves an empty feed that is never dirty */
/* An object changed or went. */
void feed_changed(struct feed *f, const struct store_kind *kind, const struct object *o);
/* Tell the process of this object as if the store had it, until it is another one or (NULL) none. Forgotten when
 * everything is told anew. */
void feed_pretend(struct feed *f, struct object *o);
/* Tell the process that an object it asked for is known, or no longer known; refusal as in store/ask.h. */
void feed_answer(struct feed *f, const char *kind, const char *id, const char *refusal);
bool feed_is_empty(const struct feed *f);
/* Append frames until out has at least high_bytes or nothing is left. */
void feed_pump(struct feed *f, struct buf *out, size_t high_bytes);

#endif
