/* Validation with the real model and the real `haproxy -c`: whom it accepts, whom it quarantines, what a refusal costs
 * others. */
#include "validate_world.h"

static void everything_right_is_accepted_in_one_check(void **state)
{
    struct world w;
    (void)state;

    begin(&w);
    model_put_base(w.model, 8000, "");
    put_route(w.model, "a", GOOD);
    run_expecting(&w, VALIDATION_ACCEPTED);
    assert_int_equal(w.checks, 1);
    assert_string_equal(w.problem, "");
    assert_int_equal(model_pending(w.model), 0);
    assert_accepted(w.model, "backend a from base");
    end(&w);
}

/* With every series: their messages differ. */
static void who_is_named_is_quarantined_and_the_rest_accepted(void **state)
{
    (void)state;
    static const struct {
        const char *what, *lines;
        bool by_line;
    } cases[] = {
        {"a line", BAD, true},
        {"a line further down", "option httpclose\ntimeout server never\nserver s1 127.0.0.1:9001\n", true},
        {"a section", "server s1 127.0.0.1:9001\nserver s1 127.0.0.1:9002 track nobody/s1\n", false},
    };

    for (size_t s = 0; s < ARRAY_LEN(haproxy_series); s++) {
        CLEANUP(free_ptr) char *binary = haproxy_binary(haproxy_series[s]);
        for (size_t i = 0; binary != NULL && i < ARRAY_LEN(cases); i++) {
            struct world w;
            begin_with(&w, haproxy_series[s], NULL);
            model_put_base(w.model, 8000, "");
            put_route(w.model, "a", GOOD);
            put_route(w.model, "victim", cases[i].lines);
            put_route(w.model, "z", GOOD);
            run_expecting(&w, VALIDATION_ACCEPTED);
            if (strcmp(w.convicted, "victim!") != 0)
                fail_msg("HAProxy %s, %s: convicted \"%s\" after %u checks", haproxy_series[s], cases[i].what,
                         w.convicted, w.checks);
            if (cases[i].by_line) {
                assert_int_equal(w.checks, 2);
                assert_non_null(strstr(w.message, "backend victim:body:"));
            }
            assert_accepted(w.model, "backend a from base");
            assert_accepted(w.model, "backend z from base");
            assert_not_accepted(w.model, "backend victim");
            /* With something to fall back on. */
            put_route(w.model, "victim", "server good 127.0.0.1:9009\n");
            run_expecting(&w, VALIDATION_ACCEPTED);
            assert_accepted(w.model, "server good");
            put_route(w.model, "victim", cases[i].lines);
            put_route(w.model, "a", "server other 127.0.0.1:9002\n");
            run_expecting(&w, VALIDATION_ACCEPTED);
            assert_string_equal(w.convicted, "victim");
            assert_accepted(w.model, "server good");
            assert_accepted(w.model, "server other");
            /* The quarantine ends with the output that is refused. */
            assert_int_equal(model_quarantined(w.model), 1);
            put_route(w.model, "victim", cases[i].lines);
            assert_int_equal(model_quarantined(w.model), 1);
            put_route(w.model, "victim", "server repaired 127.0.0.1:9003\n");
            assert_int_equal(model_quarantined(w.model), 0);
            run_expecting(&w, VALIDATION_ACCEPTED);
            assert_accepted(w.model, "server repaired");
            end(&w);
        }
    }
}

/* Each wrong line is a message; the object behind them is to be blamed once, and falls back once. */
static void many_wrong_lines_of_one_object_leave_its_last_good_output(void **state)
{
    struct world w;
    (void)state;

    begin(&w);
    model_put_base(w.model, 8000, "");
    put_route(w.model, "victim", "server good 127.0.0.1:9009\n");
    put_route(w.model, "other", GOOD);
    run_expecting(&w, VALIDATION_ACCEPTED);
    put_route(w.model, "victim", "wrong one\nwrong two\nwrong three\n");
    put_route(w.model, "other", "wrong four\nwrong five\nserver s1 127.0.0.1:9001\n");
    run_expecting(&w, VALIDATION_ACCEPTED);
    assert_int_equal(w.checks, 2);
    assert_string_equal(w.convicted, "other victim");
    assert_accepted(w.model, "server good");
    assert_accepted(w.model, GOOD);
    end(&w);
}

