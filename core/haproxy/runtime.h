/* runtime.h — HAProxy's command line over its Unix sockets (runtime API of a worker, master CLI).
 * Thread:  loop thread only. The program must ignore SIGPIPE (libuv does not do it).
 * Owns:    the connection of each call, for the call.
 * Units:   *_ns nanoseconds, *_bytes bytes.
 * Errors:  done gets err: ERR_SYS (cannot connect), ERR_TIMEOUT, ERR_IO (closed early, answer not framed), ERR_LIMIT;
 *          NULL when every command was answered. ERR_INVALID: a command that would not be one (line ends, empty), or a
 *          path too long for a socket. What an answer says is the caller's to judge: HAProxy has no status codes.
 * Source:  HAProxy management guide, section 9.3 (prompt mode, payload).
 *
 * A call makes a fresh connection: a kept one would go on talking to the old worker after a reload. Whoever knows
 * that commands will come soon can have the connection of a gated call made before (runtime_expect()), so that its
 * first answer is no time that they wait for, and can keep it for the next call a little longer (runtime_keep()).
 *
 * A process can be stopped at any place, and what it writes then arrives late. A call with a gate bounds how late:
 * HAProxy answers on the connection first and is told to close it after RUNTIME_IDLE_NS without input. Only then the
 * gate is asked, and the commands are written in parts that fit into the socket's buffer at once; each part is written
 * when the one before is answered, and the gate is asked before each. So a part arrives at most RUNTIME_IDLE_NS after
 * its gate was asked, or never.
 */
#ifndef HAPTIC_HAPROXY_RUNTIME_H
#define HAPTIC_HAPROXY_RUNTIME_H

#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/buf.h"
#include "base/clock.h"

struct runtime_call;

struct runtime_answer {
    /* without the prompt and newlines before and after; NUL-terminated; "" for a success that says nothing */
    const char *text;
    size_t length;
};

/* err: NULL or what went wrong; answers: count of those received completely (all, when err is NULL), valid during the
 * call. */
typedef void runtime_done(void *ctx, const struct err *err, const struct runtime_answer *answers, size_t count);

/* Run commands (each without a line end, or with a payload "… <<\nlines\n") one after another. Strings are copied.
 * done is called exactly once, never from within this function. A command must fit HAProxy's tune.bufsize (16384
 * bytes) together with its payload: a larger one is not answered. deadline_ns is for all of them; max_answer_bytes for
 * all answers (0: 256 MiB). */
struct runtime_call *runtime_run(uv_loop_t *loop, const char *socket_path, const char *const *commands, size_t count,
                                 int64_t deadline_ns, size_t max_answer_bytes, runtime_done *done, void *ctx);
/* The gate of a call: may commands be written now? -1 and *err: nothing more is written, and done gets the error. */
typedef int runtime_gate(void *ctx, struct err *err);
#define RUNTIME_IDLE_NS (5 * NS_PER_S)
/* The same with a gate, which has the ctx of done. For a worker's own socket. */
struct runtime_call *runtime_run_gated(uv_loop_t *loop, const char *socket_path, const char *const *commands,
                                       size_t count, int64_t deadline_ns, size_t max_answer_bytes, runtime_gate *gate,
                                       runtime_done *done, void *ctx);
/* A connection for one gated call that will come: made now, and HAProxy is told its idle time on it. Sets *slot, and
 * clears it when the connection is given up: it failed, HAProxy closed it, or life_ns have passed. Nothing is reported:
 * runtime_run_gated() serves as well. slot must stay valid until it is NULL. End it early with runtime_cancel(). The
 * caller ends it before a reload. */
void runtime_expect(uv_loop_t *loop, const char *socket_path, int64_t life_ns, struct runtime_call **slot);
/* runtime_run_gated() on an expected connection, which becomes the call; the caller has cleared its slot. Returns the
 * call: expected itself, or a new one when expected cannot be used. */
struct runtime_call *runtime_run_expected(struct runtime_call *expected, const char *const *commands, size_t count,
                                          int64_t deadline_ns, size_t max_answer_bytes, runtime_gate *gate,
                                          runtime_done *done, void *ctx);
/* When the gated call has ended well, its connection is an expected one in *slot, unless another is there or it was
 * made life_ns ago. That is so before done is called. */
void runtime_keep(struct runtime_call *call, int64_t life_ns, struct runtime_call **slot);
/* The bytes of the answers go into *held before done is called: the answers are valid until runtime_held_done(). held
 * must be zeroed, and stay where it is until done is called or the call is cancelled. */
struct runtime_held {
    struct buf bytes;
    struct runtime_answer *answers;
};
void runtime_hold(struct runtime_call *call, struct runtime_held *held);
void runtime_held_done(struct runtime_held *held); /* wipes them; again is fine */
/* Abandon: done is not called. */
void runtime_cancel(struct runtime_call *call);

#endif
