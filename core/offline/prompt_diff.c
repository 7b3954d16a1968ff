/* What the files say is a workbench of its own, for a moment. */
#include "offline/prompt_diff.h"

#include <string.h>

#include "base/cleanup.h"
#include "offline/difference.h"

static int compare_for(struct workbench *before, struct workbench *now, const struct version_of *version,
                       struct findings *findings, struct verdicts *verdicts, struct err *err)
{
    struct difference d = {0};

    if (workbench_validate(before, version->binary, err) < 0 || workbench_validate(now, version->binary, err) < 0)
        return -1;
    if (findings_count(findings, FINDING_ERROR) > 0)
        return 0;
    if (difference_judge(before, now, &version->caps, &d, err) < 0)
        return -1;
    verdicts_add(verdicts, &d, version->caps.text);
    difference_done(&d);
    return 0;
}

static int compare(struct workbench *before, struct workbench *now, const struct versions *versions,
                   struct findings *findings, struct buf *out, struct err *err)
{
    CLEANUP(verdicts_done) struct verdicts verdicts = {0};

    for (size_t i = 0; i < versions->items.length; i++)
        if (compare_for(before, now, &versions->items.items[i], findings, &verdicts, err) < 0)
            return -1;
    if (findings_count(findings, FINDING_ERROR) > 0)
        return 0;
    verdicts_put(&verdicts, out);
    (void)difference_write(before, now, false, out);
    return 0;
}

int prompt_diff(uv_loop_t *loop, const struct workbench_options *options, const struct versions *versions,
                struct workbench *now, struct findings *findings, struct buf *out, struct err *err)
{
    struct workbench *before = NULL;

    for (const char *const *source = options->sources; *source != NULL; source++)
        if (strcmp(*source, "-") == 0)
            return err_set(err, ERR_INVALID, ":diff reads the files again, and standard input cannot be read twice");
    int result = workbench_new(loop, options, findings, &before, err);

    workbench_set_findings(now, findings);
    if (result == 0 && before != NULL && workbench_render(before))
        result = compare(before, now, versions, findings, out, err);
    workbench_free(before);
    return result;
}
