/* Each rule looks at one target, but for the Lease and what replicas must have in common. */
#include "offline/doctor.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "data/json.h"

#define LATE 2 /* a Lease that was not renewed for so many of its durations has ended */

void doctor_done(struct doctor *d)
{
    for (size_t i = 0; i < d->targets.length; i++) {
        struct doctor_target *t = &d->targets.items[i];
        free(t->name);
        free(t->phase);
        free(t->trouble);
        free(t->unreachable);
        buf_done(&t->ready);
        buf_done(&t->metrics);
        buf_done(&t->state);
    }
    vec_done(&d->targets);
    free(d->lease.name);
    free(d->lease.holder);
}

bool doctor_metric(const struct doctor_target *t, const char *name, const char *label, double *ret_value)
{
    size_t length = strlen(name);
    bool found = false;

    *ret_value = 0;
    for (const char *line = buf_str(&t->metrics); *line != '\0';) {
        size_t n = strcspn(line, "\n");
        const char *value = memrchr(line, ' ', n);
        bool fits = strncmp(line, name, length) == 0 && (line[length] == ' ' || line[length] == '{') && value != NULL;
        if (fits && (label == NULL || memmem(line, n, label, strlen(label)) != NULL)) {
            *ret_value += strtod(value, NULL);
            found = true;
        }
        line += n + (line[n] == '\n');
    }
    return found;
}

/* ---- judgement ---- */

static void tell(struct findings *findings, enum finding_code code, const struct doctor_target *t, const char *message)
{
    findings_add(findings, &(struct finding){.code = code, .object = t ? t->name : NULL, .message = message});
}

static void judge_pod(const struct doctor_target *t, struct findings *findings)
{
    CLEANUP(free_ptr) char *message = NULL;

    if (t->phase != NULL && (strcmp(t->phase, "Running") != 0 || t->trouble != NULL)) {
        message = xasprintf("the Pod is %s%s%s", t->phase, t->trouble ? ": " : "", t->trouble ? t->trouble : "");
        tell(findings, FINDING_POD, t, message);
        return;
    }
    if (!t->is_asked) {
        tell(findings, FINDING_UNREACHABLE, t, t->unreachable ? t->unreachable : "it was not asked");
        return;
    }
    if (!t->is_ready) {
        const char *text = buf_str(&t->ready);
        message = xasprintf("not ready: %.*s", (int)strcspn(text, "\n"), text);
        tell(findings, FINDING_NOT_READY, t, message);
    }
}

/* A metric that has to be 0. */
static void judge_count(const struct doctor_target *t, const char *name, const char *label, enum finding_code code,
                        const char *what, struct findings *findings)
{
    double value;

    if (!doctor_metric(t, name, label, &value) || value <= 0)
        return;
    CLEANUP(free_ptr) char *message = xasprintf("%.0f %s", value, what);
    tell(findings, code, t, message);
}

static void judge_kinds(const struct doctor_target *t, struct findings *findings)
{
    static const char name[] = "haptic_resources_synced{kind=\"";

    for (const char *line = buf_str(&t->metrics); *line != '\0';) {
        size_t n = strcspn(line, "\n");
        if (strncmp(line, name, sizeof(name) - 1) == 0 && n > 2 && line[n - 2] == ' ' && line[n - 1] == '0') {
            const char *kind = line + sizeof(name) - 1;
            CLEANUP(free_ptr) char *message = xasprintf("%.*s are not listed", (int)strcspn(kind, "\"\n"), kind);
            tell(findings, FINDING_WATCH, t, message);
        }
        line += n + (line[n] == '\n');
    }
}

static void judge_controller(const struct doctor_target *t, struct findings *findings)
{
    static const struct {
        const char *name, *label;
        enum finding_code code;
        const char *what;
    } counts[] = {
        {"haptic_quarantined_objects", NULL, FINDING_OBJECTS,
         "fragments are quarantined: HAProxy refuses their output"},
        {"haptic_failed_objects", NULL, FINDING_OBJECTS, "fragments fail in their template"},
        {"haptic_conflicts", NULL, FINDING_OBJECTS, "keys have no effect, as an older object has them"},
        {"haptic_certificates", "state=\"ended\"", FINDING_CERTIFICATES, "certificates have ended"},
        {"haptic_certificates", "state=\"unusable\"", FINDING_CERTIFICATES, "certificates cannot be used"},
        {"haptic_certificates", "state=\"soon\"", FINDING_CERTIFICATES, "certificates end within 14 days"},
        {"haptic_haproxy_version_differs", NULL, FINDING_VERSION,
         "HAProxy runs in another version than the one that checks"},
        {"haptic_members_of_another_version", NULL, FINDING_VERSION,
         "members run another HAProxy than the one that checks"},
        {"haptic_members_refused", NULL, FINDING_MEMBERS, "members refuse the accepted configuration"},
    };
    double value, members, verified;

    for (size_t i = 0; i < ARRAY_LEN(counts); i++)
        judge_count(t, counts[i].name, counts[i].label, counts[i].code, counts[i].what, findings);
    if (doctor_metric(t, "haptic_config_in_force", NULL, &value) && value == 0)
        tell(findings, FINDING_NOT_IN_FORCE, t, "the newest configuration is not in force");
    if (doctor_metric(t, "haptic_members", NULL, &members) &&
        doctor_metric(t, "haptic_members_verified", NULL, &verified) && members > 0 && verified < members) {
        double leads;
        if (doctor_metric(t, "haptic_leader_election_is_leader", NULL, &leads) && leads > 0) {
            CLEANUP(free_ptr)
            char *message = xasprintf("%.0f of %.0f members do not serve the accepted configuration",
                                      members - verified, members);
            tell(findings, FINDING_MEMBERS, t, message);
        }
    }
    judge_kinds(t, findings);
}

