/* ask_agent.h — a question to the agent of a running member, over mutual TLS.
 * Thread:  main thread; runs the loop until the answer is there.
 * Owns:    nothing; the answer of /v1/bundle has values of Secrets, so the caller wipes it.
 * Errors:  ERR_INVALID: an address that is none, PEM that is none; ERR_SYS, ERR_IO, ERR_TIMEOUT; ERR_NOTFOUND: 404.
 */
#ifndef HAPTIC_CMD_ASK_AGENT_H
#define HAPTIC_CMD_ASK_AGENT_H

#include <uv.h>

#include "base/buf.h"
#include "base/err.h"

#define ASK_AGENT_PREFIX "agent:"

struct ask_agent {
    const char *address;                       /* "HOST:PORT" */
    const char *authority, *certificate, *key; /* files of PEM, as --fleet-ca, --fleet-cert and --fleet-key of run */
    const char *name;                          /* in the agent's certificate */
};

/* GET a path such as "/v1/state"; the body is appended. */
int ask_agent(uv_loop_t *loop, const struct ask_agent *a, const char *path, struct buf *ret_body, struct err *err)
    MUST_CHECK;

#endif
