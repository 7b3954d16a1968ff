/* A change costs two exchanges with HAProxy: one that proves that it answers on the connection and tells it the idle
 * time (see runtime.h), and the commands. The first needs no commands, so it is made while the change is rendered. The
 * connection lives for a second, in which a reload by somebody else would not be noticed anyway (watch.c). So long it
 * also serves the next stage of a plan, and the next change.
 */
#include "agent/agent_state.h"

#define EXPECT_NS NS_PER_S

void agent_expect(struct agent *a)
{
    if (a->expected || a->call || a->reload_call || a->apply.state || a->stopping || !a->known || !a->live_ok ||
        !a->fenced)
        return;
    runtime_expect(a->loop, a->config.runtime_socket, EXPECT_NS, &a->expected);
}

void expect_end(struct agent *a)
{
    if (a->expected)
        runtime_cancel(STEAL(a->expected));
}

struct runtime_call *expect_run(struct agent *a, const char *const *commands, size_t count, int64_t deadline_ns,
                                size_t max_answer_bytes, runtime_gate *gate, runtime_done *done)
{
    struct runtime_call *call = a->expected ? runtime_run_expected(STEAL(a->expected), commands, count, deadline_ns,
                                                                   max_answer_bytes, gate, done, a)
                                            : runtime_run_gated(a->loop, a->config.runtime_socket, commands, count,
                                                                deadline_ns, max_answer_bytes, gate, done, a);
    runtime_keep(call, EXPECT_NS, &a->expected);
    return call;
}
