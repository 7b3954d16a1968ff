/* The model's rules, one by one. */
#include "model_support.h"

#include "haproxy/model_state.h"

#define PUT(m, id, created_s, ...) \
    model_put_owned(m, id, id, created_s, (const struct emitted[]){__VA_ARGS__}, \
                    ARRAY_LEN(((const struct emitted[]){__VA_ARGS__})))

static void assert_map(struct model *m, enum model_state state, const char *name, const char *expected)
{
    CLEANUP(free_ptr) char *text = model_map(m, state, name);
    assert_string_equal(text, expected);
}

/* What model_take_contested() says: "ITEM:WINNER<LOSER<LOSER ". */
static void note_loser(void *ctx, const struct fragment *loser)
{
    buf_printf(ctx, "<%s", loser->id);
}

static void note_contested(void *ctx, const struct item *item)
{
    buf_printf(ctx, "%s:%s", item->key, item->winner ? item->winner->id : "");
    model_each_loser(item, note_loser, ctx);
    buf_putc(ctx, ' ');
}

static void assert_contested(struct model *m, const char *expected)
{
    CLEANUP(buf_done) struct buf text = {0};
    model_take_contested(m, note_contested, &text);
    assert_string_equal(buf_str(&text), expected);
}

static void test_the_older_owner_wins(void **state)
{
    (void)state;
    struct model *m = model_new();
    PUT(m, "young", 20, {CONTRIBUTION_MAP_ENTRY, "m.map", "k", "young", 0, 0});
    PUT(m, "old", 10, {CONTRIBUTION_MAP_ENTRY, "m.map", "k", "old", 0, 0});
    assert_map(m, MODEL_RENDERED, "m.map", "k old\n");
    assert_contested(m, "k:old<young ");
    assert_contested(m, "");
    PUT(m, "static", 0, {CONTRIBUTION_MAP_ENTRY, "m.map", "k", "static", 0, 0});
    assert_map(m, MODEL_RENDERED, "m.map", "k static\n");
    model_fragment_drop(m, "static");
    model_fragment_drop(m, "old");
    assert_map(m, MODEL_RENDERED, "m.map", "k young\n");
    assert_contested(m, "k:young ");
    model_free(m);
}

/* Ten thousand may give one piece the same text: none of them is looked at when one more does, or another one goes. */
static void test_losers_are_looked_for_where_something_changed(void **state)
{
    (void)state;
    struct model *m = model_new();
    char id[32];
    for (unsigned i = 0; i < 100; i++) {
        snprintf(id, sizeof(id), "f%02u", i);
        PUT(m, id, 1 + i, {CONTRIBUTION_SECTION, "backend a", "body", "same\n", 0, 0});
    }
    assert_int_equal(m->contested.length, 0);
    model_fragment_drop(m, "f00");
    PUT(m, "f50", 51, {CONTRIBUTION_SECTION, "backend a", "body", "same\n", 0, 0},
        {CONTRIBUTION_MAP_ENTRY, "m.map", "k", "v", 0, 0});
    assert_int_equal(m->contested.length, 0);
    PUT(m, "f50", 51, {CONTRIBUTION_SECTION, "backend a", "body", "other\n", 0, 0});
    assert_contested(m, "body:f01<f50 ");
    /* Who fails has been told that. */
    model_fragment_keep(m, "f50");
    assert_contested(m, "body:f01 ");
    /* All of them, when the winner says something else; equal declarations of a map are none of it. */
    PUT(m, "m1", 1, {CONTRIBUTION_MAP_ENTRY, "m.map", "", "Reason", 0, 0});
    PUT(m, "m2", 1, {CONTRIBUTION_MAP_ENTRY, "m.map", "", "", 0, 0});
    assert_contested(m, "");
    assert_string_equal(model_map_declaration(m, "m.map"), "Reason");
    PUT(m, "f01", 2, {CONTRIBUTION_SECTION, "backend a", "body", "other\n", 0, 0});
    CLEANUP(buf_done) struct buf text = {0};
    model_take_contested(m, note_contested, &text);
    assert_int_equal(strncmp(buf_str(&text), "body:f01<", 9), 0);
    size_t losers = 0;
    for (const char *at = buf_str(&text); *at; at++)
        losers += *at == '<';
    assert_int_equal(losers, 97);
    model_free(m);
}

