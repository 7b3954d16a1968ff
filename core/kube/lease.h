/* lease.h — one coordination.k8s.io/v1 Lease, for leader election.
 * Thread:  loop thread only; callbacks never come from inside the call.
 * Owns:    a record owns its strings; records in callbacks are borrowed.
 * Units:   *_us Unix microseconds (metav1.MicroTime), *_s seconds, deadline_ns clock_now_ns().
 * Errors:  ERR_NOTFOUND (get), ERR_CONFLICT (create: it exists; update: somebody was first), ERR_DENIED, ERR_TIMEOUT
 *          (deadline_ns), ERR_IO. A request that failed with TIMEOUT or IO may have been carried out all the same.
 * Source:  coordination.k8s.io/v1 Lease; client-go leaderelection's LeaderElectionRecord.
 */
#ifndef HAPTIC_KUBE_LEASE_H
#define HAPTIC_KUBE_LEASE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "kube/client.h"

struct lease_record {
    char *holder;             /* holderIdentity; "" when released */
    int64_t lease_duration_s; /* 0 when absent */
    int64_t acquire_time_us;  /* 0 when absent */
    int64_t renew_time_us;
    int64_t transitions;
    char *resource_version; /* of the object it was read from; an update that is not of this version conflicts */
    char *uid;              /* of that object; NULL: not known */
    /* that object: what we do not know in it is kept by an update. NULL in a record made by hand */
    char *json;
    size_t json_length;
};

void lease_record_done(struct lease_record *r); /* NULL is fine */
void lease_record_copy(struct lease_record *ret_copy, const struct lease_record *r);
/* From a Lease's JSON text, as the API server sends it. */
int lease_record_parse(struct lease_record *ret_record, const char *json, size_t length, struct err *err) MUST_CHECK;
/* The Lease's JSON text with what the record says in it; malloc'ed. */
char *lease_record_write(const struct lease_record *r, const char *namespace, const char *name);

/* record: what the server has now; NULL with an error. response: HTTP status and Retry-After. */
typedef void lease_done(void *ctx, const struct lease_record *record, const struct kube_response *response,
                        const struct err *err);

/* One request each, without retries; cancel it with kube_request_cancel(). */
struct kube_request *lease_get(struct kube_client *c, const char *namespace, const char *name, int64_t deadline_ns,
                               lease_done *done, void *ctx);
struct kube_request *lease_create(struct kube_client *c, const char *namespace, const char *name,
                                  const struct lease_record *record, int64_t deadline_ns, lease_done *done, void *ctx);
/* record: as it was read (with its resource_version and json), and changed. */
struct kube_request *lease_update(struct kube_client *c, const char *namespace, const char *name,
                                  const struct lease_record *record, int64_t deadline_ns, lease_done *done, void *ctx);

/* Follow the Lease with the verb watch alone. changed: its present state once at the start if it exists, then each
 * change; NULL: it was deleted. denied: the verb is not granted (told once, and again after it was granted in
 * between); it is tried again every minute. Other failures are retried in silence: whoever elects polls as well. */
struct lease_watch;
struct lease_watch *lease_watch(struct kube_client *c, const char *namespace, const char *name,
                                void (*changed)(void *ctx, const struct lease_record *record),
                                void (*denied)(void *ctx, const struct err *err), void *ctx);
struct lease_watch *lease_watch_free(struct lease_watch *w); /* NULL is fine; from inside its callbacks, too */

#endif
