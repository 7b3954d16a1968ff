/* Status fields that templates write are taken over from other field managers (force), because each field of a status
 * has one writer. */
#include "controller/status_manner.h"

#include "base/clock.h"

static int merge(void *ctx, const struct status_object *object, const char *resource_version,
                 const struct write_wishes *wishes, struct write_body *ret_body, struct err *err)
{
    (void)ctx;
    ret_body->force = true;
    return status_merge(object, resource_version, wishes->texts, wishes->count, wishes->anew, clock_wall_s(),
                        &ret_body->differs, &ret_body->text, err);
}

const struct write_manner status_manner = {
    .wish = CONTRIBUTION_STATUS,
    .manager = STATUS_MANAGER,
    .subresource = "/status",
    .metric = "haptic_status_writes_total",
    .metric_help = "Writes of objects' status by what became of them.",
    .noun = "status of",
    .failed = "The status of an object cannot be written; it is tried again",
    .writing = "Writing the status of objects",
    .wrote = "Wrote the status of objects",
    .merge = merge,
};
