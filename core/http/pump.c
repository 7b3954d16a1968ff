/* To run again at once is the part of an idle handle, so that everything else of the loop has its turn between: a timer
 * of zero that is started from its own callback is called again without an end, and the loop polls nothing meanwhile.
 */
#include "http/pump.h"

#define PAUSE_MAX_MS 64U       /* nobody is served */
#define PAUSE_MOVING_MAX_MS 1U /* somebody is: what is sent in many pieces goes on by itself */

static void on_again(uv_idle_t *idle);
static void on_timer(uv_timer_t *timer);

static uint64_t next_pause_ms(const struct pump *p)
{
    uint64_t max = p->moving > 0 ? PAUSE_MOVING_MAX_MS : PAUSE_MAX_MS, next = p->pause_ms > 0 ? 2 * p->pause_ms : 1;
    return next < max ? next : max;
}

static void run(struct pump *p)
{
    MHD_UNSIGNED_LONG_LONG timeout_ms;
    uv_idle_stop(&p->again);
    uv_timer_stop(&p->timer);
    p->runs = true;
    MHD_run(p->daemon);
    p->runs = false;
    if (MHD_get_timeout(p->daemon, &timeout_ms) != MHD_YES)
        return;
    if (timeout_ms > 0) {
        uv_timer_start(&p->timer, on_timer, timeout_ms, 0);
    } else if (!p->crowd || p->crowd->strangers == 0) {
        uv_idle_start(&p->again, on_again);
    } else {
        p->pause_ms = next_pause_ms(p);
        uv_timer_start(&p->timer, on_timer, p->pause_ms, 0);
    }
}

static void on_again(uv_idle_t *idle)
{
    run(idle->data);
}

static void on_timer(uv_timer_t *timer)
{
    run(timer->data);
}

static void on_ready(uv_poll_t *poll, int status, int events)
{
    struct pump *p = poll->data;
    (void)status;
    (void)events;
    p->pause_ms = 0;
    run(p);
}

void pump_begin(struct pump *p, uv_loop_t *loop, struct MHD_Daemon *daemon, const struct crowd *crowd)
{
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_EPOLL_FD);
    p->daemon = daemon;
    p->crowd = crowd;
    uv_poll_init(loop, &p->poll, info->epoll_fd);
    uv_timer_init(loop, &p->timer);
    uv_idle_init(loop, &p->again);
    p->poll.data = p->timer.data = p->again.data = p;
    uv_poll_start(&p->poll, UV_READABLE, on_ready);
    run(p);
}

void pump_wake(struct pump *p)
{
    if (!p->runs)
        uv_idle_start(&p->again, on_again);
}

static void on_closed(uv_handle_t *handle)
{
    struct pump *p = handle->data;
    if (--p->open_handles == 0)
        p->closed(p->ctx);
}

void pump_end(struct pump *p, void (*closed)(void *ctx), void *ctx)
{
    p->closed = closed;
    p->ctx = ctx;
    p->open_handles = 3;
    uv_close((uv_handle_t *)&p->poll, on_closed);
    uv_close((uv_handle_t *)&p->timer, on_closed);
    uv_close((uv_handle_t *)&p->again, on_closed);
}
