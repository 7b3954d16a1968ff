/* The directory of an attached HAProxy that does not run yet. Another program will start it with haproxy.cfg, so the
 * accepted state has to be written before. When it runs, it is compared like any other.
 */
#include <string.h>

#include "agent/agent_state.h"
#include "base/log.h"

static void after_prepare(struct agent *a, const struct err *err)
{
    a->next = live_free(a->next); /* no process runs it yet: it is read from the directory when one does */
    if (err)
        log_warn("Cannot write the HAProxy directory; HAProxy can only start with the files that are there", "error",
                 err->text);
    agent_tell(a, "the HAProxy directory was written");
}

bool agent_prepare(struct agent *a)
{
    struct disk_files files = {0};
    struct err err;
    if (a->process || a->running || a->writing || a->apply.state || a->stopping || !a->fenced)
        return false;
    if (agent_check_fence(a, &err) || image_build(a, &files, true, &err) < 0) {
        log_warn("Cannot write the HAProxy directory", "error", err.text);
        return false;
    }
    memcpy(a->lineage, a->next_lineage, sizeof(a->lineage));
    image_write(a, &files, true, after_prepare);
    disk_files_done(&files);
    return true;
}