/* Replicas that are in sync render the same. */
static void judge_replicas(const struct doctor *d, struct findings *findings)
{
    const struct doctor_target *first = NULL;
    double hash, other;

    for (size_t i = 0; i < d->targets.length; i++) {
        const struct doctor_target *t = &d->targets.items[i];
        if (t->role != DOCTOR_CONTROLLER || !t->is_ready || !doctor_metric(t, "haptic_model_hash", NULL, &other))
            continue;
        if (first == NULL) {
            first = t;
            hash = other;
        } else if (other != hash) {
            CLEANUP(free_ptr) char *message = xasprintf("it has accepted another configuration than %s", first->name);
            tell(findings, FINDING_REPLICAS, t, message);
        }
    }
}

static void judge_lease(const struct doctor_lease *l, int64_t now_us, struct findings *findings)
{
    CLEANUP(free_ptr) char *message = NULL;

    if (!l->is_wanted || !l->is_known)
        return;
    if (!l->is_there)
        message = xasprintf("there is no Lease %s: no controller has led yet", l->name);
    else if (l->holder == NULL || *l->holder == '\0')
        message = xasprintf("nobody holds the Lease %s", l->name);
    else if (l->duration_s > 0 && now_us - l->renew_time_us > LATE * l->duration_s * 1000000)
        message = xasprintf("the Lease %s was not renewed by %s for %" PRId64 " s", l->name, l->holder,
                            (now_us - l->renew_time_us) / 1000000);
    if (message != NULL)
        tell(findings, FINDING_LEASE, NULL, message);
}

void doctor_judge(const struct doctor *d, int64_t now_us, struct findings *findings)
{
    size_t controllers = 0;

    for (size_t i = 0; i < d->targets.length; i++) {
        const struct doctor_target *t = &d->targets.items[i];
        controllers += t->role == DOCTOR_CONTROLLER;
        judge_pod(t, findings);
        if (t->role == DOCTOR_CONTROLLER && t->metrics.length > 0)
            judge_controller(t, findings);
    }
    if (controllers == 0)
        tell(findings, FINDING_NO_CONTROLLER, NULL, "no Pod has the labels of a controller, and no address was given");
    judge_replicas(d, findings);
    judge_lease(&d->lease, now_us, findings);
}

/* ---- what there is ---- */

static const char *role_name(enum doctor_role role)
{
    return role == DOCTOR_CONTROLLER ? "controller" : "member";
}

void doctor_write_text(const struct doctor *d, struct buf *out)
{
    for (size_t i = 0; i < d->targets.length; i++) {
        const struct doctor_target *t = &d->targets.items[i];
        double value;
        buf_printf(out, "%-10s %s: %s", role_name(t->role), t->name, t->phase ? t->phase : "an address");
        if (t->restarts > 0)
            buf_printf(out, ", %" PRId64 " restarts", t->restarts);
        buf_puts(out, t->is_ready ? ", ready" : t->is_asked ? ", not ready" : ", not reached");
        if (doctor_metric(t, "haptic_leader_election_is_leader", NULL, &value))
            buf_puts(out, value > 0 ? ", leads" : ", follows");
        if (doctor_metric(t, "haptic_generation", NULL, &value) ||
            doctor_metric(t, "haptic_agent_generation", NULL, &value))
            buf_printf(out, ", generation %.0f", value);
        if (doctor_metric(t, "haptic_resources", NULL, &value))
            buf_printf(out, ", %.0f objects", value);
        buf_putc(out, '\n');
    }
    if (d->lease.is_there)
        buf_printf(out, "lease      %s: held by %s, transitions %" PRId64 "\n", d->lease.name,
                   *d->lease.holder ? d->lease.holder : "nobody", d->lease.transitions);
}

static void put_string(struct buf *out, const char *before, const char *text)
{
    buf_puts(out, before);
    if (text == NULL || json_write_string(out, text, strlen(text), NULL) < 0)
        buf_puts(out, "null");
}

void doctor_write_json(const struct doctor *d, struct buf *out)
{
    const struct doctor_lease *l = &d->lease;

    put_string(out, "{\"lease\":{\"name\":", l->name);
    put_string(out, ",\"holder\":", l->holder);
    buf_printf(out, ",\"found\":%s,\"transitions\":%" PRId64 "},\"targets\":[", l->is_there ? "true" : "false",
               l->transitions);
    for (size_t i = 0; i < d->targets.length; i++) {
        const struct doctor_target *t = &d->targets.items[i];
        put_string(out, i > 0 ? ",{\"role\":" : "{\"role\":", role_name(t->role));
        put_string(out, ",\"name\":", t->name);
        put_string(out, ",\"phase\":", t->phase);
        put_string(out, ",\"trouble\":", t->trouble);
        buf_printf(out, ",\"restarts\":%" PRId64 ",\"reached\":%s,\"ready\":%s", t->restarts,
                   t->is_asked ? "true" : "false", t->is_ready ? "true" : "false");
        put_string(out, ",\"answer\":", t->ready.length > 0 ? buf_str(&t->ready) : t->unreachable);
        buf_printf(out, ",\"state\":%s}", t->state.length > 0 ? buf_str(&t->state) : "null");
    }
    buf_putc(out, ']');
}
