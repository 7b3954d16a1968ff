/* What goes wrong on the way of a change, with real parts (reconcile_world.h): poison, processes that die, writers that
 * may not write. */
#include "reconcile_world.h"

static void poison_from_the_start_and_later(void **state)
{
    struct world w;
    (void)state;

    begin_without_source(&w);
    put_thing(&w, "good", "text: one");
    put_thing(&w, "raw", "raw: no-such-directive at all");
    put_thing(&w, "fails", "fail: this asks for the impossible");
    put_thing(&w, "loops", "loop: \"yes\"");
    start_source(&w);
    WAIT_UNTIL(&w, answers(&w, "good", "one"));
    WAIT_UNTIL(&w, status(&w).live && status(&w).quarantined == 1 && status(&w).failed == 2);
    CLEANUP(buf_done) struct buf problems = {0};
    reconcile_describe(w.reconcile, &problems);
    assert_non_null(strstr(buf_str(&problems), "\"object\":\"things default/raw\""));
    assert_non_null(strstr(buf_str(&problems), "\"object\":\"things default/fails\""));
    assert_non_null(strstr(buf_str(&problems), "\"object\":\"things default/loops\""));
    assert_non_null(strstr(buf_str(&problems),
                           "not run: it ended the renderer before; it waits for a change of its object "
                           "(things default/loops); things.lua:4: the renderer was ended while this ran: a "
                           "rendering may take 700ms (templatingSettings.renderTimeout)"));
    assert_int_equal(log_count(w.log, "msg=\"Object quarantined: HAProxy refuses its output; it is left out"), 1);
    /* one of them is the one that is not run any more */
    WAIT_UNTIL(&w, log_count(w.log, "msg=\"Template failed") == 2);
    /* While running: their last good output stays, others go on. */
    put_thing(&w, "raw", "text: repaired");
    put_thing(&w, "fails", "text: repaired");
    put_thing(&w, "loops", "text: repaired");
    WAIT_UNTIL(&w,
               answers(&w, "raw", "repaired") && answers(&w, "fails", "repaired") && answers(&w, "loops", "repaired"));
    WAIT_UNTIL(&w, status(&w).quarantined == 0 && status(&w).failed == 0);
    put_thing(&w, "raw", "raw: no-such-directive at all");
    put_thing(&w, "fails", "fail: again");
    put_thing(&w, "loops", "loop: \"yes\"");
    put_thing(&w, "new", "text: new");
    put_thing(&w, "good", "text: two");
    WAIT_UNTIL(&w, answers(&w, "good", "two") && answers(&w, "new", "new"));
    WAIT_UNTIL(&w, status(&w).quarantined == 1 && status(&w).failed == 2);
    assert_true(answers(&w, "raw", "repaired") && answers(&w, "fails", "repaired") && answers(&w, "loops", "repaired"));
    /* They go: nothing is left of their problems. */
    drop_thing(&w, "raw");
    drop_thing(&w, "fails");
    drop_thing(&w, "loops");
    WAIT_UNTIL(&w, status(&w).quarantined == 0 && status(&w).failed == 0);
    WAIT_UNTIL(&w, answers(&w, "raw", "") && answers(&w, "fails", "") && answers(&w, "loops", ""));
    end(&w);
}

static void a_dead_renderer_forgets_nothing_and_keeps_nothing_that_is_gone(void **state)
{
    struct world w;
    (void)state;

    begin_without_source(&w);
    put_thing(&w, "a", "text: one");
    put_thing(&w, "b", "text: one");
    put_thing(&w, "fails", "fail: because");
    start_source(&w);
    WAIT_UNTIL(&w, answers(&w, "a", "one") && status(&w).failed == 1);
    for (unsigned i = 0; i < 4; i++) {
        CLEANUP(free_ptr) char *data = xasprintf("text: round%u", i);
        CLEANUP(free_ptr) char *body = xasprintf("round%u", i);
        kill(renderer_pid(w.renderer), SIGKILL);
        put_thing(&w, "a", data);
        if (i == 1)
            drop_thing(&w, "b");
        if (i == 2)
            drop_thing(&w, "fails");
        pass_time(&w, i * 3);
        WAIT_UNTIL(&w, answers(&w, "a", body));
    }
    WAIT_UNTIL(&w, answers(&w, "b", ""));
    WAIT_UNTIL(&w, status(&w).failed == 0);
    assert_int_equal(w.programs, 1); /* the same templates have been in force all the time */
    end(&w);
}