static void a_line_of_a_map_names_its_object(void **state)
{
    struct world w;
    (void)state;

    begin(&w);
    model_put_base(w.model, 8000, "http-request deny if { src,map_ip(maps/net.map) -m found }\n");
    const struct emitted declared[] = {{CONTRIBUTION_MAP_ENTRY, "net.map", "", "", 0, 0}};
    const struct emitted networks[] = {{CONTRIBUTION_MAP_ENTRY, "net.map", "10.0.0.0/8", "1", 0, 0},
                                       {CONTRIBUTION_MAP_ENTRY, "net.map", "11.0.0.1", "2", 0, 0}};
    const struct emitted wrong[] = {{CONTRIBUTION_MAP_ENTRY, "net.map", "12.nonsense", "3", 0, 0}};
    const struct emitted right[] = {{CONTRIBUTION_MAP_ENTRY, "net.map", "13.0.0.1", "4", 0, 0}};
    model_put_owned(w.model, "declared", "", 0, declared, 1);
    model_put(w.model, "networks", networks, ARRAY_LEN(networks));
    model_put(w.model, "wrong", wrong, 1);
    model_put(w.model, "right", right, 1);
    run_expecting(&w, VALIDATION_ACCEPTED);
    assert_string_equal(w.convicted, "wrong!");
    assert_int_equal(w.checks, 2);
    CLEANUP(buf_done) struct buf map = {0};
    model_write_map(w.model, MODEL_ACCEPTED, "net.map", &map);
    assert_string_equal(buf_str(&map), "10.0.0.0/8 1\n11.0.0.1 2\n13.0.0.1 4\n");
    end(&w);
}

/* A file is complained about where it is used, which is no fault of who uses it. */
static void a_wrong_file_names_its_object(void **state)
{
    struct world w;
    (void)state;

    begin(&w);
    model_put_base(w.model, 8000, "bind 127.0.0.1:8001 ssl crt certs/\n");
    const struct emitted certificate[] = {
        {CONTRIBUTION_CERTIFICATE, "broken.pem", "", "this is no certificate\n", 0, 0}};
    model_put(w.model, "secret", certificate, 1);
    put_route(w.model, "a", GOOD);
    run(&w);
    assert_string_equal(w.convicted, "secret!");
    end(&w);
}

#define POISON "http-request set-header x poison\nserver s1 127.0.0.1:9001\n"

/* Routes r00 … r49, those named in culprits poisonous. */
static void put_routes(struct world *w, unsigned count, const char *culprits)
{
    for (unsigned i = 0; i < count; i++) {
        char name[16];
        snprintf(name, sizeof(name), "r%02u", i);
        put_route(w->model, name, strstr(culprits, name) ? POISON : GOOD);
    }
}

static void culprits_that_nobody_names_are_found(void **state)
{
    (void)state;
    static const struct {
        const char *culprits, *convicted;
        unsigned checks;
    } cases[] = {
        {"r17", "r17!", 15},
        {"r00", "r00!", 15},
        {"r49", "r49!", 15},
        {"r03 r20 r44", "r44! r20! r03!", 30},
    };
    char *directory = directory_new();
    CLEANUP(free_ptr) char *binary = refusing(directory, "poison");

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct world w;
        begin_with(&w, NULL, binary);
        model_put_base(w.model, 8000, "");
        put_routes(&w, 50, cases[i].culprits);
        run_expecting(&w, VALIDATION_ACCEPTED);
        for (const char *at = cases[i].culprits; *at; at += strcspn(at, " ") + (at[strcspn(at, " ")] == ' ')) {
            CLEANUP(free_ptr) char *name = xasprintf("%.3s!", at);
            if (strstr(w.convicted, name) == NULL)
                fail_msg("%s is not convicted but \"%s\"", name, w.convicted);
        }
        assert_int_equal(strlen(w.convicted), strlen(cases[i].convicted));
        if (w.checks > cases[i].checks)
            fail_msg("%s: %u checks", cases[i].culprits, w.checks);
        assert_int_equal(validator_suspects(w.validator), 0);
        assert_int_equal(model_quarantined(w.model), (strlen(cases[i].culprits) + 1) / 4);
        assert_accepted(w.model, "backend r01");
        assert_accepted(w.model, "backend r48");
        assert_not_accepted(w.model, "poison");
        end(&w);
    }
    directory_remove(directory);
}

