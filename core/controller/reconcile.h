/* reconcile.h — the path of a change: store → renderer → model → validation → HAProxy.
 * Thread:  loop thread only.
 * Owns:    the model, the validator, the timers; borrows store, renderer and agent.
 * Units:   *_ns nanoseconds.
 *
 * Everything is level-triggered. The reconciler compares the wanted state with the present one and takes the next step:
 * a change of the store requests one more rendering; a rendering is settled (structural items are accepted at once, the
 * rest is checked); the accepted configuration is deployed while may_write() is true. New leadership, a change at
 * HAProxy and the drift interval have the same effect: everything is compared.
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

/* Calls into the rest of the controller. */
struct reconcile_ops {
    /* May this replica write towards HAProxy now? Asked before each deployment. */
    bool (*may_write)(void *ctx);
    /* The fence of its writes: the number, and the name of this process (NULL: the identity). */
    int64_t (*fence_transitions)(void *ctx);
    const char *(*fence_holder)(void *ctx);
    /* A deployment was refused because a newer writer was seen. */
    void (*refused_stale)(void *ctx, int64_t highest_transitions);
    /* Within a store listener: when the present change was read from its connection; 0: unknown. */
    int64_t (*received_ns)(void *ctx);
    /* The first complete rendering by new templates arrived (problem NULL), or they are refused for this problem. */
    void (*program)(void *ctx, const char *problem);
    /* A step has ended; something may have been accepted. May be NULL. */
    void (*stepped)(void *ctx);
    /* Are all kinds listed that the templates in force read? NULL: check every kind of the store. */
    bool (*is_synced)(void *ctx);
    /* Has everything in the source been read at least once? NULL: yes. Asked before the first rendering, when the model
     * comes from an earlier process. */
    bool (*is_readable)(void *ctx);
    /* A fragment's newest output (now NULL: it was removed), before the model has it. May be NULL. */
    void (*heard)(void *ctx, struct fragment *before, struct fragment *now);
    /* A complete rendering is in the model: fragments that are not in it were removed. May be NULL. */
    void (*reviewed)(void *ctx);
    /* A message for the owner of an object, in addition to the log. owner_kind "": the templates themselves. */
    void (*notify)(void *ctx, bool warning, const char *owner_kind, const char *owner_id, const char *reason,
                   const char *message);
};

struct reconcile_config {
    const char *identity;      /* names this replica in the log; borrowed */
    int64_t drift_interval_ns; /* 0: 60 s */
    struct check_config check; /* strings borrowed */
    /* The renderer's limits, for messages about exceeded limits; 0: not mentioned. */
    int64_t render_timeout_ns;
    uint64_t render_memory_bytes;
};

struct reconcile *reconcile_new(uv_loop_t *loop, const struct reconcile_config *config, struct store *store,
                                struct metrics *metrics, const struct reconcile_ops *ops, void *ctx);
/* Stop all activity. The agent ends a running apply. */
void reconcile_stop(struct reconcile *r);
struct reconcile *reconcile_free(struct reconcile *r); /* NULL is fine */

/* Parts of the reconciler, borrowed: the rendered and accepted output, the failures, and the log of generations. */
struct model *reconcile_model(struct reconcile *r);
const struct problems *reconcile_problems(const struct reconcile *r);
struct generation_log *reconcile_generations(struct reconcile *r);
/* The renderer is made with these events and r as their ctx; then both are attached. */
const struct renderer_events *reconcile_renderer_events(void);
void reconcile_attach(struct reconcile *r, struct renderer *renderer, struct agent *agent);
/* The same with the members of a fleet instead of a local agent. */
void reconcile_attach_fleet(struct reconcile *r, struct renderer *renderer, struct fleet *fleet);
/* Every member that can be reached serves the accepted configuration; deployment NULL: one more does. */
void reconcile_fleet_settled(struct reconcile *r, const struct fleet_deployment *deployment);

/* The model has the accepted configuration of an earlier process. A fragment that fails or is refused keeps that
 * output; a fragment that is not in the first complete rendering loses it. It is checked once before it is deployed,
 * because HAProxy may have another version. Call it before the first rendering. */
void reconcile_restored(struct reconcile *r);

/* Take the next step: leadership or the kinds of the store have changed. */
void reconcile_kick(struct reconcile *r);
/* Something happened to HAProxy: compare everything with it as soon as possible. why: borrowed for ever. */
void reconcile_compare_all(struct reconcile *r, const char *why);
/* Set anew after a configuration change. */
void reconcile_set_drift_interval(struct reconcile *r, int64_t interval_ns);

/* Has HAProxy checked the newest rendering? ret_problem: with REFUSED; the caller frees it. */
enum reconcile_verdict {
    RECONCILE_OPEN,
    RECONCILE_ACCEPTED, /* except fragments in quarantine */
    RECONCILE_REFUSED,  /* output that belongs to no object */
};
enum reconcile_verdict reconcile_verdict(const struct reconcile *r, char **ret_problem);

struct reconcile_status {
    bool synced;          /* every kind is */
    bool rendered;        /* a complete rendering arrived */
    bool validated;       /* and something was accepted */
    bool serving;         /* as live, but a reload may wait for its turn */
    bool live;            /* the last deployment of this replica succeeded, and nothing has happened to HAProxy since */
    uint64_t generation;  /* grows with each accepted change */
    struct digest digest; /* of the accepted model */
    int64_t accepted_ns;  /* when the accepted model changed last */
    size_t quarantined;   /* during a search, with those that may be faulty */
    size_t warned;        /* fragments that warn the owners of their objects */
    size_t failed, pending;
    size_t kept;              /* of the failed ones: fragments whose last accepted output stays in force */
    size_t conflicts;         /* keys without effect, because an older object has them */
    const char *problem;      /* why the newest rendering is not accepted; "" when it is */
    const char *problem_line; /* the template's line that wrote the refused text; "": not known */
    bool awaits_source;       /* the source cannot be read; the configuration of an earlier process is used */
    uint64_t held_back;       /* fragments that wait for room or for their turn */
};
void reconcile_status(const struct reconcile *r, struct reconcile_status *ret_status);
uint64_t reconcile_generation(const struct reconcile *r);
/* One more than the generation of this replica's last deployment that HAProxy, or every member that can be reached,
 * serves; 0: none. */
uint64_t reconcile_live_generation(const struct reconcile *r);
/* Numbers of renderings: the last one that was asked for, the last one that ended. */
uint64_t reconcile_requested(const struct reconcile *r);
uint64_t reconcile_rendered(const struct reconcile *r);
/* JSON of failed and quarantined fragments and of conflicts, for the debug endpoint:
 * [{"state":…,"fragment":…,"object":…,"message":…}, …]. */
void reconcile_describe(const struct reconcile *r, struct buf *out);
/* JSON of fragments that wait for room or for their turn, by namespace. */
void reconcile_describe_held(const struct reconcile *r, struct buf *out);

#endif
