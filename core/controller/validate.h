/* validate.h — brings pending items to accepted by asking HAProxy, and finds whom to quarantine when it says no.
 * Thread:  loop thread only.
 * Owns:    the check under way, and who is suspected.
 * Errors:  reported through the outcome.
 *
 * One run: write everything rendered, `haproxy -c`, and
 *   yes → what was checked is accepted;
 *   no, and a line, file or section that belongs to an object is named → that object's fragment is quarantined (its
 *   last accepted
 *         contributions stay) and the rest is checked again;
 *   no, and nobody is named who could be quarantined → all fragments with something pending are held back. If HAProxy
 *   refuses what remains,
 *         it is the templates' own fault: nothing is accepted. Otherwise the suspects are let in by halves until the
 *         culprits stand alone.
 * A fragment that has changed since it was checked is not convicted but checked again. The number of checks in one run
 * is bounded; who is still suspected then is held back until the next run, which goes on where this one ended.
 *
 * A check that dies or takes too long may be an object's doing too and is searched like a refusal; but if HAProxy
 * cannot even check what is accepted already, nobody is blamed.
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

enum validation_outcome {
    VALIDATION_ACCEPTED,     /* everything but what is quarantined */
    VALIDATION_REFUSED,      /* nothing: the same again would be refused again */
    VALIDATION_UNFINISHED,   /* suspects are left: run again */
    VALIDATION_INCONCLUSIVE, /* the check could not be made, or had to wait: run again */
};

struct validation {
    enum validation_outcome outcome;
    const char *problem; /* why not everything was accepted; "" otherwise, also for one that had to wait */
    unsigned checks;     /* haproxy -c runs */
    int64_t duration_ns;
    bool idle;
};

/* A fragment that was put into quarantine. */
struct conviction {
    const struct fragment *fragment;
    enum contribution_kind kind; /* the contribution that is complained about */
    const char *scope, *key;
    unsigned line;       /* of its text, 0-based */
    const char *message; /* HAProxy's words */
    bool left_out;       /* nothing of it is in use: it has no accepted output, or that is refused as well */
};

struct validator_events {
    void (*quarantined)(void *ctx, const struct conviction *conviction);
    /* A part of the templates themselves is refused and has no accepted output: the run will end as refused. May
     * be NULL. */
    void (*refused)(void *ctx, const struct conviction *conviction);
    void (*done)(void *ctx, const struct validation *validation);
    /* Must the next check wait? What is rendered at the moment is not whole. NULL: never. */
    bool (*must_wait)(void *ctx);
};

/* config: strings are borrowed and must outlive the validator. */
struct validator *validator_new(uv_loop_t *loop, const struct check_config *config, struct model *model,
                                struct metrics *metrics, const struct validator_events *events, void *ctx);
struct validator *validator_free(struct validator *v); /* abandons a run; NULL is fine */

/* Begin a run. Not while one is under way, unless that is an idle one: it is abandoned, and its done() does not
 * come. */
void validator_run(struct validator *v);
/* The same for what is not urgent: its check gives way to everything else on the machine, and what it says is only
 * believed at once when it is good; else it is asked again, urgently. Not while a run is under way. */
void validator_run_idle(struct validator *v);
bool validator_is_idle(const struct validator *v); /* an idle run is under way */
bool validator_busy(const struct validator *v);
/* Fragments that are held back though nothing is proved against them. */
size_t validator_suspects(const struct validator *v);

#endif
