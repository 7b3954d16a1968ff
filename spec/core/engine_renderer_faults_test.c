/* A renderer that dies, hangs, breaks the protocol: what is believed of it, who is blamed, what follows. */
#include "renderer_world.h"

#include <sched.h>
#include <sys/prctl.h>
#include <sys/wait.h>

static struct digest digest_of_fragments(const struct watched *w)
{
    struct digest sum = {0};
    struct map_slot *slot;

    for (size_t it = 0; (slot = map_next(&w->fragments, &it));) {
        const struct fragment *f = slot->value;
        sum = digest_add(sum, digest_of(f->id, strlen(f->id)));
        for (size_t i = 0; i < f->count; i++)
            sum = digest_add(sum, f->items[i].text->digest);
    }
    return sum;
}

static void a_killed_renderer_is_replaced(void **state)
{
    (void)state;
    struct watched *w = start_each(NULL);

    for (int i = 0; i < 300; i++) {
        char name[16];
        snprintf(name, sizeof(name), "n%d", i);
        watched_put(w, i % 2 ? "things" : "other", name, name);
    }
    watched_render(w);
    struct digest before = digest_of_fragments(w);
    for (unsigned kill_count = 1; kill_count <= 3; kill_count++) {
        int pid = renderer_pid(w->renderer);
        unsigned renders = w->renders;
        assert_true(pid > 0);
        assert_true(renderer_memory_bytes(w->renderer) > 0);
        kill(pid, SIGKILL);
        WAIT_UNTIL(w, w->renders > renders);
        assert_int_equal(w->deaths, kill_count);
        assert_string_equal(w->reason, "crash: SIGKILL");
        assert_string_equal(w->at_hand, "");
        assert_true(w->stats.complete);
        assert_int_not_equal(renderer_pid(w->renderer), pid);
        assert_true(digest_equal(before, digest_of_fragments(w)));
    }
    assert_true(metric_value(metric_counter(w->metrics, "haptic_renderer_restarts_total", "", "reason", "crash")) == 3);
    watched_free(w);
}

/* What changed while there was no renderer is in the replay. */
static void a_new_renderer_knows_the_newest_state(void **state)
{
    (void)state;
    struct watched *w = start_each(NULL);

    watched_put(w, "things", "a", "old");
    watched_put(w, "things", "b", "old");
    watched_render(w);
    kill(renderer_pid(w->renderer), SIGKILL);
    watched_put(w, "things", "a", "new");
    store_delete(watched_kind(w, "things"), "default", "b", NULL);
    watched_put(w, "things", "c", "new");
    WAIT_UNTIL(w, w->deaths);
    watched_render(w);
    assert_string_equal(text_of(w, "things/default/a"), "the new");
    assert_string_equal(text_of(w, "things/default/c"), "the new");
    assert_int_equal(w->fragments.count, 2);
    watched_free(w);
}

/* After each death in a row the pause doubles, from 100 ms after the second. */
static void restarts_back_off(void **state)
{
    (void)state;
    struct watched *w = start_each(NULL);
    int64_t pause[4] = {0};

    watched_render(w);
    for (size_t i = 0; i < ARRAY_LEN(pause); i++) {
        unsigned deaths = w->deaths;
        kill(renderer_pid(w->renderer), SIGKILL);
        WAIT_UNTIL(w, w->deaths > deaths);
        int64_t begin = clock_now_ns();
        WAIT_UNTIL(w, renderer_pid(w->renderer));
        pause[i] = clock_now_ns() - begin;
    }
    assert_true(pause[0] < 100 * NS_PER_MS);
    assert_true(pause[1] >= 95 * NS_PER_MS);
    assert_true(pause[2] >= 195 * NS_PER_MS);
    assert_true(pause[3] >= 395 * NS_PER_MS);
    watched_free(w);
}

