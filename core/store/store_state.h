/* store_state.h — what a store consists of, shared by its files only.
 * Thread:  loop thread only.
 *
 *   store.c           one kind's objects, relists, the life of a kind and of a store
 *   store_object.c    one object: made from what a source has read, counted, compared
 *   store_kind.c      which kinds there are, and what they say of themselves
 *   store_listener.c  who is told
 *
 * Each calls only those below it.
 */
#ifndef HAPTIC_STORE_STORE_STATE_H
#define HAPTIC_STORE_STORE_STATE_H

#include "base/buf.h"
#include "base/map.h"
#include "base/vec.h"
#include "data/json.h"
#include "data/jsonpath.h"
#include "store/store.h"

struct objects {
    struct object **items;
    size_t length, capacity;
};

struct store_kind {
    unsigned refs;
    struct store *store; /* NULL after its removal */
    struct store_kind_spec spec;
    char *object_kind; /* NULL: unknown */
    struct jsonpath *index[STORE_INDEX_PARTS_MAX];
    size_t index_count;
    struct dictionary *dictionary; /* of its objects' texts */
    struct map table;              /* id → object */
    struct objects sorted;
    bool is_sorted;
    size_t bytes;
    bool is_secret;
    bool is_own; /* no source puts its objects */
    bool is_synced;
    bool is_replacing;
    struct map staged;
    size_t staged_bytes;
};

struct listener {
    store_listener *fn; /* NULL: taken out while events are being told */
    void *ctx;
};

struct store {
    size_t max_object_bytes, max_bytes, bytes;
    struct json_prune ignored;
    VEC(struct store_kind *) kinds; /* in the order of their names */
    VEC(struct listener) listeners;
    unsigned telling;
    struct buf json, parts, packed; /* scratch */
    struct vault *vault;
    struct asks *asks;
    bool takes_concealed;
};

/* store_listener.c */
/* Tell the listeners. */
void store_tell(struct store *s, enum store_event event, struct store_kind *kind, struct object *now,
                struct object *before);

/* store_kind.c */
/* Where a kind of this name is, or would be, among the store's kinds. */
size_t store_kind_position(const struct store *s, const char *name);
struct store_kind *store_kind_ref(struct store_kind *kind);
void store_kind_unref(struct store_kind *kind);

/* store_object.c */
/* What the store keeps of a value, as its kind and (a Secret) the vault say. */
int object_make(struct store_kind *kind, struct yyjson_val *value, struct object **ret_object, struct err *err)
    MUST_CHECK;
/* A copy with other bytes at that place of its JSON. */
struct object *object_with_text(const struct object *o, size_t at, const char *text, size_t length);
/* A copy without its text and what belongs to it. */
struct object *object_without_text(const struct object *o);
size_t object_bytes(const struct object *o);                      /* with what keeping it costs */
bool object_same(const struct object *a, const struct object *b); /* but for the resourceVersion */

#endif
