/* scaled.h — the objects of a workbench, many times over.
 * Thread:  loop thread only.
 * Owns:    nothing; copies are put into the store of another workbench.
 * Errors:  ERR_LIMIT, ERR_INVALID: a copy cannot be put.
 *
 * Copy N of an object is in the namespace NAMESPACE-N, and its hosts begin with "cN.": values of the fields host,
 * hosts, hostname and hostnames, wherever they are. References to other namespaces stay. Objects in no namespace, such
 * as an IngressClass, are there once.
 */
#ifndef HAPTIC_OFFLINE_SCALED_H
#define HAPTIC_OFFLINE_SCALED_H

#include "offline/workbench.h"

/* Objects in namespaces. */
size_t scaled_count(struct workbench *from);
/* Put at least `wanted` of them into the store of `to`, before it renders; from and to are by the same kinds.
 * *ret_count: how many there are. Secrets are copied with their values. */
int scaled_put(struct workbench *from, struct workbench *to, size_t wanted, size_t *ret_count, struct err *err)
    MUST_CHECK;

#endif
