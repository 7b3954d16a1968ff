/* judge.h — may a change go live without a check? For controllers without their own HAProxy.
 * Thread:  loop thread only.
 * Owns:    its own view of the accepted state. Borrows model and vault.
 *
 * The same rules as agent_is_structural(), for a HAProxy that runs the accepted state: servers of a backend, and map
 * entries whose value is an existing backend, or only data. Added and removed backends need no check only if every
 * HAProxy can do that without a reload. Servers and entries change at runtime in each supported version. After any
 * other change, the view is built again when it is needed.
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
/* Add the accepted changes that were not taken from the model yet. Call it before model_take_changes(). */
void judge_see(struct judge *j);
/* Call it before a series of questions, between which nothing is rendered. */
void judge_begin(struct judge *j);
/* All items of one fragment must be given in one call. */
bool judge_is_structural(struct judge *j, struct item *const *items, size_t count);

#endif
