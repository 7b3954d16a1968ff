/* needs.h — objects of lazy kinds that a renderer reads.
 * Thread:  loop thread only.
 * Owns:    copies of names. What is needed is asked for in the store's asks until it is needed no more, or needs_end().
 * Errors:  -1 with ERR_INVALID or ERR_LIMIT: the renderer broke the protocol.
 *
 * The first rendering of a process is complete only when what it needs is known; but it does not wait for ever.
 */
#ifndef HAPTIC_ENGINE_NEEDS_H
#define HAPTIC_ENGINE_NEEDS_H

#include <yyjson.h>

#include "base/map.h"
#include "engine/feed.h"
#include "engine/frame.h"
#include "store/ask.h"

struct needs {
    struct asks *asks; /* borrowed */
    yyjson_val *kinds; /* of the program, borrowed */
    struct map names;  /* "kind\nid" → whether it is answered (private) */
    size_t open;       /* not answered */
    unsigned rounds;   /* in which the first rendering waited */
    bool is_waiting;   /* the first rendering waits for them */
    int64_t waiting_since_ns;
};

void needs_init(struct needs *n, struct asks *asks, yyjson_val *kinds);
/* The process has ended. */
void needs_end(struct needs *n);
/* FRAME_NEED. What is known already goes into the feed at once. */
int needs_take(struct needs *n, struct frame *frame, struct feed *feed, struct err *err) MUST_CHECK;
/* An answer has come, or (NULL) is void; false: it is not needed here. */
bool needs_answer(struct needs *n, const char *kind, const char *id, const char *refusal, struct feed *feed);
/* Can it be that the first rendering waits (again)? */
bool needs_may_wait(const struct needs *n);
/* The first rendering has to wait from now on. Milliseconds after which it goes on anyhow. */
int64_t needs_wait(struct needs *n);
/* Must the next request to render be put off? */
bool needs_hold(const struct needs *n);

#endif
