/* prompt_explain.h — what explain() of a prompt says.
 * Thread:  loop thread only; runs the loop until the renderer has answered.
 * Errors:  ERR_INVALID: it names nothing that can be explained; ERR_NOTFOUND, and those of stage_new().
 */
#ifndef HAPTIC_OFFLINE_PROMPT_EXPLAIN_H
#define HAPTIC_OFFLINE_PROMPT_EXPLAIN_H

#include "base/buf.h"
#include "data/json.h"
#include "offline/workbench.h"

/* command: {"what": TEXT} or {"kind", "id"}; binary: the HAProxy that is asked where a request goes; NULL: none is. */
int prompt_explain(struct workbench *w, const char *binary, struct yyjson_val *command, struct buf *out,
                   struct err *err) MUST_CHECK;

#endif
