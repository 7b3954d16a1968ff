/* path.h — URLs of the API server's resources.
 * Errors:  ERR_INVALID for names that cannot be those of a resource.
 * Source:  Kubernetes API concepts: resource URIs.
 */
#ifndef HAPTIC_KUBE_PATH_H
#define HAPTIC_KUBE_PATH_H

#include "base/buf.h"
#include "base/err.h"

/* Are these an apiVersion ("v1", "networking.k8s.io/v1") and a plural resource name ("ingresses")? */
int kube_path_check(const char *api_version, const char *resource, struct err *err) MUST_CHECK;
/* "/api/v1" or "/apis/GROUP/VERSION". */
void kube_path_add_version(struct buf *b, const char *api_version);
/* The collection, in a namespace or (NULL) in all; with a name the object. */
void kube_path_add(struct buf *b, const char *api_version, const char *namespace, const char *resource,
                   const char *name);
/* "?name=value" or "&name=value", as the buffer needs it; the value percent-encoded. NULL value: nothing. */
void kube_path_add_query(struct buf *b, const char *name, const char *value);
/* "ingresses.networking.k8s.io"; "services" in the core group. */
void kube_path_add_label(struct buf *b, const char *api_version, const char *resource);

/* Which objects are meant. */
struct kube_selection {
    const char *api_version, *resource;
    const char *namespace; /* NULL: all, or cluster-scoped */
    const char *label_selector, *field_selector;
    size_t max_object_bytes; /* for streams: a larger one is not read */
};

/* The collection with its selectors as queries. */
void kube_selection_add_path(struct buf *b, const struct kube_selection *s);
/* "ingresses.networking.k8s.io in web"; the caller frees it. */
char *kube_selection_label(const struct kube_selection *s);

#endif
