/* source_fetch.h — the texts of a kind of which the store keeps only what finds its objects.
 * Thread:  loop thread only.
 * Owns:    its requests and timer. Borrows client, store and kind.
 * Units:   *_ns clock_now_ns().
 * Errors:  of single objects, told by outcome; they are tried again by themselves.
 *
 * The kind is watched as any other, by somebody else; what the watch brings of an object that is asked for
 * (store/ask.h) is kept with its text. An object that was there before anybody asked is read once here, FETCHES_MAX at
 * a time.
 */
#ifndef HAPTIC_STORE_SOURCE_FETCH_H
#define HAPTIC_STORE_SOURCE_FETCH_H

#include "base/err.h"
#include "base/metric.h"
#include "kube/client.h"
#include "store/store.h"

#define SOURCE_FETCHES_MAX 16

struct source_fetch;

/* An object could not be read, or not be taken over. NULL err: it was. */
typedef void source_fetch_outcome(void *ctx, const char *id, const struct err *err);

/* From now on it serves what is asked for of the kind. metrics may be NULL. */
struct source_fetch *source_fetch_new(struct kube_client *client, struct store *store, struct store_kind *kind,
                                      size_t max_object_bytes, struct metrics *metrics, source_fetch_outcome *outcome,
                                      void *ctx);
struct source_fetch *source_fetch_free(struct source_fetch *f); /* NULL is fine; not from inside outcome() */

#endif
