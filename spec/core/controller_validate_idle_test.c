/* Validation that is not urgent: gives way to what is, and is asked again before a refusal is believed. */
#include "validate_world.h"

#include "haproxy/draft.h"

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

/* ---- of output that is accepted already, which is collected in slices ---- */

enum { ROUTES = 3000 };

/* Accepts everything that is rendered, without HAProxy. */
static void accept_all(struct world *w)
{
    model_accept_all(w->model);
    assert_int_equal(model_pending(w->model), 0);
}

/* So many routes that the first slice cannot have all of them. */
static void accept_many(struct world *w)
{
    model_put_base(w->model, 8000, "");
    for (unsigned i = 0; i < ROUTES; i++) {
        char name[16];
        snprintf(name, sizeof(name), "r%u", i);
        put_route(w->model, name, GOOD);
    }
    accept_all(w);
}

static void accepted_output_is_checked(void **state)
{
    struct world w;
    (void)state;

    begin(&w);
    accept_many(&w);
    run_idle(&w);
    expect_end(&w, VALIDATION_ACCEPTED);
    assert_int_equal(w.checks, 1);
    assert_false(model_parts_are_held(w.model));
    run_idle(&w);
    expect_end(&w, VALIDATION_ACCEPTED);
    end(&w);
}

/* An idle run that has begun to collect the text. */
static void begin_collecting(struct world *w)
{
    begin(w);
    accept_many(w);
    run_idle(w);
    while (!model_parts_are_held(w->model))
        uv_run(&w->loop, UV_RUN_ONCE);
}

/* It is accepted after the first slice, so a text that was taken at the beginning would not have it. */
static void what_is_accepted_meanwhile_is_checked(void **state)
{
    struct world w;
    (void)state;

    begin_collecting(&w);
    put_route(w.model, "victim", BAD);
    accept_all(&w);
    assert_true(model_parts_are_held(w.model));
    expect_end(&w, VALIDATION_ACCEPTED);
    assert_string_equal(w.convicted, "victim!");
    end(&w);
}

static void pending_output_is_checked_too(void **state)
{
    struct world w;
    (void)state;

    begin_collecting(&w);
    put_route(w.model, "b", GOOD);
    expect_end(&w, VALIDATION_ACCEPTED);
    assert_int_equal(w.checks, 1);
    assert_int_equal(model_pending(w.model), 0);
    assert_accepted(w.model, "backend b from base");
    end(&w);
}

static void collecting_gives_way(void **state)
{
    struct world w;
    (void)state;

    begin_collecting(&w);
    put_route(w.model, "b", GOOD);
    run_expecting(&w, VALIDATION_ACCEPTED);
    assert_int_equal(w.checks, 1);
    assert_false(model_parts_are_held(w.model));
    assert_accepted(w.model, "backend b from base");
    /* Nothing is left of a run that is abandoned with the validator. */
    run_idle(&w);
    while (!model_parts_are_held(w.model))
        uv_run(&w.loop, UV_RUN_ONCE);
    end(&w);
}

/* The directory of HAProxy is collected at this moment: a model has one draft at a time. */
static void it_waits_for_another_draft(void **state)
{
    struct world w;
    (void)state;

    begin(&w);
    accept_many(&w);
    struct draft *other = draft_begin(w.model, NULL);
    run_idle(&w);
    for (int i = 0; i < 3; i++)
        uv_run(&w.loop, UV_RUN_ONCE);
    assert_true(validator_busy(w.validator));
    assert_false(w.done);
    draft_free(other);
    expect_end(&w, VALIDATION_ACCEPTED);
    assert_int_equal(w.checks, 1);
    end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_good_is_accepted),      cmocka_unit_test(what_is_refused_is_asked_again),
        cmocka_unit_test(one_that_dies_is_asked_again),  cmocka_unit_test(it_gives_way),
        cmocka_unit_test(accepted_output_is_checked),    cmocka_unit_test(what_is_accepted_meanwhile_is_checked),
        cmocka_unit_test(pending_output_is_checked_too), cmocka_unit_test(collecting_gives_way),
        cmocka_unit_test(it_waits_for_another_draft),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
