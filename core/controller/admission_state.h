/* admission_state.h — what an admission consists of, for its two files only.
 * Thread:  loop thread only.
 *
 *   admission.c        requests, their queue, the renderer's states
 *   admission_judge.c  which objects are judged, and what is found of one
 */
#ifndef HAPTIC_CONTROLLER_ADMISSION_STATE_H
#define HAPTIC_CONTROLLER_ADMISSION_STATE_H

#include "base/log.h"
#include "base/vec.h"
#include "controller/admission.h"
#include "controller/problems.h"
#include "controller/review.h"
#include "net/timer.h"

enum admission_state {
    ADMISSION_AWAY,        /* nothing was rendered yet */
    ADMISSION_RESTING,     /* it has rendered what the store had, or the next timer has it catch up */
    ADMISSION_CATCHING_UP, /* it renders the store as it is */
    ADMISSION_JUDGING,     /* it renders the first request's object */
};

struct admission_request {
    char *uid;
    struct object *object; /* of the store's kind, in no store */
    void (*done)(void *ctx, unsigned status, struct buf *body);
    void *ctx;
    int64_t begun_ns, deadline_ns;
    bool was_shown; /* to a process that ended for another reason: there is no third time */
};

/* The renderer's result for one fragment, received while a candidate is judged. */
struct admission_finding {
    struct fragment *fragment; /* or else it fails: */
    char *id, *owner_kind, *owner_id, *message;
    bool was_known; /* it failed so before */
};

struct admission {
    struct admission_spec spec;
    struct renderer *renderer;
    struct net_timer *timer;
    enum admission_state state;
    bool has_program, dirty;
    bool stirred;          /* what has changed meanwhile is rendered with the candidate, too */
    bool deadline_is_full; /* a rendering has as much time here as where it counts */
    struct buf program;    /* the templates in force; empty: none yet */
    struct renderer_limits limits;
    uint64_t awaited; /* the number of the rendering that the state waits for */
    size_t open_needs;
    struct problems problems; /* what fails without a candidate */
    VEC(struct admission_finding) findings;
    VEC(struct admission_request *) queue; /* the oldest first: the one that is judged */
    size_t queue_bytes;
    unsigned long long allowed, denied, unjudged;
    char *last_denied; /* for people; NULL: nothing yet */
    double rate;
    int64_t rate_ns;
    struct log_limit denied_limit, unjudged_limit, load_limit;
};

/* True: the object is to be judged, and is made. False: v is the verdict. */
bool admission_take(struct admission *a, const struct review *review, struct object **ret_object, struct verdict *v);
/* Does the namespace of the candidate have to wait for its turn? */
bool admission_is_held(const struct admission *a, const struct render_stats *stats);
/* By what was found. */
void admission_judge(const struct admission *a, const struct object *candidate, struct verdict *v);
/* The process ended meanwhile. */
enum admission_blame {
    BLAME_NONE,     /* not by the candidate */
    BLAME_TOO_LATE, /* it took longer than a review may, but perhaps no longer than a rendering; why: for people */
    BLAME_DENIED,   /* v is the verdict */
};
enum admission_blame admission_judge_death(const struct admission *a, const struct object *candidate,
                                           const struct renderer_death *death, struct verdict *v, struct buf *why);
void admission_forget_findings(struct admission *a);

/* Callbacks of the renderer; ctx: the admission. */
void admission_on_fragment(void *ctx, struct fragment *f);
void admission_on_gone(void *ctx, const char *fragment_id);
void admission_on_waits(void *ctx, const char *fragment_id);
void admission_on_failed(void *ctx, const struct fragment_failure *f);

#endif
