/* write_manner.h — what a writer of wishes (status_writer) writes: the status of objects, or objects as a whole.
 * Thread:  loop thread only.
 * Owns:    nothing; the writer borrows it.
 */
#ifndef HAPTIC_CONTROLLER_WRITE_MANNER_H
#define HAPTIC_CONTROLLER_WRITE_MANNER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "controller/status_merge.h"
#include "engine/contribution.h"

struct write_wishes {
    const char *const *texts; /* the oldest fragment's first */
    size_t count;
    bool anew; /* fields may be there that are not wished any more; to apply the wishes takes them away */
};

struct write_body {
    bool differs; /* from the wishes */
    bool force;   /* fields of other managers are taken over */
    struct buf text;
};

struct write_manner {
    enum contribution_kind wish;
    const char *manager, *subresource; /* "/status" or "" */
    const char *metric, *metric_help;
    const char *noun;                     /* "status of", "object": in the name of a request */
    const char *failed, *writing, *wrote; /* messages of the log */
    bool creates;                         /* an object that is not there is made */
    bool one_counts;                      /* of several wishes the first one; others are told of it by refused() */
    /* Does the object (json NULL: it is not there) differ from the wishes? Then the body is what is to be applied; it
     * names the resourceVersion when resource_version is not NULL and a list is shared with others. ERR_DENIED: the
     * object is somebody else's. */
    int (*merge)(void *ctx, const struct status_object *object, const char *resource_version,
                 const struct write_wishes *wishes, struct write_body *ret_body, struct err *err);
    /* The wish of this fragment is not fulfilled; NULL: only the log says so. */
    void (*refused)(void *ctx, const struct fragment *fragment, const char *reason, const char *message);
    /* Nobody wishes anything for this object any more. NULL: nothing is done about it. */
    void (*unwished)(void *ctx, const char *kind, const char *id);
    void *ctx;
};

#endif
