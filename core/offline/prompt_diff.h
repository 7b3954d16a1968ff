/* prompt_diff.h — the state of a prompt compared with the files that it began with, as `haptic diff` does it.
 * Thread:  loop thread only; runs the loop until renderer and HAProxy have answered.
 * Errors:  as of workbench_new(), workbench_validate() and difference_judge().
 */
#ifndef HAPTIC_OFFLINE_PROMPT_DIFF_H
#define HAPTIC_OFFLINE_PROMPT_DIFF_H

#include "base/buf.h"
#include "offline/verdicts.h"
#include "offline/workbench.h"

/* Read the files once more, and compare for each version. findings gets what is wrong with either state; then out has
 * nothing. The workbench's findings go there from now on. */
int prompt_diff(uv_loop_t *loop, const struct workbench_options *options, const struct versions *versions,
                struct workbench *now, struct findings *findings, struct buf *out, struct err *err) MUST_CHECK;

#endif
