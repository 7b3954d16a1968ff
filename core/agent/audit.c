/* The directory is part of a full comparison: each file has to be the one that was written. The metadata of the files
 * is checked each time, their content when the metadata has changed, and all content at every tenth comparison. An
 * altered file is written again, like any file that differs. Nothing else is done, because a running HAProxy has read
 * its files long ago.
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
        /* The directory may be another one than before. */
        close_fd(&a->journal_fd);
        if (a->step_after_write || !level_now(a))
            level_schedule(a);
    }
    if (!a->writing)
        image_release(a);
}

void audit_begin(struct agent *a)
{
    /* A file that is about to be written is checked at that time. */
    if (a->stopping || a->writing || !a->level)
        return;
    a->writing = disk_check(a->disk, a->audits++ % DEEP_EACH == DEEP_EACH - 1, on_audited, a);
}
