/* watch.h — the objects of one resource, listed once and followed from there.
 * Thread:  loop thread only.
 * Owns:    its requests and timers. Borrows client and discovery, which must outlive it.
 * Units:   *_ns clock_now_ns(); *_bytes bytes.
 * Errors:  told by error() with the time until the next attempt; a watch never gives up.
 * Source:  Kubernetes API concepts: efficient detection of changes, streaming lists; resourceVersion is opaque.
 *
 * Of several apiVersions the first one that the server serves is used. When that one is gone, the next one is; while it
 * is not the first of the list, those before it are looked for from time to time.
 *
 * What it is in at any moment:
 *     look up ─► list (streamed or paged) ─► watch ─► (closed: watch again) ─► (410: list again)
 *          └──► absent: told as an empty list, looked up again until it appears
 * A list that fails, or is cut off, is told as list_end(false): what was known before stays. A list without objects
 * where there were some is believed only when a second one says the same; so is a resource that is gone while its
 * objects were known.
 *
 * What the server does is judged by what was asked of it: a streamed list must bring objects and its end (else it is
 * asked for in pages, from then on), an open connection a bookmark now and then (a server that sends none is told once
 * and its silence taken as usual), and after a failure the version to go on from must not lie in the server's future
 * (an etcd that was restored: everything is listed again).
 */
#ifndef HAPTIC_KUBE_WATCH_H
#define HAPTIC_KUBE_WATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <yyjson.h>

#include "base/clock.h"
#include "kube/client.h"
#include "kube/discovery.h"
#include "kube/pager.h"

struct kube_watch;

/* The server sends a bookmark on each watch about once a minute, also when nothing happens: two may be lost. */
#define KUBE_WATCH_STALL_NS (150 * NS_PER_S)

struct kube_watch_spec {
    struct kube_selection selection; /* strings are copied; a namespace is ignored for a cluster-scoped resource */
    /* Candidates in the place of selection's apiVersion, which is the first of them; NULL-terminated, copied; NULL: no
     * others. */
    const char *const *api_versions;
    int64_t versions_ns; /* between two looks for an earlier candidate; 0: 30 s */
    bool no_streaming_list;
    int64_t stall_ns;        /* silence after which a connection is given up; 0: KUBE_WATCH_STALL_NS */
    int64_t backoff_base_ns; /* 0: 250 ms */
    int64_t backoff_cap_ns;  /* 0: 15 s */
};

struct kube_watch_event {
    enum kube_watch_event_type { KUBE_LISTED, KUBE_ADDED, KUBE_MODIFIED, KUBE_DELETED } type;
    yyjson_val *object; /* borrowed; a built-in resource that comes from a page of a list has no apiVersion and kind */
    const char *namespace; /* "" when cluster-scoped */
    const char *name;
    int64_t received_ns; /* when its last bytes were read from the connection */
};

/* Any of them may free the watch. */
struct kube_watch_ops {
    /* Objects put between begin and a complete end are all there are. A list can begin anew: then begin follows
     * begin. */
    void (*list_begin)(void *ctx);
    void (*list_end)(void *ctx, bool is_complete);
    void (*put)(void *ctx, const struct kube_watch_event *e);
    void (*del)(void *ctx, const struct kube_watch_event *e);
    /* An object that exists but cannot be read (over the limit). Its name is "" when even that is not known. */
    void (*unreadable)(void *ctx, const char *namespace, const char *name, const struct err *err);
    /* reason: "discovery" "list" "watch" "stall" "absent" "empty-list" "reset"; the kind of err says more. */
    void (*error)(void *ctx, const struct err *err, const char *reason, int64_t retry_in_ns);
    /* The kind is followed, for the first time or after an error: a watch is open and did not end at once. NULL: not
     * wanted. */
    void (*followed)(void *ctx);
    /* A watch connection was opened anew ("closed", "error", "stall", "silent") or a list begun anew ("gone", "error",
     * "reset", "version": an earlier candidate is served). NULL: not wanted. */
    void (*restart)(void *ctx, const char *reason);
    /* The server sends no bookmarks: from now on silence is no error, and the connection is opened anew every
     * stall_ns. Told once. NULL: not wanted. */
    void (*silent)(void *ctx, int64_t every_ns);
    /* Looked up and found: resource has the apiVersion that is listed next. NULL: not wanted. */
    void (*found)(void *ctx, const struct kube_resource *resource);
};

/* ERR_INVALID for an apiVersion or resource that cannot be one. Callbacks come from the loop, never from inside. */
int kube_watch_new(struct kube_client *client, struct kube_discovery *discovery, const struct kube_watch_spec *spec,
                   const struct kube_watch_ops *ops, void *ctx, struct kube_watch **ret_watch, struct err *err)
    MUST_CHECK;
struct kube_watch *kube_watch_free(struct kube_watch *w);

#endif
