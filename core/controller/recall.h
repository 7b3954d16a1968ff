/* recall.h — at the start of a controller: what its fleet serves, asked of the member that knows the newest state.
 * Thread:  loop thread only.
 * Owns:    its requests, and the answer (wiped). Borrows the connections.
 * Errors:  a member that cannot be asked is passed over, and asked again while no other has answered.
 *
 *   WAITING ──(members, certificate)──► ASKING ──(each has answered or failed)──► READING ──► DONE
 *      ▲                                  │ └─(nobody has answered)──► again after a second
 *      └──────────────────────────────────┘
 *
 * A controller in a new Pod has no memory: without this, a template that fails for an object would take the object's
 * routes away from every HAProxy. While no member answers, nothing could be deployed either, so it waits.
 */
#ifndef HAPTIC_CONTROLLER_RECALL_H
#define HAPTIC_CONTROLLER_RECALL_H

#include <uv.h>

#include "controller/fleet.h"
#include "haproxy/bundle.h"
#include "net/peer.h"

struct recall;

struct recall_answer {
    const char *member; /* whose it is; NULL: no member serves anything */
    const char *bytes;  /* an offer of everything (haproxy/offer.h); valid during the call */
    size_t length;
    int64_t transitions; /* of its writer */
    uint64_t generation;
};

/* done is called once, from the loop. May free the recall. */
struct recall *recall_new(uv_loop_t *loop, struct peers *peers, void (*done)(void *ctx, const struct recall_answer *a),
                          void *ctx);
struct recall *recall_free(struct recall *r); /* NULL is fine; always returns NULL */
/* Which members there are, as fleet_set_members(); again when that changes. None: there is nothing to recall. */
void recall_set_members(struct recall *r, const struct fleet_seat *seats, size_t count);
/* The connections have a certificate now. */
void recall_step(struct recall *r);

#endif
