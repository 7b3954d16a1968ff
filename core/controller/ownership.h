/* ownership.h — the Lease and the Secrets that the controllers make go with the installation that made them.
 * Thread:  loop thread only.
 * Owns:    a timer and a request, what is known of the owners. Borrows the client and the strings.
 * Errors:  ownership_check() says what is wrong with a list; later failures are told by the log, and tried again.
 * Source:  Kubernetes API concepts: owners and dependents; the garbage collector removes an object when all of its
 *          owners are gone.
 *
 * Helm removes only what it has made. So the leader writes owners into metadata.ownerReferences: objects of the
 * installation that are there as long as it is. With two owners, one of them can be deleted and made again, and the
 * objects stay. References are compared when this replica begins to lead, when one of the objects was made or changed,
 * and every ten minutes: an owner that was made again has another uid. References to others stay. A Secret without a
 * mark of ours is somebody's own, and is not touched.
 *
 * Nothing else depends on it: without the rights for it all works as before, and the objects stay when the installation
 * goes.
 */
#ifndef HAPTIC_CONTROLLER_OWNERSHIP_H
#define HAPTIC_CONTROLLER_OWNERSHIP_H

#include <stdbool.h>
#include <stddef.h>

#include "kube/client.h"

#define OWNERSHIP_SECRETS_MAX 8

struct ownership;

struct ownership_spec {
    const char *namespace;
    const char *owners; /* "apps/v1/deployments/NAME,v1/services/NAME", in this namespace */
    const char *secrets[OWNERSHIP_SECRETS_MAX];
    size_t secret_count;
    const char *(*lease_name)(void *ctx); /* NULL: there is none */
    bool (*may_write)(void *ctx);
    void *ctx;
};

/* Is it a list of owners? */
int ownership_check(const char *owners, struct err *err) MUST_CHECK;
/* owners: checked before. */
struct ownership *ownership_new(struct kube_client *client, const struct ownership_spec *spec);
/* Leadership may have changed, or one of the objects has. */
void ownership_step(struct ownership *o);
/* metadata.ownerReferences (JSON) for an object that is made now, so that one that is made while the installation goes
 * does not outlast it; borrowed until the loop turns. NULL: the owners are not known yet. */
const char *ownership_references(const struct ownership *o);
struct ownership *ownership_free(struct ownership *o); /* NULL is fine */

#endif
