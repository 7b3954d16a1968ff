/* A uv_timer_t on the heap: its close callback frees it, so an owner needs no closing state of its own. */
#include "net/timer.h"

#include "base/alloc.h"
#include "base/clock.h"

struct net_timer {
    uv_timer_t handle;
    void (*fire)(void *ctx);
    void *ctx;
};

static void on_timer(uv_timer_t *handle)
{
    struct net_timer *t = handle->data;
    t->fire(t->ctx);
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

struct net_timer *net_timer_new(uv_loop_t *loop, void (*fire)(void *ctx), void *ctx)
{
    struct net_timer *t = xcalloc(1, sizeof(*t));
    uv_timer_init(loop, &t->handle);
    t->handle.data = t;
    t->fire = fire;
    t->ctx = ctx;
    return t;
}

struct net_timer *net_timer_free(struct net_timer *t)
{
    if (t)
        uv_close((uv_handle_t *)&t->handle, on_closed);
    return NULL;
}

void net_timer_start(struct net_timer *t, int64_t delay_ns)
{
    if (delay_ns < 0)
        delay_ns = 0;
    /* The loop's idea of now is from the start of its turn; a long callback would make the delay too short. */
    uv_update_time(t->handle.loop);
    /* Its clock counts whole milliseconds that have begun: one more, or the timer would fire before the delay is
     * over. */
    uv_timer_start(&t->handle, on_timer, delay_ns > 0 ? (uint64_t)(delay_ns / NS_PER_MS) + 1 : 0, 0);
}

void net_timer_stop(struct net_timer *t)
{
    uv_timer_stop(&t->handle);
}

bool net_timer_is_set(const struct net_timer *t)
{
    return uv_is_active((const uv_handle_t *)&t->handle) != 0;
}
