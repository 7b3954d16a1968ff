/* pager.h — one consistent list of a resource, page by page.
 * Thread:  loop thread only.
 * Owns:    its request. Borrows the client.
 * Units:   *_ns clock_now_ns().
 * Source:  Kubernetes API concepts: retrieving large results sets in chunks.
 *
 * A continue token that expires between pages (410) means to begin anew: begin() is called again and what was given
 * before is void. Servers under heavy churn can expire every token, so the fourth attempt asks for everything in one
 * page.
 */
#ifndef HAPTIC_KUBE_PAGER_H
#define HAPTIC_KUBE_PAGER_H

#include <yyjson.h>

#include "kube/client.h"
#include "kube/path.h"

struct kube_pager;

struct kube_pager_ops {
    void (*begin)(void *ctx);
    /* As it is in the list: built-in resources have no apiVersion and kind there. name is never NULL. */
    void (*object)(void *ctx, yyjson_val *object, const char *namespace, const char *name, int64_t received_ns);
    /* Exactly one of these ends it; the pager is gone then. */
    void (*complete)(void *ctx, const char *resource_version);
    void (*failed)(void *ctx, const struct err *err, int64_t retry_after_ns);
};

/* The selection's strings must outlive the pager. begin() is called from inside. */
struct kube_pager *kube_pager_start(struct kube_client *client, const struct kube_selection *selection,
                                    const struct kube_pager_ops *ops, void *ctx);
/* NULL is fine; always returns NULL. From inside its callbacks, too; not after complete() or failed(). */
struct kube_pager *kube_pager_cancel(struct kube_pager *p);

#endif
