/* source_kube.h — the API server as the store's source.
 * Thread:  loop thread only.
 * Owns:    a watch for each kind and namespace. Borrows client and store, which must outlive it; its handles close in
 *          the loop's next turn after source_kube_free().
 * Units:   *_ns clock_now_ns().
 * Errors:  of the watches: told by report() and kept as the kind's status; they go on by themselves.
 *
 * A kind of all namespaces is one watch, whose lists take the place of the kind's objects at once. A kind of several
 * namespaces is one watch each: it is synced when each has been listed; later lists replace what is known of that
 * namespace, within one turn of the loop. An object that cannot be taken over (too large, a store that is full) keeps
 * its last good version.
 */
#ifndef HAPTIC_STORE_SOURCE_KUBE_H
#define HAPTIC_STORE_SOURCE_KUBE_H

#include "base/err.h"
#include "base/metric.h"
#include "kube/client.h"
#include "store/store.h"

struct source_kube;

/* reason "optional": a kind that may be absent is; told once until it was there.
 * reason "silent": the server sends no bookmarks, told once with the first kind where that was seen.
 *
 * A failure that goes on in the same words is told once: of a watch until it works again, of an object until it was
 * well, deleted or missing in a list (of at most 256 failing objects of a kind at a time; more are told each time).
 * err NULL: no watch of the kind fails any more. reason: as in kube/watch.h, or "object" for one that was not taken
 * over, and "unread" for one that is followed by its name and cannot be read. */
typedef void source_kube_report(void *ctx, const char *kind, const struct err *err, const char *reason,
                                int64_t retry_in_ns);

struct source_kube_options {
    size_t max_object_bytes; /* 0: 8 MiB */
    int64_t stall_ns;        /* 0: kube/watch.h's */
    bool no_streaming_list;
    struct metrics *metrics; /* haptic_watch_{events,restarts,errors}_total; NULL: none */
};

/* Watches all kinds that the store has. options and report may be NULL. */
int source_kube_new(struct kube_client *client, struct store *store, const struct source_kube_options *options,
                    source_kube_report *report, void *ctx, struct source_kube **ret_source, struct err *err) MUST_CHECK;
/* Kinds were added to the store or removed from it (in this turn of the loop): watch what there is now. */
int source_kube_reload(struct source_kube *s, struct err *err) MUST_CHECK;
struct source_kube *source_kube_free(struct source_kube *s); /* NULL is fine; not from inside a listener or report() */

struct source_kube_status {
    bool is_synced;
    /* Of the first watch that fails; if none does, of the object that failed last. NULL: all is well. Valid until the
     * loop turns. */
    const char *last_error;
    int64_t last_error_ns; /* 0: all is well */
    int64_t last_event_ns; /* 0: none yet */
    /* Since when changes are missed: a watch fails, and it is not that the resource does not exist. 0: all are
     * followed, or were not tried yet. error: of that watch, valid until the loop turns. */
    int64_t unfollowed_ns;
    const char *unfollowed_error;
    bool is_denied;          /* the server answers, and refuses */
    bool was_never_followed; /* since it was watched first */
    bool is_idle;            /* nothing of it is followed: nobody refers to any of its objects */
};
/* false: not a kind of this source. */
bool source_kube_status(const struct source_kube *s, const char *kind, struct source_kube_status *ret_status);

/* Are objects of that kind and namespace followed? Of a kind whose namespaces are selected by their labels only those
 * that are selected now; of others all of them. */
bool source_kube_follows(const struct source_kube *s, const char *kind, const char *namespace);

/* Inside a store listener: when the bytes of the change at hand were read from the connection. 0: it is not from
 * here. */
int64_t source_kube_received_ns(const struct source_kube *s);

#endif
