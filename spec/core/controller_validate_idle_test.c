/* Validation that is not urgent: gives way to what is, and is asked again before a refusal is believed. */
#include "validate_world.h"

static void run_idle(struct world *w)
{
    w->done = false;
    w->convicted[0] = '\0';
    validator_run_idle(w->validator);
    assert_true(validator_busy(w->validator));
    assert_true(validator_is_idle(w->validator));
}

/* A base and one good route, and what else, if anything, is to be checked. */
static void run_idle_with(struct world *w, const char *victim)
{
    model_put_base(w->model, 8000, "");
    put_route(w->model, "a", GOOD);
    if (victim)
        put_route(w->model, "victim", victim);
    run_idle(w);
}

static void expect_end(struct world *w, enum validation_outcome outcome)
{
    assert_true(loop_until(&w->loop, &w->done, 60));
    assert_false(validator_busy(w->validator));
    assert_false(validator_is_idle(w->validator));
    if (w->outcome != outcome)
        fail_msg("outcome %d instead of %d after %u checks: %s", (int)w->outcome, (int)outcome, w->checks, w->problem);
}

static void what_is_good_is_accepted(void **state)
{
    struct world w;
    (void)state;

    begin(&w);
    run_idle_with(&w, NULL);
    expect_end(&w, VALIDATION_ACCEPTED);
    assert_int_equal(w.checks, 1);
    assert_int_equal(model_pending(w.model), 0);
    end(&w);
}

static void what_is_refused_is_asked_again(void **state)
{
    struct world w;
    (void)state;

    begin(&w);
    run_idle_with(&w, BAD);
    expect_end(&w, VALIDATION_ACCEPTED);
    assert_string_equal(w.convicted, "victim!");
    assert_int_equal(w.checks, 2); /* of the urgent run */
    assert_accepted(w.model, "backend a from base");
    assert_not_accepted(w.model, "backend victim");
    end(&w);
}

/* As at the deadline, on a machine that has no time for it: nobody is to blame. */
static void one_that_dies_is_asked_again(void **state)
{
    struct world w;
    char *directory = directory_new();
    (void)state;

    CLEANUP(free_ptr) char *starves = refusing(directory, "idle");
    begin_with(&w, NULL, starves);
    run_idle_with(&w, NULL);
    expect_end(&w, VALIDATION_ACCEPTED);
    assert_string_equal(w.convicted, "");
    assert_int_equal(w.checks, 1);
    end(&w);
    directory_remove(directory);
}

static void it_gives_way(void **state)
{
    struct world w;
    (void)state;

    begin(&w);
    run_idle_with(&w, NULL);
    put_route(w.model, "b", GOOD);
    run_expecting(&w, VALIDATION_ACCEPTED);
    assert_false(validator_busy(w.validator));
    assert_accepted(w.model, "backend b from base");
    assert_int_equal(model_pending(w.model), 0);
    end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_good_is_accepted),
        cmocka_unit_test(what_is_refused_is_asked_again),
        cmocka_unit_test(one_that_dies_is_asked_again),
        cmocka_unit_test(it_gives_way),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
