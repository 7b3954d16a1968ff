/* object_watch.h — one object, followed with the verb watch alone.
 * Thread:  loop thread only; callbacks never come from inside the call.
 * Owns:    its requests and timers. Borrows the client.
 * Errors:  a verb that is not granted is told; other failures are retried in silence: whoever needs to know polls too.
 * Source:  Kubernetes API concepts: a watch without a resourceVersion begins with the object's present state.
 */
#ifndef HAPTIC_KUBE_OBJECT_WATCH_H
#define HAPTIC_KUBE_OBJECT_WATCH_H

#include <stdbool.h>
#include <yyjson.h>

#include "base/err.h"
#include "kube/client.h"

struct object_watch_spec {
    const char *api_version, *resource, *namespace, *name; /* copied; namespace NULL: it is in none */
    size_t max_bytes;                                      /* a larger object is not read */
    /* Ask by GET, too, whenever the watch is opened: a watch does not tell that the object is gone
     * already. What the watch has told since counts more. */
    bool asks_absence;
    /* Its present state once if it exists, then each change; NULL: it was deleted or does not exist. */
    void (*changed)(void *ctx, yyjson_val *object);
    /* The verb watch is not granted: told once, and again after it was granted in between. Tried again each minute. */
    void (*denied)(void *ctx, const struct err *err);
    void *ctx;
};

struct object_watch;
struct object_watch *object_watch_new(struct kube_client *client, const struct object_watch_spec *spec);
struct object_watch *object_watch_free(struct object_watch *w); /* NULL is fine; from inside its callbacks, too */

#endif
