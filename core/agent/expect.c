/* A change needs two exchanges with HAProxy: the first one proves that HAProxy answers on the connection and reads the
 * idle time (see runtime.h), the second one sends the commands. The first one does not depend on the commands, so it
 * runs while the change is rendered. The connection is kept for one second. A reload by another program would not be
 * noticed earlier in any case (watch.c). In this time the connection also serves the next stage of a plan, and the next
 * change.
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
