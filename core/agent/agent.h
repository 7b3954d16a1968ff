/* agent.h — writes the configuration of one HAProxy: plan, apply, prove.
 * Thread:  loop thread only.
 * Owns:    the HAProxy directory (haproxy.cfg, maps/, files/, certs/, state), its view of the live HAProxy, the calls
 *          under way; when it supervises, the HAProxy process.
 * Units:   *_ns nanoseconds.
 * Errors:  reported through done and the status; the agent itself continues.
 *
 * One apply at a time. An apply with changes == NULL compares everything: it reads the running HAProxy (servers, maps,
 * backends) and the directory, and corrects both. An apply with changes touches only those items. After an unexpected
 * answer or a read-back that differs, the agent compares everything, and then reloads if this is needed. Every apply
 * carries a fence. A fence below the highest one seen is refused with ERR_STALE before anything is written.
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
    struct vault *vault; /* of the handles in the model; NULL: none */
    const char *binary;  /* haproxy executable; used when supervising */
    const char *version; /* of the HAProxy that checks configurations; NULL: it is not compared with the running one */
    const char *
        /* haproxy.cfg, maps/, files/, certs/, fence, state live here; relative paths in the configuration start here */
        directory;
    const char *master_socket;      /* NULL: directory/master.sock */
    const char *runtime_socket;     /* NULL: directory/runtime.sock */
    bool supervise;                 /* start, adopt, restart, stop HAProxy; false: attach to a running one */
    int64_t command_deadline_ns;    /* 0: 5 s */
    int64_t reload_deadline_ns;     /* 0: 30 s */
    int64_t min_reload_interval_ns; /* 0: 2 s; between two reloads; operations without a reload do not wait */
    /* 0: 1 s; the delay until runtime changes are on disk (always before a reload or restart). Longer if writing would
     * take more than one part in 800 of the time. */
    int64_t disk_delay_ns;
    /* 0: 3; a supervised HAProxy is killed and started again when its worker does not answer this number of questions
     * in a row, for this number of command deadlines. An attached HAProxy is never killed. */
    unsigned hung_attempts;
    int64_t poll_interval_ns; /* 0: 1 s; between two checks of HAProxy's processes and of servers being removed */
    int64_t drain_ns;         /* 0: 5 m; how long a removed server may keep its connections before they are shut down */
    /* 0: 12 s; everything is compared once more this long after a fence was taken from another writer. Commands of that
     * writer have ended by then (see runtime.h; for writers without a gate, HAProxy's idle time of 10 s applies). */
    int64_t predecessor_ns;
    /* 0: 50 million; the maximum of new backends times all backends in one apply. Above it, a reload is used: HAProxy
     * scans all of its backends for each new one, so many at a time take longer than a reload. */
    uint64_t appearing_cost_max;
    /* 0: 5 m; the first interval until an order that HAProxy gave up is started again; it grows */
    int64_t order_retry_ns;
    /* The set of failing orders has changed, see agent_each_failing_order(). May be NULL. ctx is that of changed. */
    void (*orders_changed)(void *ctx);
    /* The deadline (clock_now_ns()) for writes to HAProxy. Asked before each group of commands, because it moves when
     * the leader renews. After it, no command is started. NULL: no deadline. ctx is that of changed. */
    int64_t (*write_end_ns)(void *ctx);
};

/* The writer. Transitions are compared first. At equal transitions, another holder is refused, and a smaller generation
 * of the same holder. */
struct fence {
    int64_t transitions;
    uint64_t generation;
    const char *holder; /* identifies one process: two processes of the same name differ here */
};

struct agent_result {
    const struct err *err; /* NULL: live equals the accepted state, read back and compared (but see reload_after_ns) */
    struct fence highest;  /* with ERR_STALE: the highest fence seen */
    unsigned operations;   /* runtime commands that changed something */
    bool reloaded;
    const char *reload_reason; /* "first start", "frontend http changed", …; NULL without a reload */
    /* With err: only a reload has failed, now or before; everything that needs no reload is live. Changes may be
     * applied in the meantime. */
    bool rest_is_live;
    /* >0: a reload (reload_reason) must wait for this time; everything else is live. Then changed("a reload is due") is
     * called: apply with changes == NULL. */
    int64_t reload_after_ns;
    int64_t duration_ns;
    int64_t haproxy_ns; /* of duration_ns: from commands to HAProxy's answers to them; not those of a comparison */
    bool gave_way;      /* after agent_give_way(): nothing else here is set */
};
typedef void agent_done(void *ctx, const struct agent_result *result);