static void test_canonical_text_and_origin_of_lines(void **state)
{
    (void)state;
    struct model *m = model_new();
    PUT(m, "b", 1, {CONTRIBUTION_SECTION, "backend b", "body", "one\ntwo\n", 5, 0},
        {CONTRIBUTION_SECTION_FROM, "backend b", "from", "base", 0, 0});
    PUT(m, "a", 1, {CONTRIBUTION_SECTION, "backend a", "z", "last\n", 5, 1},
        {CONTRIBUTION_SECTION, "backend a", "y", "first\n", 5, 0});
    PUT(m, "g", 0, {CONTRIBUTION_SECTION, "global", "body", "maxconn 1\n", 0, 0});
    struct buf b = {0};
    struct model_lines lines = {0};
    model_write_config(m, MODEL_RENDERED, &b, &lines);
    assert_string_equal(
        b.data, "global\n    maxconn 1\n\nbackend a\n    first\n    last\n\nbackend b from base\n    one\n    two\n");
    assert_int_equal(lines.lines.length, 10);
    assert_string_equal(lines.lines.items[9].item->winner->id, "b");
    assert_int_equal(lines.lines.items[9].line, 1);
    assert_true(lines.lines.items[7].header);
    assert_ptr_equal(lines.lines.items[6].item, NULL);
    model_lines_done(&lines);
    buf_done(&b);
    model_free(m);
}

static void test_quarantine_keeps_what_was_accepted(void **state)
{
    (void)state;
    struct model *m = model_new();
    PUT(m, "x", 1, {CONTRIBUTION_SECTION, "backend x", "body", "good\n", 0, 0});
    model_check(m, true);
    PUT(m, "x", 1, {CONTRIBUTION_SECTION, "backend x", "body", "bad\n", 0, 0});
    PUT(m, "new", 1, {CONTRIBUTION_SECTION, "backend new", "body", "bad too\n", 0, 0});
    model_check(m, false);
    assert_int_equal(model_pending(m), 2);
    assert_true(model_quarantine(m, "x", "line 1"));
    assert_true(model_quarantine(m, "new", "line 2"));
    assert_int_equal(model_pending(m), 0);
    assert_int_equal(model_quarantined(m), 2);
    CLEANUP(free_ptr) char *kept = model_config(m, MODEL_RENDERED);
    assert_string_equal(kept, "backend x\n    good\n");
    /* the same output again: still; another: released */
    PUT(m, "x", 1, {CONTRIBUTION_SECTION, "backend x", "body", "bad\n", 0, 0});
    assert_string_equal(model_quarantine_reason(m, "x"), "line 1");
    PUT(m, "x", 1, {CONTRIBUTION_SECTION, "backend x", "body", "better\n", 0, 0});
    assert_null(model_quarantine_reason(m, "x"));
    CLEANUP(free_ptr) char *released = model_config(m, MODEL_RENDERED);
    assert_string_equal(released, "backend x\n    better\n");
    /* blamed, and blamed again for what was good before: nothing of it */
    assert_true(model_quarantine(m, "x", "again"));
    assert_true(model_quarantine(m, "x", "and again"));
    assert_false(model_quarantine(m, "x", "nothing is left"));
    CLEANUP(free_ptr) char *nothing = model_config(m, MODEL_RENDERED);
    assert_string_equal(nothing, "");
    model_free(m);
}

struct finding {
    enum contribution_kind kind;
    const char *scope, *key;
    struct item *found;
};
static void find_item(void *ctx, struct item *item)
{
    struct finding *f = ctx;
    if (item->kind == f->kind && strcmp(item->scope, f->scope) == 0 && strcmp(item->key, f->key) == 0)
        f->found = item;
}
static struct item *pending_item(struct model *m, enum contribution_kind kind, const char *scope, const char *key)
{
    struct finding f = {kind, scope, key, NULL};
    model_each_pending(m, find_item, &f);
    assert_non_null(f.found);
    return f.found;
}

