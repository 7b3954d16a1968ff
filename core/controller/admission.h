/* admission.h — what an object would do to the rendering, asked before the API server takes it.
 * Thread:  loop thread only.
 * Owns:    a renderer of its own, and the requests that wait. Borrows store and metrics.
 * Units:   *_ns nanoseconds.
 * Errors:  none: each request is answered once, by its deadline at the latest.
 *
 * A candidate is shown to a second renderer as if the store had it; store, model and the first renderer do not know of
 * it. One candidate is judged at a time, and the second renderer has a lower priority than the first one. A new failure
 * of the candidate denies it. Messages for its owner become warnings, and so do failures that it had before. When there
 * is no result in time, fails_closed decides.
 *
 *     AWAY ──rendered──► RESTING ──changes, or a request──► CATCHING_UP ──rendered──► JUDGING ──rendered──► RESTING
 *       ▲                                                        ▲   (with a request)    │
 *       └── new templates do not load                            └──── the process died ─┘
 */
#ifndef HAPTIC_CONTROLLER_ADMISSION_H
#define HAPTIC_CONTROLLER_ADMISSION_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/buf.h"
#include "base/metric.h"
#include "controller/config.h"
#include "engine/renderer.h"
#include "haproxy/model.h"
#include "store/store.h"

/* An object and the one of before: neither is larger than what etcd keeps. */
#define ADMISSION_BODY_MAX ((size_t)3 << 20)

struct admission;

struct admission_spec {
    uv_loop_t *loop;
    struct store *store;
    const char *executable;
    struct metrics *metrics;
    int64_t timeout_ns;                        /* from a request to its answer */
    bool fails_closed;                         /* what cannot be judged is denied */
    const struct config *(*config)(void *ctx); /* in force; NULL: there is none yet */
    const struct model *(*model)(void *ctx);   /* to foresee conflicts */
    /* Are objects of that kind and namespace in the store, if there are any? */
    bool (*is_followed)(void *ctx, const char *kind, const char *namespace);
    void *ctx;
};

struct admission *admission_new(const struct admission_spec *spec);
struct admission *admission_free(struct admission *a); /* NULL is fine; open requests are answered. Run the loop on */

/* These templates are in force now. Nothing is judged before the first ones. deadline_ns of the limits is made as
 * short as a request allows. */
void admission_set_program(struct admission *a, const char *json, size_t length, const struct renderer_limits *limits);

/* JSON: {"state":"resting","waiting":0,"allowed":7,"denied":1,"unjudged":0,"last_denied":…} */
void admission_describe(const struct admission *a, struct buf *out);

/* Its renderer has the objects and templates. */
bool admission_can_judge(const struct admission *a);
/* body: an AdmissionReview; not used after the call. done is called once, perhaps from within: body is the answer's,
 * and may be taken. */
void admission_review(struct admission *a, const char *body, size_t length,
                      void (*done)(void *ctx, unsigned status, struct buf *body), void *ctx);

#endif
