/* agent.h — the only writer next to one HAProxy: plan, apply, prove.
 * Thread:  loop thread only.
 * Owns:    the HAProxy directory (haproxy.cfg, maps/, files/, certs/, state), its view of the live HAProxy, the calls
 *          under way; when it supervises, the HAProxy process.
 * Units:   *_ns nanoseconds.
 * Errors:  reported through done and the status; the agent itself goes on.
 *
 * One apply at a time. An apply with changes == NULL compares everything: it reads the running HAProxy (servers, maps,
 * backends) and the directory, and brings both level. An apply with changes touches only those items. After any
 * surprise (an answer that was not expected, a read-back that differs) the agent falls back to a full comparison, then
 * to a reload. Every apply carries a fence; less than the highest seen is refused with ERR_STALE before anything is
 * written.
 */
#ifndef HAPTIC_AGENT_AGENT_H
#define HAPTIC_AGENT_AGENT_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/metric.h"
#include "haproxy/model.h"
#include "haproxy/version.h"
#include "store/vault.h"

struct agent;

struct agent_config {
    struct vault *vault; /* whose handles the model has; NULL: none */
    const char *binary;  /* haproxy executable; used when supervising */
    const char *version; /* of the HAProxy that checks configurations; NULL: not compared with the one that runs */
    const char *
        /* haproxy.cfg, maps/, files/, certs/, fence, state live here; relative paths in the configuration start here */
        directory;
    const char *master_socket;      /* NULL: directory/master.sock */
    const char *runtime_socket;     /* NULL: directory/runtime.sock */
    bool supervise;                 /* start, adopt, restart, stop HAProxy; false: attach to one that runs already */
    int64_t command_deadline_ns;    /* 0: 5 s */
    int64_t reload_deadline_ns;     /* 0: 30 s */
    int64_t min_reload_interval_ns; /* 0: 2 s; between two reloads; operations without a reload are not held back */
    /* 0: 1 s; runtime changes are on disk this much later (and before any reload or restart); later still when writing
     * is so dear that it would take more than a two-hundredth of the time. */
    int64_t disk_delay_ns;
    /* 0: 3; a supervised HAProxy whose worker leaves so many questions in a row unanswered, and that for as many
     * command deadlines, is killed and started again. An attached one never is. */
    unsigned hung_attempts;
    int64_t poll_interval_ns; /* 0: 1 s; between two looks at HAProxy's processes and at servers that leave */
    int64_t drain_ns;         /* 0: 5 m; how long a removed server may keep its connections before they are shut down */
    /* 0: 12 s; so long after a fence was taken from another writer everything is compared once more: what that one had
     * under way has ended by then (see runtime.h; HAProxy's own idle time of 10 s counts for writers without a
     * gate). */
    int64_t predecessor_ns;
    /* 0: 50 million; HAProxy looks at each of its backends when one is added, so many at a time take it longer than a
     * reload, and everything else waits meanwhile. New backends times backends, in one apply: what is beyond needs a
     * reload. */
    uint64_t appearing_cost_max;
    /* 0: 5 m; an order of a certificate that HAProxy gave up is begun again, ever more rarely */
    int64_t order_retry_ns;
    /* Other orders fail than before, see agent_each_failing_order(); NULL: nobody wants to know. ctx is that of
     * changed. */
    void (*orders_changed)(void *ctx);
    /* When what is written to HAProxy must have ended, clock_now_ns(); asked before each group of commands, because it
     * moves on while the leader renews. Past: none is begun. NULL: no end. ctx is that of changed. */
    int64_t (*write_end_ns)(void *ctx);
};

/* Who writes. Transitions are compared first; at equal ones another holder is refused, whatever its generation, and of
 * the same holder a smaller generation. */
struct fence {
    int64_t transitions;
    uint64_t generation;
    const char *holder; /* names one process: two of the same name must differ here */
};

