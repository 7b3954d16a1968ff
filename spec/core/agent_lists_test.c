/* Crt-lists of a running HAProxy: names come and go by commands, whatever lines they share. HAProxy tells a list only
 * as a whole, so the agent predicts the numbers of new lines and reads the list a moment later: here it is read after
 * each change. */
#include "agent_support.h"

#include "agent/agent_state.h"
#include "data/certificate_make.h"

#define PATH "certs/x.list"
#define NAMES 8

static char *pem_new(void)
{
    struct buf chain = {0}, key = {0};
    assert_int_equal(certificate_make_default(&chain, &key, NULL), 0);
    char *pem = xasprintf("%s%s", buf_str(&chain), buf_str(&key));
    buf_done(&chain);
    buf_done(&key);
    return pem;
}

/* Two certificates, and a default line, in a HAProxy that runs. */
static void begin(struct world *w)
{
    CLEANUP(free_ptr) char *pem = pem_new();
    CLEANUP(free_ptr) char *bind = xasprintf("bind 127.0.0.1:%d ssl crt-list " PATH "\n", free_port());
    const struct emitted base[] = {{CONTRIBUTION_CERTIFICATE, "a.pem", "", pem, 0, 0},
                                   {CONTRIBUTION_CERTIFICATE, "b.pem", "", pem, 0, 0},
                                   {CONTRIBUTION_CRT_LIST, "x.list", "", "certs/a.pem", 0, 0}};
    const struct emitted shared[] = {{CONTRIBUTION_CRT_LIST, "x.list", "one.example", "certs/b.pem", 0, 500},
                                     {CONTRIBUTION_CRT_LIST, "x.list", "two.example", "certs/b.pem", 0, 500}};
    model_put_base(w->model, w->port, bind);
    model_put(w->model, "tls", base, ARRAY_LEN(base));
    model_put(w->model, "shared", shared, ARRAY_LEN(shared));
    model_check(w->model, true);
    world_apply(w, true);
}

static struct live_list *live_of(const struct world *w)
{
    struct live_list *list = map_get(&w->agent->live->lists, PATH);
    assert_non_null(list);
    return list;
}

static bool has_line(const struct crt_list *shown, const char *certificate, const char *name)
{
    for (size_t i = 0; i < shown->lines.length; i++)
        for (size_t k = 0; k < shown->lines.items[i].names.length; k++)
            if (strcmp(shown->lines.items[i].certificate, certificate) == 0 &&
                strcmp(shown->lines.items[i].names.items[k], name) == 0)
                return true;
    return false;
}

/* uses: bit 0: a.pem, bit 1: b.pem. Nothing else may be there but the lines of begin(). */
static void assert_shown(struct world *w, const unsigned uses[NAMES], unsigned step)
{
    CLEANUP(free_ptr) char *text = world_command(w, "show ssl crt-list -n " PATH);
    CLEANUP(crt_list_done) struct crt_list shown = {0};
    size_t wanted = 3, names = 0;

    crt_list_parse(&shown, text, strlen(text), true);
    for (unsigned i = 0; i < NAMES; i++) {
        CLEANUP(free_ptr) char *name = xasprintf("n%u.example", i);
        for (unsigned bit = 0; bit < 2; bit++) {
            wanted += uses[i] >> bit & 1;
            if (has_line(&shown, bit ? "certs/b.pem" : "certs/a.pem", name) != (uses[i] >> bit & 1))
                fail_msg("step %u: %s is wrong in\n%s", step, name, text);
        }
    }
    for (size_t i = 0; i < shown.lines.length; i++)
        names += shown.lines.items[i].names.length;
    if (names != wanted)
        fail_msg("step %u: %zu names in place of %zu in\n%s", step, names, wanted, text);
}

