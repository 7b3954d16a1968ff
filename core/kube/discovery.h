/* discovery.h — what the API server serves.
 * Thread:  loop thread only.
 * Owns:    what it has learned of each apiVersion. Borrows the client, which must outlive it.
 * Source:  Kubernetes API: APIResourceList.
 *
 * An apiVersion is asked for once, however many kinds want to know. That a resource is served is remembered until
 * kube_discovery_forget(); that it is not is asked anew each time, since a CRD may appear at any moment.
 */
#ifndef HAPTIC_KUBE_DISCOVERY_H
#define HAPTIC_KUBE_DISCOVERY_H

#include <stdbool.h>

#include "base/err.h"
#include "kube/client.h"

struct kube_discovery;
struct kube_lookup;

struct kube_resource {
    bool is_served;
    bool is_namespaced;
    bool can_list, can_watch;
    const char *kind; /* "Ingress"; "" when not served */
    const char *api_version;
};

struct kube_discovery *kube_discovery_new(struct kube_client *client);
struct kube_discovery *kube_discovery_free(struct kube_discovery *d); /* no lookup is answered afterwards */

/* Exactly one of resource and err is NULL; resource is valid during the call. Never called from inside
 * kube_discovery_find(). A resource or apiVersion that does not exist is no error. */
typedef void kube_discovery_done(void *ctx, const struct kube_resource *resource, const struct err *err);

/* Looks up whether a resource is served ("networking.k8s.io/v1", "ingresses"). done() is called once, unless the
 * lookup is cancelled. */
struct kube_lookup *kube_discovery_find(struct kube_discovery *d, const char *api_version, const char *resource,
                                        kube_discovery_done *done, void *ctx);
/* NULL is fine; always returns NULL. A lookup that was answered is gone and must not be cancelled. */
struct kube_lookup *kube_lookup_cancel(struct kube_lookup *l);
/* A served resource answered 404: look again next time. */
void kube_discovery_forget(struct kube_discovery *d, const char *api_version);

#endif
