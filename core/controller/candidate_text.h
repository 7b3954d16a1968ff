/* candidate_text.h — the text of a configuration as it would be with another resource, or another library, in it.
 * Thread:  loop thread only.
 * Owns:    copies of the candidate and of the libraries that were fetched for it.
 * Errors:  ERR_INVALID, ERR_LIMIT: the candidate cannot be a configuration.
 */
#ifndef HAPTIC_CONTROLLER_CANDIDATE_TEXT_H
#define HAPTIC_CONTROLLER_CANDIDATE_TEXT_H

#include "base/buf.h"
#include "base/vec.h"
#include "controller/config_source.h"
#include "controller/review.h"

struct candidate_library {
    char *name;
    struct buf json; /* the whole object; empty: there is none of that name */
};

struct candidate_text {
    bool is_library;
    char *name;      /* of the candidate */
    char *missing;   /* what candidate_text_write() asked for last */
    struct buf json; /* its spec; of a library the whole object */
    VEC(struct candidate_library) fetched;
};

/* Is the object in the review the resource that the source follows, or a library of it, and does its spec differ from
 * the one of before? False: there is nothing to judge. */
int candidate_text_init(struct candidate_text *t, const struct config_source *source, const struct review *review,
                        bool *ret_concerns, struct err *err) MUST_CHECK;
void candidate_text_done(struct candidate_text *t);
/* Put the whole text together. *ret_missing: the name of a library that has to be fetched first (borrowed until the
 * next call; candidate_text_add() it); NULL: out is complete. */
int candidate_text_write(struct candidate_text *t, const struct config_source *source, struct buf *out,
                         const char **ret_missing, struct err *err) MUST_CHECK;
/* json NULL: there is none. */
void candidate_text_add(struct candidate_text *t, const char *name, const char *json, size_t length);

#endif