static void test_a_route_is_never_accepted_before_its_backend(void **state)
{
    (void)state;
    struct model *m = model_new();
    PUT(m, "x", 1, {CONTRIBUTION_SECTION, "backend x", "body", "s\n", 0, 0},
        {CONTRIBUTION_MAP_ENTRY, "m.map", "h", "x", 0, 0});
    model_accept(m, pending_item(m, CONTRIBUTION_MAP_ENTRY, "m.map", "h"));
    assert_map(m, MODEL_ACCEPTED, "m.map", "");
    model_accept(m, pending_item(m, CONTRIBUTION_SECTION, "backend x", "body"));
    assert_map(m, MODEL_ACCEPTED, "m.map", "h x\n");
    /* the other way round when it goes */
    model_fragment_drop(m, "x");
    model_accept(m, pending_item(m, CONTRIBUTION_SECTION, "backend x", "body"));
    CLEANUP(free_ptr) char *still = model_config(m, MODEL_ACCEPTED);
    assert_string_equal(still, "backend x\n    s\n");
    model_accept(m, pending_item(m, CONTRIBUTION_MAP_ENTRY, "m.map", "h"));
    assert_true(model_is_empty(m, MODEL_ACCEPTED));
    model_free(m);
}

/* What else a route has stands behind an "@". */
static void test_a_route_with_more_than_a_backend_leads_to_it(void **state)
{
    (void)state;
    struct model *m = model_new();
    PUT(m, "x", 1, {CONTRIBUTION_SECTION, "backend x", "body", "s\n", 0, 0},
        {CONTRIBUTION_MAP_ENTRY, "m.map", "h", "x@shop/web@+cors+", 0, 0});
    model_accept(m, pending_item(m, CONTRIBUTION_MAP_ENTRY, "m.map", "h"));
    assert_map(m, MODEL_ACCEPTED, "m.map", "");
    model_accept(m, pending_item(m, CONTRIBUTION_SECTION, "backend x", "body"));
    assert_map(m, MODEL_ACCEPTED, "m.map", "h x@shop/web@+cors+\n");
    model_fragment_drop(m, "x");
    model_accept(m, pending_item(m, CONTRIBUTION_SECTION, "backend x", "body"));
    CLEANUP(free_ptr) char *still = model_config(m, MODEL_ACCEPTED);
    assert_string_equal(still, "backend x\n    s\n");
    model_accept(m, pending_item(m, CONTRIBUTION_MAP_ENTRY, "m.map", "h"));
    assert_true(model_is_empty(m, MODEL_ACCEPTED));
    model_free(m);
}

static void test_a_check_does_not_take_a_backend_from_a_route_accepted_meanwhile(void **state)
{
    (void)state;
    struct model *m = model_new();
    PUT(m, "x", 1, {CONTRIBUTION_SECTION, "backend x", "body", "s\n", 0, 0});
    model_check(m, true);
    model_fragment_drop(m, "x");
    model_check_begin(m);
    PUT(m, "r", 1, {CONTRIBUTION_SECTION, "backend x", "body", "t\n", 0, 0},
        {CONTRIBUTION_MAP_ENTRY, "m.map", "h", "x", 0, 0});
    model_accept(m, pending_item(m, CONTRIBUTION_MAP_ENTRY, "m.map", "h"));
    model_check_end(m, true);
    CLEANUP(free_ptr) char *kept = model_config(m, MODEL_ACCEPTED);
    assert_string_equal(kept, "backend x\n    s\n");
    assert_int_equal(model_pending(m), 1);
    model_free(m);
}

static void accept_item(void *ctx, struct item *item)
{
    model_accept(ctx, item);
}

/* A status waits until its fragment is settled: nobody comes back to a version that a check has overlooked. */
static void test_a_version_that_comes_during_a_check_and_says_the_same_is_settled_with_it(void **state)
{
    (void)state;
    struct model *m = model_new();
    const struct emitted section = {CONTRIBUTION_SECTION, "backend b", "body", "server s 192.0.2.1:80\n", 1, 0};
    const struct emitted route = {CONTRIBUTION_MAP_ENTRY, "m.map", "h/", "b", 0, 0};
    const struct emitted warning = {CONTRIBUTION_WARNING, "", "w", "no endpoints yet", 0, 0};

    PUT(m, "f", 1, section, route, warning);
    model_check_begin(m);
    PUT(m, "f", 1, section, route); /* nothing of it is new to HAProxy */
    assert_false(model_is_settled(m, "f"));
    model_check_end(m, true);
    assert_int_equal(model_pending(m), 0);
    assert_true(model_is_settled(m, "f"));
    model_free(m);
}

