/* master.h — HAProxy's master CLI: reload, and which processes there are.
 * Thread:  loop thread only.
 * Owns:    the connections of a call, for the call.
 * Units:   *_ns nanoseconds; *_s seconds.
 * Errors:  ERR_SYS, ERR_TIMEOUT, ERR_IO, ERR_LIMIT as runtime.h; ERR_HAPROXY: the new configuration was refused (the
 *          old worker goes on).
 * Source:  HAProxy management guide, sections 4 and 9.4 (master CLI: reload, show proc, show startup-logs).
 */
#ifndef HAPTIC_HAPROXY_MASTER_H
#define HAPTIC_HAPROXY_MASTER_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/err.h"
#include "base/vec.h"

struct master_process {
    int pid;
    unsigned reloads; /* of a worker: how many reloads it has lived through; of the master: how many there were */
    int64_t uptime_s;
    char version[64]; /* "" where the line has none */
};

/* What `show proc` says. */
struct master_state {
    struct master_process master;
    bool last_reload_failed;                /* as the master tells it (2.8 on); false where it does not */
    VEC(struct master_process) workers;     /* current */
    VEC(struct master_process) old_workers; /* still finishing connections */
};
void master_state_done(struct master_state *s);
int master_state_parse(const char *show_proc, struct master_state *ret_state, struct err *err) MUST_CHECK;

struct master_call;

/* state: NULL when err is set. done is called exactly once, never from within the call that began it. */
typedef void master_state_cb(void *ctx, const struct err *err, const struct master_state *state);
struct master_call *master_show_proc(uv_loop_t *loop, const char *master_socket, int64_t deadline_ns,
                                     master_state_cb *done, void *ctx);

struct master_reload_result {
    const struct err *err; /* NULL: a new worker runs the new configuration */
    const char *log;       /* HAProxy's startup messages, warnings included; "" where it tells none */
    int worker_pid;        /* of the new worker; 0 unknown */
    unsigned old_workers;  /* still there at that moment */
};
typedef void master_reload_cb(void *ctx, const struct master_reload_result *result);

/* Reload and wait until it has succeeded or failed: a master that answers Success=… is believed; one that hangs up
 * (2.6) is asked for `show proc` until a new worker is there or it reports the failure. Reload blindly never: `show
 * proc` is read first. */
struct master_call *master_reload(uv_loop_t *loop, const char *master_socket, int64_t deadline_ns,
                                  master_reload_cb *done, void *ctx);

/* Abandon: done is not called. A reload that was sent goes on. */
void master_cancel(struct master_call *call);

#endif
