/* The core's side of a renderer: what is sent, what comes back, and how much of both. */
#include "renderer_world.h"

static void objects_become_fragments(void **state)
{
    (void)state;
    struct watched *w = start_each(NULL);

    watched_put(w, "things", "a", "first");
    watched_put(w, "other", "b", "second");
    watched_render(w);
    assert_true(w->stats.complete);
    assert_int_equal(w->stats.fragments_run, 2);
    assert_int_equal(w->fragments.count, 2);
    assert_string_equal(text_of(w, "things/default/a"), "the first");
    assert_string_equal(text_of(w, "other/default/b"), "the second");
    const struct fragment *f = map_get(&w->fragments, "things/default/a");
    assert_string_equal(f->template_name, "each.lua");
    assert_string_equal(f->owner_kind, "things");
    assert_string_equal(f->owner_id, "default/a");
    assert_int_equal(f->owner_created_s, 1704164645);
    assert_true(w->stats.heap_bytes > 0);
    watched_free(w);
}

static void a_change_is_told_alone(void **state)
{
    (void)state;
    struct watched *w = start_each(NULL);

    for (int i = 0; i < 50; i++) {
        char name[16];
        snprintf(name, sizeof(name), "n%d", i);
        watched_put(w, "things", name, "old");
    }
    watched_render(w);
    assert_int_equal(w->fragments_told, 50);
    watched_put(w, "things", "n7", "new");
    watched_render(w);
    assert_false(w->stats.complete);
    assert_int_equal(w->fragments_told, 51);
    assert_string_equal(text_of(w, "things/default/n7"), "the new");
    store_delete(watched_kind(w, "things"), "default", "n7", NULL);
    watched_render(w);
    assert_int_equal(w->fragments_told, 51);
    assert_int_equal(w->fragments.count, 49);
    watched_put(w, "things", "n8", "fail");
    watched_render(w);
    assert_string_equal(map_get(&w->failures, "things/default/n8"), "it failed");
    watched_free(w);
}

/* Ten versions of an object before the loop's turn ends are one frame with the last of them. */
static void changes_of_one_object_coalesce(void **state)
{
    (void)state;
    struct watched *w = start_each(NULL);

    watched_render(w);
    watched_put(w, "other", "count", "puts");
    for (int i = 0; i < 10; i++) {
        char text[16];
        snprintf(text, sizeof(text), "v%d", i);
        watched_put(w, "things", "a", text);
    }
    watched_render(w);
    assert_string_equal(text_of(w, "things/default/a"), "the v9");
    assert_string_equal(text_of(w, "other/default/count"), "2");
    watched_free(w);
}

static void requests_coalesce(void **state)
{
    (void)state;
    struct watched *w = start_each(NULL);
    uint64_t last = 0;

    watched_render(w);
    unsigned before = w->renders;
    for (int i = 0; i < 20; i++) {
        watched_put(w, "things", "a", i % 2 ? "odd" : "even");
        last = renderer_render(w->renderer);
    }
    WAIT_UNTIL(w, w->stats.request == last);
    assert_int_equal(w->renders - before, 2);
    assert_string_equal(text_of(w, "things/default/a"), "the odd");
    watched_free(w);
}

static void a_wrong_program_changes_nothing(void **state)
{
    (void)state;
    struct watched *w = start(&(struct renderer_limits){.deadline_ns = FAST_NS / 5}, "this is no Lua");

    watched_put(w, "things", "a", "x");
    renderer_render(w->renderer);
    WAIT_UNTIL(w, w->refusals == 1);
    assert_non_null(strstr(w->refusal, "program:1:"));
    assert_int_equal(renderer_pid(w->renderer), 0);

    set_program(w, "prefix = 'one '\n" EACH_OBJECT);
    watched_render(w);
    assert_string_equal(text_of(w, "things/default/a"), "one x");
    int pid = renderer_pid(w->renderer);

    set_program(w, "this is no Lua either");
    WAIT_UNTIL(w, w->refusals == 2);
    set_program(w, "while true do end");
    WAIT_UNTIL(w, w->refusals == 3);
    assert_non_null(strstr(w->refusal, "deadline"));
    set_program(w, "local t = {} while true do t[#t + 1] = {} end");
    WAIT_UNTIL(w, w->refusals == 4);
    watched_put(w, "things", "a", "y");
    watched_render(w);
    assert_string_equal(text_of(w, "things/default/a"), "one y");
    assert_int_equal(renderer_pid(w->renderer), pid);
    assert_int_equal(w->deaths, 0);
    watched_free(w);
}

static void a_new_program_takes_over_when_it_has_rendered(void **state)
{
    (void)state;
    struct watched *w = start(NULL, "prefix = 'one '\n" EACH_OBJECT);

    watched_put(w, "things", "a", "x");
    watched_put(w, "things", "b", "x");
    watched_render(w);
    unsigned told = w->fragments_told;
    set_program(w, "prefix = 'two '\n" EACH_OBJECT);
    /* the old one serves meanwhile */
    int pid = renderer_pid(w->renderer);
    watched_put(w, "things", "a", "y");
    watched_render(w);
    WAIT_UNTIL(w, strcmp(text_of(w, "things/default/a"), "two y") == 0);
    WAIT_UNTIL(w, w->stats.complete);
    assert_string_equal(text_of(w, "things/default/b"), "two x");
    assert_true(w->fragments_told >= told + 2);
    assert_int_not_equal(renderer_pid(w->renderer), pid);
    assert_int_equal(w->deaths, 0);
    watched_free(w);
}

