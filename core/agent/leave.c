/* A server that is not wanted any more may have connections. The server and its backend stay until there are no
 * connections, or until a time limit. Between applies, HAProxy is asked to delete all leaving servers and backends.
 * Those that HAProxy has deleted are removed from the live view. An apply begins after HAProxy's answer when it
 * compares everything, or when it wants something back whose deletion is running.
 */
#include <string.h>

#include "agent/agent_state.h"
#include "base/alloc.h"

static bool leave_commands(struct agent *a, struct plan *plan)
{
    struct map_slot *slot;
    int64_t now = clock_now_ns();
    size_t budget = 500;
    for (size_t it = 0; budget && (slot = map_next(&a->live->waiting, &it));) {
        const struct live_backend *b = live_backend(a->live, slot->key);
        bool any = false;
        for (size_t i = 0; budget && i < b->cfg.servers.length; i++) {
            const struct cfg_server *s = b->cfg.servers.items[i];
            if (!s->leaving)
                continue;
            plan_server_leave(plan, b->name, s->name, now >= s->leave_by_ns);
            any = true;
            budget--;
        }
        if (b->gone && a->caps.dynamic_backends && !b->cfg.by_hand && !b->listen && (any || !b->cfg.servers.length)) {
            plan_backend_leave(plan, b->name);
            budget -= budget > 0;
        }
        if (!any && !b->gone)
            map_del(&a->live->waiting, slot->key);
    }
    return plan_count(plan) > 0;
}

/* Handles the answer to "del server b/s" or "del backend b". */
static void leave_commit(struct agent *a, const struct plan_op *op, const char *answer)
{
    if ((op->type != PLAN_SERVER_DEL && op->type != PLAN_BACKEND_DEL) || plan_judge(op->type, answer) != PLAN_OK)
        return;
    const char *target = strchr(strchr(op->command, ' ') + 1, ' ') + 1;
    const char *slash = op->type == PLAN_SERVER_DEL ? strchr(target, '/') : NULL;
    int length = (int)(slash ? slash - target : (long)strlen(target));
    CLEANUP(free_ptr) char *name = xasprintf("backend %.*s", length, target);
    CLEANUP(free_ptr) char *listen = xasprintf("listen %.*s", length, target);
    struct live_backend *b = live_backend(a->live, name);
    if (op->type == PLAN_BACKEND_DEL) {
        live_backend_drop(a->live, name);
        return;
    }
    if (!b)
        b = live_backend(a->live, listen);
    const struct cfg_server *s = b && slash ? cfg_backend_server(&b->cfg, slash + 1) : NULL;
    if (!s || !s->leaving)
        return;
    a->live->leaving--;
    cfg_server_free(cfg_backend_remove(&b->cfg, slash + 1));
}

static void on_left(void *ctx, const struct err *err, const struct runtime_answer *answers, size_t count)
{
    struct agent *a = ctx;
    void (*waits)(struct agent * a) = a->apply.state ? a->apply.after_leave : NULL;
    a->leave_call = NULL;
    for (size_t i = 0; !err && (!a->apply.state || waits) && a->known && i < count; i++)
        leave_commit(a, &a->leave_plan.ops[PLAN_VANISH].items[i], answers[i].text);
    plan_done(&a->leave_plan);
    a->apply.after_leave = NULL;
    if (waits)
        waits(a);
}

bool leave_meets(const struct agent *a, const struct touched *t)
{
    for (size_t i = 0; a->leave_call && i < t->backends.length; i++) {
        const struct touched_backend *b = &t->backends.items[i];
        const struct live_backend *live = b->is_wanted ? live_backend(a->live, b->name) : NULL;
        if (live && live->gone)
            return true;
        for (size_t k = 0; live && k < live->cfg.servers.length; k++)
            if (live->cfg.servers.items[k]->leaving && cfg_backend_server(&b->wanted, live->cfg.servers.items[k]->name))
                return true;
    }
    return false;
}

void leave_begin(struct agent *a)
{
    struct err err;
    int64_t deadline_ns;
    if (a->leave_call || a->apply.state || !a->known || !a->fenced || !a->caps_known ||
        !leave_commands(a, &a->leave_plan))
        return;
    if (agent_may_run(a, a->config.command_deadline_ns, &deadline_ns, &err)) {
        plan_done(&a->leave_plan);
        return;
    }
    VEC(const char *) commands = {0};
    for (size_t i = 0; i < a->leave_plan.ops[PLAN_VANISH].length; i++)
        vec_push(&commands, a->leave_plan.ops[PLAN_VANISH].items[i].command);
    a->leave_call = runtime_run_gated(a->loop, a->config.runtime_socket, commands.items, commands.length, deadline_ns,
                                      0, agent_gate, on_left, a);
    vec_done(&commands);
}
