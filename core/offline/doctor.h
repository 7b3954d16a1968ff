/* doctor.h — what is known of an installation from outside, and what is wrong with it.
 * Thread:  any; one owner.
 * Owns:    all its texts.
 * Units:   *_us Unix microseconds.
 *
 * The facts are collected by whoever can ask (cmd/doctor_ask.h); the judgement is a function of them.
 */
#ifndef HAPTIC_OFFLINE_DOCTOR_H
#define HAPTIC_OFFLINE_DOCTOR_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/vec.h"
#include "offline/finding.h"

enum doctor_role { DOCTOR_CONTROLLER, DOCTOR_MEMBER };

/* A Pod, or an address that was given. */
struct doctor_target {
    enum doctor_role role;
    char *name;    /* "namespace/pod", or the address */
    char *phase;   /* of a Pod: "Running"; NULL: an address */
    char *trouble; /* why a container does not run: "CrashLoopBackOff"; NULL: all run */
    int64_t restarts;
    bool is_asked;      /* it answered */
    char *unreachable;  /* why it did not */
    bool is_ready;      /* /readyz said 200 */
    struct buf ready;   /* what it said */
    struct buf metrics; /* Prometheus' text; empty: not known */
    struct buf state;   /* /debug/state of an address; empty: not known */
};

struct doctor_lease {
    bool is_wanted; /* the configuration has elections */
    bool is_known;  /* it was looked for; is_there: found */
    bool is_there;
    char *name, *holder;
    int64_t renew_time_us, duration_s, transitions;
};

struct doctor {
    VEC(struct doctor_target) targets;
    struct doctor_lease lease;
};
void doctor_done(struct doctor *d);

/* The sum of a metric's series, of those with a label when one is given ('state="ended"'). False: there is none. */
bool doctor_metric(const struct doctor_target *t, const char *name, const char *label, double *ret_value);

/* now_us: the time to judge the Lease by. */
void doctor_judge(const struct doctor *d, int64_t now_us, struct findings *findings);
/* A line for each target, and one for the Lease. */
void doctor_write_text(const struct doctor *d, struct buf *out);
/* {"lease":{…},"targets":[…]} without the closing brace: findings follow. */
void doctor_write_json(const struct doctor *d, struct buf *out);

#endif
