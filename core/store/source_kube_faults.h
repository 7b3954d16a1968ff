/* source_kube_faults.h — the objects of a kind that could not be taken over, and what was told of them.
 * Thread:  loop thread only.
 * Owns:    copies of ids and texts. Never looks into an owner.
 * Units:   *_ns clock_now_ns(). At most FAULTS_MAX objects, each with a text of an err.
 */
#ifndef HAPTIC_STORE_SOURCE_KUBE_FAULTS_H
#define HAPTIC_STORE_SOURCE_KUBE_FAULTS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/map.h"

#define FAULTS_MAX 256

struct fault {
    const void *owner;
    uint64_t list;
    int64_t since_ns;
    char *text;
};

/* A zeroed struct is empty. */
struct faults {
    struct map by_id; /* struct fault */
};

/* The object fails, seen by owner during or after its list of that number. true: that is news (and always where there
 * is no room to remember it). */
bool faults_add(struct faults *f, const void *owner, uint64_t list, const char *id, const char *text);
/* The object is well or was deleted. */
void faults_remove(struct faults *f, const char *id);
/* The owner's list of that number is whole: objects that did not fail since it began are not there any more. */
void faults_drop_old(struct faults *f, const void *owner, uint64_t list);
const struct fault *faults_latest(const struct faults *f); /* borrowed; NULL: none */
void faults_done(struct faults *f);

#endif
