/* bench.h — what the templates of one configuration cost with a number of objects.
 * Thread:  loop thread only; runs the loop until it is done.
 * Owns:    what it measured.
 * Units:   *_ns nanoseconds.
 * Errors:  ERR_SYS, ERR_INVALID: the objects cannot be made, or HAProxy cannot be run.
 */
#ifndef HAPTIC_OFFLINE_BENCH_H
#define HAPTIC_OFFLINE_BENCH_H

#include "offline/timings.h"

struct bench_run {
    size_t objects;
    int64_t render_ns, incremental_ns, validate_ns; /* incremental: median of several single changes */
    int64_t allocated_bytes;                        /* by the fragments of the first rendering */
    size_t fragments;
    struct timings timings; /* of the first rendering */
};

/* Objects of `from`, scaled to at least `objects`, by the configuration in options. False in *ret_usable: the
 * configuration or its templates are wrong, and findings say so. */
int bench_run(uv_loop_t *loop, struct workbench *from, const struct workbench_options *options, size_t objects,
              struct findings *findings, struct bench_run *ret_run, bool *ret_usable, struct err *err) MUST_CHECK;
void bench_run_done(struct bench_run *r);

/* How the cost grows with the number: 1 linear, 2 with the square, 0 not at all. */
double bench_exponent(double small_cost, double large_cost, size_t small, size_t large);

#endif
