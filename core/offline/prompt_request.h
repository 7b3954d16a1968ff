/* prompt_request.h — request{…} of a prompt: the fields of a test's request, answered by a real HAProxy.
 * Thread:  loop thread only; blocks while HAProxy answers.
 * Owns:    nothing; the stage is the caller's, who ends it when what is rendered has changed.
 * Errors:  ERR_INVALID: a field is wrong; as of stage_new() and stage_ask().
 */
#ifndef HAPTIC_OFFLINE_PROMPT_REQUEST_H
#define HAPTIC_OFFLINE_PROMPT_REQUEST_H

#include "offline/stage.h"

/* request: as JSON. *stage is made when it is NULL. out: the answer, or what differs from its expect. ret_case: the
 * request with an expect, as JSON. */
int prompt_request(struct workbench *w, const char *haproxy_binary, const char *request, struct stage **stage,
                   struct buf *out, struct buf *ret_case, bool *ret_as_expected, struct err *err) MUST_CHECK;

#endif
