/* app_parts.h — what a running controller consists of, for the files of app only.
 * Thread:  loop thread only.
 *
 *   app.c         start and end, what the parts ask of each other
 *   app_resource.c  a configuration that is a resource: waited for, and what becomes of it is told there
 *   app_config.c  a changed configuration takes the place of the one in force
 *   app_text.c    the configuration as it is written
 *   app_takeover.c  times and limits: taken over in place
 *   app_tests.c   the tests of a configuration, before it is taken
 *   app_fleet.c   the members of a fleet and the identity towards them
 *   app_follow.c  is what is known current, and does anybody deploy it
 *   app_orders.c  certificates that HAProxy orders
 *   app_source.c  where objects come from
 *   app_election.c  the election, and another one
 *   app_sealing.c  what was accepted, for the next start
 *   app_writes.c  may this replica write; Events for owners
 *   app_status.c  the status of objects
 *   app_fetch.c   the contents of URLs
 *   app_admission.c  objects and configurations that are judged before the API server takes them
 *   app_state.c   readiness, metrics, the debug page, what is logged about the progress
 */
#ifndef HAPTIC_CONTROLLER_APP_PARTS_H
#define HAPTIC_CONTROLLER_APP_PARTS_H

#include "agent/agent.h"
#include "base/log.h"
#include "base/log_lasting.h"
#include "base/resident.h"
#include "controller/admission.h"
#include "controller/app.h"
#include "controller/authority_writer.h"
#include "controller/candidates.h"
#include "controller/config.h"
#include "controller/config_report.h"
#include "controller/config_source.h"
#include "controller/config_state.h"
#include "controller/config_tests.h"
#include "controller/default_certificate.h"
#include "controller/expiry.h"
#include "controller/fetcher.h"
#include "controller/fleet.h"
#include "controller/fleet_secret.h"
#include "controller/leader.h"
#include "controller/member_pods.h"
#include "controller/order_report.h"
#include "controller/owned_writer.h"
#include "controller/ownership.h"
#include "controller/recall.h"
#include "controller/reconcile.h"
#include "controller/sealer.h"
#include "controller/status_writer.h"
#include "controller/sweeper.h"
#include "controller/watch_log.h"
#include "engine/renderer.h"
#include "kube/client.h"
#include "kube/event.h"
#include "store/source_dir.h"
#include "store/source_kube.h"
#include "store/store.h"

enum app_election { ELECTION_STEADY, ELECTION_ENDING, ELECTION_RELEASING };

/* Largest object that is taken. */
#define APP_OBJECT_MAX ((size_t)8 << 20)

struct app;
/* A configuration has passed its tests, or (why) it has not. may_begin: it has not failed either. The config is the
 * callee's. */
typedef void app_tested(struct app *app, struct config *config, const char *why, bool may_begin);

struct app {
    uv_loop_t *loop;
    struct app_options options;
    struct metrics *metrics;
    struct config *config; /* in force */
    struct haproxy_caps caps;
    char *haproxy, *directory, *master_socket, *runtime_socket; /* absolute */
    struct store *store;
    struct default_certificate default_certificate;
    struct source_dir *source_dir;
    struct source_kube *source_kube;
    struct watch_log watch_log;
    struct kube_client *client;
    struct kube_events *events;
    struct leader *leader;
    struct renderer *renderer;
    struct reconcile *reconcile;
    struct expiry *expiry;
    struct sweeper *sweeper;
    struct sealer *sealer;
    struct status_writer *status_writer; /* NULL: without an API server */
    struct owned_writer *owned_writer;   /* NULL as well */
    struct fetcher *fetcher;
    struct order_report *orders;
    struct agent *agent;   /* NULL with a fleet */
    struct fleet *fleet;   /* NULL with an agent */
    struct recall *recall; /* what the fleet serves is being asked for; nothing is rendered before */
    struct member_pods *member_pods;
    struct fleet_secret *fleet_secret;
    struct ownership *ownership; /* NULL: nobody owns what is made */
    char *owned_secrets;
    uv_timer_t identity_timer;
    struct digest identity_digest;
    int open_handles;