static void put_names(struct world *w, const unsigned uses[NAMES])
{
    static const char *const texts[] = {NULL, "certs/a.pem", "certs/b.pem", "certs/a.pem certs/b.pem"};
    struct emitted lines[NAMES];
    char names[NAMES][16];
    size_t n = 0;

    for (unsigned i = 0; i < NAMES; i++) {
        snprintf(names[i], sizeof(names[i]), "n%u.example", i);
        if (uses[i])
            lines[n++] = (struct emitted){CONTRIBUTION_CRT_LIST, "x.list", names[i], texts[uses[i]], 0, 500};
    }
    model_put(w->model, "names", lines, n);
    model_check(w->model, true);
}

static void names_come_and_go(struct world *w, const char *series)
{
    unsigned uses[NAMES] = {0};
    const char *given = getenv("SEED");
    unsigned seed = given ? (unsigned)strtoul(given, NULL, 10) : (unsigned)time(NULL), state = seed;

    (void)series;
    print_message("    SEED=%u\n", seed);
    begin(w);
    uint64_t reloads = w->agent->reloads;
    for (unsigned step = 0; step < 40; step++) {
        for (int i = rand_r(&state) % 3; i >= 0; i--)
            uses[rand_r(&state) % NAMES] = (unsigned)rand_r(&state) % 4;
        put_names(w, uses);
        world_apply(w, false);
        assert_shown(w, uses, step);
        if (rand_r(&state) % 4 == 0)
            WORLD_UNTIL(w, live_of(w)->unproved_ns == 0);
        assert_true(w->agent->known);
    }
    WORLD_UNTIL(w, live_of(w)->unproved_ns == 0);
    assert_true(is_live(w));
    assert_true(live_of(w)->is_counted);
    assert_int_equal(w->agent->reloads, reloads);
    assert_int_equal(drift_repairs(w), 0);
}

static void test_names_come_and_go(void **state)
{
    (void)state;
    each_series(names_come_and_go, &(const struct agent_config){0});
}

/* Of two names that share a line of the file one goes, the other one does not. */
static void one_of_two_goes(struct world *w, const char *series)
{
    const struct emitted rest[] = {{CONTRIBUTION_CRT_LIST, "x.list", "two.example", "certs/b.pem", 0, 500}};

    (void)series;
    begin(w);
    uint64_t reloads = w->agent->reloads;
    model_put(w->model, "shared", rest, 1);
    model_check(w->model, true);
    world_apply(w, false);
    assert_int_equal(w->operations, 2); /* a line comes, the former one goes */
    /* HAProxy was started with a known file, so the number of the first new line was predicted, too. */
    assert_true(live_of(w)->is_counted);
    assert_true(live_of(w)->unproved_ns != 0);
    WORLD_UNTIL(w, live_of(w)->unproved_ns == 0);
    assert_true(is_live(w));
    assert_int_equal(drift_repairs(w), 0);
    assert_true(world_shows(w, "show ssl crt-list -n " PATH, " two.example"));
    assert_false(world_shows(w, "show ssl crt-list -n " PATH, "one.example"));
    assert_int_equal(w->agent->reloads, reloads);
}

static void test_one_of_two_goes(void **state)
{
    (void)state;
    each_series(one_of_two_goes, &(const struct agent_config){0});
}

/* HAProxy is started, and not reloaded, with files that this agent has written. */
static void a_start_counts(struct world *w, const char *series)
{
    unsigned uses[NAMES] = {1, 2};

    (void)series;
    begin(w);
    world_agent_end(w, true);
    world_agent_with(w, (struct agent_config){.supervise = true});
    world_apply(w, true);
    assert_true(live_of(w)->is_counted);
    uint64_t reloads = w->agent->reloads;
    put_names(w, uses);
    world_apply(w, false);
    assert_true(live_of(w)->unproved_ns != 0);
    WORLD_UNTIL(w, live_of(w)->unproved_ns == 0);
    assert_shown(w, uses, 0);
    assert_true(w->agent->known);
    assert_int_equal(w->agent->reloads, reloads);
    assert_int_equal(drift_repairs(w), 0);
}

static void test_a_start_counts(void **state)
{
    (void)state;
    each_series(a_start_counts, &(const struct agent_config){0});
}

