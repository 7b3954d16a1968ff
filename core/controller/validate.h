/* validate.h — brings pending items to accepted by asking HAProxy, and finds whom to quarantine when it says no.
 * Thread:  loop thread only.
 * Owns:    the check under way.
 * Errors:  reported through the outcome.
 *
 * One run: write everything rendered, `haproxy -c`, and
 *   yes → what was checked is accepted;
 *   no, with a line or section that belongs to an object → that object's fragment is quarantined (its last accepted contributions stay) and
 *         the rest is checked again;
 *   no, and nobody named → the fragments with pending items are bisected;
 *   no, and a fragment without an object is to blame and has nothing accepted to fall back on → nothing is accepted.
 * The number of checks in one run is bounded: what is still suspect then stays quarantined.
 */
#ifndef HAPTIC_CONTROLLER_VALIDATE_H
#define HAPTIC_CONTROLLER_VALIDATE_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/metric.h"
#include "haproxy/check.h"
#include "haproxy/model.h"

struct validator;

struct validation {
    bool accepted;
    bool inconclusive;    /* the check could not be made: try again later */
    const char *problem;  /* why nothing was accepted; "" otherwise */
    unsigned checks;      /* haproxy -c runs */
    int64_t duration_ns;
};

struct validator_events {
    /* A fragment was put into quarantine. message: HAProxy's words. Its template line is asked for by the receiver. */
    void (*quarantined)(void *ctx, const struct fragment *f, enum contribution_kind kind, const char *scope, const char *key,
                        unsigned line, const char *message);
    void (*done)(void *ctx, const struct validation *validation);
};

/* config: strings are borrowed and must outlive the validator. */
struct validator *validator_new(uv_loop_t *loop, const struct check_config *config, struct model *model, struct metrics *metrics,
                                const struct validator_events *events, void *ctx);
struct validator *validator_free(struct validator *v); /* abandons a run; NULL is fine */

/* Begin a run. Not while one is under way. */
void validator_run(struct validator *v);
bool validator_busy(const struct validator *v);

#endif