/* What was accepted by structure beside a check stays the version to go back to. */
static void test_a_version_that_is_accepted_during_a_check_stays_settled(void **state)
{
    (void)state;
    struct model *m = model_new();
    const struct emitted first = {CONTRIBUTION_SECTION, "backend b", "body", "server s 192.0.2.1:80\n", 1, 0};
    const struct emitted second = {CONTRIBUTION_SECTION, "backend b", "body", "server s 192.0.2.2:80\n", 1, 0};

    PUT(m, "f", 1, first);
    model_check_begin(m);
    PUT(m, "f", 1, second);
    model_each_pending(m, accept_item, m);
    assert_true(model_is_settled(m, "f"));
    model_check_end(m, true);
    assert_int_equal(model_pending(m), 0);
    assert_true(model_is_settled(m, "f"));
    /* It becomes pending again when the check brings back what it saw. */
    PUT(m, "f", 1, first);
    model_check_begin(m);
    PUT(m, "f", 1, second);
    assert_true(model_is_settled(m, "f"));
    model_check_end(m, true);
    assert_int_equal(model_pending(m), 1);
    assert_false(model_is_settled(m, "f"));
    model_free(m);
}

/* Two objects give one backend; what the older one says is accepted, and the younger one says the same. */
static void test_who_shares_what_is_accepted_is_settled(void **state)
{
    (void)state;
    struct model *m = model_new();
    const struct emitted was = {CONTRIBUTION_SECTION, "backend b", "body", "server s 192.0.2.1:80\n", 1, 0};
    const struct emitted is = {CONTRIBUTION_SECTION, "backend b", "body", "server s 192.0.2.2:80\n", 1, 0};

    PUT(m, "older", 1, was);
    PUT(m, "younger", 2, was);
    model_check(m, true);
    PUT(m, "younger", 2, is); /* it changes nothing yet, and is decided: the older one comes first */
    assert_true(model_is_settled(m, "younger"));
    PUT(m, "older", 1, is);
    assert_false(model_is_settled(m, "older"));
    model_each_pending(m, accept_item, m);
    assert_true(model_is_settled(m, "older"));
    assert_true(model_is_settled(m, "younger"));
    model_free(m);
}

/* Nothing of a new object has an effect, so no check comes. */
static void test_who_loses_everything_is_settled(void **state)
{
    (void)state;
    struct model *m = model_new();
    const struct emitted section = {CONTRIBUTION_SECTION, "backend b", "body", "server s 192.0.2.1:80\n", 1, 0};
    const struct emitted first = {CONTRIBUTION_MAP_ENTRY, "m.map", "h/", "b", 0, 0};
    const struct emitted other = {CONTRIBUTION_MAP_ENTRY, "m.map", "h/", "c", 0, 0};

    PUT(m, "older", 1, section, first);
    PUT(m, "younger", 2, other);
    assert_false(model_is_settled(m, "younger")); /* who wins is not accepted yet */
    model_check(m, true);
    PUT(m, "youngest", 3, other);
    assert_int_equal(model_pending(m), 0);
    assert_true(model_is_settled(m, "youngest"));
    model_free(m);
}

static void test_replacing_drops_what_is_not_seen(void **state)
{
    (void)state;
    struct model *m = model_new();
    PUT(m, "a", 1, {CONTRIBUTION_MAP_ENTRY, "m.map", "a", "1", 0, 0});
    PUT(m, "b", 1, {CONTRIBUTION_MAP_ENTRY, "m.map", "b", "1", 0, 0});
    PUT(m, "c", 1, {CONTRIBUTION_MAP_ENTRY, "m.map", "c", "1", 0, 0});
    model_replace_begin(m);
    PUT(m, "b", 1, {CONTRIBUTION_MAP_ENTRY, "m.map", "b", "2", 0, 0});
    model_fragment_keep(m, "c");
    model_replace_end(m);
    assert_map(m, MODEL_RENDERED, "m.map", "b 2\nc 1\n");
    model_free(m);
}

/* Processor time of this process: other processes do not count. */
static int64_t cpu_now_ns(void)
{
    struct timespec now;
    assert_int_equal(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now), 0);
    return (int64_t)now.tv_sec * NS_PER_S + now.tv_nsec;
}

