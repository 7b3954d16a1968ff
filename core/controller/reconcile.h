/* reconcile.h — the way of a change: store → renderer → model → validation → HAProxy.
 * Thread:  loop thread only.
 * Owns:    the model, the validator, the timers; borrows store, renderer and agent.
 * Units:   *_ns nanoseconds.
 *
 * Everything is level-triggered. At any moment the reconciler compares what is wanted with what is and takes the next
 * step: a change of the store asks for one more rendering; a rendering is settled (structural items accepted at once,
 * the rest checked); what is accepted is deployed while may_write() says so. Gaining leadership, a change at HAProxy
 * and the drift interval all mean the same: compare everything from scratch.
 */
#ifndef HAPTIC_CONTROLLER_RECONCILE_H
#define HAPTIC_CONTROLLER_RECONCILE_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "agent/agent.h"
#include "base/buf.h"
#include "base/metric.h"
#include "controller/fleet.h"
#include "engine/renderer.h"
#include "haproxy/check.h"
#include "haproxy/model.h"
#include "store/store.h"

struct generation_log;
struct reconcile;

/* What the reconciler asks of the rest of the controller. */
struct reconcile_ops {
    /* May this replica write towards HAProxy now? Asked before each deployment. */
    bool (*may_write)(void *ctx);
    /* With what fence: its number, and this process' name in it (NULL: the identity). */
    int64_t (*fence_transitions)(void *ctx);
    const char *(*fence_holder)(void *ctx);
    /* A deployment was refused because a newer writer was seen. */
    void (*refused_stale)(void *ctx, int64_t highest_transitions);
    /* Inside a store listener: when the change at hand was read from its connection; 0: unknown. */
    int64_t (*received_ns)(void *ctx);
    /* The first complete rendering by new templates arrived (problem NULL), or they are refused for this problem. */
    void (*program)(void *ctx, const char *problem);
    /* Everything was looked at; something may have been accepted. May be NULL. */
    void (*stepped)(void *ctx);
    /* Is everything listed that the templates in force read? NULL: every kind of the store. */
    bool (*is_synced)(void *ctx);
    /* Has everything in the source been read at least once? NULL: it has. Asked while nothing has been rendered and
     * the model is that of an earlier process. */
    bool (*is_readable)(void *ctx);
    /* A fragment's newest output (now NULL: it is gone), before the model has it. May be NULL. */
    void (*heard)(void *ctx, struct fragment *before, struct fragment *now);
    /* A complete rendering is in the model: what it has not is gone. May be NULL. */
    void (*reviewed)(void *ctx);
    /* Something to tell the owner of an object, besides the log. owner_kind "" for the templates themselves. */
    void (*notify)(void *ctx, bool warning, const char *owner_kind, const char *owner_id, const char *reason,
                   const char *message);
};

struct reconcile_config {
    const char *identity;      /* names this replica in the log; borrowed */
    int64_t drift_interval_ns; /* 0: 60 s */
    struct check_config check; /* strings borrowed */
    /* The renderer's limits, for messages about what passed them; 0: not told. */
    int64_t render_timeout_ns;
    uint64_t render_memory_bytes;
};

struct reconcile *reconcile_new(uv_loop_t *loop, const struct reconcile_config *config, struct store *store,
                                struct metrics *metrics, const struct reconcile_ops *ops, void *ctx);
/* Stop all activity (an apply under way is the agent's to end). */
void reconcile_stop(struct reconcile *r);
struct reconcile *reconcile_free(struct reconcile *r); /* NULL is fine */

struct model *reconcile_model(struct reconcile *r);
const struct problems *reconcile_problems(const struct reconcile *r);
struct generation_log *reconcile_generations(struct reconcile *r);
/* The renderer is made with these events and r as their ctx; then both are attached. */
const struct renderer_events *reconcile_renderer_events(void);
void reconcile_attach(struct reconcile *r, struct renderer *renderer, struct agent *agent);
/* The same with members elsewhere in place of an agent here. */
void reconcile_attach_fleet(struct reconcile *r, struct renderer *renderer, struct fleet *fleet);
/* Every member that can be reached serves what was accepted; deployment NULL: one more does. */
void reconcile_fleet_settled(struct reconcile *r, const struct fleet_deployment *deployment);

/* The model has what an earlier process had accepted. A fragment that fails or is refused keeps it; a fragment that is
 * not in the first complete rendering loses it. It is checked once before it is deployed: the HAProxy may be another.
 * Before anything is rendered. */
void reconcile_restored(struct reconcile *r);

/* Look again: leadership changed, or kinds of the store did. */
void reconcile_kick(struct reconcile *r);
/* Something happened to HAProxy: compare everything with it as soon as possible. why: borrowed for ever. */
void reconcile_compare_all(struct reconcile *r, const char *why);
/* Set anew after a configuration change. */
void reconcile_set_drift_interval(struct reconcile *r, int64_t interval_ns);

/* Has HAProxy judged what is rendered? ret_problem: of REFUSED; the caller frees it. */
enum reconcile_verdict {
    RECONCILE_OPEN,
    RECONCILE_ACCEPTED, /* but for what is in quarantine */
    RECONCILE_REFUSED,  /* the templates' own part */
};
enum reconcile_verdict reconcile_verdict(const struct reconcile *r, char **ret_problem);

struct reconcile_status {
    bool synced;         /* every kind is */
    bool rendered;       /* a complete rendering arrived */
    bool validated;      /* and something was accepted */
    bool serving;        /* as live, but for what waits for a reload whose turn has not come */
    bool live;           /* the last deployment of this replica ended well, and nothing has happened to HAProxy since */
    uint64_t generation; /* grows with each accepted change */
    struct digest digest; /* of the accepted model */
    int64_t accepted_ns;  /* when the accepted model changed last */
    size_t quarantined;   /* with those that are only suspected at the moment */
    size_t warned;        /* fragments that warn the owners of their objects */
    size_t failed, pending;
    size_t kept;              /* of the failed ones: fragments whose last accepted output stays in force */
    size_t conflicts;         /* keys without effect, as an older object has them */
    const char *problem;      /* why the newest rendering is not accepted; "" when it is */
    const char *problem_line; /* the template's line that wrote what is refused; "" where that is not known */
    bool awaits_source;       /* which cannot be read; what an earlier process had accepted stands in */
    uint64_t held_back;       /* fragments that wait for room or for their turn */
};
void reconcile_status(const struct reconcile *r, struct reconcile_status *ret_status);
uint64_t reconcile_generation(const struct reconcile *r);
/* One more than the generation that HAProxy, or every member that can be reached, serves as this replica's last
 * deployment has it; 0: none. */
uint64_t reconcile_live_generation(const struct reconcile *r);
/* Numbers of renderings: the last one that was asked for, the last one that ended. */
uint64_t reconcile_requested(const struct reconcile *r);
uint64_t reconcile_rendered(const struct reconcile *r);
/* JSON of failed and quarantined fragments and of conflicts, for the debug endpoint:
 * [{"state":…,"fragment":…,"object":…,"message":…}, …]. */
void reconcile_describe(const struct reconcile *r, struct buf *out);
/* JSON of what waits for room or for its turn, by namespace. */
void reconcile_describe_held(const struct reconcile *r, struct buf *out);

#endif
