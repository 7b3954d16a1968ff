/* status.h — what the API server's refusals mean, in words that a person can act on.
 * Source:  Kubernetes API conventions: response Status kind.
 */
#ifndef HAPTIC_KUBE_STATUS_H
#define HAPTIC_KUBE_STATUS_H

#include <stddef.h>
#include <yyjson.h>

#include "base/err.h"

/* Set err from an HTTP answer that is no success. what: what was tried ("list ingresses.networking.k8s.io"). body is
 * normally a Status object but may be anything. Kinds: 401 403 DENIED, 404 NOTFOUND, 409 CONFLICT, 410 GONE, 408 504
 * TIMEOUT, other 4xx INVALID (413: LIMIT), 429 and the rest IO. Always returns -1. */
int kube_status_err(struct err *err, const char *what, long http_status, const char *body, size_t length);
/* The same for a Status object, as in a watch event of type ERROR. */
int kube_status_value_err(struct err *err, const char *what, yyjson_val *status);

#endif
