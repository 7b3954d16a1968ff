/* request_run.h — a request of a test made, and its answer judged or shown.
 * Thread:  loop thread only; blocks while HAProxy answers.
 * Owns:    nothing.
 * Errors:  0, or -1 when the request could not be made: ERR_INVALID, ERR_NOTFOUND.
 */
#ifndef HAPTIC_OFFLINE_REQUEST_RUN_H
#define HAPTIC_OFFLINE_REQUEST_RUN_H

#include "offline/coverage.h"
#include "offline/request_case.h"
#include "offline/stage.h"

/* What differs from what is expected is appended to ret_message, with the line of haproxy.cfg, the template and the
 * objects that the answer is from; nothing when all is as expected. seed: for random clients. coverage: gets
 * the routes that were asked for; NULL: it is not wanted. */
int request_run(struct stage *s, struct workbench *w, const struct request_case *c, uint64_t seed,
                struct coverage *coverage, struct buf *ret_message, struct err *err) MUST_CHECK;
/* The answer to one request, for a person; and as JSON what a test would expect of it. */
int request_show(struct stage *s, struct workbench *w, const struct request_case *c, struct buf *out,
                 struct buf *ret_expected, struct err *err) MUST_CHECK;

#endif
