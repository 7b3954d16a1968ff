/* transport.h — what a transfer without an answer of the API server means, in words that a person can act on.
 * Thread:  loop thread only.
 * Errors:  TIMEOUT (the deadline), INVALID (what we were told to use cannot be used), IO (everything else). sys is not
 *          0 where not even a connection came about.
 */
#ifndef HAPTIC_KUBE_TRANSPORT_H
#define HAPTIC_KUBE_TRANSPORT_H

#include <curl/curl.h>

#include "kube/config.h"

/* what: what was tried ("list ingresses.networking.k8s.io"). detail: libcurl's own words. Always returns -1. */
int transport_err(struct err *err, const char *what, const struct kube_config *config, CURL *easy, CURLcode result,
                  const char *detail);

#endif