    /* app_config.c, app_resource.c */
    struct config_source *config_source; /* NULL: built-in */
    struct config_report *config_report; /* of a resource */
    char *waits_for;                     /* why there is no configuration yet */
    bool refused_by_haproxy;             /* and not by us */
    uint64_t in_force_generation;        /* in which it was judged; 0: it was not */
    bool is_deployed;                    /* that generation was live since */
    int64_t reports_since_ns;            /* since when this replica leads; 0: it does not */
    char *part_refused;                  /* by HAProxy, of the templates themselves; NULL: nothing */
    int64_t part_looked_ns;
    uv_timer_t config_timer;          /* a configuration waits for its kinds */
    struct config_state config_state; /* of the file's newest text */
    struct config *next_config;       /* read, and not in force yet; NULL: none */
    bool next_loading;                /* its templates are being loaded */
    bool next_replaces;               /* it describes a kind otherwise: that one is not known before it is listed */
    bool next_complained;
    int64_t next_since_ns;

    /* app_admission.c */
    struct admission *admission;         /* NULL: there is no webhook */
    struct candidates *candidates;       /* NULL: configurations are not judged */
    struct fleet_secret *webhook_secret; /* NULL: its certificates are files */
    bool is_webhook_certified;           /* it has got certificates of that Secret */
    char *webhook_name;                  /* of its Service, for DNS */
    struct authority_writer *authority_writer;
    uint64_t program_number, admission_program; /* of the templates in force, and of those that it has */

    /* app_tests.c */
    struct config_tests *tests;         /* under way; NULL: none */
    struct config *tested_config;       /* by them; NULL: none */
    app_tested *tested;                 /* who waits for their outcome */
    struct config_condition tests_told; /* of the newest text; its reason is static */
    char *tests_message;                /* of tests_told */

    /* app_takeover.c */
    enum app_election election;
    uv_timer_t election_timer;
    int64_t election_deadline_ns;
    char *ignored_fields; /* of what the store holds */

    /* app_state.c */
    uv_timer_t watch_timer;
    struct resident resident;
    int64_t started_ns;
    bool was_ready, ever_ready, is_unready_said;
    struct log_lasting progress, unready;

    uv_timer_t stop_poll;
    int64_t stop_deadline_ns;
    bool stopping;
    void (*stopped)(void *ctx);
    void *stopped_ctx;

    /* Callbacks into app.c, for the files below it: */
    int (*begin)(struct app *app, struct err *err); /* the configuration is there: start everything */
    void (*released)(void *ctx);                    /* the app stops, and the Lease is given back; the app itself */
};

/* app_source.c */
int app_start_source(struct app *app, struct err *err) MUST_CHECK;
/* Kinds were added to the store or removed. */
int app_reload_source(struct app *app, struct err *err) MUST_CHECK;

/* app_election.c: the election of this configuration; is there what it needs? */
int app_start_leader(struct app *app, const struct config *c, struct err *err) MUST_CHECK;
int app_check_election(const struct app *app, const struct config *c, struct err *err) MUST_CHECK;
/* Begin it anew where its settings differ. */
void app_change_election(struct app *app, const struct config *before, const struct config *now);
/* The app stops: give the Lease back, then call released. */
void app_end_election(struct app *app);

/* app_orders.c */
void app_orders_changed(void *ctx); /* those of this process' HAProxy */
/* Those of a member's HAProxy; see struct fleet_ops. */
void app_orders_told(void *ctx, const char *member, struct yyjson_val *list);

/* app_text.c */
const char *app_config_name(const struct app *app);
int app_load_config(struct app *app, struct config **ret_config, struct err *err) MUST_CHECK;
int app_set_program(struct app *app, const struct config *config, struct err *err) MUST_CHECK;

/* app_config.c */
int app_open_config(struct app *app, struct err *err) MUST_CHECK;
app_tested app_on_tested; /* it is taken, refused, or begun with */
void app_forget_next_config(struct app *app);
/* For the reconciler. */
void app_on_program(void *ctx, const char *problem); /* NULL: it is in force */
void app_on_config_step(struct app *app);
bool app_is_synced(void *ctx);
/* Has everything that the source has been read at least once? */
bool app_is_readable(void *ctx);