/* Live state, for readiness, metrics, debug. */
struct agent_status {
    bool running; /* HAProxy answers */
    /* the last apply succeeded, nothing is known to differ, and master and worker have answered recently */
    bool live;
    /* clients may be sent to HAProxy: the same as live, but also while a reload waits or has failed, and while
     * everything is compared for another writer */
    bool serves;
    bool known;      /* HAProxy's state is known: everything that happened to it has been compared */
    int haproxy_pid; /* of the master; 0 unknown */
    unsigned workers_old;
    uint64_t reloads, restarts, operations, drift_repairs;
    struct haproxy_caps caps;
};

/* changed: HAProxy (re)started, died or was reloaded by another program, a waiting reload is due, or the last commands
 * of an earlier writer have ended: compare everything. NULL and *err when the directory cannot be used. */
struct agent *agent_new(uv_loop_t *loop, const struct agent_config *config, struct model *model,
                        struct metrics *metrics, void (*changed)(void *ctx, const char *what), void *ctx,
                        struct err *err) MUST_CHECK;
/* Stop: cancels an apply under way (its done is called with ERR_TIMEOUT first), writes the disk, and, when supervising
 * and stop_haproxy, stops HAProxy gracefully within grace_ns; then calls stopped. */
void agent_stop(struct agent *a, bool stop_haproxy, int64_t grace_ns, void (*stopped)(void *ctx), void *ctx);
/* Of each reload from now on; 0 as in agent_config. */
void agent_set_times(struct agent *a, int64_t reload_deadline_ns, int64_t min_reload_interval_ns);
/* HAProxy serves no traffic yet: the next reload need not wait for the minimum interval after the start. */
void agent_reload_at_once(struct agent *a);
struct agent *agent_free(struct agent *a); /* after stopped */

/* Bring HAProxy to the model's accepted state. changes: see above (taken over; left empty). False when an apply is
 * under way. */
bool agent_apply(struct agent *a, struct model_changes *changes, const struct fence *fence, agent_done *done,
                 void *ctx);
/* A change waits for the comparison under way: ends it, unless it is needed or has found something to do. Its done is
 * called soon, with gave_way. The caller then applies the change, and compares everything later. The tenth comparison
 * in a row does not give way. */
void agent_give_way(struct agent *a);
bool agent_busy(const struct agent *a);
/* An apply with changes will probably follow at once: open a connection to HAProxy for it. Writes nothing. Calling it
 * in vain does no harm. */
void agent_expect(struct agent *a);
/* Attached, and HAProxy does not run: write the accepted configuration to the directory, for the program that starts
 * HAProxy. After an apply, which has taken the fence. False when nothing was started; changed() reports the end. */
bool agent_prepare(struct agent *a);
void agent_status(const struct agent *a, struct agent_status *ret_status);
/* Failing orders of HAProxy's ACME client. file: "acme/HOST.pem"; reason: HAProxy's message, printable. */
void agent_each_failing_order(const struct agent *a, void (*fn)(void *ctx, const char *file, const char *reason),
                              void *ctx);

/* Can these items go live without a reload and without a check of the whole configuration by HAProxy? True for:
 * - servers of a live backend;
 * - map entries whose value is a live backend, or a backend for which this is also true;
 * - entries of maps whose values choose no backend, if all readers of the map accept this form of text;
 * - on 3.4: new backends that consist of servers of a known shape on a live profile, and removed backends that no text
 *   names.
 * Synchronous; cost proportional to the items. All items of one fragment must be given in one call. */
bool agent_is_structural(const struct agent *a, struct item *const *items, size_t count);
/* Call it before a series of such questions, between which nothing is rendered. It reads the texts that are pending or
 * not live yet, because these may use maps in another way. */
void agent_judge_begin(struct agent *a);

#endif
