/* What the files say is a workbench of its own, for a moment. */
#include "offline/prompt_diff.h"

#include "offline/difference.h"

static int compare(struct workbench *before, struct workbench *now, const char *binary, struct findings *findings,
                   struct buf *out, struct err *err)
{
    struct difference d = {0};

    if (workbench_validate(before, binary, err) < 0 || workbench_validate(now, binary, err) < 0)
        return -1;
    if (findings_count(findings, FINDING_ERROR) > 0)
        return 0;
    if (difference_judge(before, now, &d, err) < 0)
        return -1;
    difference_put(&d, workbench_caps(now)->text, out);
    (void)difference_write(before, now, false, out);
    difference_done(&d);
    return 0;
}

int prompt_diff(uv_loop_t *loop, const struct workbench_options *options, struct workbench *now,
                struct findings *findings, struct buf *out, struct err *err)
{
    struct workbench *before = NULL;
    int result = workbench_new(loop, options, findings, &before, err);

    workbench_set_findings(now, findings);
    if (result == 0 && before != NULL && workbench_render(before))
        result = compare(before, now, options->haproxy_binary, findings, out, err);
    workbench_free(before);
    return result;
}