/* app_resource.c: a configuration that is a resource */
int app_open_resource(struct app *app, const struct config_source_ops *ops, struct err *err) MUST_CHECK;
/* It cannot be started with: wait for a better resource, or end (file). */
void app_refuse_start(struct app *app, const char *why);
/* Says at that level why nothing is started yet, unless it has just said the same. */
void app_wait_for_config(struct app *app, enum log_level level, const char *why);
/* Write the state of the configuration to the status of its resource. */
void app_report_config(struct app *app);

/* app_tests.c: run the tests of a configuration, which is taken over; then tested() gets it. */
void app_test_config(struct app *app, struct config *config, app_tested *tested);
/* A newer text counts: end the tests under way, if there are any. */
void app_forget_tests(struct app *app);
/* The text in force is the newest one again. */
void app_note_tests_of_before(struct app *app);

/* app_takeover.c */
/* Can they be taken over while this runs? */
int app_check_settings(struct app *app, const struct config *next, struct err *err) MUST_CHECK;
/* Of the next program. */
void app_set_limits(struct app *app, const struct config *c);
/* The configuration in force is another one than before. */
void app_take_settings(struct app *app, const struct config *before);
/* The kinds of a configuration, and what is ignored in them. */
int app_take_kinds(struct app *app, const struct config *c, bool *ret_changed, struct err *err) MUST_CHECK;

/* app_ownership.c */
void app_start_ownership(struct app *app);
/* Leadership has changed, or one of the Secrets has. */
void app_ownership_step(struct app *app);
const char *app_ownership_references(void *ctx); /* of what is made now; NULL: none */
void app_free_ownership(struct app *app);

/* app_fleet.c */
int64_t app_fleet_timeout_ns(const struct config *c);
/* By the labels of the configuration in force. */
int app_select_members(struct app *app, struct err *err) MUST_CHECK;
int app_start_fleet(struct app *app, struct err *err) MUST_CHECK;
void app_stop_fleet(struct app *app);
/* Leadership has changed. */
void app_fleet_step(struct app *app);

/* app_status.c */
void app_start_status(struct app *app);
void app_on_heard(void *ctx, struct fragment *before, struct fragment *now);
void app_on_reviewed(void *ctx);
/* Hear again which objects the restored fragments want. */
void app_restore_owned(struct app *app);

/* app_sealing.c: read what was accepted before the start, here or (NULL: nobody) by a member; keep it from now on. */
void app_start_sealing(struct app *app, const struct recall_answer *member);

/* app_writes.c */
bool app_may_write(void *ctx); /* towards HAProxy and the API server */
/* Tell the owner of an object. */
void app_notify(void *ctx, bool warning, const char *owner_kind, const char *owner_id, const char *reason,
                const char *message);

/* app_fetch.c */
void app_start_fetcher(struct app *app);
/* Hear again which URLs the restored fragments want; they carry the contents. */
void app_restore_fetched(struct app *app);

/* app_admission.c */
/* Before there is a configuration: the first one may be judged as well. */
void app_start_candidates(struct app *app);
void app_describe_admission(const struct app *app, struct buf *out);
int app_start_admission(struct app *app, bool (*may_write)(void *ctx), struct err *err) MUST_CHECK;
void app_stop_admission(struct app *app);
/* Leadership has changed. */
void app_lead_admission(struct app *app);
/* The templates in force may be others, or have rendered for the first time. */
void app_step_admission(struct app *app);
/* Why this replica, which has just started, must not be asked yet; NULL: it may. */
const char *app_admission_lacks(const struct app *app);

/* app_follow.c: part of readiness; why: as in app_is_ready(). */
bool app_follows(const struct app *app, struct buf *why);
bool app_has_leader(const struct app *app, struct buf *why);

/* app_state.c */
void app_collect(void *ctx); /* metrics */
void app_watch_ready(struct app *app);

#endif
