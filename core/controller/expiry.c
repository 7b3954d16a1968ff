/* One pass over the Secrets each minute, which takes about a microsecond for each Secret. Metrics are counts and one
 * date, because a series for each Secret would show the names of Secrets to every reader of metrics.
 */
#include "controller/expiry.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "store/secret.h"
#include "store/secret_facts.h"

#define LOOK_MS 60000
#define SOON_S (14 * 86400)

struct expiry {
    uv_timer_t timer;
    struct store *store;
    struct metrics *metrics;
};

struct counting {
    int64_t now_s, first_end_s;
    double valid, soon, early, ended, unusable;
};

static void count_one(struct counting *c, const struct secret_dates *dates)
{
    if (!dates->usable)
        c->unusable++;
    else if (c->now_s < dates->not_before_s)
        c->early++;
    else if (c->now_s > dates->not_after_s)
        c->ended++;
    else if (c->now_s > dates->not_after_s - SOON_S)
        c->soon++;
    else
        c->valid++;
    if (dates->usable && (c->first_end_s == 0 || dates->not_after_s < c->first_end_s))
        c->first_end_s = dates->not_after_s;
}

static void count(void *ctx, struct object *o)
{
    CLEANUP(buf_done) struct buf text = {0};

    object_text(o, &text);
    for (struct secret_dates dates = {0}; secret_facts_next(buf_str(&text), text.length, &dates);)
        count_one(ctx, &dates);
}

void expiry_collect(struct expiry *e)
{
    static const char help[] = "Certificates in watched Secrets. soon: ends within 14 days; unusable: key and "
                               "certificate do not fit, or cannot be read.";
    struct counting c = {.now_s = clock_wall_s()};

    for (size_t i = 0; i < store_kind_count(e->store); i++) {
        const struct store_kind *kind = store_kind_at(e->store, i);
        const struct store_kind_spec *spec = store_kind_spec(kind);
        if (secret_is_kind(spec->api_version, spec->resource))
            store_each(kind, count, &c);
    }
    const struct {
        const char *state;
        double value;
    } states[] = {
        {"valid", c.valid}, {"soon", c.soon}, {"early", c.early}, {"ended", c.ended}, {"unusable", c.unusable},
    };
    for (size_t i = 0; i < ARRAY_LEN(states); i++)
        metric_set(metric_gauge(e->metrics, "haptic_certificates", help, "state", states[i].state), states[i].value);
    metric_set(metric_gauge(e->metrics, "haptic_certificate_first_end_timestamp_seconds",
                            "When the first of the usable certificates in watched Secrets expires; 0: there are none."),
               (double)c.first_end_s);
}

static void on_timer(uv_timer_t *timer)
{
    struct expiry *e = timer->data;
    store_refresh_dates(e->store, clock_wall_s());
}

struct expiry *expiry_new(uv_loop_t *loop, struct store *store, struct metrics *metrics)
{
    struct expiry *e = xcalloc(1, sizeof(*e));
    e->store = store;
    e->metrics = metrics;
    uv_timer_init(loop, &e->timer);
    e->timer.data = e;
    uv_timer_start(&e->timer, on_timer, LOOK_MS, LOOK_MS);
    return e;
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

struct expiry *expiry_free(struct expiry *e)
{
    if (!e)
        return NULL;
    uv_close((uv_handle_t *)&e->timer, on_closed);
    return NULL;
}
