/* Namespaces that wait: what is told of them, when, and for how long a start waits for them. */
#include "controller_support.h"

#include "controller/held.h"

#define ROOM "msg=\"Namespace has used its share of the output; more output waits, other namespaces are not affected\""
#define TIME "msg=\"Namespace takes long to render; its changes wait, other namespaces are not affected\""
#define OVER "msg=\"Namespace no longer waits\""

struct world {
    struct held held;
    struct metrics *metrics;
    int log;
};

static void begin(struct world *w)
{
    w->metrics = metrics_new();
    w->log = log_capture();
    held_init(&w->held, w->metrics);
}

static void end(struct world *w)
{
    held_done(&w->held);
    metrics_free(w->metrics);
    log_set_fd(STDOUT_FILENO);
    close(w->log);
}

static void tell(struct world *w, uint64_t by_size, uint64_t by_time, int64_t now_s)
{
    const struct render_held held = {.namespace_name = "greedy", .by_size = by_size, .by_time = by_time};
    const struct render_stats stats = {.held = &held, .held_count = by_size + by_time > 0};

    held_update(&w->held, &stats, now_s * NS_PER_S);
}

static double waiting_for(struct world *w, const char *what)
{
    return metric_value(metric_gauge(w->metrics, "haptic_held_back_fragments", "", "for", what));
}

static void room_is_told_at_once_and_then_at_growing_distances(void **state)
{
    struct world w;
    (void)state;

    begin(&w);
    tell(&w, 17, 0, 100);
    assert_int_equal(log_count(w.log, ROOM " namespace=greedy fragments=17"), 1);
    assert_true(waiting_for(&w, "room") == 17 && waiting_for(&w, "time") == 0);
    assert_true(metric_value(metric_gauge(w.metrics, "haptic_held_back_namespaces", "")) == 1);
    for (int64_t s = 101; s < 100 + 60 + 120 + 240; s++) /* each rendering says it again */
        tell(&w, 16, 0, s);
    assert_int_equal(log_count(w.log, ROOM), 3);
    CLEANUP(buf_done) struct buf text = {0};
    held_describe(&w.held, &text);
    assert_string_equal(buf_str(&text), "[{\"namespace\":\"greedy\",\"for\":\"room\",\"fragments\":16}]");
    tell(&w, 0, 0, 600);
    assert_int_equal(log_count(w.log, OVER " namespace=greedy"), 1);
    assert_true(waiting_for(&w, "room") == 0);
    assert_true(w.held.by_size + w.held.by_time == 0);
    end(&w);
}

static void short_waits_for_time_are_not_told(void **state)
{
    struct world w;
    (void)state;

    begin(&w);
    tell(&w, 0, 3, 100);
    tell(&w, 0, 2, 104);
    assert_true(waiting_for(&w, "time") == 2);
    tell(&w, 0, 0, 105);
    assert_int_equal(log_count(w.log, TIME), 0);
    assert_int_equal(log_count(w.log, OVER), 0);
    tell(&w, 0, 3, 200);
    tell(&w, 0, 3, 206);
    assert_int_equal(log_count(w.log, TIME " namespace=greedy fragments=3"), 1);
    end(&w);
}

/* A thousand that begin at once are named one after another, not in one burst, and the metric has all of them. */
static void many_are_named_one_after_another(void **state)
{
    struct world w;
    VEC(struct render_held) held = {0};
    (void)state;

    begin(&w);
    for (unsigned i = 0; i < 1000; i++)
        vec_push(&held, ((struct render_held){.namespace_name = xasprintf("n%u", i), .by_size = 2}));
    const struct render_stats stats = {.held = held.items, .held_count = held.length};
    for (int64_t i = 0; i < 10; i++)
        held_update(&w.held, &stats, (100 + i) * NS_PER_S);
    assert_int_equal(log_count(w.log, ROOM), 10);
    assert_true(waiting_for(&w, "room") == 2000);
    for (size_t i = 0; i < held.length; i++)
        free((char *)(uintptr_t)held.items[i].namespace_name);
    vec_done(&held);
    end(&w);
}

static void a_start_waits_for_a_minute_at_most(void **state)
{
    (void)state;
    assert_true(held_delays_start(1, 0));
    assert_true(held_delays_start(1000, 59 * NS_PER_S));
    assert_false(held_delays_start(1000, 60 * NS_PER_S));
    assert_false(held_delays_start(0, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(room_is_told_at_once_and_then_at_growing_distances),
        cmocka_unit_test(short_waits_for_time_are_not_told),
        cmocka_unit_test(many_are_named_one_after_another),
        cmocka_unit_test(a_start_waits_for_a_minute_at_most),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
