/* test_report.h — what a run of tests prints: one form per format, and the machine-readable one read again.
 * Thread:  loop thread only.
 * Owns:    the text that is gathered until the run ends.
 * Errors:  ERR_INVALID: there is no such format, or a document is no report.
 * Source:  TAP 13; JUnit XML as CI servers read it.
 */
#ifndef HAPTIC_OFFLINE_TEST_REPORT_H
#define HAPTIC_OFFLINE_TEST_REPORT_H

#include "offline/coverage.h"
#include "offline/finding.h"
#include "offline/test_run.h"

/* FINDINGS: sarif and github, which have findings only. */
enum test_format { TEST_FINDINGS, TEST_TEXT, TEST_JSON, TEST_JUNIT, TEST_TAP };

struct test_report {
    enum test_format format;
    enum finding_format finding_format; /* TEST_FINDINGS */
    struct findings *findings;          /* borrowed; TEST_FINDINGS: failures go there */
    const char *version;                /* of the program */
    bool colour;
    uint64_t seed;
    size_t passed, failed, skipped, updated;
    struct buf text;
};

/* "text", "json", "junit", "tap", "sarif", "github" */
int test_format_parse(const char *value, enum test_format *ret_format, enum finding_format *ret_findings,
                      struct err *err) MUST_CHECK;
/* One test has ended: counted, and with TEST_TEXT printed when there is something to say. file: from which it is. */
void test_report_add(struct test_report *r, const char *file, const struct test_case *test,
                     const struct test_result *result);
/* The rest, on standard output. coverage: NULL without. */
void test_report_finish(struct test_report *r, const struct coverage *coverage, int64_t duration_ns);
void test_report_done(struct test_report *r);

/* A test in a document that another process printed with TEST_JSON. */
int test_result_read(yyjson_val *test, struct test_result *ret_result, struct err *err) MUST_CHECK;

#endif
