/* fleet_state.h — what a fleet consists of, for its files only.
 * Thread:  loop thread only.
 *
 *   fleet.c         life, which members there are, what is told about them
 *   fleet_member.c  one member: its states, what is asked and offered, what its answers mean
 *   fleet_offer.c   what members are offered: made once for all that need the same
 *   fleet_proof.c   has a member what it says?
 *   fleet_settle.c  has everybody settled?
 *   fleet_pace.c    who may take now what may need a reload
 */
#ifndef HAPTIC_CONTROLLER_FLEET_STATE_H
#define HAPTIC_CONTROLLER_FLEET_STATE_H

#include "base/clock.h"
#include "base/log.h"
#include "controller/change_log.h"
#include "controller/fleet.h"
#include "net/backoff.h"
#include "net/timer.h"

/* Of the agent's API (docs/agent-api.md). */
#define FLEET_API 3

enum pace { PACE_FREE, PACE_FIRST, PACE_REST };
enum seat_state { SEAT_CONNECT, SEAT_COMPARE, SEAT_APPLY, SEAT_VERIFIED, SEAT_DIVERGENT, SEAT_REFUSED };

/* A state that is not known, or empty. */
static inline bool is_nowhere(struct digest d)
{
    return digest_equal(d, (struct digest){0});
}

/* One member. */
struct seat {
    struct fleet *fleet;
    char *name;
    struct peer_address address;
    enum seat_state state;
    bool listed;    /* during fleet_set_members() */
    bool connected; /* the last request was answered */
    bool needs_whole;
    bool was_moved;  /* since it took something last, it has said that it is somewhere else than it said before */
    bool verify_due; /* everything is to be read back */
    bool verifying;  /* the request under way is about that */
    bool proves;     /* it says that it can prove what it has */
    bool doubted;    /* it could not, and does not count as verified until it can */
    struct {
        bool is_asked;
        struct digest digest, right; /* what was accepted then, and the right answer */
    } proof;
    uint64_t lies;
    int64_t claimed_ns;    /* when the leader last raised its fence because of this member; 0: never */
    int64_t astray_ns;     /* divergent since then, whatever it was asked meanwhile; 0: it is not */
    int64_t read_back_s;   /* Unix time: when everything was, and it is what was accepted; 0: never */
    struct digest digest;  /* where it is; 0: not known, or it has nothing */
    struct digest offered; /* what it was offered last; 0: nothing */
    char nonce[33];        /* for the next offer; "": its API has none */
    char version[64], haproxy[64];
    bool unpacks;         /* it takes packed bodies */
    bool takes_backends;  /* without a reload */
    bool haproxy_differs; /* from the one that checks here, in its first two numbers */
    struct peer_request *request;
    struct net_timer *timer; /* of the back-off, or the next look */
    struct net_backoff backoff;
    int64_t asked_ns, applied_ns; /* when the request began; how long the last apply took */
    unsigned operations;          /* of the last apply */
    uint64_t applies, reloads;
    char problem[600], reload_reason[256];
    struct log_repeat repeat;
};

/* An offer that several members may get. */
struct made_offer {
    struct digest from, result;
    int64_t transitions;
    uint64_t generation;
    size_t plain;             /* of its beginning: there are values of Secrets */
    struct peer_body *body;   /* NULL: none */
    struct peer_body *packed; /* NULL: not yet */
};

struct fleet {
    uv_loop_t *loop;
    struct fleet_config config;
    char *agent_name;
    struct model *model;
    struct vault *vault;
    struct metrics *metrics;
    struct fleet_ops ops;
    void *ctx;
    struct peers *peers;
    VEC(struct seat *) seats;
    struct change_log log;
    bool writing;
    int64_t transitions;
    uint64_t generation;
    char holder[OFFER_HOLDER_SIZE];
    struct made_offer whole, delta;
    enum pace pace;
    struct net_timer *pacer; /* to look again who may go on */
    /* The deployment that is under way. */
    bool unsettled;
    int64_t began_ns;
    unsigned operations, reloads;
    uint64_t sent;
    struct metric *duration;
};

/* fleet_member.c */
const char *seat_state_name(enum seat_state state);
void seat_step(struct seat *s);   /* do what is due */
void seat_forget(struct seat *s); /* a new term, or an end: what was asked is cancelled */

/* fleet_offer.c */
/* The body of an offer from this digest (0: from nothing) to what is accepted; names: what has changed since. */
struct peer_body *offer_body(struct fleet *f, struct digest from, const struct offer_name *names, size_t count,
                             bool may_pack);
void offers_forget(struct fleet *f);

/* fleet_proof.c */
/* What a verification asks for besides; empty: nothing, as its version does not know such questions. */
struct peer_body *proof_question(struct seat *s);
/* Is this not the answer to the last question, and it counts? NULL: there is none. The member is doubted then. */
bool proof_fails(struct seat *s, const char *answer);

/* fleet_settle.c */
void fleet_look(struct fleet *f); /* has everybody settled? */

#endif
