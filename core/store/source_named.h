/* source_named.h — the objects of one kind that somebody asks for, followed each by its name.
 * Thread:  loop thread only.
 * Owns:    its requests, watches and timer. Borrows client, store and kind.
 * Units:   *_ns clock_now_ns().
 * Errors:  of single objects, told by ops; they are tried again by themselves.
 * Source:  Kubernetes API concepts; RBAC: a watch whose field selector names one object is that of its name.
 *
 * An account that may only `get` and `watch` is enough, for all names or for a list of them. Each object is read once,
 * a few at a time, and then followed by a watch of its own. A watch holds a connection, so there are WATCHES of them;
 * the others are read again each minute (those that do not exist: each ten seconds). Of names that nobody asks for any
 * more the object is kept for a minute.
 *
 * No namespace has more names, or more watches, than are left for the others.
 */
#ifndef HAPTIC_STORE_SOURCE_NAMED_H
#define HAPTIC_STORE_SOURCE_NAMED_H

#include "base/err.h"
#include "base/metric.h"
#include "kube/client.h"
#include "store/store.h"

struct source_named;

struct source_named_ops {
    /* It could not be read, or not be taken over. NULL err: it was. */
    void (*outcome)(void *ctx, const char *id, const struct err *err);
    void (*event)(void *ctx); /* something came */
};

/* From now on it serves what is asked for of the kind (store/ask.h). The kind counts as listed at once. */
struct source_named *source_named_new(struct kube_client *client, struct store *store, struct store_kind *kind,
                                      size_t max_object_bytes, struct metrics *metrics,
                                      const struct source_named_ops *ops, void *ctx);
struct source_named *source_named_free(struct source_named *s); /* NULL is fine; not from inside its ops */

/* Since when nothing of it could be read; 0: something could. */
int64_t source_named_failing_ns(const struct source_named *s);
size_t source_named_count(const struct source_named *s);

#endif