static void a_hanging_fragment_is_left_out_until_its_object_changes(void **state)
{
    (void)state;
    struct watched *w = start_each(&(struct renderer_limits){.deadline_ns = FAST_NS});

    watched_put(w, "things", "good", "x");
    watched_put(w, "things", "poison", "x");
    watched_render(w);
    watched_put(w, "things", "poison", "hang");
    watched_put(w, "things", "good", "y");
    watched_render(w);
    assert_int_equal(w->deaths, 1);
    assert_string_equal(w->reason, "deadline");
    assert_string_equal(w->at_hand, "things/default/poison");
    assert_string_equal(w->owner, "default/poison");
    assert_string_equal(map_get(&w->failures, "things/default/poison"), "skipped");
    assert_string_equal(text_of(w, "things/default/good"), "the y");
    /* also in the next process, although nothing hangs there */
    kill(renderer_pid(w->renderer), SIGKILL);
    WAIT_UNTIL(w, w->deaths == 2);
    watched_render(w);
    assert_string_equal(map_get(&w->failures, "things/default/poison"), "skipped");
    watched_put(w, "things", "poison", "cured");
    watched_render(w);
    assert_string_equal(text_of(w, "things/default/poison"), "the cured");
    kill(renderer_pid(w->renderer), SIGKILL);
    WAIT_UNTIL(w, w->deaths == 3);
    watched_render(w);
    assert_string_equal(text_of(w, "things/default/poison"), "the cured");
    watched_free(w);
}

/* A kill from outside is not the fault of what was at hand; twice the same is no accident. */
static void outside_kills_are_blamed_the_second_time(void **state)
{
    (void)state;
    struct watched *w = start_each(&(struct renderer_limits){.deadline_ns = 20 * NS_PER_S});

    watched_render(w);
    watched_put(w, "things", "a", "hang");
    uint64_t request = renderer_render(w->renderer);
    for (unsigned kills = 1; kills <= 2; kills++) {
        int64_t begin = clock_now_ns();
        WAIT_UNTIL(w, renderer_pid(w->renderer) && clock_now_ns() - begin > 2 * NS_PER_S);
        kill(renderer_pid(w->renderer), SIGKILL);
        WAIT_UNTIL(w, w->deaths == kills);
        assert_string_equal(w->at_hand, "things/default/a");
    }
    WAIT_UNTIL(w, w->stats.request >= request);
    assert_string_equal(map_get(&w->failures, "things/default/a"), "skipped");
    watched_free(w);
}

/* A stopped process is killed like one that computes for ever, and as soon. */
static void a_stopped_renderer_is_killed(void **state)
{
    (void)state;
    const int64_t limit_ns = 2 * NS_PER_S;
    struct watched *w = start_each(&(struct renderer_limits){.deadline_ns = limit_ns});

    watched_render(w);
    kill(renderer_pid(w->renderer), SIGSTOP);
    watched_put(w, "things", "a", "x");
    int64_t begin = clock_now_ns();
    renderer_render(w->renderer);
    WAIT_UNTIL(w, w->deaths == 1);
    /* libuv counts from the time at which the loop last looked at the clock, which is a little earlier. */
    assert_in_range(clock_now_ns() - begin, limit_ns - NS_PER_S / 2, 3 * limit_ns);
    assert_string_equal(w->reason, "deadline");
    watched_render(w);
    assert_string_equal(text_of(w, "things/default/a"), "the x");
    watched_free(w);
}

