/* doctor_ask.h — the facts about an installation: from the API server, through its proxy to Pods, and from addresses.
 * Thread:  loop thread only; the calls run the loop until they are done.
 * Errors:  only what makes everything impossible; what one target does not answer is a fact about it.
 */
#ifndef HAPTIC_CMD_DOCTOR_ASK_H
#define HAPTIC_CMD_DOCTOR_ASK_H

#include "cmd/cluster.h"
#include "offline/archive.h"
#include "offline/doctor.h"
#include "offline/snapshot.h"

struct doctor_places {
    const char *namespace, *controllers, *members; /* selectors of labels */
    const char *lease;
    uint16_t controller_port, member_port;
    bool has_cluster;
};

/* Pods with these labels; each is asked for /readyz and /metrics. */
int doctor_ask_pods(struct cluster *c, const struct doctor_places *p, enum doctor_role role, struct doctor *d,
                    struct err *err) MUST_CHECK;
/* "http://HOST:PORT": a controller's metrics or debug port. */
int doctor_ask_address(struct cluster *c, const char *url, struct doctor *d, struct err *err) MUST_CHECK;
void doctor_ask_lease(struct cluster *c, const struct doctor_places *p, struct doctor *d);

/* Logs of the targets' containers, redacted, into the archive. */
int doctor_archive_logs(struct cluster *c, const struct doctor *d, struct snapshot *s, struct archive *a,
                        struct err *err) MUST_CHECK;
/* Values of the namespace's Secrets are looked for as well, where they may be read. */
void doctor_learn_secrets(struct cluster *c, const char *namespace, struct snapshot *s);

#endif
