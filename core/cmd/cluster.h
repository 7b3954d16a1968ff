/* cluster.h — the API server as a command that ends by itself asks it: one question after the other.
 * Thread:  loop thread only; the calls run the loop until they are done.
 * Owns:    loop and client.
 * Errors:  as kube/client.h has them.
 */
#ifndef HAPTIC_CMD_CLUSTER_H
#define HAPTIC_CMD_CLUSTER_H

#include <uv.h>

#include "base/buf.h"
#include "cmd/options.h"
#include "controller/config.h"
#include "kube/client.h"

enum { CLUSTER_KUBECONFIG = 1000, CLUSTER_CONTEXT, CLUSTER_SERVER };

#define CLUSTER_ROWS \
    {CLUSTER_KUBECONFIG, \
     0, \
     "kubeconfig", \
     "FILE", \
     NULL, \
     NULL, \
     "how to reach the API server (KUBECONFIG, ~/.kube/config, or the pod's service account)"}, \
        {CLUSTER_CONTEXT, 0, "context", "NAME", NULL, NULL, "context of the kubeconfig"}, \
    { \
        CLUSTER_SERVER, 0, "server", "URL", NULL, NULL, "address of the API server; overrides the kubeconfig" \
    }

struct cluster {
    struct kube_overrides overrides;
    uv_loop_t loop;
    bool is_open;
    struct kube_client *client; /* NULL: not open, or alone */
};

/* An option of CLUSTER_ROWS; false: it is none. */
bool cluster_set(struct cluster *c, int id, const char *value);
int cluster_open(struct cluster *c, struct err *err) MUST_CHECK;
/* The loop, without an API server. 0. */
int cluster_open_alone(struct cluster *c);
void cluster_close(struct cluster *c); /* also of one that is not open */

/* The body of an answer. */
int cluster_get(struct cluster *c, const char *what, const char *path, struct buf *body, struct err *err) MUST_CHECK;
/* The same from any server ("http://HOST:PORT"), which gets no credentials. */
int cluster_fetch(struct cluster *c, const char *url, const char *path, struct buf *body, struct err *err) MUST_CHECK;
/* The configuration of a resource ("NAMESPACE/NAME"), whose object is appended to ret_object. */
int cluster_config(struct cluster *c, const char *resource, struct config **ret_config, struct buf *ret_object,
                   struct err *err) MUST_CHECK;

#endif
