/* member_parts.h — what a member consists of, for the files of member only.
 * Thread:  loop thread only.
 *
 *   member.c       applies: whose turn it is, and what becomes of it
 *   member_told.c  what it tells of itself: answers, state, readiness, metrics
 */
#ifndef HAPTIC_MEMBER_MEMBER_PARTS_H
#define HAPTIC_MEMBER_MEMBER_PARTS_H

#include "agent/agent.h"
#include "base/clock.h"
#include "base/log.h"
#include "member/member.h"
#include "member/nonce.h"
#include "member/replica.h"
#include "net/backoff.h"

#define PROBLEM_SIZE sizeof(((struct err *)NULL)->text)

struct member {
    uv_loop_t *loop;
    struct member_options options;
    struct metrics *metrics;
    struct model *model;
    struct vault *vault;
    struct replica *replica;
    struct nonce nonce;
    struct agent *agent;
    enum member_state state;
    uv_timer_t retry, drift, sweep;
    int open_handles;
    bool stopping;
    struct net_backoff backoff;
    const char *due; /* why everything is to be compared; NULL: it is not */
    /* Whose question the apply under way is; NULL: the member's own. */
    member_answer *answer;
    void *answer_ctx;
    struct buf question; /* of a verification (haproxy/proof.h); empty: none */
    /* An offer that came while the member compared by itself; bytes NULL: none. */
    struct {
        char *bytes;
        size_t length;
        member_answer *answer;
        void *ctx;
    } waiting;
    char problem[PROBLEM_SIZE]; /* of the last apply; "" */
    char refused[PROBLEM_SIZE]; /* why the last offer was taken back; "" */
    char waits_for[256];        /* what waits for a reload; "" */
    bool may_start;             /* HAProxy, by whoever starts it */
    bool prepared;              /* the directory of an attached HAProxy that does not run has prepared_digest */
    struct digest prepared_digest;
    uint64_t applies, refusals;
    struct log_limit limit;
};

/* Appends ,"NAME":"TEXT". */
void member_put_text(struct buf *json, const char *name, const char *text);
/* The beginning of each answer: the result and what the member has. */
void member_begin_answer(const struct member *m, struct buf *json, const char *result);

#endif
