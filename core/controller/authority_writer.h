/* authority_writer.h — the authority of the webhook's certificates, kept in a ValidatingWebhookConfiguration.
 * Thread:  loop thread only.
 * Owns:    a watch of that object, a request, a copy of the certificates.
 * Errors:  told by the log, and tried again.
 *
 * Somebody else makes the object: which kinds, which policy. The leader writes clientConfig.caBundle of those webhooks
 * that lead to the service, by server-side apply as the field manager "haptic-webhook", whenever another text stands
 * there. An authority that follows is trusted a day before it signs (fleet_keys.h), so no request fails meanwhile.
 */
#ifndef HAPTIC_CONTROLLER_AUTHORITY_WRITER_H
#define HAPTIC_CONTROLLER_AUTHORITY_WRITER_H

#include <stdbool.h>

#include "kube/client.h"

struct authority_writer;

struct authority_writer_spec {
    const char *name;                /* of the ValidatingWebhookConfiguration */
    const char *namespace, *service; /* where its webhooks lead that are ours */
    bool (*may_write)(void *ctx);
    void *ctx;
};

/* Strings are borrowed. */
struct authority_writer *authority_writer_new(struct kube_client *client, const struct authority_writer_spec *spec);
/* These certificates (PEM) are trusted from now on. */
void authority_writer_set(struct authority_writer *w, const char *authority);
/* Leadership may have changed. */
void authority_writer_step(struct authority_writer *w);
struct authority_writer *authority_writer_free(struct authority_writer *w); /* NULL is fine */

#endif