/* The last line has gone, so the counter of HAProxy is higher than any number that it tells. An agent that did not
 * start this HAProxy cannot know the counter, and reads the first new line back at once. */
static void a_second_agent_counts(struct world *w, const char *series)
{
    unsigned uses[NAMES] = {1, 2};

    (void)series;
    begin(w);
    put_names(w, uses);
    world_apply(w, false);
    uses[1] = 0;
    uses[0] = 2;
    put_names(w, uses);
    world_apply(w, false);
    uses[0] = 0;
    put_names(w, uses);
    world_apply(w, false);
    WORLD_UNTIL(w, live_of(w)->unproved_ns == 0);
    world_agent_end(w, false);
    world_agent_with(w, (struct agent_config){.supervise = true});
    world_apply(w, true);
    assert_false(live_of(w)->is_counted);
    uint64_t reloads = w->agent->reloads;
    for (unsigned i = 2; i < 4; i++) {
        uses[i] = 1;
        put_names(w, uses);
        world_apply(w, false);
        assert_true(live_of(w)->is_counted);
        assert_int_equal(live_of(w)->unproved_ns != 0, i == 3);
    }
    WORLD_UNTIL(w, live_of(w)->unproved_ns == 0);
    assert_shown(w, uses, 0);
    assert_true(w->agent->known);
    assert_int_equal(w->agent->reloads, reloads);
    assert_int_equal(drift_repairs(w), 0);
}

static void test_a_second_agent_counts(void **state)
{
    (void)state;
    each_series(a_second_agent_counts, &(const struct agent_config){0});
}

/* Somebody else adds a line between two of ours: the number of the second one is not the one that was predicted. */
static void somebody_else_counts(struct world *w, const char *series)
{
    unsigned uses[NAMES] = {1};

    (void)series;
    begin(w);
    put_names(w, uses);
    world_apply(w, false);
    WORLD_UNTIL(w, live_of(w)->unproved_ns == 0);
    assert_true(live_of(w)->is_counted);
    uses[1] = 1;
    free(world_command(w, "add ssl crt-list " PATH " <<\ncerts/a.pem other.example\n"));
    put_names(w, uses);
    world_apply(w, false);
    expect_change(w, "a list of certificates differs from what was deployed");
    assert_false(is_live(w));
    world_apply(w, true);
    assert_shown(w, uses, 0);
    uses[0] = uses[1] = 0;
    put_names(w, uses);
    world_apply(w, false);
    assert_shown(w, uses, 1);
    assert_int_equal(w->agent->reloads, 2);
}

static void test_somebody_else_counts(void **state)
{
    (void)state;
    each_series(somebody_else_counts, &(const struct agent_config){0});
}

/* A line disappears behind our back, in the same way. */
static void a_line_is_lost(struct world *w, const char *series)
{
    unsigned uses[NAMES] = {1, 2};

    (void)series;
    begin(w);
    put_names(w, uses);
    world_apply(w, false);
    WORLD_UNTIL(w, live_of(w)->unproved_ns == 0);
    unsigned number = live_of(w)->lines.items[live_of(w)->lines.length - 1]->line.number;
    CLEANUP(free_ptr)
    char *remove = xasprintf("del ssl crt-list " PATH " %s:%u",
                             live_of(w)->lines.items[live_of(w)->lines.length - 1]->line.certificate, number);
    free(world_command(w, remove));
    uses[2] = 1;
    put_names(w, uses);
    world_apply(w, false);
    expect_change(w, "a list of certificates differs from what was deployed");
    world_apply(w, true);
    assert_shown(w, uses, 0);
}

static void test_a_line_is_lost(void **state)
{
    (void)state;
    each_series(a_line_is_lost, &(const struct agent_config){0});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_come_and_go),     cmocka_unit_test(test_one_of_two_goes),
        cmocka_unit_test(test_a_second_agent_counts), cmocka_unit_test(test_a_start_counts),
        cmocka_unit_test(test_somebody_else_counts),  cmocka_unit_test(test_a_line_is_lost),
    };
    return cmocka_run_group_tests(tests, group_begin, group_end);
}
