/* status_merge.h — what templates wish for an object's status, compared with what is there.
 * Thread:  any; it has no state.
 * Owns:    nothing; what it writes is the caller's.
 * Units:   now_s Unix seconds.
 * Errors:  ERR_INVALID, ERR_LIMIT: a wish is no JSON object, or has the handle of a Secret's value.
 * Source:  Kubernetes API concepts: server-side apply.
 *
 * A wish is a JSON object; several of one object are merged, the first one's value counts. Conditions get the object's
 * generation and the time since when they have their status.
 *
 * status.loadBalancer.ingress of an Ingress is one list of all controllers, which the server exchanges as a whole. Here
 * it is merged: entries of others stay where they are. Which entries are ours is noted in the annotation
 * STATUS_ENTRIES, in the same write. An empty list is the wish that no entry of ours is there.
 *
 * A wish may have options, in the field "$options": {"alone":true}: that list is left as it is while others have
 * entries in it; {"shared":…}: further lists of all controllers (status_lists.h).
 */
#ifndef HAPTIC_CONTROLLER_STATUS_MERGE_H
#define HAPTIC_CONTROLLER_STATUS_MERGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

#define STATUS_ENTRIES "haproxy-haptic.org/status-entries"
#define STATUS_WISH_MAX ((size_t)64 << 10)

struct status_object {
    const char *api_version, *resource;
    const char *json; /* the object as it is known */
    size_t length;
};

/* All wishes for one object as one JSON text. */
int status_merge_wishes(const char *const *wishes, size_t count, struct buf *out, struct err *err) MUST_CHECK;

/* Does the object's status differ from the wishes? Then body is what is to be applied; it names the resourceVersion
 * when resource_version is not NULL and a list is shared with others. anew: fields may be there that are not wished any
 * more; to apply the wishes takes them away. */
int status_merge(const struct status_object *object, const char *resource_version, const char *const *wishes,
                 size_t count, bool anew, int64_t now_s, bool *ret_differs, struct buf *body, struct err *err)
    MUST_CHECK;

#endif
