/* The directory is part of what is compared: after a comparison of everything each file has to be the one that was
 * written. What the file system says of it is looked at each time, its content when that has changed, and all content
 * at every tenth comparison. Altered files are written again like anything else that is not level; a running HAProxy
 * has read them long ago, so there is nothing to do but that.
 */
#include "agent/agent_state.h"

#define DEEP_EACH 10

static void on_audited(void *ctx, const struct disk_result *result)
{
    struct agent *a = ctx;
    a->writing = false;
    altered_note(a, result);
    a->files_foreign = false;
    if (result->altered) {
        a->level = false;
        /* It may be another directory by now. */
        close_fd(&a->journal_fd);
        if (a->step_after_write || !level_now(a))
            level_schedule(a);
    }
    if (!a->writing)
        image_release(a);
}

void audit_begin(struct agent *a)
{
    /* What is about to be written is looked at then. */
    if (a->stopping || a->writing || !a->level)
        return;
    a->writing = disk_check(a->disk, a->audits++ % DEEP_EACH == DEEP_EACH - 1, on_audited, a);
}
