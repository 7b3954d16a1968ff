/* fleet.h — the members that this controller deploys to: agents beside HAProxies.
 * Thread:  loop thread only.
 * Owns:    a state machine and a back-off per member, the requests, the log of changes; borrows model and vault.
 * Units:   *_ns nanoseconds.
 * Errors:  of one member: its state, a log line, a metric. Members do not wait for each other.
 *
 * Each member reports the digest of its state. When it differs from the model's, the member gets an offer: the changes
 * since that digest, or the whole state. A member's answers affect this member only.
 *
 *   CONNECT ──state──► COMPARE ──offer──► APPLY ──applied──► VERIFIED ──(a change)──► APPLY
 *      ▲                  ▲                 │ ├─(HAProxy refuses)──► REFUSED ──(a change)──► APPLY
 *      │                  └──(from where?)──┘ └─(HAProxy is not level yet)──► DIVERGENT ──► COMPARE
 *      └──────────────── no answer ─────────────────────────────────────────────────────────┘
 */
#ifndef HAPTIC_CONTROLLER_FLEET_H
#define HAPTIC_CONTROLLER_FLEET_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "agent/agent.h"
#include "base/buf.h"
#include "base/metric.h"
#include "haproxy/model.h"
#include "net/peer.h"
#include "store/vault.h"

struct fleet;
struct yyjson_val;

/* A deployment that every member has verified, except for those that cannot be reached, refuse it, or have been
 * divergent for longer than timeout_ns. */
struct fleet_deployment {
    uint64_t generation;
    unsigned verified, members;
    unsigned operations, reloads; /* of all of them together */
    uint64_t bytes;               /* sent */
    int64_t duration_ns;
};

struct fleet_ops {
    /* May this replica write now? */
    bool (*may_write)(void *ctx);
    /* A member has seen a newer writer. */
    void (*refused_stale)(void *ctx, int64_t highest_transitions);
    /* A deployment has ended; or (deployment NULL) one more member has verified it. */
    void (*settled)(void *ctx, const struct fleet_deployment *deployment);
    /* The failing ACME orders of a member's HAProxy: "orders" of its state. NULL: its agent does not report them, or it
     * is no longer a member. */
    void (*orders)(void *ctx, const char *member, struct yyjson_val *list);
};

struct fleet_config {
    const char *version;    /* of this program; in the user agent */
    const char *agent_name; /* in the agents' certificates */
    const char *haproxy;    /* version that checks configurations; a member with another version is reported */
    int64_t timeout_ns;     /* of one apply */
    unsigned share_percent; /* of the members that may get a checked change at the same time */
};

struct fleet *fleet_new(uv_loop_t *loop, const struct fleet_config *config, struct model *model, struct vault *vault,
                        struct metrics *metrics, const struct fleet_ops *ops, void *ctx);
struct fleet *fleet_free(struct fleet *f); /* NULL is fine; run the loop once more */

/* Set the members. Members that stay keep their state. name: for logs; copied. */
struct fleet_seat {
    const char *name;
    struct peer_address address;
};
void fleet_set_members(struct fleet *f, const struct fleet_seat *seats, size_t count);
void fleet_set_timeout(struct fleet *f, int64_t timeout_ns); /* of one apply, from now on */
int fleet_set_identity(struct fleet *f, const struct peer_identity *identity, struct err *err) MUST_CHECK;

/* The accepted configuration has changed. changes: moved, left empty; NULL: the changes are not known. checked: HAProxy
 * had to check it, so members may have to reload; then they get it one after another (fleet_pace.h). The fence is that
 * of every offer from now on. */
void fleet_offer(struct fleet *f, struct model_changes *changes, bool checked, const struct fence *fence);
/* Can each member add and delete backends without a reload? A member whose capabilities are not known yet counts as one
 * that cannot. */
bool fleet_takes_backends(const struct fleet *f);
/* This replica no longer writes. */
void fleet_rest(struct fleet *f);
/* Read everything back at each member: now, or as soon as it can be asked and has the accepted configuration. */
void fleet_verify(struct fleet *f);

/* Connections to the members, for requests that do not belong to a deployment. Borrowed. */
struct peers *fleet_peers(const struct fleet *f);

/* Numbers of members: all, reachable, those that have proved the accepted configuration, those whose HAProxy refused
 * it, and those that differ from it. */
struct fleet_status {
    size_t members, connected, verified, refused, divergent;
};
void fleet_status(const struct fleet *f, struct fleet_status *ret_status);
void fleet_describe(const struct fleet *f, struct buf *json); /* an array */
void fleet_collect(struct fleet *f);

#endif
