/* Each item has its own plan. When commands can make only a part of the item's change, none of them is sent. */
#include "agent/agent_state.h"

bool plan_take(struct plan *plan, struct plan *part)
{
    bool has_ops = !part->reload && plan_count(part) > 0;
    if (part->reload) {
        plan_reload(plan, part->reload_class, "%s", part->reload);
    } else {
        for (size_t stage = 0; stage < PLAN_STAGES; stage++) {
            for (size_t i = 0; i < part->ops[stage].length; i++)
                vec_push(&plan->ops[stage], part->ops[stage].items[i]);
            vec_clear(&part->ops[stage]);
        }
    }
    plan_done(part);
    return has_ops;
}
