/* leader.h — does this replica lead? The elector, bound to the API server, the clock, log, metrics and Events.
 * Thread:  loop thread only. leader_collect() and the questions may be called from the changed callback.
 * Owns:    its requests, timer, watch and Events; copies the configuration. Borrows loop, client and metrics.
 * Units:   *_ns clock_now_ns() nanoseconds.
 * Errors:  leader_new() refuses a configuration without margin; later failures are logged, counted and survived.
 *
 * Leading is a level, not an event: ask leader_may_write() before each write. changed() only says that asking again is
 * worth while; it comes after gain and loss and after a raise of the fence, and gaining means: compare desired with
 * actual for everything from scratch. Without a client, or with election disabled, this replica is alone: it always
 * leads, touches no Lease, and raises its fence by itself.
 */
#ifndef HAPTIC_CONTROLLER_LEADER_H
#define HAPTIC_CONTROLLER_LEADER_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/buf.h"
#include "base/metric.h"
#include "kube/client.h"
#include "kube/elector.h"

struct leader;

/* Starts at once. client may be NULL. */
int leader_new(uv_loop_t *loop, struct kube_client *client, const struct elector_config *config,
               struct metrics *metrics, void (*changed)(void *ctx, bool is_leader), void *ctx,
               struct leader **ret_leader, struct err *err) MUST_CHECK;
/* metadata.ownerReferences (JSON array) of a Lease that is made; NULL: none. Without the right to set them the Lease is
 * made without. */
void leader_on_create(struct leader *l, const char *(*references)(void *ctx), void *ctx);
/* At any time; without leader_stop() the Lease is left to expire. Run the loop once more afterwards. */
struct leader *leader_free(struct leader *l); /* NULL is fine; always returns NULL */

/* Lead no more; call it when the last write has ended. With release the Lease is given back, so that another replica
 * takes over at once. Then stopped is called, at the latest after two request timeouts. */
void leader_stop(struct leader *l, bool release, void (*stopped)(void *ctx), void *ctx);

/* May a write begin now? */
bool leader_may_write(const struct leader *l);
/* When a write that begins now must have ended; INT64_MAX when alone. Meaningless unless leader_may_write(). */
int64_t leader_write_end_ns(const struct leader *l);
/* The fence that goes with each write: its number, and who this is, told apart from other processes of this name by
 * the beginning of its term. They change only before a changed() callback; borrowed until then. */
int64_t leader_fence_transitions(const struct leader *l);
const char *leader_fence_holder(const struct leader *l);
/* A receiver refused a write as stale; the highest transitions it has seen. */
void leader_refused_stale(struct leader *l, int64_t highest_transitions);
/* From changed(), before the term's first write: a receiver would refuse it, for it has seen these transitions. As if
 * it had; but who is alone only goes on where an earlier process has ended, and calls changed() no second time. */
void leader_saw_fence(struct leader *l, int64_t highest_transitions);

/* The API server refuses this replica the Lease, and nobody else is known to lead: what it says; borrowed until the
 * loop turns. NULL: it is not like that. */
const char *leader_refusal(const struct leader *l);

/* Bring the metrics that run with time up to date: before each exposition. */
void leader_collect(struct leader *l);
/* A JSON object for the debug endpoint. */
void leader_describe(const struct leader *l, struct buf *out);

#endif