/* What breaks the protocol is killed, whatever it is; the core keeps its memory and goes on. */
static void nonsense_is_not_believed(void **state)
{
    (void)state;
    /* Lua that writes bytes to the socket: raw(string); frame(type, field…). */
    static const char helpers[] =
        "local host = ...\n"
        "local ffi = require('ffi') ffi.cdef 'long write(int, const void *, size_t);'\n"
        "local function u32(n) return string.char(n %% 256, math.floor(n / 256) %% 256, math.floor(n / 65536) %% 256,\n"
        "  math.floor(n / 16777216)) end\n"
        "local function raw(s) while #s > 0 do local n = tonumber(ffi.C.write(3, s, #s)) if n > 0 then s = s:sub(n + 1) end end end\n"
        "local function frame(t, ...)\n"
        "  local s = t\n"
        "  for _, f in ipairs({...}) do f = f .. '' s = s .. u32(#f) .. f end\n"
        "  raw(u32(#s) .. s)\n"
        "end\n"
        "local function item(...) frame('f', 'id', 't.lua', 'things', 'default/a', 0, ...) end\n"
        "return function() %s return true, 0, 0 end\n";
    static const struct {
        const char *code, *complaint;
    } cases[] = {
        {"raw('\\0\\0\\0\\0')", "empty frame"},
        {"raw('\\255\\255\\255\\255')", "a frame of 4294967295 bytes"},
        {"frame('?')", "unknown type"},
        {"frame('P', 'things')", "unknown type"},
        {"frame('r')", "lacks a field"},
        {"frame('r', 'x', 1, 0, 0, 0, 0)", "number"},
        {"frame('r', 99, 1, 0, 0, 0, 0, 0, -1)", "request that was not made"},
        {"frame('r', 1, 0, 0, 0, 0, 0, 0, -1)", "complete"},
        {"frame('r', 1, 2, 0, 0, 0, 0)", "2 is not within 0 and 1"},
        {"frame('r', 1, 1, 0, 0, 0, 0, 0)", "lacks a field"},
        {"frame('r', 1, 1, 0, 0, 0, 0, 2, -1)", "2 is not within 0 and 1"},
        {"frame('r', 1, 1, 0, 0, 0, 0, 0, -2)", "-2 is not within"},
        {"frame('r', 1, 1, 0, 0, 0, 0, 0, -1, 0)", "a field too many"},
        {"frame('w', 'a\\0b')", "control character"},
        {"frame('h', 'shop', 1)", "lacks a field"},
        {"frame('h', 'shop', -1, 0)", "-1 is not within"},
        {"for i = 1, 20001 do frame('h', 'shop', 1, 1) end", "so many"},
        {"frame('r', '-1', 1, 0, 0, 0, 0)", "-1 is not within"},
        {"frame('r', '18446744073709551617', 1, 0, 0, 0, 0)", "number"},
        {"frame('x', 1, 'here')", "nobody asked for"},
        {"frame('c', '')", "configured twice"},
        {"frame('l', 9, 'text')", "9 is not within"},
        {"frame('l', 0, ('x'):rep(1e5))", "bytes"},
        {"frame('g', 'a\\0b')", "control character"},
        {"frame('g', ('x'):rep(5000))", "more than 2048"},
        {"frame('e', 'id', 't.lua', '', '', 0)", "lacks a field"},
        {"frame('f', '', 't.lua', '', '', 0)", "without an id"},
        {"item(3, 0, 0, 'file')", "lacks a field"},
        {"item(12, 0, 0, 'file', '', '')", "12 is not within"},
        {"item(11, 0, 0, '', 'id', '{}')", "needs its kind"},
        {"item(10, 0, 0, '', '', '{}')", "needs its identity"},
        {"item(9, 0, 0, '', '', 'closed')", "the name of a fragment"},
        {"item(9, 0, 0, '', 'id', '')", "the name of a backend"},
        {"item(3, '4000000000', 0, 'file', '', '')", "not within"},
        {"item(3, 0, 0, '../../etc/passwd', '', '')", "no file name"},
        {"item(3, 0, 0, '/etc/passwd', '', '')", "no file name"},
        {"item(3, 0, 0, 'a//b', '', '')", "no file name"},
        {"item(3, 0, 0, 'a/b', '', '')", "no file name"},
        {"item(3, 0, 0, '.hidden', '', '')", "no file name"},
        {"item(2, 0, 0, ('n'):rep(251), 'k', 'v')", "no file name"},
        {"item(0, 0, 0, 'backend a\\n  evil', 'body', '')", "control character"},
        {"item(0, 0, 0, 'backend a', 'body', 'no end of line')", "no end"},
        {"item(2, 0, 0, 'a.map', 'key', 'value\\nkey2 value2')", "control character"},
        {"item(3, 0, 0, 'file', '', 'a', 3, 0, 0, 'file', '', 'b')", "two contributions"},
        {"item(3, 0, 0, 'file', '', ('x'):rep(2e6))", "bytes"},
        {"for i = 1, 30 do item(3, 0, 0, 'file', '', ('x'):rep(5e5)) end", "one rendering gives more"},
    };
    const struct renderer_limits limits = {.fragment_bytes = (size_t)1 << 20, .output_bytes = (size_t)8 << 20};
    size_t before = 0;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        CLEANUP(free_ptr) char *source = xasprintf(helpers, cases[i].code);
        struct watched *w = start(&limits, source);
        renderer_render(w->renderer);
        WAIT_UNTIL(w, w->deaths || w->renders || w->refusals);
        if (strncmp(w->reason, "protocol: ", 10) != 0 || !strstr(w->reason, cases[i].complaint))
            fail_msg("%s: %s%s", cases[i].code, w->reason, w->refusal);
        watched_free(w);
        before = before ? before : resident_bytes();
    }
    assert_grew_less(before, 16);
}

