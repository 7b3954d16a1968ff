/* watch_state.h — what a watch consists of, for its files only.
 * Thread:  loop thread only.
 *
 *   watch.c           what is under way, lookups, lists
 *   watch_stream.c    the connection that events come on
 *   watch_history.c   whether the server's versions went back
 *   watch_outcome.c   how a connection, a list and the watch itself end
 *   watch_versions.c  which of several apiVersions is used
 *
 * Each calls only those below it.
 */
#ifndef HAPTIC_KUBE_WATCH_STATE_H
#define HAPTIC_KUBE_WATCH_STATE_H

#include "kube/stream.h"
#include "kube/watch.h"
#include "net/backoff.h"
#include "net/timer.h"

#define KUBE_WATCH_STREAM_LIST_TRIES 2

enum kube_watch_state {
    IDLE,
    LOOKUP,
    PAGES,
    STREAM_LIST,
    WATCH,
    SLEEP,  /* until the next try */
    RELIST, /* a list begins with the next turn of the loop */
};

struct kube_watch {
    struct kube_client *client;
    struct kube_discovery *discovery;
    const struct kube_watch_ops *ops;
    void *ctx;
    struct kube_selection selection;
    char *strings[5];                /* what selection points to */
    struct watch_versions *versions; /* watch_versions.c; NULL: there is one apiVersion only */
    char *label;                     /* "ingresses.networking.k8s.io in ns" */
    int64_t stall_ns;

    enum kube_watch_state state;
    struct kube_lookup *lookup;
    struct kube_pager *pager;
    struct kube_request *request;
    struct kube_stream stream;
    struct kube_request *probe; /* watch_history.c: beside the stream that is open */
    struct net_timer *wake, *stall;
    struct net_timer *settle; /* an open stream that does not end at once works */
    struct net_backoff backoff, absent_backoff;
    char *resource_version; /* NULL: a list comes first */
    int64_t opened_ns, last_bytes_ns, gone_ns;
    int64_t answered_ns; /* since then this connection is open; 0: not yet */
    uint64_t events;     /* on this connection */
    size_t initial;      /* of a streamed list: objects that are no later changes */
    int64_t received_ns;

    bool is_list_open, is_followed;
    bool may_have_objects; /* told of any since the last complete list that was empty */
    bool is_empty_confirmed, is_absent, is_absence_confirmed;
    size_t listed;
    bool no_streaming_list;
    unsigned streaming_failures;
    bool is_doubted;       /* something failed: is the server's history still the one of resource_version? */
    bool has_bookmarks;    /* one came in the middle of a watch */
    unsigned silent;       /* open connections in a row that were given up for their silence */
    bool is_silence_usual; /* told */

    unsigned depth;
    bool is_dead;
};

/* watch_outcome.c */
/* Around everything that comes from the loop: callbacks may free the watch, the outermost kube_watch_leave() does
 * it. */
void kube_watch_enter(struct kube_watch *w);
void kube_watch_leave(struct kube_watch *w);
void kube_watch_stop(struct kube_watch *w); /* nothing is under way afterwards */
/* Stop, tell, try again after the back-off. */
void kube_watch_fail(struct kube_watch *w, const struct err *err, const char *reason, int64_t retry_after_ns);
void kube_watch_tell_restart(struct kube_watch *w, const char *reason);
void kube_watch_tell_followed(struct kube_watch *w);
void kube_watch_forget_version(struct kube_watch *w);
void kube_watch_sleep(struct kube_watch *w, int64_t delay_ns);
/* After kube_watch_stop(): list at once, without a lookup. */
void kube_watch_list_again(struct kube_watch *w);
/* The list is whole; go on from resource_version with the connection that is open or a new one. */
void kube_watch_list_complete(struct kube_watch *w, const char *resource_version);

/* watch_versions.c: which of several apiVersions is used. All of them take a watch without candidates. */
/* earlier: called when a candidate before the one in use is served. */
void kube_watch_versions_init(struct kube_watch *w, const char *const *api_versions, int64_t every_ns,
                              void (*earlier)(struct kube_watch *w));
void kube_watch_versions_done(struct kube_watch *w);
/* A lookup begins: selection has the first candidate. */
void kube_watch_versions_begin(struct kube_watch *w);
/* It is not served: selection has the next candidate. False: there is none. */
bool kube_watch_versions_next(struct kube_watch *w);
/* The candidate at hand is served and will be listed. */
void kube_watch_versions_found(struct kube_watch *w);

/* watch_history.c */
/* The stream is open: ask beside it whether the server still knows the version that it goes on from. */
void kube_watch_probe(struct kube_watch *w);

/* watch_stream.c */
void kube_watch_stream_init(struct kube_watch *w);
void kube_watch_open_stream(struct kube_watch *w, bool is_list);

#endif