/* Nobody who is innocent stays out because there are many who are not. */
static void a_search_without_end_in_one_run_goes_on_in_the_next(void **state)
{
    struct world w;
    char *directory = directory_new();
    CLEANUP(free_ptr) char *binary = refusing(directory, "poison");
    unsigned runs = 1;
    (void)state;

    begin_with(&w, NULL, binary);
    model_put_base(w.model, 8000, "");
    put_routes(&w, 100, "r00 r09 r11 r23 r27 r31 r38 r45 r52 r58 r66 r71 r77 r84 r93 r99");
    run(&w);
    assert_int_equal(w.outcome, VALIDATION_UNFINISHED);
    assert_int_equal(w.checks, 40);
    assert_true(validator_suspects(w.validator) > 0);
    assert_not_accepted(w.model, "poison");
    unsigned convicted = 0;
    for (const char *at = w.convicted; (at = strchr(at, '!')) != NULL; at++)
        convicted++;
    while (w.outcome == VALIDATION_UNFINISHED && ++runs < 10) {
        run(&w);
        for (const char *at = w.convicted; (at = strchr(at, '!')) != NULL; at++)
            convicted++;
    }
    assert_int_equal(w.outcome, VALIDATION_ACCEPTED);
    assert_true(runs <= 4);
    assert_int_equal(convicted, 16);
    assert_int_equal(validator_suspects(w.validator), 0);
    assert_int_equal(model_quarantined(w.model), 16);
    for (unsigned i = 0; i < 100; i++) {
        CLEANUP(free_ptr) char *backend = xasprintf("backend r%02u", i);
        CLEANUP(free_ptr) char *text = model_config(w.model, MODEL_ACCEPTED);
        CLEANUP(free_ptr) char *name = xasprintf("r%02u ", i);
        bool guilty = strstr("r00 r09 r11 r23 r27 r31 r38 r45 r52 r58 r66 r71 r77 r84 r93 r99 ", name) != NULL;
        assert_int_equal(strstr(text, backend) == NULL, guilty);
    }
    end(&w);
    directory_remove(directory);
}

/* What was live of a suspect stays live while it is suspected. */
static void suspects_keep_their_last_good_output(void **state)
{
    struct world w;
    char *directory = directory_new();
    CLEANUP(free_ptr) char *binary = refusing(directory, "poison");
    (void)state;

    begin_with(&w, NULL, binary);
    model_put_base(w.model, 8000, "");
    put_routes(&w, 20, "");
    run_expecting(&w, VALIDATION_ACCEPTED);
    for (unsigned i = 0; i < 20; i++) {
        char name[16];
        snprintf(name, sizeof(name), "r%02u", i);
        put_route(w.model, name, i == 7 ? POISON : "server s2 127.0.0.1:9002\n");
    }
    run_expecting(&w, VALIDATION_ACCEPTED);
    assert_string_equal(w.convicted, "r07");
    assert_accepted(w.model, "backend r07 from base\n    server s1 127.0.0.1:9001\n");
    assert_accepted(w.model, "backend r08 from base\n    server s2 127.0.0.1:9002\n");
    end(&w);
    directory_remove(directory);
}

static unsigned turns;

