/* test_jobs.h — tests spread over processes: each is this program with a share of them, and prints JSON.
 * Thread:  any; blocks until all have ended.
 * Owns:    the processes, which end with this one.
 * Errors:  ERR_SYS: a process cannot be started; ERR_INVALID: one ended without a report, after it said why.
 */
#ifndef HAPTIC_OFFLINE_TEST_JOBS_H
#define HAPTIC_OFFLINE_TEST_JOBS_H

#include <yyjson.h>

#include "base/err.h"

#define TEST_JOBS_MAX 64

extern const char test_jobs_share[];

/* arguments: of one process, ended by NULL; test_jobs_share stands for its share ("1/4"). report: called with each
 * one's document, in the order of the shares. */
int test_jobs_run(const char *executable, const char *const *arguments, unsigned jobs,
                  int (*report)(void *ctx, unsigned job, yyjson_val *document, struct err *err), void *ctx,
                  struct err *err) MUST_CHECK;

#endif