/* The renderer's own half of the rules blames the fragment and lives on. */
static void wrong_contributions_fail_their_fragment(void **state)
{
    (void)state;
    static const char *const items[] = {
        "{3, 0, 0, '../x', '', ''}",      "{3, 0, 0, 'file', '', {}}",
        "{3.5, 0, 0, 'file', '', ''}",    "{0, 0, 0, 'backend a', 'b', 'x'}",
        "{3, 0, 0, 'file', 'a\\nb', ''}", "{3, 0, 0, 'file', '', ('x'):rep(5e6)}",
        "{77, 0, 0, 'file', '', ''}",     "{}",
    };
    for (size_t i = 0; i < ARRAY_LEN(items); i++) {
        CLEANUP(free_ptr)
        char *source = xasprintf("local host = ...\n"
                                 "return function()\n"
                                 "  local ok, message = pcall(host.fragment, 'f', 't.lua', '', '', 0, %s, 1)\n"
                                 "  host.failed('f', 't.lua', '', '', 0, tostring(ok) .. ' ' .. tostring(message))\n"
                                 "  return true, 1, 1\n"
                                 "end\n",
                                 items[i]);
        struct watched *w = start(NULL, source);
        watched_render(w);
        assert_int_equal(w->deaths, 0);
        const char *message = map_get(&w->failures, "f");
        if (!message || strncmp(message, "false ", 6) != 0)
            fail_msg("%s: %s", items[i], message ? message : "(nothing)");
        watched_free(w);
    }
}

/* An error of the engine itself is told with its traceback, and not repeated for ever at full speed. */
static void an_engine_that_fails_is_replaced(void **state)
{
    (void)state;
    struct watched *w = start(NULL, "return function() error({}) end");

    renderer_render(w->renderer);
    WAIT_UNTIL(w, w->refusals);
    assert_non_null(strstr(w->refusal, "engine"));
    assert_int_equal(w->deaths, 4);
    watched_free(w);
}

/* Another process that takes nearly all of the renderer's processor. */
static pid_t starve(pid_t renderer)
{
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (volatile unsigned long n = 0;; n++)
            ;
    }
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET((size_t)sched_getcpu(), &one);
    assert_int_equal(sched_setaffinity(pid, sizeof(one), &one), 0);
    assert_int_equal(sched_setaffinity(renderer, sizeof(one), &one), 0);
    assert_int_equal(sched_setscheduler(renderer, SCHED_IDLE, &(struct sched_param){0}), 0);
    return pid;
}

/* The fragment that runs is not to blame when the renderer does not get a processor: it has its time, however long that
 * takes. */
static void a_renderer_without_a_processor_has_longer(void **state)
{
    (void)state;
    const int64_t limit_ns = NS_PER_S;
    struct watched *w = start_each(&(struct renderer_limits){.deadline_ns = limit_ns});

    watched_render(w);
    pid_t other = starve(renderer_pid(w->renderer));
    watched_put(w, "things", "a", "hang"); /* it computes for ever, and has not had its time */
    renderer_render(w->renderer);
    for (int64_t begin = clock_now_ns(); clock_now_ns() - begin < 6 * limit_ns;)
        uv_run(&w->loop, UV_RUN_NOWAIT), usleep(1000);
    kill(other, SIGKILL);
    waitpid(other, NULL, 0);
    assert_int_equal(w->deaths, 0);
    watched_free(w);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_killed_renderer_is_replaced),
        cmocka_unit_test(a_new_renderer_knows_the_newest_state),
        cmocka_unit_test(restarts_back_off),
        cmocka_unit_test(a_hanging_fragment_is_left_out_until_its_object_changes),
        cmocka_unit_test(outside_kills_are_blamed_the_second_time),
        cmocka_unit_test(a_stopped_renderer_is_killed),
        cmocka_unit_test(a_renderer_without_a_processor_has_longer),
        cmocka_unit_test(nonsense_is_not_believed),
        cmocka_unit_test(wrong_contributions_fail_their_fragment),
        cmocka_unit_test(an_engine_that_fails_is_replaced),
    };

    RENDERER_MAIN(argc, argv, tests);
}
