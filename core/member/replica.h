/* replica.h — what one HAProxy is to have, in the process beside it, and its copy on disk for a restart.
 * Thread:  loop thread only; blocking for the time of a small write, a whole copy is synced.
 * Owns:    DIRECTORY/bundle, DIRECTORY/bundle.previous; borrows model and vault.
 * Errors:  a copy that cannot be written is a warning and a metric; nothing else waits for it.
 *
 * An offer (haproxy/offer.h) is taken into the model in one step, or not at all. What was taken is *open* until HAProxy
 * serves it: replica_commit() then writes it to disk, replica_roll_back() gives the model back what it had at the last
 * commit. The file is a row of sealed offers: the first one begins from nothing, each later one from the result of the
 * one before. When as much was appended as the file had, a new one takes its place and the old one becomes "previous".
 */
#ifndef HAPTIC_MEMBER_REPLICA_H
#define HAPTIC_MEMBER_REPLICA_H

#include <stdbool.h>

#include "base/metric.h"
#include "haproxy/model.h"
#include "haproxy/offer.h"
#include "store/vault.h"

#define REPLICA_FILE "bundle"
#define REPLICA_PREVIOUS "bundle.previous"

struct replica;

struct replica *replica_new(const char *directory, struct model *model, struct vault *vault, struct metrics *metrics);
struct replica *replica_free(struct replica *r); /* NULL is fine; always returns NULL */

struct replica_restored {
    const char *file; /* which one was read; NULL: none */
    size_t items, cut;
    int64_t transitions, age_s;
    uint64_t generation;
};
/* Read the copy into the empty model. A damaged file is told to complain, and the previous one is tried. False: there
 * is none that can be read. */
bool replica_restore(struct replica *r, struct replica_restored *ret_restored,
                     void (*complain)(const char *file, const struct err *err));
/* Without a copy: a configuration whose only listener answers 503 "not configured". */
void replica_set_minimal(struct replica *r, const char *bind);
bool replica_is_minimal(const struct replica *r);

/* ERR_CONFLICT: it begins from another state. ERR_INVALID: its digest is wrong. */
int replica_take(struct replica *r, const struct offer *o, const char *bytes, size_t length, struct err *err)
    MUST_CHECK;
bool replica_is_open(const struct replica *r);
void replica_commit(struct replica *r);
void replica_roll_back(struct replica *r);

/* "" for the minimal configuration. */
const char *replica_digest(const struct replica *r, char ret_hex[DIGEST_HEX_SIZE]);
/* Of the newest offer that was taken. */
int64_t replica_transitions(const struct replica *r);
uint64_t replica_generation(const struct replica *r);

#endif