static void arrive(struct world *w)
{
    char name[16];

    if (++turns % 20 != 0 || turns > 400)
        return;
    snprintf(name, sizeof(name), "n%02u", turns / 20);
    put_route(w->model, name, GOOD);
}

/* Objects that come while others are searched are not taken for them. */
static void a_search_under_churn_ends_with_the_right_ones(void **state)
{
    struct world w;
    char *directory = directory_new();
    CLEANUP(free_ptr) char *binary = refusing(directory, "poison");
    (void)state;

    begin_with(&w, NULL, binary);
    model_put_base(w.model, 8000, "");
    put_routes(&w, 30, "r05 r25");
    turns = 0;
    w.meanwhile = arrive;
    run(&w);
    for (unsigned i = 0; i < 5 && (w.outcome == VALIDATION_UNFINISHED || model_pending(w.model) > 0); i++)
        run(&w);
    assert_int_equal(w.outcome, VALIDATION_ACCEPTED);
    assert_int_equal(model_quarantined(w.model), 2);
    assert_non_null(model_quarantine_reason(w.model, "r05"));
    assert_non_null(model_quarantine_reason(w.model, "r25"));
    for (unsigned i = 1; i <= turns / 20 && i <= 20; i++) {
        CLEANUP(free_ptr) char *backend = xasprintf("backend n%02u", i);
        assert_accepted(w.model, backend);
    }
    end(&w);
    directory_remove(directory);
}

static void repair(struct world *w)
{
    put_route(w->model, "victim", "server repaired 127.0.0.1:9003\n");
}

/* The refusal of what an object was must not hit what it has become while the check ran. */
static void an_object_repaired_during_the_check_is_not_convicted(void **state)
{
    struct world w;
    char *directory = directory_new();
    CLEANUP(free_ptr) char *named = refusing(directory, "none");
    (void)state;

    begin_with(&w, NULL, named);
    model_put_base(w.model, 8000, "");
    put_route(w.model, "victim", BAD);
    w.meanwhile = repair;
    run_expecting(&w, VALIDATION_ACCEPTED);
    assert_string_equal(w.convicted, "");
    assert_accepted(w.model, "server repaired");
    end(&w);

    /* Also where it would be found by bisection. */
    CLEANUP(free_ptr) char *unnamed = refusing(directory, "poison");
    begin_with(&w, NULL, unnamed);
    model_put_base(w.model, 8000, "");
    put_route(w.model, "a", GOOD);
    put_route(w.model, "victim", POISON);
    w.meanwhile = repair;
    run_expecting(&w, VALIDATION_ACCEPTED);
    assert_string_equal(w.convicted, "");
    assert_int_equal(model_quarantined(w.model), 0);
    assert_accepted(w.model, "server repaired");
    end(&w);
    directory_remove(directory);
}

static void wrong_templates_accept_nothing_at_first_and_keep_the_last_later(void **state)
{
    struct world w;
    (void)state;

    begin(&w);
    model_put_base(w.model, 8000, "no-such-directive\n");
    put_route(w.model, "a", GOOD);
    put_route(w.model, "b", GOOD);
    run_expecting(&w, VALIDATION_REFUSED);
    assert_true(model_is_empty(w.model, MODEL_ACCEPTED));
    assert_non_null(strstr(w.problem, "base: "));
    assert_non_null(strstr(w.problem, "no-such-directive"));
    assert_int_equal(model_quarantined(w.model), 0); /* no object is to blame */
    assert_true(w.checks <= 3);
    /* Repaired. */
    model_put_base(w.model, 8000, "");
    run_expecting(&w, VALIDATION_ACCEPTED);
    assert_accepted(w.model, "backend a");
    /* Wrong again: what was right stays, and objects go on. */
    model_put_base(w.model, 8000, "no-such-directive\n");
    put_route(w.model, "c", GOOD);
    run_expecting(&w, VALIDATION_ACCEPTED);
    assert_string_equal(w.convicted, "base");
    assert_not_accepted(w.model, "no-such-directive");
    assert_accepted(w.model, "frontend http");
    assert_accepted(w.model, "backend c");
    end(&w);
}