/* Ten thousand routes with one profile: the time of an edit must not depend on how many there are. */
static int64_t edits_ns(unsigned routes, unsigned edits)
{
    static const char profile[] = "mode http\nbalance random\noption httpchk\ntimeout server 10s\n";
    struct model *m = model_new();
    char id[32], scope[48], text[128];
    int64_t start = 0;
    for (unsigned i = 0; i < routes + edits; i++) {
        if (i == routes) {
            model_check(m, true);
            start = cpu_now_ns();
        }
        snprintf(id, sizeof(id), "r%u", i % routes);
        snprintf(scope, sizeof(scope), "backend b%u", i % routes);
        snprintf(text, sizeof(text), "server s1 192.0.2.1:%u\nserver s2 192.0.2.2:80\nserver s3 192.0.2.3:80\n", i);
        PUT(m, id, 1, {CONTRIBUTION_SECTION, "defaults p", "body", profile, 1, 0},
            {CONTRIBUTION_SECTION, scope, "body", text, 2, 0}, {CONTRIBUTION_SECTION_FROM, scope, "from", "p", 2, 0},
            {CONTRIBUTION_MAP_ENTRY, "m.map", id, scope + 8, 0, 0});
        if (i >= routes)
            assert_int_equal(model_pending(m), i - routes + 1);
    }
    int64_t took = cpu_now_ns() - start;
    model_free(m);
    return took;
}

static void test_cost_of_an_edit_does_not_grow(void **state)
{
    (void)state;
    int64_t small = edits_ns(100, 100), large = edits_ns(10000, 100);
    print_message("    100 edits: %lld us at 100 routes, %lld us at 10000\n", (long long)small / 1000,
                  (long long)large / 1000);
    assert_true(large < small * 5 + 5 * NS_PER_MS);
}

/* Two objects route to one service; the older one's template fails from now on. */
static void test_failed_fragment_holds_nobody_back(void **state)
{
    (void)state;
    struct model *m = model_new();
    const struct emitted was = {CONTRIBUTION_SECTION, "backend b", "body", "server s 192.0.2.1:80\n", 400, 500};
    const struct emitted is = {CONTRIBUTION_SECTION, "backend b", "body", "server s 192.0.2.2:80\n", 400, 500};
    const struct emitted older_route = {CONTRIBUTION_MAP_ENTRY, "m.map", "h/", "b", 0, 0};
    const struct emitted younger_route = {CONTRIBUTION_MAP_ENTRY, "m.map", "h/", "c", 0, 0};

    PUT(m, "older", 1, was, older_route);
    PUT(m, "younger", 2, was, younger_route);
    model_check(m, true);
    model_fragment_keep(m, "older");
    CLEANUP(free_ptr) char *before = model_config(m, MODEL_RENDERED);
    assert_string_equal(before, "backend b\n    server s 192.0.2.1:80\n");
    PUT(m, "younger", 2, is, younger_route);
    CLEANUP(free_ptr) char *now = model_config(m, MODEL_RENDERED);
    assert_string_equal(now, "backend b\n    server s 192.0.2.2:80\n");
    assert_map(m, MODEL_RENDERED, "m.map", "h/ b\n"); /* its route stays its own */
    model_fragment_drop(m, "younger");
    CLEANUP(free_ptr) char *alone = model_config(m, MODEL_RENDERED);
    assert_string_equal(alone, "backend b\n    server s 192.0.2.1:80\n");
    PUT(m, "younger", 2, is);
    PUT(m, "older", 1, was, older_route); /* it works again */
    CLEANUP(free_ptr) char *again = model_config(m, MODEL_RENDERED);
    assert_string_equal(again, "backend b\n    server s 192.0.2.1:80\n");
    model_check(m, true);
    assert_int_equal(model_pending(m), 0);
    model_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_failed_fragment_holds_nobody_back),
        cmocka_unit_test(test_the_older_owner_wins),
        cmocka_unit_test(test_losers_are_looked_for_where_something_changed),
        cmocka_unit_test(test_canonical_text_and_origin_of_lines),
        cmocka_unit_test(test_quarantine_keeps_what_was_accepted),
        cmocka_unit_test(test_a_route_is_never_accepted_before_its_backend),
        cmocka_unit_test(test_a_route_with_more_than_a_backend_leads_to_it),
        cmocka_unit_test(test_a_check_does_not_take_a_backend_from_a_route_accepted_meanwhile),
        cmocka_unit_test(test_a_version_that_comes_during_a_check_and_says_the_same_is_settled_with_it),
        cmocka_unit_test(test_a_version_that_is_accepted_during_a_check_stays_settled),
        cmocka_unit_test(test_who_shares_what_is_accepted_is_settled),
        cmocka_unit_test(test_who_loses_everything_is_settled),
        cmocka_unit_test(test_replacing_drops_what_is_not_seen),
        cmocka_unit_test(test_cost_of_an_edit_does_not_grow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
