/* member.h — one member of a fleet: the process beside an HAProxy that is its only writer.
 * Thread:  loop thread only.
 * Owns:    the model of what HAProxy is to have, the vault with the values that it uses, the agent, the copy on disk.
 * Units:   *_ns nanoseconds.
 * Errors:  member_new() refuses what cannot run; an offer that is not taken is answered with a reason.
 *
 * At the start it serves what HAProxy has served last, from its own directory, with nobody's help. From then on a
 * controller offers what comes next; docs/agent-api.md describes the answers.
 *
 *   WAITING ──(no controller yet, or HAProxy does not answer)──► APPLYING ──► LIVE
 *      ▲                                                            │  └─(refused)─► ROLLING_BACK ─► LIVE
 *      └────────────────── HAProxy cannot be reached ───────────────┘
 */
#ifndef HAPTIC_MEMBER_MEMBER_H
#define HAPTIC_MEMBER_MEMBER_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/buf.h"
#include "base/metric.h"

struct member;

struct member_options {
    const char *version;                        /* of this program */
    const char *directory;                      /* absolute */
    const char *binary;                         /* haproxy, when supervising; NULL: attached */
    const char *master_socket, *runtime_socket; /* NULL: in the directory */
    const char *minimal_bind;                   /* where the configuration without a bundle listens: "*:8404" */
    int64_t min_reload_interval_ns, drift_interval_ns;
};

enum member_state { MEMBER_WAITING, MEMBER_APPLYING, MEMBER_ROLLING_BACK, MEMBER_LIVE };

/* Strings of options are borrowed for the life of the member. */
struct member *member_new(uv_loop_t *loop, const struct member_options *options, struct metrics *metrics,
                          struct err *err) MUST_CHECK;
void member_stop(struct member *m, bool stop_haproxy, int64_t grace_ns, void (*stopped)(void *ctx), void *ctx);
struct member *member_free(struct member *m); /* after stopped; run the loop once more */

/* An answer: HTTP status and a JSON document. Called once for each offer or verification, also later. */
typedef void member_answer(void *ctx, unsigned status, struct buf *json);
/* nonce: what it names (nonce.h); NULL: nothing. */
void member_offer(struct member *m, const char *nonce, const char *bytes, size_t length, member_answer *answer,
                  void *ctx);
/* Read everything back from HAProxy and compare it; then answer this question (haproxy/proof.h), unless it is empty. */
void member_verify(struct member *m, const char *question, size_t length, member_answer *answer, void *ctx);
void member_describe(struct member *m, struct buf *json);
/* What HAProxy is to serve, as an offer of everything, for a controller that has lost its memory. False: there is
 * nothing. The values of Secrets are in it: whoever has it wipes it. */
bool member_write_bundle(const struct member *m, struct buf *out);
/* Is there a configuration for HAProxy to start with, if somebody else starts it? */
bool member_may_start(const struct member *m);
/* Does HAProxy serve what was last accepted? why: what is missing. */
bool member_is_ready(const struct member *m, struct buf *why);
void member_collect(struct member *m); /* metrics */

#endif
