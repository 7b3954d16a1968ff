/* owned_writer.h — objects that templates want to exist do, as long as they are wanted.
 * Thread:  loop thread only; never blocks.
 * Owns:    its writer, its requests, its timer. Borrows client and store.
 * Units:   *_ns nanoseconds.
 * Errors:  of one object: tried again with a growing distance; conflicts and refusals are told to the owner of the
 *          fragment that wants it.
 * Source:  Kubernetes API concepts: server-side apply; deletion with preconditions.
 *
 * What is wanted is applied by a status_writer in a manner of its own (write_manner.h). What carries this controller's
 * label and is wanted by no fragment is deleted, when what came in its place is live. A fragment that fails goes on
 * wanting what it wanted, also after a restart (the sealed bundle has it); and what this process has never seen wanted
 * is not deleted as long as any fragment fails.
 */
#ifndef HAPTIC_CONTROLLER_OWNED_WRITER_H
#define HAPTIC_CONTROLLER_OWNED_WRITER_H

#include "controller/status_writer.h"

struct owned_writer;

struct owned_ops {
    struct status_writer_ops writer; /* is_declared: may templates create objects of this kind? */
    size_t (*failing)(void *ctx);    /* fragments that fail at the moment */
    void (*tell)(void *ctx, const struct fragment *fragment, const char *reason, const char *message);
};

/* owner: the value of the label (owned_merge.h); copied. */
struct owned_writer *owned_writer_new(struct kube_client *client, struct store *store, struct metrics *metrics,
                                      const char *owner, const struct owned_ops *ops, void *ctx);
struct owned_writer *owned_writer_free(struct owned_writer *w); /* NULL is fine */

/* As of a status_writer; NULL for w is fine. */
void owned_writer_hear(struct owned_writer *w, struct fragment *before, struct fragment *now);
void owned_writer_review(struct owned_writer *w);
void owned_writer_step(struct owned_writer *w);
void owned_writer_stop(struct owned_writer *w);
/* JSON for the debug endpoint. */
void owned_writer_describe(const struct owned_writer *w, struct buf *out);

#endif
