/* child.h — one renderer process and the socket to it, from the core's side.
 * Thread:  loop thread only.
 * Owns:    the process, the socket, the shared page, what is queued for writing.
 * Units:   *_ns nanoseconds, *_bytes bytes.
 * Errors:  only starting can fail; whatever happens later ends in events->exited with a reason.
 */
#ifndef HAPTIC_ENGINE_CHILD_H
#define HAPTIC_ENGINE_CHILD_H

#include <uv.h>

#include "base/buf.h"
#include "engine/frame.h"
#include "engine/renderer.h"
#include "engine/shared_page.h"

struct child;

struct child_events {
    /* A complete frame. -1: the child broke the protocol, and is killed for it. */
    int (*frame)(void *ctx, struct frame *frame, struct err *err);
    /* All that was queued is written. */
    void (*drained)(void *ctx);
    /* The last event; the child frees itself afterwards. See struct renderer_death for the reasons. */
    void (*exited)(void *ctx, const char *reason);
};

/* limits: all filled in. */
int child_start(uv_loop_t *loop, const char *executable, const struct renderer_limits *limits,
                const struct child_events *events, void *ctx, struct child **ret_child, struct err *err) MUST_CHECK;
/* Kill it and hear no more of it; it frees itself when the process is reaped. NULL is fine; always returns NULL. */
struct child *child_discard(struct child *c);
/* SIGKILL; exited follows with this reason. */
void child_kill(struct child *c, const char *reason);

/* Add frames here, then flush. While the backlog is large, wait for `drained`. */
struct buf *child_out(struct child *c);
void child_flush(struct child *c);
size_t child_backlog_bytes(const struct child *c);
/* Have `drained` called in the loop's next turn even if nothing is queued. */
void child_ask_drained(struct child *c);

/* Kill it with the reason "deadline" when total_ns pass from now, or when one fragment is at hand for fragment_ns. It
 * has four times as long while it gets less than half of a processor. total_ns 0: nothing is owed; it is killed when
 * it goes on working for some times fragment_ns. */
void child_set_deadline(struct child *c, int64_t total_ns, int64_t fragment_ns);

/* The fragment that the process is running; false when there is none. The strings are copied. */
bool child_at_hand(const struct child *c, struct at_hand *ret_at_hand);
/* The process id; 0 when it has ended. */
int child_pid(const struct child *c);

#endif
