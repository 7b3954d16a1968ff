/* candidates.h — configurations that are judged before the API server stores them: the resource that is followed, and
 *                the libraries that it names.
 * Thread:  loop thread only.
 * Owns:    the requests that wait, the tests and the rendering under way. Borrows the source, the client, the store.
 * Units:   *_ns nanoseconds.
 * Errors:  none: each request is answered once, by its deadline at the latest.
 *
 * A candidate goes the way of a rollout, one candidate at a time:
 *
 *     FETCHING ──its libraries are known──► TESTING ──they pass──► RENDERING ──► answered
 *
 * Before there is a configuration in force there is nothing to render on: then it is read and tested only. When there
 * is no verdict in time, fails_closed decides.
 *
 * A candidate's templates read all objects of the cluster, and the answer has their error messages. So the caller must
 * let nobody ask but the API server.
 */
#ifndef HAPTIC_CONTROLLER_CANDIDATES_H
#define HAPTIC_CONTROLLER_CANDIDATES_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/buf.h"
#include "base/metric.h"
#include "controller/candidate_render.h"
#include "controller/config_source.h"
#include "kube/client.h"

struct candidates;

struct candidates_spec {
    uv_loop_t *loop;
    struct metrics *metrics;
    struct kube_client *client;
    const struct config_source *source;
    const char *executable, *haproxy_binary;
    const char *const *extra_context; /* "key=value", ended by NULL; may be NULL */
    int64_t timeout_ns;               /* from a request to its answer */
    bool fails_closed;                /* what cannot be judged is denied */
    /* Fill in all but loop, executable and program. False: no configuration is in force. */
    bool (*base)(void *ctx, struct candidate_render_spec *ret_spec);
    int (*program)(void *ctx, const struct config *config, struct buf *out, struct err *err);
    void *ctx;
};

struct candidates *candidates_new(const struct candidates_spec *spec);
/* NULL is fine; open requests are answered. Run the loop on */
struct candidates *candidates_free(struct candidates *c);

/* body: an AdmissionReview; not used after the call. done is called once, perhaps from within. */
void candidates_review(struct candidates *c, const char *body, size_t length,
                       void (*done)(void *ctx, unsigned status, struct buf *body), void *ctx);
/* JSON: {"waiting":0,"judged":12,"state":"resting",…} */
void candidates_describe(const struct candidates *c, struct buf *out);

#endif