/* A line of the templates is complained about, but an object is the reason: it took away what the line needs. */
static void the_object_behind_a_complaint_about_the_templates_is_found(void **state)
{
    struct world w;
    (void)state;

    begin(&w);
    model_put_base(w.model, 8000, "");
    put_route(w.model, "a", GOOD);
    run_expecting(&w, VALIDATION_ACCEPTED);
    /* A profile for the templates' backend that no backend can be made from. */
    const struct emitted profile[] = {{CONTRIBUTION_SECTION, "defaults base", "extra", "mode nonsense\n", 10, 0}};
    model_put(w.model, "meddler", profile, 1);
    put_route(w.model, "b", GOOD);
    run_expecting(&w, VALIDATION_ACCEPTED);
    assert_string_equal(w.convicted, "meddler!");
    assert_accepted(w.model, "backend b");
    end(&w);
}

/* A part of the templates that was accepted and is refused later without having changed is never left out. */
static void the_templates_are_not_left_out_for_what_they_refer_to(void **state)
{
    struct world w;
    (void)state;

    begin(&w);
    model_put_base(w.model, 8000, "use_backend special if { path /special }\n");
    put_route(w.model, "special", GOOD);
    put_route(w.model, "a", GOOD);
    run_expecting(&w, VALIDATION_ACCEPTED);
    /* The object goes; the line that names its backend stays. */
    model_fragment_drop(w.model, "special");
    run_expecting(&w, VALIDATION_REFUSED);
    assert_accepted(w.model, "frontend http");
    assert_accepted(w.model, "backend special");
    assert_non_null(strstr(w.problem, "special"));
    end(&w);
}

static void a_check_that_cannot_run_is_no_verdict(void **state)
{
    struct world w;
    char *directory = directory_new();
    (void)state;

    begin_with(&w, NULL, "/no/such/haproxy");
    model_put_base(w.model, 8000, "");
    put_route(w.model, "a", GOOD);
    run_expecting(&w, VALIDATION_INCONCLUSIVE);
    assert_non_null(strstr(w.problem, "/no/such/haproxy"));
    assert_int_equal(model_quarantined(w.model), 0);
    end(&w);

    /* One that always dies: found out without blaming anybody. */
    CLEANUP(free_ptr) char *dies = refusing(directory, "dies");
    begin_with(&w, NULL, dies);
    model_put_base(w.model, 8000, "");
    put_routes(&w, 10, "");
    run_expecting(&w, VALIDATION_INCONCLUSIVE);
    assert_string_equal(w.convicted, "");
    assert_int_equal(model_quarantined(w.model), 0);
    assert_int_equal(validator_suspects(w.validator), 0);
    assert_int_equal(w.checks, 2);
    /* And the same validator when it works again. */
    refuse_as(directory, "none");
    run_expecting(&w, VALIDATION_ACCEPTED);
    assert_int_equal(model_pending(w.model), 0);
    end(&w);
    directory_remove(directory);
}

/* A configuration that HAProxy dies of without a word is an object's doing as much as one that it refuses. */
static void who_makes_the_check_die_is_found(void **state)
{
    struct world w;
    char *directory = directory_new();
    CLEANUP(free_ptr)
    char *binary = refusing(directory, "die-poison");
    (void)state;

    begin_with(&w, NULL, binary);
    model_put_base(w.model, 8000, "");
    put_routes(&w, 12, "r04");
    run_expecting(&w, VALIDATION_ACCEPTED);
    assert_string_equal(w.convicted, "r04!");
    assert_non_null(strstr(w.message, "exit code 7 without a message"));
    assert_accepted(w.model, "backend r11");
    end(&w);
    directory_remove(directory);
}

