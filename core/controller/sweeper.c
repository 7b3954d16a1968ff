/* Costs nothing while nothing was released. Afterwards it is one pass over the model's texts. */
#include "controller/sweeper.h"

#include "base/alloc.h"

struct sweeper {
    uv_timer_t timer;
    struct vault *vault;
    const struct model *model;
};

static void mark_text(void *ctx, const char *bytes, size_t length)
{
    vault_mark(ctx, bytes, length);
}

static void mark_all(void *ctx, struct vault *vault)
{
    const struct sweeper *s = ctx;
    model_each_text(s->model, mark_text, vault);
}

static void on_timer(uv_timer_t *timer)
{
    struct sweeper *s = timer->data;
    vault_sweep(s->vault, SWEEPER_AGE_NS);
}

struct sweeper *sweeper_new(uv_loop_t *loop, struct vault *vault, const struct model *model)
{
    struct sweeper *s = xcalloc(1, sizeof(*s));
    s->vault = vault;
    s->model = model;
    vault_set_referee(vault, mark_all, s);
    uv_timer_init(loop, &s->timer);
    s->timer.data = s;
    uv_timer_start(&s->timer, on_timer, SWEEPER_AGE_NS / NS_PER_MS / 2, SWEEPER_AGE_NS / NS_PER_MS / 2);
    return s;
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

struct sweeper *sweeper_free(struct sweeper *s)
{
    if (!s)
        return NULL;
    vault_set_referee(s->vault, NULL, NULL);
    uv_close((uv_handle_t *)&s->timer, on_closed);
    return NULL;
}
