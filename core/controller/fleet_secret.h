/* fleet_secret.h — the certificates of a fleet, or of the admission webhook, in one Secret: made, renewed and read.
 * Thread:  loop thread only.
 * Owns:    a watch of the Secret and a request. Borrows the client.
 * Errors:  told by the log; what was read stays in force.
 *
 * Keys: ca.crt, ca.key, agent.crt, agent.key, controller.crt, controller.key (PEM). Agents are given ca.crt, agent.crt
 * and agent.key, nothing else. Every replica follows the Secret; the leader makes it when it is not there, and issues
 * both certificates anew when two thirds of their time have passed. The authority lasts for ten years and is followed
 * by another one in time (fleet_keys.h: next-ca.crt, next-ca.key); whoever deletes the Secret gets another one. A
 * Secret with other contents than these is somebody's own: it is read, and not changed. For the webhook agent.crt is
 * the server's certificate, and the controller's is used by nobody.
 */
#ifndef HAPTIC_CONTROLLER_FLEET_SECRET_H
#define HAPTIC_CONTROLLER_FLEET_SECRET_H

#include <stdbool.h>

#include "kube/client.h"
#include "net/peer.h"

struct fleet_secret;

struct fleet_secret_spec {
    const char *namespace, *name;
    const char *agent_name; /* DNS name in the agents' certificate */
    bool is_webhook;
    bool (*may_write)(void *ctx);
    /* metadata.ownerReferences (JSON array) of the Secret; NULL, or it returns NULL: none. May be NULL. */
    const char *(*references)(void *ctx);
    /* as a controller; of the webhook: as its server */
    void (*changed)(void *ctx, const struct peer_identity *identity);
    void *ctx;
};

/* Strings are borrowed. */
struct fleet_secret *fleet_secret_new(struct kube_client *client, const struct fleet_secret_spec *spec);
/* Leadership may have changed. */
void fleet_secret_step(struct fleet_secret *s);
struct fleet_secret *fleet_secret_free(struct fleet_secret *s); /* NULL is fine */

#endif
