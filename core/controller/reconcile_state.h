/* reconcile_state.h — what a reconciler consists of, for the files of its three stages only.
 * Thread:  loop thread only.
 * Units:   *_ns nanoseconds.
 *
 * Each file calls only files below it in this list:
 *
 *   reconcile.c  life, the step that looks at everything
 *   hear.c       what the renderer says → model
 *   accept.c     rendered → accepted
 *   deploy.c     accepted → live
 *   relieve.c    when what was told of an object is over
 *   tell.c       what owners of objects are told
 *   told.c       what they were told
 *   wake.c       something has changed
 */
#ifndef HAPTIC_CONTROLLER_RECONCILE_STATE_H
#define HAPTIC_CONTROLLER_RECONCILE_STATE_H

#include "agent/judge.h"
#include "base/log.h"
#include "controller/conflicts.h"
#include "controller/generation_log.h"
#include "controller/held.h"
#include "controller/messages.h"
#include "controller/notices.h"
#include "controller/problems.h"
#include "controller/reconcile.h"
#include "controller/relief.h"
#include "controller/validate.h"
#include "net/backoff.h"

/* Between two attempts of a deployment that failed. */
#define DEPLOY_RETRY_MIN_NS (500 * NS_PER_MS)
#define DEPLOY_RETRY_MAX_NS (30 * NS_PER_S)

#define REASON_QUARANTINED "Quarantined"
#define REASON_FAILED "TemplateFailed"
#define REASON_KILLED "RendererKilled"

struct reconcile {
    uv_loop_t *loop;
    void (*step)(struct reconcile *r);
    struct reconcile_config config;
    struct conflicts conflicts;
    struct reconcile_ops ops;
    void *ctx;
    struct store *store;
    struct model *model;
    struct validator *validator;
    struct renderer *renderer;
    struct agent *agent; /* NULL: there is a fleet */
    struct fleet *fleet; /* NULL: there is an agent */
    struct judge *judge; /* with a fleet */

    uv_check_t after_poll;
    uv_idle_t no_wait; /* keeps the loop from sleeping before after_poll */
    uv_timer_t drift, retry, background, recheck, notice_timer;
    int open_handles;
    bool stopped;

    bool dirty;       /* the store changed since the last request */
    bool rendered;    /* a complete rendering is in the model */
    bool took_over;   /* new templates are in force, and their rendering is not complete yet */
    bool partial;     /* but it may lack objects of a kind that is being listed */
    uint64_t whole;   /* the first request after the list; 0: not made yet */
    bool compare_all; /* deploy from scratch */
    const char *compare_why;
    bool was_writer;
    bool live;           /* HAProxy serves what was accepted for it, but for what waits for a reload */
    bool reload_waits;   /* for its turn */
    bool objected;       /* to new templates, just now */
    bool restored;       /* the model began with an earlier process' output, and nothing complete was rendered yet */
    bool stands_in;      /* the templates do not load: what was restored is deployed as it is */
    bool check_due;      /* what was restored has not been checked by this process */
    bool background_due; /* structural changes were accepted since the last whole check */
    bool refused;        /* this rendering was checked and refused: do not check the same again */
    struct digest refused_digest;
    unsigned refusals;                          /* in a row */
    bool unfinished;                            /* the validator wants to go on */
    char problem[1100];                         /* of the rendering */
    char refused_text[1100], problem_line[600]; /* the templates' own part in it, and the line that wrote it; or "" */
    char program_problem[1100], deployed_problem[1100];
    int64_t transitions; /* fence of the last deployment */
    bool checked_since;  /* something was accepted by a check since then */
    uint64_t generation;
    uint64_t deploying_generation; /* of the deployment under way, or the last one */
    uint64_t live_generation;      /* one more than what is live; 0: nothing */
    uint64_t requested, rendered_request;
    struct digest accepted_digest;
    int64_t accepted_ns;
    int64_t last_check_ns;  /* duration */
    int64_t check_after_ns; /* not before this */
    struct net_backoff retry_backoff;

    /* When the oldest change in each stage arrived; 0: none. */
    int64_t changed_ns, rendering_ns, settled_ns, applying_ns;

    struct problems problems; /* fragments that fail */
    struct notices notices;
    struct relief relief, released; /* messages and failures that were told; quarantines that were */
    bool reload_owed;               /* the last deployment failed in its reload only: changes go on */
    struct log_repeat failed_repeat;
    struct held held; /* namespaces that wait */
    struct generation_log generations;
    struct log_limit stale_limit, deployed_limit;
    int64_t drift_ns;

    struct metric *reconcile_duration, *reconcile_own_duration, *render_failures, *quarantines, *structural, *checked;
};

/* wake.c */
/* Look at everything and start what can be started. Every callback ends in it. */
void reconcile_step(struct reconcile *r);
/* The same, when the loop has read all that the sockets had. */
void reconcile_soon(struct reconcile *r);
/* The time of the oldest change goes on to the next stage. */
/* Everything is compared in first_ns, and then at each drift interval. */
void reconcile_start_drift(struct reconcile *r, int64_t first_ns);
void reconcile_stage_move(int64_t *from, int64_t *to);

/* told.c */
void reconcile_told(struct reconcile *r, const struct notice *n);
void reconcile_told_quarantine(struct reconcile *r, const struct fragment *f);
/* Of a NOTICE_OVER: is it still so? */
bool reconcile_is_over(const struct reconcile *r, const struct notice *n, const struct messages *messages);

/* tell.c */
/* Tell the owner when it has lasted; n: copied. */
void reconcile_tell_later(struct reconcile *r, const struct notice *n);
/* The same, or at once during the first rendering. */
void reconcile_tell(struct reconcile *r, const struct notice *n);
/* The fragment's messages are these now; NULL: it is gone. What waits to be told and is no longer true is dropped. */
void reconcile_review(struct reconcile *r, const char *fragment_id, const struct messages *messages);

/* hear.c */
/* From here on everything is reported anew: what is not seen before the next complete rendering no longer exists. */
void reconcile_replace_begin(struct reconcile *r);

/* relieve.c */
/* The fragment's messages are these now; NULL: none. Its failure was noted before. */
void reconcile_relieve(struct reconcile *r, const char *fragment_id, const struct messages *messages);
void reconcile_relieve_gone(struct reconcile *r);     /* fragments that a complete rendering has not */
void reconcile_relieve_released(struct reconcile *r); /* something was accepted */

/* accept.c */
extern const struct validator_events reconcile_validator_events; /* ctx: the reconciler */
void reconcile_accept(struct reconcile *r);

/* deploy.c */
void reconcile_deploy(struct reconcile *r);

#endif
