/* What a change, a burst of them, other templates and an end come to, with real parts (reconcile_world.h). */
#include "reconcile_world.h"

static void changes_become_live(void **state)
{
    struct world w;
    (void)state;

    begin_without_source(&w);
    assert_false(status(&w).synced);
    put_thing(&w, "a", "text: one");
    start_source(&w);
    WAIT_UNTIL(&w, answers(&w, "a", "one"));
    WAIT_UNTIL(&w, status(&w).live);
    assert_true(status(&w).synced && status(&w).rendered && status(&w).validated);
    uint64_t generation = status(&w).generation;
    put_thing(&w, "a", "text: two");
    put_thing(&w, "b", "text: three");
    WAIT_UNTIL(&w, answers(&w, "a", "two") && answers(&w, "b", "three"));
    assert_true(status(&w).generation > generation);
    drop_thing(&w, "a");
    WAIT_UNTIL(&w, answers(&w, "a", ""));
    assert_true(answers(&w, "b", "three"));
    /* A change of a server is harmless: no check is waited for. */
    put_thing(&w, "s", "address: 127.0.0.8");
    WAIT_UNTIL(&w, is_accepted(&w, "127.0.0.8") && !agent_busy(w.agent) && status(&w).live);
    double before = checks(&w);
    put_thing(&w, "s", "address: 127.0.0.9");
    WAIT_UNTIL(&w, metric_value(metric_counter(w.metrics, "haptic_accepted_total", "", "by", "structure")) >= 1);
    assert_accepted(reconcile_model(w.reconcile), "127.0.0.9");
    assert_true(checks(&w) == before);
    end(&w);
}

static void put_json(struct world *w, unsigned number, unsigned version)
{
    CLEANUP(free_ptr)
    char *json = xasprintf(
        "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"namespace\":\"default\",\"name\":\"t%03u\"},"
        "\"data\":{\"text\":\"v%u\"}}",
        number, version);
    struct err err;
    bool changed;

    assert_int_equal(store_put_json(store_kind_by_name(w->store, "things"), json, strlen(json), &changed, &err), 0);
}

static void a_burst_becomes_few_renderings(void **state)
{
    struct world w;
    (void)state;

    begin_without_source(&w);
    struct store_kind *things = store_kind_by_name(w.store, "things");
    store_replace_begin(things);
    store_replace_commit(things);
    WAIT_UNTIL(&w, status(&w).live);
    unsigned before = log_count(w.log, "msg=\"Rendered\"");
    /* A thousand changes as a socket delivers them: some in each turn of the loop. */
    for (unsigned i = 0; i < 1000; i++) {
        put_json(&w, i % 250, i / 250);
        if (i % 100 == 99)
            uv_run(&w.loop, UV_RUN_NOWAIT);
    }
    WAIT_UNTIL(&w, answers(&w, "t249", "v3") && answers(&w, "t000", "v3"));
    unsigned renders = log_count(w.log, "msg=\"Rendered\"") - before;
    if (renders > 12)
        fail_msg("%u renderings", renders);
    /* The first one after quiet waits for nobody. */
    pass_time(&w, 200);
    before = log_count(w.log, "msg=\"Rendered\"");
    put_json(&w, 0, 77);
    for (unsigned i = 0; i < 200 && log_count(w.log, "msg=\"Rendered\"") == before; i++)
        pass_time(&w, 1);
    assert_int_equal(log_count(w.log, "msg=\"Rendered\""), before + 1);
    end(&w);
}

static void templates_are_replaced_in_place(void **state)
{
    struct world w;
    (void)state;

    begin_without_source(&w);
    put_thing(&w, "a", "text: one");
    start_source(&w);
    WAIT_UNTIL(&w, answers(&w, "a", "one") && status(&w).live);
    assert_int_equal(w.programs, 1);
    /* Wrong ones change nothing, and are what the status tells of. */
    set_program(&w, "this is no Lua");
    WAIT_UNTIL(&w, w.refused_programs == 1);
    assert_non_null(strstr(status(&w).problem, "templates do not load"));
    put_thing(&w, "a", "text: two");
    WAIT_UNTIL(&w, answers(&w, "a", "two"));
    /* Ones that HAProxy refuses change nothing either. */
    set_program(&w, "out_of = section\nsection('frontend http', { name = 'x', order = 950 }, function(b) "
                    "b:raw('no-such-directive') end)\n");
    pass_time(&w, 300);
    CLEANUP(free_ptr)
    char *source = xasprintf(
        "%ssection('frontend http', { name = 'x', order = 950 }, function(b) b:raw('no-such-directive') end)\n",
        script);
    set_program(&w, source);
    WAIT_UNTIL(&w, w.programs == 2);
    WAIT_UNTIL(&w, strstr(status(&w).problem, "no-such-directive") != NULL);
    assert_true(answers(&w, "a", "two"));
    /* Changes of servers go on meanwhile, and the same refusal is not asked for over and over. */
    double before = checks(&w);
    for (unsigned i = 0; i < 20; i++) {
        CLEANUP(free_ptr) char *data = xasprintf("text: v%u", i);
        put_thing(&w, "b", data);
        pass_time(&w, 30);
    }
    assert_true(checks(&w) - before <= 14);
    CLEANUP(free_ptr) char *right = xasprintf("%s-- right again\n", script);
    set_program(&w, right);
    WAIT_UNTIL(&w, answers(&w, "b", "v19"));
    WAIT_UNTIL(&w, *status(&w).problem == '\0' && status(&w).live);
    end(&w);
}

