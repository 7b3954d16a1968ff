/* test_run.h — one test: its fixtures rendered, its assertions judged.
 * Thread:  loop thread only; runs the loop until it is done.
 * Owns:    what it found, as text.
 * Errors:  ERR_SYS and the like: the test could not be run at all.
 *
 * Each test is rendered twice: at once, and object by object in a shuffled order. Both must give the same bytes, or
 * templates depend on an order or on what they did not read.
 */
#ifndef HAPTIC_OFFLINE_TEST_RUN_H
#define HAPTIC_OFFLINE_TEST_RUN_H

#include "offline/coverage.h"
#include "offline/test_case.h"
#include "offline/workbench.h"

enum test_verdict { TEST_PASSED, TEST_FAILED, TEST_SKIPPED };

struct test_failure {
    size_t line;   /* of the assertion, in the configuration; or of the test */
    char *message; /* may have several lines */
};

struct test_result {
    enum test_verdict verdict;
    VEC(struct test_failure) failures;
    char *skipped; /* why */
    int64_t duration_ns;
    size_t updated; /* files that were written anew */
};

struct test_run_options {
    struct workbench_options workbench; /* without sources */
    const char *haproxy_binary;         /* for haproxy_valid */
    uint64_t seed;                      /* of the shuffled order */
    bool update;                        /* write what is rendered into the files of assertions */
    struct coverage *coverage;          /* what ran is added; NULL: it is not wanted */
    bool without_requests;              /* start no HAProxy to ask */
};

/* Runs one test of cases: renders its objects, checks the assertions and sends the requests. A failed test is a
 * result, not an error; -1: the test could not be run. The caller frees *ret_result. Runs the loop. */
int test_run(uv_loop_t *loop, const struct test_cases *cases, const struct test_case *test,
             const struct test_run_options *options, struct test_result *ret_result, struct err *err) MUST_CHECK;
void test_result_done(struct test_result *r);

#endif
