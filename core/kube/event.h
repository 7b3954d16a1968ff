/* event.h — Kubernetes Events about objects: what `kubectl describe` shows under them.
 * Thread:  loop thread only. Never blocks; a failure is counted, a missing permission also told.
 * Owns:    its requests. Borrows the client.
 * Source:  events.k8s.io/v1 Event; core/v1 where the former may not be created.
 *
 * The number is limited for each namespace and for all (event_share.h); the same event about the same object is sent
 * once in ten minutes.
 */
#ifndef HAPTIC_KUBE_EVENT_H
#define HAPTIC_KUBE_EVENT_H

#include <stdint.h>

#include "base/metric.h"
#include "kube/client.h"

struct kube_events;

/* What an Event is about. Strings may be NULL where not known. */
struct kube_event_object {
    const char *api_version, *kind, *namespace, *name, *uid, *resource_version;
};

/* controller: "haptic.io/controller", instance: the pod's name. metrics may be NULL:
 * haptic_kube_events_total{result}. */
struct kube_events *kube_events_new(struct kube_client *client, const char *controller, const char *instance,
                                    struct metrics *metrics);
/* Events may not be created, in neither API group: told once, and again after one was. */
void kube_events_on_denied(struct kube_events *e, void (*denied)(void *ctx, const struct err *err), void *ctx);
struct kube_events *kube_events_free(struct kube_events *e); /* unsent ones are lost */

/* type: "Normal" or "Warning"; reason: a CamelCase word; action: what was done ("Reconcile"); note: a sentence; one of
 * more than 1024 bytes is cut, and ends with "…". */
void kube_event_send(struct kube_events *e, const struct kube_event_object *object, const char *type,
                     const char *reason, const char *action, const char *note);
/* Sent or being sent, and held back or failed, since the start. */
uint64_t kube_events_sent(const struct kube_events *e);
uint64_t kube_events_dropped(const struct kube_events *e);

#endif