static void ten_thousand_warnings_are_not_ten_thousand_lines(void **state)
{
    struct world w;
    (void)state;

    begin_without_source(&w);
    struct store_kind *things = store_kind_by_name(w.store, "things");
    store_replace_begin(things);
    for (unsigned i = 0; i < 2000; i++) {
        CLEANUP(free_ptr)
        char *json = xasprintf(
            "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"namespace\":\"default\",\"name\":\"t%04u\"},"
            "\"data\":{\"text\":\"x\",\"%s\":\"watch out\"}}",
            i, i % 2 ? "warn" : "fail");
        struct err err;
        assert_int_equal(store_put_json(things, json, strlen(json), NULL, &err), 0);
    }
    store_replace_commit(things);
    WAIT_UNTIL(&w, status(&w).live && status(&w).failed == 1000);
    assert_int_equal(w.notices, 2000);
    assert_int_equal(log_count(w.log, "More messages about objects were not logged"), 1);
    assert_true(log_count(w.log, "level=WARN") < 40);
    end(&w);
}

/* What is wrong for a moment, as while an object's other half is still to come, is not told; what lasts is, once. */
static void what_was_wrong_for_a_moment_is_not_told(void **state)
{
    struct world w;
    unsigned round = 0;
    int64_t began_ns;
    (void)state;

    begin_without_source(&w);
    put_thing(&w, "a", "text: one");
    start_source(&w);
    WAIT_UNTIL(&w, answers(&w, "a", "one") && status(&w).live);
    /* On a machine that stands still the moment is not one: then again. HAProxy takes no part, since reloads of one
     * namespace keep a distance that grows with their number. */
    do {
        round++;
        began_ns = clock_now_ns();
        CLEANUP(free_ptr) char *warns = xasprintf("text: two, warn: moment%u", round);
        CLEANUP(free_ptr) char *fails = xasprintf("fail: moment%u", round);
        put_thing(&w, "a", warns);
        put_thing(&w, "gone", warns);
        put_thing(&w, "wrong", fails);
        WAIT_UNTIL(&w, status(&w).warned == 2 && status(&w).failed == 1);
        put_thing(&w, "a", "text: one");
        put_thing(&w, "wrong", "text: one");
        drop_thing(&w, "gone");
        WAIT_UNTIL(&w, status(&w).warned == 0 && status(&w).failed == 0);
    } while (clock_now_ns() - began_ns >= NOTICES_WAIT_NS);
    CLEANUP(free_ptr) char *moment = xasprintf("moment%u", round);
    /* What begins later is told later. */
    put_thing(&w, "a", "text: one, warn: lasts");
    put_thing(&w, "wrong", "fail: this endures");
    WAIT_UNTIL(&w, log_count(w.log, "Object has a problem\" reason=Careful object_kind=things object=default/a "
                                    "message=lasts") == 1 &&
                       log_count(w.log, "this endures") == 1);
    unsigned told = w.notices;
    assert_int_equal(log_count(w.log, moment), 0);
    assert_null(strstr(w.notice, moment));
    /* And once only. */
    put_thing(&w, "a", "text: two, warn: lasts");
    WAIT_UNTIL(&w, is_accepted(&w, "two"));
    pass_time(&w, NOTICES_WAIT_NS / NS_PER_MS + 500);
    assert_int_equal(w.notices, told);
    end(&w);
}

/* Stopping at any moment ends, and leaks nothing. */
static void it_stops_whatever_it_is_doing(void **state)
{
    (void)state;

    for (int64_t ms = 0; ms < 400; ms = ms * 2 + 5) {
        struct world w;
        begin_without_source(&w);
        put_thing(&w, "a", "text: one");
        put_thing(&w, "raw", "raw: no-such-directive");
        put_thing(&w, "loops", "loop: \"yes\"");
        start_source(&w);
        pass_time(&w, ms);
        end(&w);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(changes_become_live),
        cmocka_unit_test(a_burst_becomes_few_renderings),
        cmocka_unit_test(templates_are_replaced_in_place),
        cmocka_unit_test(ten_thousand_warnings_are_not_ten_thousand_lines),
        cmocka_unit_test(what_was_wrong_for_a_moment_is_not_told),
        cmocka_unit_test(it_stops_whatever_it_is_doing),
    };

    RECONCILE_MAIN(argc, argv, tests);
}
