/* A step that takes longer than two seconds says so on stderr. */
#include <stdio.h>

#include "base/clock.h"
#include "offline/workbench_state.h"

#define PROGRESS_MS 2000

static void on_progress(uv_timer_t *timer)
{
    struct workbench *w = timer->data;

    fprintf(stderr, "haptic: %s, %lld s so far\n", w->doing,
            (long long)((clock_now_ns() - w->since_ns + NS_PER_S / 2) / NS_PER_S));
}

void workbench_begin(struct workbench *w, const char *doing)
{
    w->doing = doing;
    w->since_ns = clock_now_ns();
    if (w->shows_progress)
        uv_timer_start(&w->progress, on_progress, PROGRESS_MS, PROGRESS_MS);
}

void workbench_end(struct workbench *w)
{
    uv_timer_stop(&w->progress);
}
