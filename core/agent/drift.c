/* Drift is a difference between what was deployed and what HAProxy has that nothing explains: somebody else changed it.
 * While everything is read and compared the model goes on accepting, and the comparison is with its newest state; what
 * came meanwhile differs too, and is told apart here by the model's own list of changes that are not deployed yet.
 */
#include <string.h>

#include "agent/agent_state.h"
#include "base/alloc.h"
#include "base/log.h"

/* Sections, and entries of maps, that the model accepted while HAProxy was asked and compared: news, and no drift. */
struct news {
    struct map sections;
    struct map entries; /* name of the map, newline, key */
};

static char *entry_name(const char *map, const char *key)
{
    return xasprintf("%s\n%s", map, key);
}

static void news_add(void *ctx, struct item *item)
{
    struct news *news = ctx;
    if (item->kind == CONTRIBUTION_SECTION || item->kind == CONTRIBUTION_SECTION_FROM) {
        map_put(&news->sections, item->scope, item);
    } else if (item->kind == CONTRIBUTION_MAP_ENTRY) {
        CLEANUP(free_ptr) char *name = entry_name(item->scope, item->key);
        map_put(&news->entries, name, item);
    }
}

static bool differs_for_no_reason(struct agent *a)
{
    const struct apply *p = &a->apply;
    struct news news = {0};
    bool found = false;
    if (digest_equal(a->live_digest, model_digest(a->model, MODEL_ACCEPTED)))
        return plan_count(&p->plan) || p->plan.reload;
    /* What needs a reload may be news as well: it is not told apart. */
    model_each_changed(a->model, news_add, &news);
    for (size_t i = 0; i < p->touched.backends.length && !found; i++)
        found = p->touched.backends.items[i].has_ops && !map_get(&news.sections, p->touched.backends.items[i].name);
    for (size_t i = 0; i < p->touched.entries.length && !found; i++) {
        const struct touched_entry *e = &p->touched.entries.items[i];
        const char *slash = strrchr(e->map->path, '/');
        CLEANUP(free_ptr) char *name = entry_name(slash ? slash + 1 : e->map->path, e->key);
        found = !map_get(&news.entries, name);
    }
    map_done(&news.sections);
    map_done(&news.entries);
    return found;
}

void drift_note(struct agent *a)
{
    struct apply *p = &a->apply;
    if (!p->drift || !differs_for_no_reason(a))
        return;
    static const char help[] = "Differences found in a running HAProxy that was believed to be as wanted.";
    a->drift_repairs++;
    if (p->plan.reload)
        metric_add(metric_counter(a->metrics, "haptic_drift_repairs_total", help, "kind", p->plan.reload_class), 1);
    for (size_t stage = 0; stage < PLAN_STAGES; stage++)
        for (size_t i = 0; i < p->plan.ops[stage].length; i++)
            metric_add(metric_counter(a->metrics, "haptic_drift_repairs_total", help, "kind",
                                      plan_op_name(p->plan.ops[stage].items[i].type)),
                       1);
    CLEANUP(free_ptr) char *first = agent_redacted(a, plan_first(&p->plan));
    log_warn("HAProxy differed from what was deployed; repairing it", "operations",
             log_int((int64_t)plan_count(&p->plan)), "first", first);
}
