/* A batch is one or several stages of the plan. The last batch ends with commands that read back everything that was
 * touched. Only what was read becomes the new live view (touched.c).
 */
#include <string.h>

#include "agent/agent_state.h"
#include "base/alloc.h"

static void batch_add_stage(struct agent *a, struct batch *b, size_t stage)
{
    for (size_t i = 0; i < a->apply.plan.ops[stage].length; i++) {
        vec_push(&b->commands, a->apply.plan.ops[stage].items[i].command);
        vec_push(&b->types, a->apply.plan.ops[stage].items[i].type);
    }
}

static bool adds_backend(const struct plan *plan)
{
    for (size_t i = 0; i < plan->ops[PLAN_APPEAR].length; i++)
        if (plan->ops[PLAN_APPEAR].items[i].type == PLAN_BACKEND_ADD)
            return true;
    return false;
}

/* Does a stage of more than new lines of crt-lists come first? No backend needs such a line. */
static bool certifies(const struct plan *plan)
{
    for (size_t i = 0; i < plan->ops[PLAN_CERTIFY].length; i++)
        if (plan->ops[PLAN_CERTIFY].items[i].type != PLAN_LIST_ADD)
            return true;
    return false;
}

/* The last stage of the batch that begins with the next one. Routes go into the same batch as their backends, except
 * when HAProxy might refuse a new backend, a certificate or its line. */
static enum plan_stage batch_end(const struct plan *plan, size_t next)
{
    if (next == PLAN_VANISH)
        return PLAN_VANISH;
    if (next == PLAN_CERTIFY && certifies(plan))
        return PLAN_CERTIFY;
    if (next <= PLAN_APPEAR && (adds_backend(plan) || (next == PLAN_CERTIFY && plan->ops[PLAN_CERTIFY].length)))
        return PLAN_APPEAR;
    return PLAN_UNROUTE;
}

bool batch_next(struct agent *a, struct batch *b)
{
    const struct plan *plan = &a->apply.plan;
    batch_done(b);
    while (a->apply.stage < PLAN_STAGES && !b->commands.length) {
        enum plan_stage last = batch_end(plan, a->apply.stage);
        while (a->apply.stage <= last)
            batch_add_stage(a, b, a->apply.stage++);
    }
    if (!b->commands.length)
        return false;
    bool more = false;
    for (size_t stage = a->apply.stage; stage < PLAN_STAGES; stage++)
        more |= plan->ops[stage].length > 0;
    if (!more) {
        a->apply.stage = PLAN_STAGES;
        touched_add_reads(&a->apply.touched, b);
    }
    return true;
}

void batch_reads(struct agent *a, struct batch *b)
{
    batch_done(b);
    touched_add_reads(&a->apply.touched, b);
}

/* Redacts before cutting, because a value that was cut would not be recognised. */
static int surprise_describe(const struct agent *a, const char *answer, const char *command, struct err *err)
{
    CLEANUP(free_ptr) char *clean_answer = agent_redacted(a, answer), *clean_command = agent_redacted(a, command);
    return err_set(err, ERR_HAPROXY, "HAProxy answered '%.200s' to '%.200s'", clean_answer, clean_command);
}

static bool is_about_certificates(enum plan_op_type type)
{
    return type == PLAN_CERTIFICATE_ABORT || type == PLAN_CERTIFICATE_NEW || type == PLAN_CERTIFICATE_SET ||
           type == PLAN_CERTIFICATE_ADD || type == PLAN_CERTIFICATE_COMMIT || type == PLAN_CERTIFICATE_DEL ||
           type == PLAN_LIST_ADD || type == PLAN_LIST_DEL;
}

/* For "set ssl cert FILE …" or "add ssl crt-list FILE …": excludes this file from the next plan. */
static void avoid_file(struct agent *a, const char *command)
{
    for (unsigned word = 0; word < 3; word++) {
        command += strcspn(command, " ");
        command += strspn(command, " ");
    }
    CLEANUP(free_ptr) char *path = xmemdup0(command, strcspn(command, " \n"));
    map_put(&a->apply.avoid, path, a);
}

/* For "del server b/s", "set server b/s …" or "add backend b …": excludes backend b from the next plan. */
static void avoid_backend(struct agent *a, enum plan_op_type type, const char *command)
{
    if (type == PLAN_MAP_ADD || type == PLAN_MAP_SET || type == PLAN_MAP_DEL)
        return;
    const char *target = strstr(command, "server ");
    target = target ? target + 7 : strstr(command, "backend ");
    if (!target)
        return;
    target += strncmp(target, "backend ", 8) == 0 ? 8 : 0;
    size_t length = strcspn(target, "/ ");
    CLEANUP(free_ptr) char *backend = xasprintf("backend %.*s", (int)length, target);
    CLEANUP(free_ptr) char *listen = xasprintf("listen %.*s", (int)length, target);
    map_put(&a->apply.avoid, live_backend(a->live, listen) ? listen : backend, a);
}

int batch_judge(struct agent *a, const struct batch *b, const struct runtime_answer *answers, struct err *err)
{
    int result = 0;
    for (size_t i = 0; i < b->types.length; i++) {
        enum plan_op_type type = b->types.items[i];
        if (plan_judge(type, answers[i].text) == PLAN_SURPRISE) {
            if (is_about_certificates(type))
                avoid_file(a, b->commands.items[i]);
            else
                avoid_backend(a, type, b->commands.items[i]);
            if (!result)
                result = surprise_describe(a, answers[i].text, b->commands.items[i], err);
            continue;
        }
        a->operations++;
        a->apply.operations++;
        if (a->op_counts[type] == NULL)
            a->op_counts[type] = metric_counter(a->metrics, "haptic_runtime_operations_total",
                                                "Commands that changed something in a running HAProxy.", "type",
                                                plan_op_name(type));
        metric_add(a->op_counts[type], 1);
    }
    return result;
}
