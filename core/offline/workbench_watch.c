/* Sources follow their files by themselves, whenever the loop runs: what they change is in the store, and the renderer
 * has been told. */
#include "offline/workbench_state.h"

void workbench_note_news(struct workbench *w)
{
    w->has_news = true;
    if (w->awaits)
        uv_stop(w->loop);
}

static void on_store_event(void *ctx, enum store_event event, struct store_kind *kind, struct object *now,
                           struct object *before)
{
    (void)event, (void)kind, (void)now, (void)before;
    workbench_note_news(ctx);
}

void workbench_follow(struct workbench *w)
{
    store_listen(w->store, on_store_event, w);
}

bool workbench_is_clean(const struct workbench *w)
{
    return !w->is_faulty;
}

void workbench_await(struct workbench *w, const bool *end)
{
    w->awaits = true;
    while (!w->has_news && !*end)
        uv_run(w->loop, UV_RUN_DEFAULT);
    w->awaits = false;
}