struct agent_result {
    const struct err *err; /* NULL: live equals the accepted state, read back and compared (but see reload_after_ns) */
    struct fence highest;  /* with ERR_STALE: the highest fence seen */
    unsigned operations;   /* runtime commands that changed something */
    bool reloaded;
    const char *reload_reason; /* "first start", "frontend http changed", …; NULL without a reload */
    /* With err: only the reload could not be made, now or before; all that needs none is live. Changes may be applied
     * meanwhile. */
    bool rest_is_live;
    /* >0: what needs a reload (reload_reason) waits this long for the next one to be allowed, all else is live;
     * changed("a reload is due") is called then: apply with changes == NULL. */
    int64_t reload_after_ns;
    int64_t duration_ns;
};
typedef void agent_done(void *ctx, const struct agent_result *result);

/* Live state, for readiness, metrics, debug. */
struct agent_status {
    bool running; /* HAProxy answers */
    /* the last apply ended well, nothing is known to differ, and master and worker have answered not long ago */
    bool live;
    /* the same, but for what needs a reload that waits or could not be made, and while what HAProxy has is read anew
     * for another writer: it may be asked */
    bool serves;
    bool known;      /* what HAProxy runs is known: nothing happened to it that has not been compared */
    int haproxy_pid; /* of the master; 0 unknown */
    unsigned workers_old;
    uint64_t reloads, restarts, operations, drift_repairs;
    struct haproxy_caps caps;
};

/* changed: HAProxy (re)started, died, was reloaded by somebody else, a reload that was held back is due, or the last
 * commands of an earlier writer have ended: compare from scratch. NULL and *err when the directory cannot be used. */
struct agent *agent_new(uv_loop_t *loop, const struct agent_config *config, struct model *model,
                        struct metrics *metrics, void (*changed)(void *ctx, const char *what), void *ctx,
                        struct err *err) MUST_CHECK;
/* Stop: cancels an apply under way (its done is called with ERR_TIMEOUT first), writes the disk, and, when supervising
 * and stop_haproxy, stops HAProxy gracefully within grace_ns; then calls stopped. */
void agent_stop(struct agent *a, bool stop_haproxy, int64_t grace_ns, void (*stopped)(void *ctx), void *ctx);
/* Of each reload from now on; 0 as in agent_config. */
void agent_set_times(struct agent *a, int64_t reload_deadline_ns, int64_t min_reload_interval_ns);
/* HAProxy serves nothing that a reload could hurt: the next one need not keep its distance to the start. */
void agent_reload_at_once(struct agent *a);
struct agent *agent_free(struct agent *a); /* after stopped */

/* Bring HAProxy to the model's accepted state. changes: see above (taken over; left empty). False when an apply is
 * under way. */
bool agent_apply(struct agent *a, struct model_changes *changes, const struct fence *fence, agent_done *done,
                 void *ctx);
bool agent_busy(const struct agent *a);
/* An apply with changes will probably follow at once: have a connection to HAProxy ready for it. Writes nothing, and
 * may be called without need. */
void agent_expect(struct agent *a);
/* Attached, and HAProxy does not run: write the directory, so that whoever starts it finds what is accepted. After an
 * apply, which has taken the fence. False when nothing was begun; changed() tells the end. */
bool agent_prepare(struct agent *a);
void agent_status(const struct agent *a, struct agent_status *ret_status);
/* Orders of certificates that HAProxy makes itself. file: "acme/HOST.pem"; reason: HAProxy's words, printable. */
void agent_each_failing_order(const struct agent *a, void (*fn)(void *ctx, const char *file, const char *reason),
                              void *ctx);

/* Could these items go live without a reload and without a check of the whole configuration by HAProxy? True for
 * servers of a backend that is live, map entries whose value is a live or equally harmless backend, or (where values
 * choose no backend) any text of the form that all readers of the map take, and (3.4) new backends that consist of
 * servers of a known shape on a live profile, and backends that go and that no text names. Synchronous, cost
 * proportional to the items. Items of one fragment are to be judged together. */
bool agent_is_structural(const struct agent *a, struct item *const *items, size_t count);
/* Before a number of such questions, between which nothing is rendered: looks at the texts that are pending or not live
 * yet, which may read maps in another way. */
void agent_judge_begin(struct agent *a);

#endif