/* While what is rendered is not whole nothing is checked, and a search waits where it is. */
static void a_run_waits_when_it_must(void **state)
{
    struct world w;
    (void)state;

    begin(&w);
    model_put_base(w.model, 8000, "");
    w.waits = true;
    run_expecting(&w, VALIDATION_INCONCLUSIVE);
    assert_int_equal(w.checks, 0);
    assert_string_equal(w.problem, "");
    w.waits = false;
    run_expecting(&w, VALIDATION_ACCEPTED);
    end(&w);
}

/* Two that cannot be together: the older one stays. */
static void of_two_that_exclude_each_other_the_older_stays(void **state)
{
    struct world w;
    char *directory = directory_new();
    CLEANUP(free_ptr)
    char *binary = refusing(directory, "exclusive");
    (void)state;

    begin_with(&w, NULL, binary);
    model_put_base(w.model, 8000, "");
    put_route(w.model, "b-younger", "http-request set-header x exclusive\nserver s1 127.0.0.1:9001\n");
    put_route(w.model, "a-older", "http-request set-header x exclusive\nserver s1 127.0.0.1:9001\n");
    put_route(w.model, "c", GOOD);
    run_expecting(&w, VALIDATION_ACCEPTED);
    assert_string_equal(w.convicted, "b-younger!");
    assert_accepted(w.model, "backend a-older");
    end(&w);
    directory_remove(directory);
}

/* A run that is abandoned leaves nothing behind. */
static void an_abandoned_run_leaves_nothing(void **state)
{
    struct world w;
    (void)state;

    begin(&w);
    model_put_base(w.model, 8000, "");
    put_route(w.model, "a", BAD);
    validator_run(w.validator);
    assert_true(validator_busy(w.validator));
    for (int i = 0; i < 3; i++)
        uv_run(&w.loop, UV_RUN_NOWAIT);
    end(&w);
}

/* As many as a template bug can make wrong at once. HAProxy itself names about fifty in one check. */
static void thousands_of_wrong_objects_are_found(void **state)
{
    struct world w;
    unsigned runs = 0;
    (void)state;

    begin(&w);
    model_put_base(w.model, 8000, "");
    for (unsigned i = 0; i < 3000; i++) {
        char name[24];
        snprintf(name, sizeof(name), "t%04u", i);
        put_route(w.model, name, i % 1000 == 999 ? GOOD : BAD);
    }
    do
        run(&w);
    while (w.outcome == VALIDATION_UNFINISHED && ++runs < 5);
    assert_int_equal(w.outcome, VALIDATION_ACCEPTED);
    assert_int_equal(model_quarantined(w.model), 2997);
    assert_accepted(w.model, "backend t0999");
    assert_accepted(w.model, "backend t2999");
    end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_right_is_accepted_in_one_check),
        cmocka_unit_test(who_is_named_is_quarantined_and_the_rest_accepted),
        cmocka_unit_test(many_wrong_lines_of_one_object_leave_its_last_good_output),
        cmocka_unit_test(a_line_of_a_map_names_its_object),
        cmocka_unit_test(a_wrong_file_names_its_object),
        cmocka_unit_test(culprits_that_nobody_names_are_found),
        cmocka_unit_test(a_search_without_end_in_one_run_goes_on_in_the_next),
        cmocka_unit_test(suspects_keep_their_last_good_output),
        cmocka_unit_test(a_search_under_churn_ends_with_the_right_ones),
        cmocka_unit_test(an_object_repaired_during_the_check_is_not_convicted),
        cmocka_unit_test(wrong_templates_accept_nothing_at_first_and_keep_the_last_later),
        cmocka_unit_test(the_object_behind_a_complaint_about_the_templates_is_found),
        cmocka_unit_test(the_templates_are_not_left_out_for_what_they_refer_to),
        cmocka_unit_test(a_check_that_cannot_run_is_no_verdict),
        cmocka_unit_test(who_makes_the_check_die_is_found),
        cmocka_unit_test(a_run_waits_when_it_must),
        cmocka_unit_test(of_two_that_exclude_each_other_the_older_stays),
        cmocka_unit_test(an_abandoned_run_leaves_nothing),
        cmocka_unit_test(thousands_of_wrong_objects_are_found),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
