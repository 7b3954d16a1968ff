/* rehearsal.h — what each change at a prompt would do to a HAProxy that runs the state before it.
 * Thread:  loop thread only.
 * Owns:    a model of its own, and references to the fragments that changed.
 * Errors:  as of difference_forecast().
 *
 * The model has everything accepted without a check: `haproxy -c` takes too long for a prompt, and what it would refuse
 * cannot be deployed anyway. The workbench's own model keeps what is to be checked.
 */
#ifndef HAPTIC_OFFLINE_REHEARSAL_H
#define HAPTIC_OFFLINE_REHEARSAL_H

#include "offline/verdicts.h"
#include "offline/workbench.h"

struct rehearsal;
struct rehearsal *rehearsal_new(struct workbench *w);
struct rehearsal *rehearsal_free(struct rehearsal *r); /* NULL is fine */

/* A fragment has another output (workbench_listen()). */
void rehearsal_note(struct rehearsal *r, const struct fragment *before, const struct fragment *now);
/* The rendering has ended: judge what was noted since the last call, for each version. */
int rehearsal_judge(struct rehearsal *r, const struct versions *versions, struct verdicts *verdicts, struct err *err)
    MUST_CHECK;
/* Take everything as it is now, without a verdict: other templates, or another renderer. */
void rehearsal_forget(struct rehearsal *r);

#endif
