/* config_report.h — what has become of a configuration resource, in its status and as Events.
 * Thread:  loop thread only.
 * Owns:    its request and timer, copies of all texts. Borrows client and source.
 * Errors:  of writing: retried with a growing distance, told with a growing distance.
 *
 * Conditions: Accepted (it is valid, its kinds are listed, its templates load), TestsPassed (its validationTests),
 * Rendered (HAProxy takes what they make), Deployed (it is live). They speak of the generation of the resource that
 * was judged: config_report_set() says everything at once, and is called whenever something may have changed.
 */
#ifndef HAPTIC_CONTROLLER_CONFIG_REPORT_H
#define HAPTIC_CONTROLLER_CONFIG_REPORT_H

#include "controller/config_source.h"
#include "kube/event.h"

struct config_report;

enum config_truth { CONFIG_UNKNOWN, CONFIG_TRUE, CONFIG_FALSE };

/* A condition with its reason (CamelCase) and message. */
struct config_condition {
    enum config_truth status;
    const char *reason, *message;
};
struct config_findings {
    struct config_condition accepted, tests, rendered, deployed;
    struct config_condition overrides; /* reason NULL: there are no libraries */
};

struct config_report *config_report_new(struct kube_client *client, struct config_source *source,
                                        struct kube_events *events, bool (*may_write)(void *ctx), void *ctx);
struct config_report *config_report_free(struct config_report *r); /* NULL is fine */
/* findings NULL: there is no judgement yet, and what stands there stays. r NULL is fine. */
void config_report_set(struct config_report *r, const struct config_findings *findings);
/* The resource was seen anew: compare again. r NULL is fine. */
void config_report_see(struct config_report *r);

#endif
