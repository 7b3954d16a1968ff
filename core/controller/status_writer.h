/* status_writer.h — brings the status of objects level with what templates wish.
 * Thread:  loop thread only; never blocks.
 * Owns:    its requests, its timer, and the room of wishes. Borrows client and store.
 * Units:   *_ns clock_now_ns() nanoseconds.
 * Errors:  of one object: it is tried again with a growing distance, and told with a growing distance; others go on.
 *          429, missing rights, and a server that does not answer make everything pause.
 * Source:  Kubernetes API concepts: server-side apply, the status subresource.
 *
 * What is written is the status of objects, or objects as a whole: the manner says it (write_manner.h).
 *
 * Level-triggered: whatever happens (a wish changes, an object does, this replica begins to lead), the object as the
 * store has it is compared with the wishes, and only what differs is written. Nothing is written before what the
 * wishing fragments give is live, and nothing is taken away because a wish is missing.
 *
 * At most STATUS_IN_FLIGHT requests at a time, and STATUS_RATE a second.
 */
#ifndef HAPTIC_CONTROLLER_STATUS_WRITER_H
#define HAPTIC_CONTROLLER_STATUS_WRITER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/metric.h"
#include "controller/write_manner.h"
#include "engine/contribution.h"
#include "kube/client.h"
#include "store/store.h"

#define STATUS_IN_FLIGHT 8
#define STATUS_RATE 100

struct status_writer;

struct status_writer_ops {
    /* May this replica write now, and when must a write that begins now have ended? */
    bool (*may_write)(void *ctx);
    int64_t (*write_end_ns)(void *ctx);
    /* Is this a kind whose status may be written? */
    bool (*is_declared)(void *ctx, const char *kind);
    /* Is there such a fragment; is its newest output (or what is kept in its place) accepted as a whole? */
    bool (*exists)(void *ctx, const char *fragment_id);
    bool (*is_settled)(void *ctx, const char *fragment_id);
    /* Numbers that grow: of what is accepted, of what is live (0: nothing), of the last rendering that was asked for
     * and of the last one that ended. */
    uint64_t (*accepted)(void *ctx);
    uint64_t (*live)(void *ctx);
    uint64_t (*requested)(void *ctx);
    uint64_t (*rendered)(void *ctx);
};

/* manner: what is written; borrowed. */
struct status_writer *status_writer_new(struct kube_client *client, struct store *store, struct metrics *metrics,
                                        const struct write_manner *manner, const struct status_writer_ops *ops,
                                        void *ctx);
/* Cancels what is under way. */
struct status_writer *status_writer_free(struct status_writer *w); /* NULL is fine */

/* A fragment's newest output; now NULL: it is gone. NULL for w is fine. */
void status_writer_hear(struct status_writer *w, struct fragment *before, struct fragment *now);
/* A complete rendering has ended: fragments that are not there any more wish nothing. */
void status_writer_review(struct status_writer *w);
/* Look again: something was accepted, rendered or is live, or leadership has changed. */
void status_writer_step(struct status_writer *w);
/* This replica's end: nothing is written any more. */
void status_writer_stop(struct status_writer *w);

/* Does any fragment wish something for this object? */
bool status_writer_has_wish(const struct status_writer *w, const char *kind, const char *id);
bool status_writer_leads(const struct status_writer *w);

/* JSON for the debug endpoint: how many objects are in which state, and the last error. */
void status_writer_describe(const struct status_writer *w, struct buf *out);

#endif
