/* A uv_timer_t on the heap: its close callback frees it, so an owner needs no closing state of its own. */
#include "kube/timer.h"

#include "base/alloc.h"
#include "base/clock.h"

struct kube_timer {
    uv_timer_t handle;
    void (*fire)(void *ctx);
    void *ctx;
};

static void on_timer(uv_timer_t *handle)
{
    struct kube_timer *t = handle->data;
    t->fire(t->ctx);
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

struct kube_timer *kube_timer_new(uv_loop_t *loop, void (*fire)(void *ctx), void *ctx)
{
    struct kube_timer *t = xcalloc(1, sizeof(*t));
    uv_timer_init(loop, &t->handle);
    t->handle.data = t;
    t->fire = fire;
    t->ctx = ctx;
    return t;
}

struct kube_timer *kube_timer_free(struct kube_timer *t)
{
    if (t)
        uv_close((uv_handle_t *)&t->handle, on_closed);
    return NULL;
}

void kube_timer_start(struct kube_timer *t, int64_t delay_ns)
{
    if (delay_ns < 0)
        delay_ns = 0;
    /* The loop's idea of now is from the start of its turn; a long callback would make the delay too short. */
    uv_update_time(t->handle.loop);
    /* Its clock counts whole milliseconds that have begun: one more, or the timer would fire before the delay is
     * over. */
    uv_timer_start(&t->handle, on_timer, delay_ns > 0 ? (uint64_t)(delay_ns / NS_PER_MS) + 1 : 0, 0);
}

void kube_timer_stop(struct kube_timer *t)
{
    uv_timer_stop(&t->handle);
}

bool kube_timer_is_set(const struct kube_timer *t)
{
    return uv_is_active((const uv_handle_t *)&t->handle) != 0;
}
