/* app.h — the running controller: everything made, wired, and taken apart again.
 * Thread:  loop thread only.
 * Owns:    store, sources, renderer, reconciler, agent, elector, API client.
 * Errors:  app_new() refuses what cannot run, with a sentence on what to do; later failures are logged and survived.
 */
#ifndef HAPTIC_CONTROLLER_APP_H
#define HAPTIC_CONTROLLER_APP_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/buf.h"
#include "base/metric.h"
#include "base/vec.h"
#include "kube/config.h"

struct admission;
struct candidates;
struct app;
struct model;

/* What the command line and the environment say. Strings are borrowed for the life of the app. */
struct app_options {
    const char *executable; /* this program, for the renderer */
    const char *version;
    const char *config_file;     /* NULL: a resource, or the built-in configuration */
    const char *config_resource; /* [NAMESPACE/]NAME of the resource that is the configuration; NULL: none */
    const char *source_dir;      /* NULL: the API server */
    bool attach;                 /* to a HAProxy that somebody else supervises */
    bool fleet;                  /* the members of a fleet, each with an agent; no HAProxy here */
    const char *members;         /* "https://HOST:PORT,…"; NULL: found by a selector */
    const char *member_selector, *member_namespaces; /* labels of their Pods; NULL: the configuration's */
    uint16_t member_port;                            /* of an agent in a Pod */
    unsigned member_share;    /* per cent of the members that may take at a time what had to be checked */
    const char *agent_name;   /* in the agents' certificates */
    const char *fleet_secret; /* with the certificates, made when it is not there; NULL: the files */
    /* Objects whose removal removes the Lease and the Secrets that the controllers made, and further Secrets of theirs
     * (names, separated by commas); NULL: none. */
    const char *owners, *owned_secrets;
    const char *fleet_authority, *fleet_certificate, *fleet_key; /* PEM files */
    const char *haproxy_binary;
    const char *check_reads; /* further paths that the check may read, separated by ":"; NULL: none */
    const char *haproxy_dir;
    const char *master_socket;  /* NULL: master.sock in haproxy_dir */
    const char *runtime_socket; /* NULL: runtime.sock in haproxy_dir */
    bool keep_haproxy;          /* leave it running at the end */
    bool has_webhook;           /* judge objects for the API server */
    bool webhook_fails_closed;  /* what cannot be judged is denied */
    int64_t webhook_timeout_ns; /* from a review to its answer */
    /* From the review of a configuration to its answer; 0: the configuration is not judged before it is stored. */
    int64_t webhook_configuration_ns;
    /* The Secret with its certificates, made when it is not there (NULL: somebody else has them); the Service by which
     * it is reached; the ValidatingWebhookConfiguration whose caBundle the leader keeps (NULL: none). */
    const char *webhook_secret, *webhook_service, *webhook_configuration;
    void (*webhook_certified)(void *ctx, const char *certificate, const char *key); /* PEM */
    void *webhook_ctx;
    struct kube_overrides kube;
    const char *pod_name, *pod_namespace;
    const char *const *extra_context; /* "key=value", NULL-terminated */
    bool log_level_fixed;             /* the command line's wins over the configuration's */
    int64_t grace_ns;                 /* for an orderly end */
    int64_t watch_stall_ns;           /* silence after which a watch's connection is given up; 0: kube/watch.h's */
    /* The configuration came after the start, and the program cannot run with it. Nothing is started. */
    void (*failed)(void *ctx, const struct err *err);
    void *failed_ctx;
};

int app_new(uv_loop_t *loop, const struct app_options *options, struct metrics *metrics, struct app **ret_app,
            struct err *err) MUST_CHECK;
/* With a configuration that is a resource, app_new() returns at once; everything else is started when it has come and
 * is right. Until then nothing is touched. */
/* End in order: the deployment under way ends or is given up, the Lease is released, HAProxy is stopped unless it is
 * to stay; then stopped is called. */
void app_stop(struct app *app, void (*stopped)(void *ctx), void *ctx);
struct app *app_free(struct app *app); /* after stopped; NULL is fine; run the loop until it is empty afterwards */

/* Read the configuration file again now, changed or not. */
void app_reload_config(struct app *app);

/* Ready: all kinds synced, rendered, validated, and, on the leader, live and read back. why: what is missing. */
bool app_is_ready(const struct app *app, struct buf *why);
/* The state as JSON for the debug endpoint: no Secrets, no tokens. */
void app_describe(const struct app *app, struct buf *out);
/* The accepted haproxy.cfg. */
void app_write_config(const struct app *app, struct buf *out);
/* The model of what is rendered and accepted; NULL: the configuration is waited for. Borrowed for the call. */
const struct model *app_model(const struct app *app);
/* The last generations and messages; NULL as well. */
const struct generation_log *app_generations(const struct app *app);
struct renderer *app_renderer(const struct app *app);   /* NULL as well */
struct admission *app_admission(const struct app *app); /* NULL as well, and without a webhook */
/* NULL: configurations are not judged before they are stored. */
struct candidates *app_candidates(const struct app *app);
/* Everything that templates see (controller/dump.h). */
int app_write_dump(const struct app *app, struct buf *out, struct err *err) MUST_CHECK;
/* The contents of URLs, as manifests for the offline commands. */
void app_write_fetched(const struct app *app, struct buf *out);
/* The effective configuration as JSON: what is watched, loaded and set. */
void app_write_settings(const struct app *app, struct buf *out);

#endif
