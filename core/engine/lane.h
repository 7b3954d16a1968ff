/* lane.h — one program and the process that runs it, through all its restarts.
 * Thread:  loop thread only.
 * Owns:    the program, the child, what the child has yet to be told, the fragments to skip.
 * Units:   *_ns nanoseconds.
 * Errors:  none; deaths and refusals are events.
 *
 * A renderer has one lane in force and, while a new program is being tried, a second one.
 */
#ifndef HAPTIC_ENGINE_LANE_H
#define HAPTIC_ENGINE_LANE_H

#include <uv.h>

#include "base/metric.h"
#include "engine/renderer.h"

struct lane;

struct lane_host {
    uv_loop_t *loop;
    struct store *store;
    const char *executable;
    struct renderer_limits limits; /* all filled in */
    struct metrics *metrics;
};

struct lane_events {
    void (*configured)(void *ctx, struct lane *lane);
    /* The output of a render; see struct renderer_events. */
    void (*fragment)(void *ctx, struct lane *lane, struct fragment *f);
    void (*gone)(void *ctx, struct lane *lane, const char *fragment_id);
    void (*waits)(void *ctx, struct lane *lane, const char *fragment_id);
    void (*failed)(void *ctx, struct lane *lane, const struct fragment_failure *failure);
    void (*rendered)(void *ctx, struct lane *lane, const struct render_stats *stats);
    /* A process ended and another one is going to take its place. */
    void (*died)(void *ctx, struct lane *lane, const struct renderer_death *death);
    /* The program is no good: it does not load, or kills whoever tries. The lane is at its end; discard it. */
    void (*refused)(void *ctx, struct lane *lane, const char *message);
};

/* host and events are borrowed. The first process starts at once; wanted is the request to render as soon as it can
 * (0: none). */
struct lane *lane_new(const struct lane_host *host, const char *json, size_t length, uint64_t wanted,
                      const struct lane_events *events, void *ctx);
/* No more events; the process is killed. NULL is fine; always returns NULL. May be called in an event. */
struct lane *lane_discard(struct lane *lane);

/* The program has proved good: from now on a death is followed by a restart, however often. */
void lane_establish(struct lane *lane);
/* Render the newest state; number is larger than any before. */
void lane_render(struct lane *lane, uint64_t number);
void lane_store_changed(struct lane *lane, const struct store_kind *kind, const struct object *o);
/* Tell the process of this object as if it were in the store, until it is another one, none (NULL), or the process
 * ends. False: there is no process that has rendered. */
bool lane_pretend(struct lane *lane, struct object *o);
/* Is the rest of an answer to follow? How many objects has the process asked for that are not known? */
bool lane_is_unfinished(const struct lane *lane);
size_t lane_open_needs(const struct lane *lane);
/* An object that the renderer may have asked for is known (store/ask.h). */
void lane_answered(struct lane *lane, const char *kind, const char *id, const char *refusal);
/* True when something is to be sent and nothing stands in the way; then call lane_pump(). */
bool lane_has_news(const struct lane *lane);
void lane_pump(struct lane *lane);
/* Ask; false when there is no process that could answer, done is not called then. */
bool lane_explain(struct lane *lane, const char *fragment_id, enum contribution_kind kind, const char *scope,
                  const char *key, unsigned line, void (*done)(void *ctx, const char *where), void *ctx);
/* The same for a prompt's question; see renderer_ask(). */
bool lane_ask(struct lane *lane, const char *mode, const char *question, void (*done)(void *ctx, const char *answer),
              void *ctx);
int lane_pid(const struct lane *lane);

#endif
