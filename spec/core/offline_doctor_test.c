/* The judgement of an installation: facts in, findings out. Each row is a healthy installation with one thing wrong,
 * and gives that finding alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "offline/doctor.h"

#define NOW_US INT64_C(1700000000000000)
#define HEALTHY \
    "haptic_ready 1\nhaptic_config_in_force 1\nhaptic_model_hash 77\nhaptic_resources_synced{kind=\"ingresses\"} 1\n" \
    "haptic_leader_election_is_leader 1\nhaptic_members 2\nhaptic_members_verified 2\nhaptic_members_refused 0\n" \
    "haptic_certificates{state=\"valid\"} 3\nhaptic_quarantined_objects 0\n"

struct fact {
    const char *code, *message;
    const char *phase, *trouble; /* of the second controller */
    bool is_silent, is_unready;
    const char *metrics; /* of the second controller, after HEALTHY's; NULL: nothing more */
    const char *holder;  /* of the Lease; NULL: a */
    int64_t late_s;
    bool has_no_controller;
};

static const struct fact facts[] = {
    {"HT0601", "no Pod has the labels of a controller", .has_no_controller = true},
    {"HT0602", "the Pod is Pending", .phase = "Pending"},
    {"HT0602", "the Pod is Running: container main: CrashLoopBackOff", .trouble = "container main: CrashLoopBackOff"},
    {"HT0603", "no route to host", .is_silent = true},
    {"HT0604", "not ready: not synced: endpoints", .is_unready = true},
    {"HT0605", "nobody holds the Lease haptic-leader", .holder = ""},
    {"HT0605", "the Lease haptic-leader was not renewed by a for 61 s", .late_s = 61},
    {"HT0606", "it has accepted another configuration than haptic/a", .metrics = "haptic_model_hash 1\n"},
    {"HT0607", "2 fragments are quarantined", .metrics = "haptic_quarantined_objects 2\n"},
    {"HT0607", "1 fragments fail in their template", .metrics = "haptic_failed_objects 1\n"},
    {"HT0607", "4 keys have no effect", .metrics = "haptic_conflicts 4\n"},
    {"HT0608", "the newest configuration is not in force", .metrics = "haptic_config_in_force 0\n"},
    {"HT0609", "secrets are not listed", .metrics = "haptic_resources_synced{kind=\"secrets\"} 0\n"},
    {"HT0610", "5 certificates have ended", .metrics = "haptic_certificates{state=\"ended\"} 5\n"},
    {"HT0610", "1 certificates end within 14 days", .metrics = "haptic_certificates{state=\"soon\"} 1\n"},
    {"HT0611", "HAProxy runs in another version", .metrics = "haptic_haproxy_version_differs 1\n"},
    {"HT0612", "3 members refuse the accepted configuration", .metrics = "haptic_members_refused 3\n"},
    {"HT0612", "1 of 2 members do not serve the accepted configuration", .metrics = "haptic_members_verified 1\n"},
};

/* The first metrics without those that the second ones name. */
static void put_metrics(struct buf *out, const char *more)
{
    const char *healthy = HEALTHY;
    for (const char *line = healthy; *line != '\0';) {
        size_t n = strcspn(line, "\n") + 1, name = strcspn(line, " ");
        if (more == NULL || strncmp(line, more, name + 1) != 0)
            buf_add(out, line, n);
        line += n;
    }
    if (more != NULL)
        buf_puts(out, more);
}

static void target_add(struct doctor *d, const char *name, const struct fact *f)
{
    struct doctor_target t = {.role = f->has_no_controller ? DOCTOR_MEMBER : DOCTOR_CONTROLLER,
                              .name = xstrdup(name),
                              .phase = xstrdup(f->phase ? f->phase : "Running"),
                              .trouble = f->trouble ? xstrdup(f->trouble) : NULL,
                              .is_asked = !f->is_silent,
                              .unreachable = f->is_silent ? xstrdup("no route to host") : NULL,
                              .is_ready = !f->is_silent && !f->is_unready};
    buf_puts(&t.ready, f->is_unready ? "not synced: endpoints\n" : "ok\n");
    if (!f->is_silent && !f->phase && !f->trouble && !f->has_no_controller)
        put_metrics(&t.metrics, f->metrics);
    vec_push(&d->targets, t);
}

static void judge(const struct fact *f, struct findings *findings)
{
    struct doctor d = {.lease = {.is_wanted = true,
                                 .is_known = true,
                                 .is_there = true,
                                 .name = xstrdup("haptic-leader"),
                                 .holder = xstrdup(f->holder ? f->holder : "a"),
                                 .duration_s = 15,
                                 .renew_time_us = NOW_US - f->late_s * 1000000}};
    if (!f->has_no_controller)
        target_add(&d, "haptic/a", &(struct fact){0});
    target_add(&d, "haptic/b", f);
    doctor_judge(&d, NOW_US, findings);
    doctor_done(&d);
}

static void each_code_has_its_fact(void **state UNUSED)
{
    for (size_t i = 0; i < ARRAY_LEN(facts); i++) {
        struct findings findings = {0};
        judge(&facts[i], &findings);
        print_message("    %s %s\n", facts[i].code, facts[i].message);
        assert_int_equal(findings.items.length, 1);
        assert_string_equal(finding_code_row(findings.items.items[0].code)->code, facts[i].code);
        assert_non_null(strstr(findings.items.items[0].message, facts[i].message));
        findings_done(&findings);
    }
}

static void health_is_no_finding(void **state UNUSED)
{
    struct findings findings = {0};
    judge(&(struct fact){0}, &findings);
    assert_int_equal(findings.items.length, 0);
    findings_done(&findings);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_code_has_its_fact),
        cmocka_unit_test(health_is_no_finding),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
