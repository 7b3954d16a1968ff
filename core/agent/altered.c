/* Files of the directory that another program has altered: recorded when they are found, and reported when they are
 * right again. */
#include "agent/agent_state.h"

#include <stdlib.h>

#include "base/alloc.h"

void altered_note(struct agent *a, const struct disk_result *result)
{
    if (!result->altered || a->files_foreign)
        return;
    if (!a->altered)
        a->first_altered = xstrdup(result->first_altered);
    a->altered += result->altered;
}

void altered_tell(struct agent *a)
{
    if (!a->altered)
        return;
    a->drift_repairs++;
    metric_add(
        metric_counter(a->metrics, "haptic_drift_repairs_total",
                       "Differences from the accepted configuration that were found in a running HAProxy and repaired.",
                       "kind", "file"),
        a->altered);
    log_warn("Drift repaired", "kind", "file", "first", a->first_altered, "files", log_int((int64_t)a->altered),
             "directory", a->config.directory);
    free(STEAL(a->first_altered));
    a->altered = 0;
}
