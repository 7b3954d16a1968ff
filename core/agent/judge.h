/* judge.h — what may go live without a check, where there is no HAProxy to look at: by what was accepted.
 * Thread:  loop thread only.
 * Owns:    its own view of the accepted state. Borrows model and vault.
 *
 * The same rules as agent_is_structural(), for a HAProxy that runs the accepted state: servers of a backend, and
 * entries of maps whose value is a backend that is there, or only data. Backends come and go without a check only where
 * every HAProxy can do that without a reload; servers and entries change at runtime in each supported version. After a
 * change that is more than that, the view is made anew when it is needed.
 */
#ifndef HAPTIC_AGENT_JUDGE_H
#define HAPTIC_AGENT_JUDGE_H

#include <stdbool.h>
#include <stddef.h>

#include "haproxy/model.h"
#include "store/vault.h"

struct judge;

struct judge *judge_new(struct model *model, struct vault *vault);
struct judge *judge_free(struct judge *j); /* NULL is fine */

/* Can each HAProxy add and delete backends at runtime? False until it is set. */
void judge_set_dynamic_backends(struct judge *j, bool all_can);
/* Take in what has been accepted and not been taken from the model yet: before model_take_changes(). */
void judge_see(struct judge *j);
/* Before a number of questions, between which nothing is rendered. */
void judge_begin(struct judge *j);
/* Items of one fragment are to be judged together. */
bool judge_is_structural(struct judge *j, struct item *const *items, size_t count);

#endif
