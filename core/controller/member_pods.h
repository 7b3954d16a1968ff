/* member_pods.h — the members of a fleet, as their Pods say.
 * Thread:  loop thread only.
 * Owns:    a watch per namespace, and what it knows of each Pod. Borrows the client.
 * Errors:  a watch that fails is told by report() and tried again; what is known stays.
 * Source:  core/v1 Pod: status.phase, status.podIP, metadata.deletionTimestamp.
 *
 * A Pod is a member while it runs, has an address, and is not being deleted. Whether its agent answers is the fleet's
 * matter: a member that does not is tried again there.
 */
#ifndef HAPTIC_CONTROLLER_MEMBER_PODS_H
#define HAPTIC_CONTROLLER_MEMBER_PODS_H

#include <stdint.h>

#include "controller/fleet.h"
#include "kube/client.h"

struct member_pods;

struct member_pods_spec {
    const char *selector;   /* Kubernetes' syntax; evaluated by the API server */
    const char *namespaces; /* separated by commas */
    uint16_t port;
    int64_t stall_ns; /* 0: kube/watch.h's */
    /* All members there are; called when that has changed, and once when every namespace was listed. */
    void (*changed)(void *ctx, const struct fleet_seat *seats, size_t count);
    void (*report)(void *ctx, const char *kind, const struct err *err, const char *reason, int64_t retry_in_ns);
    void *ctx;
};

int member_pods_new(struct kube_client *client, const struct member_pods_spec *spec, struct member_pods **ret_pods,
                    struct err *err) MUST_CHECK;
struct member_pods *member_pods_free(struct member_pods *p); /* NULL is fine */

#endif
