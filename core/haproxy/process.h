/* process.h — keeps one `haproxy -W` running on a directory.
 * Thread:  loop thread only.
 * Owns:    the child (unless adopted), its pidfd, timers. HAProxy outlives this program: only process_stop() ends it.
 * Units:   *_ns nanoseconds.
 * Errors:  reported through the events; the supervision itself goes on.
 * Source:  HAProxy management guide, sections 3 and 4 (master-worker, signals).
 *
 *     STOPPED ──start──► ADOPTING ──answers──► RUNNING ──dies──► WAITING ──back-off──► (prepare) ──process_continue──► STARTING
 *                            └──nobody there──► (prepare) …                                STARTING ──master answers──► RUNNING
 *
 * HAProxy runs in a session of its own with the directory as working directory and HAPTIC_DIR, its output goes to
 * DIRECTORY/haproxy.log, which is followed and kept small here: no pipe of ours can break or block it. A HAProxy that
 * already runs on the directory (its master socket answers, or the process of DIRECTORY/haproxy.pid still works there)
 * is adopted instead of started. At its next reload it becomes the program of this config.
 */
#ifndef HAPTIC_HAPROXY_PROCESS_H
#define HAPTIC_HAPROXY_PROCESS_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/err.h"
#include "haproxy/master.h"

struct process;

enum process_state {
    PROCESS_STOPPED,
    PROCESS_ADOPTING,  /* asking whether one runs already */
    PROCESS_PREPARING, /* the caller brings the disk level */
    PROCESS_STARTING,  /* spawned; the master or its worker does not answer yet */
    PROCESS_RUNNING,
    PROCESS_WAITING, /* it died or did not start; back-off */
    PROCESS_STOPPING,
};

struct process_config {
    const char *binary;
    const char *directory;     /* absolute; haproxy.cfg is there */
    const char *master_socket; /* absolute, at most 90 bytes (HAProxy needs room for a suffix) */
    int64_t start_deadline_ns; /* 0: 30 s; a HAProxy that does not answer by then is killed */
    /* 0: 250 ms; doubles at each failure (net/backoff.h), starts over after a minute of running */
    int64_t backoff_min_ns;
    int64_t backoff_max_ns;         /* 0: 30 s */
    const char *const *environment; /* further "NAME=value" beside PATH and HAPTIC_DIR, ended by NULL; NULL: none */
};

struct process_events {
    /* HAProxy is about to be started: bring the disk level, then call process_continue() (at once or later). */
    void (*prepare)(void *ctx);
    /* It answers. state is what its master says. adopted: it was there before. */
    void (*running)(void *ctx, const struct master_state *state, bool adopted);
    /* It ran and is gone. reason: "exit 1", "signal 9 (Killed)", "gone". Started again after the back-off. */
    void (*died)(void *ctx, const char *reason);
    /* It did not start; reason as above; output: what it wrote. Tried again after the back-off. */
    void (*start_failed)(void *ctx, const char *reason, const char *output);
    /* A line of its output (without newline). May be NULL. */
    void (*output)(void *ctx, const char *line);
};

struct process *process_new(uv_loop_t *loop, const struct process_config *config, const struct process_events *events,
                            void *ctx, struct err *err) MUST_CHECK;
void process_start(struct process *p); /* once */
void process_continue(struct process *p);
/* Do not wait for the back-off any longer (the configuration has changed). */
void process_retry_now(struct process *p);
/* It hangs: SIGKILL to all of it, to its worker of this number (0: unknown), too. Its end is reported as died, and it
 * is started again. */
void process_restart(struct process *p, int worker_pid);

/* End HAProxy: SIGUSR1 (finish connections), at grace_ns SIGTERM, a second later SIGKILL to all of it. grace_ns 0:
 * SIGTERM at once. stopped is called when no process of it is left. A process that is not running is stopped at
 * once. */
void process_stop(struct process *p, int64_t grace_ns, void (*stopped)(void *ctx), void *ctx);
/* Let go: HAProxy runs on. Handles are closed on the loop: run it once more before closing the loop. NULL is fine. */
struct process *process_free(struct process *p);

enum process_state process_state(const struct process *p);
int process_pid(const struct process *p); /* of the master; 0: none */
const char *process_state_name(enum process_state state);

#endif
