/* Changed crt-lists are read back together, at most once a second. HAProxy can only print a whole list, so reading it
 * for each change would cost time in proportion to its names. HAProxy has confirmed each command; now its lists must
 * match line by line. A difference leads to a full comparison.
 *
 * An answer counts only when no list has changed while it was read. When changes come so fast that there is no such
 * moment, the lists are read back with one of the changes (lists_add_reads()).
 */
#include <stdlib.h>
#include <string.h>

#include "agent/agent_state.h"
#include "base/alloc.h"
#include "base/metric.h"

static void paths_done(struct list_proof *p)
{
    for (size_t i = 0; i < p->paths.length; i++)
        free(p->paths.items[i]);
    vec_done(&p->paths);
}

void list_proof_cancel(struct agent *a)
{
    if (a->list_proof.call)
        runtime_cancel(STEAL(a->list_proof.call));
    paths_done(&a->list_proof);
}

/* While an apply is running, this is tried again a second later. */
static void on_differs(struct agent *a, struct err *err)
{
    if (a->apply.state)
        return;
    agent_forget_live(a, err->text);
    metric_add(metric_counter(a->metrics, "haptic_deployment_surprises_total",
                              "Answers and read-backs of HAProxy that were not as expected.", "kind", "readback"),
               1);
    agent_tell(a, "a list of certificates differs from what was deployed");
}

/* True while an apply is running that changes lists, or may change them. */
static bool is_disturbed(const struct agent *a)
{
    return !a->known || a->apply.all || a->apply.touched.lists.length > 0;
}

static void on_lists_read(void *ctx, const struct err *err, const struct runtime_answer *answers, size_t count)
{
    struct agent *a = ctx;
    struct list_proof *p = &a->list_proof;
    struct err own;
    p->call = NULL;
    bool counts = !err && count == p->paths.length && p->changes == p->changes_begun &&
                  p->worker_pid == a->worker_pid && !is_disturbed(a);
    for (size_t i = 0; counts && i < count; i++) {
        struct live_list *list = map_get(&a->live->lists, p->paths.items[i]);
        if (list && live_list_prove(list, answers[i].text, answers[i].length, &own) < 0) {
            on_differs(a, &own);
            break;
        }
    }
    paths_done(p);
}

void list_proof_begin(struct agent *a)
{
    struct list_proof *p = &a->list_proof;
    const struct map_slot *slot;
    struct batch reads = {0};
    if (p->call || is_disturbed(a))
        return;
    for (size_t it = 0; (slot = map_next(&a->live->lists, &it));) {
        const struct live_list *list = slot->value;
        if (!list->used || !list->unproved_ns)
            continue;
        vec_push(&p->paths, xstrdup(list->path));
        (void)batch_add_read(&reads, xasprintf("show ssl crt-list -n %s", list->path));
    }
    if (reads.commands.length) {
        p->changes_begun = p->changes;
        p->worker_pid = a->worker_pid;
        p->call = runtime_run(a->loop, a->config.runtime_socket, reads.commands.items, reads.commands.length,
                              a->config.command_deadline_ns, 0, on_lists_read, a);
    }
    batch_done(&reads);
}
