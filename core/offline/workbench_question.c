/* A question to the renderer: the loop runs until the answer is there. */
#include "base/alloc.h"
#include "offline/workbench_state.h"

static void on_answer(void *ctx, const char *answer)
{
    struct workbench *w = ctx;

    w->answer = xstrdup(answer);
    uv_stop(w->loop);
}

char *workbench_ask(struct workbench *w, const char *mode, const char *question)
{
    uv_run(w->loop, UV_RUN_NOWAIT); /* files may have changed */
    workbench_begin(w, "evaluating");
    renderer_ask(w->renderer, mode, question, on_answer, w);
    while (w->answer == NULL)
        uv_run(w->loop, UV_RUN_DEFAULT);
    workbench_end(w);
    return STEAL(w->answer);
}

char *workbench_where(struct workbench *w, const char *fragment_id, const struct contribution *c, unsigned line)
{
    renderer_explain(w->renderer, fragment_id, c->kind, c->scope, c->key, line, on_answer, w);
    while (w->answer == NULL)
        uv_run(w->loop, UV_RUN_DEFAULT);
    return STEAL(w->answer);
}
