/* Accepted output is kept for the next start. A start restores it from this directory, or from a member that has newer
 * output. */
#include "agent/fence.h"
#include "base/log.h"
#include "controller/app_parts.h"
#include "controller/restore.h"

static bool is_newest(void *ctx)
{
    struct app *app = ctx;
    const struct fence ours = {.transitions = leader_fence_transitions(app->leader),
                               .generation = UINT64_MAX,
                               .holder = leader_fence_holder(app->leader)};
    struct fence_record highest;
    struct err err;

    return fence_check(app->directory, &ours, &highest, &err) == 0 || err.kind != ERR_STALE;
}

static struct bundle_stamp stamp(void *ctx)
{
    struct app *app = ctx;

    return (struct bundle_stamp){.transitions = leader_fence_transitions(app->leader),
                                 .generation = reconcile_generation(app->reconcile)};
}

/* Restores the newer of the directory's and the member's output. 0 when nothing was restored. */
static int restore(struct app *app, const struct recall_answer *member, struct restored *ret_restored, struct err *err)
{
    struct model *model = reconcile_model(app->reconcile);
    struct vault *vault = store_vault(app->store);
    struct bundle_stamp own = {.transitions = INT64_MIN};
    struct restored found;

    if (member == NULL || member->member == NULL)
        return restore_accepted(app->directory, model, vault, ret_restored, err);
    if (restore_stamp(app->directory, &own, err) < 0 && err->kind != ERR_NOTFOUND)
        log_warn(
            "The configuration that was accepted here before the start cannot be read; using the one that the fleet serves",
            "error", err->text);
    if (own.transitions >= member->transitions &&
        (own.transitions > member->transitions || own.generation >= member->generation))
        return restore_accepted(app->directory, model, vault, ret_restored, err);
    if (restore_offer(member->bytes, member->length, model, vault, &found, err) < 0)
        return err_wrap(err, "member %s", member->member);
    *ret_restored = found;
    return 0;
}

void app_start_sealing(struct app *app, const struct recall_answer *member)
{
    static const struct sealer_ops ops = {.may_write = app_may_write, .is_newest = is_newest, .stamp = stamp};
    struct restored restored;
    struct err err;

    if (restore(app, member, &restored, &err) == 0) {
        reconcile_restored(app->reconcile);
        app_restore_fetched(app);
        app_restore_owned(app);
        log_info(restored.haproxy[0] != '\0' ? "Restored the configuration that was accepted before the start"
                                             : "Restored the configuration that the fleet serves",
                 "fragments", log_int((int64_t)restored.parts), "transitions", log_int(restored.stamp.transitions),
                 "generation", log_int((int64_t)restored.stamp.generation), "haproxy", restored.haproxy);
        if (restored.left_out > 0)
            log_warn("Not restored: output that needs values of missing Secrets", "fragments",
                     log_int((int64_t)restored.left_out));
        if (restored.cut > 0)
            log_warn("The last change in the file is incomplete; using the state before it", "file", SEALER_FILE,
                     "bytes", log_int((int64_t)restored.cut));
    } else if (err.kind != ERR_NOTFOUND) {
        log_error(
            "The configuration that was accepted before the start cannot be read; objects whose templates fail now have no output",
            "error", err.text);
    }
    app->sealer = sealer_new(app->loop, app->directory, app->caps.text, reconcile_model(app->reconcile),
                             store_vault(app->store), app->metrics, &ops, app);
}