static void explanations_come_back(void **state)
{
    (void)state;
    struct watched *w = start_each(NULL);

    renderer_explain(w->renderer, "f", CONTRIBUTION_FILE, "scope", "key", 7, watch_explained, w);
    assert_true(w->explained);
    assert_string_equal(w->where, "");
    watched_render(w);
    w->explained = false;
    renderer_explain(w->renderer, "f", CONTRIBUTION_FILE, "scope", "key", 7, watch_explained, w);
    WAIT_UNTIL(w, w->explained);
    assert_string_equal(w->where, "f|3|scope|key|7");
    /* a renderer that dies over it owes the answer no more */
    w->explained = false;
    kill(renderer_pid(w->renderer), SIGSTOP);
    renderer_explain(w->renderer, "f", CONTRIBUTION_FILE, "scope", "key", 7, watch_explained, w);
    kill(renderer_pid(w->renderer), SIGKILL);
    WAIT_UNTIL(w, w->explained);
    assert_string_equal(w->where, "");
    watched_free(w);
}

/* 60 MB of objects reach the renderer in many turns of the loop, and are never all queued. */
static void a_large_store_streams(void **state)
{
    (void)state;
    struct watched *w = watched_new(NULL);
    CLEANUP(free_ptr) char *text = xmalloc(3001);
    unsigned turns = 0;

    memset(text, 'x', 3000);
    text[3000] = '\0';
    for (int i = 0; i < 20000; i++) {
        char name[16];
        snprintf(name, sizeof(name), "n%d", i);
        watched_put(w, "things", name, text);
    }
    watched_kind(w, "other");
    size_t before = resident_bytes();
    set_program(w, "local host, objects = ...\n"
                   "return function()\n"
                   "  local n = 0 for _ in pairs(objects) do n = n + 1 end\n"
                   "  host.fragment('count', 't.lua', '', '', 0, {3, 0, 0, 'count', '', n .. ''}, 1)\n"
                   "  return true, 1, 1\n"
                   "end\n");
    renderer_render(w->renderer);
    WAIT_UNTIL(w, (turns++, w->renders));
    assert_string_equal(text_of(w, "count"), "20000");
    assert_true(turns > 20);
    assert_grew_less(before, 8);
    watched_free(w);
}

/* Each render leaves a megabyte of garbage; the heap stays small. */
static void garbage_is_collected(void **state)
{
    (void)state;
    struct watched *w = start(NULL, "local host = ...\n"
                                    "local live, complete = {}, true\n"
                                    "for i = 1, 2e5 do live[i] = {i} end\n"
                                    "return function()\n"
                                    "  local t = {} for i = 1, 2e4 do t[i] = {i} end\n"
                                    "  local was = complete complete = false\n"
                                    "  return was, 0, 0\n"
                                    "end\n");
    uint64_t largest = 0;

    watched_render(w);
    uint64_t first = w->stats.heap_bytes;
    for (int i = 0; i < 300; i++) {
        watched_render(w);
        if (w->stats.heap_bytes > largest)
            largest = w->stats.heap_bytes;
    }
    if (largest > 3 * first)
        fail_msg("the heap grew from %llu to %llu bytes", (unsigned long long)first, (unsigned long long)largest);
    watched_free(w);
}

/* A change goes out and its answer comes in within one wake-up of each side. The bound is far above what is usual. */
static void the_way_there_and_back_is_short(void **state)
{
    (void)state;
    struct watched *w = start_each(NULL);
    int64_t best = INT64_MAX, sum = 0;
    const int rounds = 300;

    for (int i = 0; i < 2000; i++) {
        char name[16];
        snprintf(name, sizeof(name), "n%d", i);
        watched_put(w, "things", name, "x");
    }
    watched_render(w);
    for (int i = 0; i < rounds; i++) {
        char text[16];
        snprintf(text, sizeof(text), "v%d", i);
        int64_t begin = clock_now_ns();
        watched_put(w, "things", "n5", text);
        watched_render(w);
        int64_t took = clock_now_ns() - begin;
        sum += took;
        best = took < best ? took : best;
    }
    print_message("one change: %.0f us at best, %.0f us on average\n", (double)best / 1e3, (double)sum / rounds / 1e3);
    assert_true(best < 2 * NS_PER_MS);
    watched_free(w);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(objects_become_fragments),
        cmocka_unit_test(a_change_is_told_alone),
        cmocka_unit_test(changes_of_one_object_coalesce),
        cmocka_unit_test(requests_coalesce),
        cmocka_unit_test(a_wrong_program_changes_nothing),
        cmocka_unit_test(a_new_program_takes_over_when_it_has_rendered),
        cmocka_unit_test(explanations_come_back),
        cmocka_unit_test(a_large_store_streams),
        cmocka_unit_test(garbage_is_collected),
        cmocka_unit_test(the_way_there_and_back_is_short),
    };

    RENDERER_MAIN(argc, argv, tests);
}
