/* source_kube_state.h — what the source of an API server consists of, shared by its files only.
 * Thread:  loop thread only.
 *
 *   source_kube.c         kinds
 *   source_kube_select.c  namespaces that are selected by their labels
 *   source_kube_watch.c   one watch of a kind, and what it says
 *   source_kube_space.c   its failures, and lists of one namespace of several
 */
#ifndef HAPTIC_STORE_SOURCE_KUBE_STATE_H
#define HAPTIC_STORE_SOURCE_KUBE_STATE_H

#include "base/digest.h"
#include "base/map.h"
#include "base/vec.h"
#include "kube/discovery.h"
#include "kube/watch.h"
#include "store/source_fetch.h"
#include "store/source_kube.h"
#include "store/source_kube_faults.h"
#include "store/source_named.h"

struct source_kind;

/* One watch of a kind. */
struct space {
    struct source_kind *kind;
    struct kube_watch *watch; /* NULL: not needed, the resource is cluster-scoped and another space watches it */
    bool is_listed;
    char *error;                  /* why the watch fails; NULL: it does not */
    int64_t error_ns, failing_ns; /* the last failure, and the first one since it worked */
    bool is_denied, is_absent;    /* what kind of failure it is */
    bool was_followed;
    uint64_t list; /* the number of the list at hand, or of the last one */
    /* Only where there are several, or may be: */
    struct map known;  /* ids of this space in the store; values are not used */
    struct map listed; /* id -> JSON text (struct text_item), or to keep what is there */
    bool is_listing;
    char *namespace; /* that a selector has found; NULL: another one */
};

/* JSON of a listed object; NULL json: it exists but could not be read. */
struct text_item {
    char *json;
    size_t length;
};

struct source_kind {
    struct source_kube *source;
    struct store_kind *kind;
    char *name;
    struct digest spec; /* of what the store says it should be */
    VEC(struct space *) spaces;
    struct source_fetch *fetch; /* the texts that are asked for; NULL: all are here */
    struct source_named *named; /* in the place of spaces: each object by its name */
    bool is_shared;             /* of several namespaces: no list of one of them is that of the kind */
    struct space *selector;     /* source_kube_select.c: namespaces by their labels; NULL: the spaces are fixed */
    bool has_told_excess, has_told_absence;
    struct faults faults;
    int64_t event_ns;
    struct metric *events[KUBE_DELETED + 1];
};

struct source_kube {
    struct kube_client *client;
    struct kube_discovery *discovery;
    struct store *store;
    struct source_kube_options options;
    source_kube_report *report;
    void *ctx;
    VEC(struct source_kind *) kinds;
    int64_t received_ns;
    bool has_told_silence;
};

/* source_kube_watch.c */
/* A watch of the kind, in that namespace (NULL: everywhere). */
int source_space_add(struct source_kind *k, const char *namespace, struct err *err) MUST_CHECK;
void source_space_free(struct space *sp); /* NULL is fine */

/* source_kube_space.c */
void source_count(const struct source_kind *k, const char *name, const char *help, const char *reason);
void source_count_event(struct source_kind *k, enum kube_watch_event_type type);
void source_count_failure(const struct source_kind *k, const char *reason);
void source_tell(const struct source_kind *k, const struct err *err, const char *reason, int64_t retry_in_ns);
/* The first watch that fails (text NULL), or fails with this text. */
const struct space *source_failing_space(const struct source_kind *k, const char *text);
/* The one that has missed changes for the longest time; NULL: none. */
const struct space *source_unfollowed_space(const struct source_kind *k);
/* A failure of all namespaces (no connection) is told once and not for each of them. */
void source_space_fails(struct space *sp, const struct err *err, const char *reason, int64_t retry_in_ns);
void source_space_is_well(struct space *sp);
void source_object_fails(struct space *sp, const char *id, const struct err *err);
bool source_is_shared(const struct space *sp);
char *source_id_of(const char *namespace, const char *name);
void source_item_free(struct text_item *item);
void source_listed_clear(struct space *sp);
/* object NULL: it is there, but keep the version at hand. */
void source_listed_add(struct space *sp, const char *namespace, const char *name, yyjson_val *object);
void source_apply_listed(struct space *sp);
void source_commit_if_complete(struct source_kind *k);

/* source_kube_select.c */
int source_select_new(struct source_kind *k, const char *selector, struct err *err) MUST_CHECK;

#endif
