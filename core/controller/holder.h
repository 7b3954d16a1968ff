/* holder.h — does the process that holds the Lease still exist? What its Pod says.
 * Thread:  loop thread only.
 * Owns:    a watch of one Pod. Borrows the client.
 * Units:   *_us Unix microseconds.
 * Errors:  a verb that is not granted is told once; then nothing is known, and the lease decides as ever.
 * Source:  core/v1 Pod: status.phase, status.containerStatuses.
 *
 * The Pod is that of holderIdentity, in the Lease's namespace; names that no Pod can have are not looked for. Its end
 * is its deletion (after it was seen), the phase Failed or Succeeded, or the end of the container that took the Lease.
 * The times of a container and the Lease's acquireTime come from one node's clock, so they can be compared: a container
 * that started after the Lease was taken did not take it.
 */
#ifndef HAPTIC_CONTROLLER_HOLDER_H
#define HAPTIC_CONTROLLER_HOLDER_H

#include <stdint.h>

#include "base/err.h"
#include "kube/client.h"

struct holder;

struct holder_ops {
    /* The process that took the Lease as holder at acquire_us has ended. Told once for each tenure. */
    void (*gone)(void *ctx, const char *holder, int64_t acquire_us, const char *why);
    void (*denied)(void *ctx, const struct err *err);
};

/* identity: our own name. The controller's container is the one that the Pod's annotation
 * kubectl.kubernetes.io/default-container names, or the only one. Callbacks never come from inside the calls. */
struct holder *holder_new(struct kube_client *client, const char *namespace, const char *identity,
                          const struct holder_ops *ops, void *ctx);
struct holder *holder_free(struct holder *h); /* NULL is fine; from inside its callbacks, too */

/* The Lease says this now. Ours, or nobody's: nothing is watched. */
void holder_see(struct holder *h, const char *holder, int64_t acquire_us);

#endif