static void who_may_not_write_does_not_and_compares_everything_later(void **state)
{
    struct world w;
    (void)state;

    begin_without_source(&w);
    put_thing(&w, "a", "text: one");
    w.may_write = false;
    start_source(&w);
    WAIT_UNTIL(&w, status(&w).validated);
    pass_time(&w, 300);
    assert_false(status(&w).live);
    assert_null(ask(&w, "a"));
    w.may_write = true;
    w.transitions = 1;
    reconcile_kick(w.reconcile);
    WAIT_UNTIL(&w, answers(&w, "a", "one") && status(&w).live);
    /* Leadership is lost; what is accepted meanwhile waits, what was deployed stays. */
    w.may_write = false;
    reconcile_kick(w.reconcile);
    assert_int_equal(log_count(w.log, "Stopped Deployer"), 1);
    uint64_t generation = status(&w).generation;
    put_thing(&w, "a", "text: two");
    put_thing(&w, "b", "text: new");
    WAIT_UNTIL(&w, status(&w).generation > generation);
    pass_time(&w, 300);
    assert_true(answers(&w, "a", "one") && answers(&w, "b", ""));
    w.may_write = true;
    w.transitions = 3;
    reconcile_kick(w.reconcile);
    WAIT_UNTIL(&w, answers(&w, "a", "two") && answers(&w, "b", "new"));
    WAIT_UNTIL(&w, status(&w).live);
    /* A term that was lost and won again between two looks is a new one all the same. */
    unsigned compared = log_count(w.log, "Comparing everything with HAProxy");
    w.transitions = 5;
    put_thing(&w, "a", "text: three");
    WAIT_UNTIL(&w, answers(&w, "a", "three"));
    assert_true(log_count(w.log, "Comparing everything with HAProxy") > compared);
    end(&w);
}

static void a_stale_writer_is_refused_and_goes_on_when_it_leads_again(void **state)
{
    struct world w;
    (void)state;

    begin_without_source(&w);
    put_thing(&w, "a", "text: one");
    w.transitions = 2;
    start_source(&w);
    WAIT_UNTIL(&w, answers(&w, "a", "one") && status(&w).live);
    file_write(w.hap, "fence", "9 1 somebody-else\n");
    put_thing(&w, "a", "text: two");
    WAIT_UNTIL(&w, w.stale > 0);
    pass_time(&w, 1200);
    assert_true(w.stale >= 2 && w.stale <= 4); /* again and again, but not in a loop */
    assert_false(status(&w).live);
    assert_true(answers(&w, "a", "one"));
    w.transitions = 10;
    reconcile_kick(w.reconcile);
    WAIT_UNTIL(&w, answers(&w, "a", "two") && status(&w).live);
    end(&w);
}

/* While a kind is listed anew, what is rendered without its objects is not accepted. */
static void what_is_rendered_without_a_kind_is_not_taken_for_the_truth(void **state)
{
    struct world w;
    struct err err;
    bool changed;
    (void)state;

    begin_without_source(&w);
    put_thing(&w, "a", "text: one");
    put_thing(&w, "b", "text: one");
    start_source(&w);
    WAIT_UNTIL(&w, answers(&w, "a", "one") && status(&w).live);
    uint64_t generation = status(&w).generation;
    store_remove_kind(w.store, store_kind_by_name(w.store, "things"));
    assert_int_equal(config_add_kinds(w.config, w.store, &changed, &err), 0);
    reconcile_kick(w.reconcile);
    /* A renderer that begins from nothing renders what there is: nothing. */
    kill(renderer_pid(w.renderer), SIGKILL);
    pass_time(&w, 1000);
    assert_false(status(&w).synced);
    assert_int_equal(status(&w).generation, generation);
    assert_true(answers(&w, "a", "one") && answers(&w, "b", "one"));
    drop_thing(&w, "b");
    assert_int_equal(source_dir_reload(w.source, &err), 0);
    WAIT_UNTIL(&w, answers(&w, "b", ""));
    assert_true(answers(&w, "a", "one"));
    end(&w);
}

static void haproxy_dies_and_is_brought_back(void **state)
{
    struct world w;
    struct agent_status a;
    (void)state;

    begin_without_source(&w);
    put_thing(&w, "a", "text: one");
    start_source(&w);
    WAIT_UNTIL(&w, answers(&w, "a", "one") && status(&w).live);
    agent_status(w.agent, &a);
    kill(a.haproxy_pid, SIGKILL);
    WAIT_UNTIL(&w, !status(&w).live);
    put_thing(&w, "a", "text: two");
    WAIT_UNTIL(&w, answers(&w, "a", "two"));
    WAIT_UNTIL(&w, status(&w).live);
    end(&w);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(poison_from_the_start_and_later),
        cmocka_unit_test(a_dead_renderer_forgets_nothing_and_keeps_nothing_that_is_gone),
        cmocka_unit_test(who_may_not_write_does_not_and_compares_everything_later),
        cmocka_unit_test(a_stale_writer_is_refused_and_goes_on_when_it_leads_again),
        cmocka_unit_test(what_is_rendered_without_a_kind_is_not_taken_for_the_truth),
        cmocka_unit_test(haproxy_dies_and_is_brought_back),
    };

    RECONCILE_MAIN(argc, argv, tests);
}
