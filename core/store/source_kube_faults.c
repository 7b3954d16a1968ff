/* A map from the object's id to the text of its failure. A failure that does not fit into the map always counts as new:
 * a repeated line in the log is better than a failure that is never logged. */
#include "store/source_kube_faults.h"

#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"

static void fault_free(struct fault *fault)
{
    if (fault)
        free(fault->text);
    free(fault);
}

bool faults_add(struct faults *f, const void *owner, uint64_t list, const char *id, const char *text)
{
    struct fault *fault = map_get(&f->by_id, id);
    if (!fault) {
        if (f->by_id.count >= FAULTS_MAX)
            return true;
        fault = xcalloc(1, sizeof(*fault));
        map_put(&f->by_id, id, fault);
    }
    fault->owner = owner;
    fault->list = list;
    if (fault->text && strcmp(fault->text, text) == 0)
        return false;
    free(fault->text);
    fault->text = xstrdup(text);
    fault->since_ns = clock_now_ns();
    return true;
}

void faults_remove(struct faults *f, const char *id)
{
    fault_free(map_del(&f->by_id, id));
}

void faults_drop_old(struct faults *f, const void *owner, uint64_t list)
{
    const struct map_slot *slot;
    for (size_t it = 0; (slot = map_next(&f->by_id, &it));) {
        struct fault *fault = slot->value;
        if (fault->owner == owner && fault->list != list) {
            map_deln(&f->by_id, slot->key, slot->key_length);
            fault_free(fault);
        }
    }
}

const struct fault *faults_latest(const struct faults *f)
{
    const struct fault *latest = NULL;
    const struct map_slot *slot;
    for (size_t it = 0; (slot = map_next(&f->by_id, &it));) {
        const struct fault *fault = slot->value;
        if (!latest || fault->since_ns > latest->since_ns)
            latest = fault;
    }
    return latest;
}

void faults_done(struct faults *f)
{
    const struct map_slot *slot;
    for (size_t it = 0; (slot = map_next(&f->by_id, &it));)
        fault_free(slot->value);
    map_done(&f->by_id);
}
