/* From inside a template, with the real engine: nothing outside is in reach, and whatever a template does ends in a
 * clear error or in the renderer's death, while the other fragments are rendered and the core stays small. */
#include "engine_support.h"

#define DEADLINE_NS (NS_PER_S / 2) /* where it may be what ends the code */
#define PATIENT_NS (50 * NS_PER_S) /* where something else is */

/* Two scripts: "probe.lua" with the code to try in a fragment and, beside it, one that must come through. What the
 * code returns is file "answer". */
static struct watched *run_script_within(const char *code, const char *top_level, int64_t deadline_ns)
{
    const struct renderer_limits limits = {.deadline_ns = deadline_ns, .memory_bytes = (size_t)512 << 20};
    CLEANUP(free_ptr)
    char *source = xasprintf("%s\n"
                             "fragment(\"probe\", function(out)\n"
                             "  local answer = (function() %s end)()\n"
                             "  out:file(\"answer\", tostring(answer))\n"
                             "end)\n",
                             top_level, code);
    CLEANUP(free_ptr) char *quoted = json_quoted(source);
    CLEANUP(free_ptr)
    char *program = xasprintf(
        "{\"kinds\":[{\"name\":\"things\",\"parts\":2}],\"scripts\":[{\"name\":\"probe.lua\",\"source\":%s},"
        "{\"name\":\"good.lua\",\"source\":\"each(resources.things, function(o, out) out:file(o.metadata.name, o.spec.text) "
        "end)\"}],\"snippets\":{},\"maps\":{},\"files\":{},\"haproxyConfig\":null,\"extraContext\":{},"
        "\"capabilities\":{},\"allowRaw\":true}",
        quoted);
    struct watched *w = watched_new(&limits);

    watched_put(w, "things", "good", "fine");
    renderer_render(w->renderer);
    renderer_set_program(w->renderer, program, strlen(program));
    WAIT_UNTIL(w, w->renders || w->refusals);
    return w;
}

static struct watched *run_script(const char *code, const char *top_level)
{
    return run_script_within(code, top_level, PATIENT_NS);
}

/* The other fragment did its work. */
static void assert_rest_is_fine(const struct watched *w)
{
    assert_string_equal(text_of(w, "good.lua:each/things/default/good"), "fine");
}

static void assert_answers(const char *code, const char *answer)
{
    struct watched *w = run_script(code, "");
    const char *message = map_get(&w->failures, "probe.lua:probe");

    if (message || w->refusals || w->deaths)
        fail_msg("%s: %s%s%s", code, message ? message : "", w->refusal, w->reason);
    assert_string_equal(text_of(w, "probe.lua:probe"), answer);
    assert_rest_is_fine(w);
    watched_free(w);
}

/* The fragment fails, with a message that says where. */
static void assert_fails(const char *code)
{
    struct watched *w = run_script(code, "");
    const char *message = map_get(&w->failures, "probe.lua:probe");

    if (!message)
        fail_msg("%s: did not fail: %s%s%s", code, text_of(w, "probe.lua:probe"), w->refusal, w->reason);
    else if (!strstr(message, "probe.lua:"))
        fail_msg("%s: the message says not where: %s", code, message);
    assert_int_equal(w->deaths, 0);
    assert_rest_is_fine(w);
    watched_free(w);
}

/* The fragment fails, or the renderer is killed and the next one leaves the fragment out; either way in bounded time
 * and memory. */
static void assert_ends(const char *code)
{
    int64_t begin = clock_now_ns();
    size_t before = resident_bytes();
    struct watched *w = run_script_within(code, "", DEADLINE_NS);
    const char *message = map_get(&w->failures, "probe.lua:probe");

    if (!message)
        fail_msg("%s: did not fail: %s%s%s", code, text_of(w, "probe.lua:probe"), w->refusal, w->reason);
    if (w->deaths) {
        assert_int_equal(w->deaths, 1);
        assert_true(strcmp(w->reason, "deadline") == 0 || strcmp(w->reason, "memory") == 0);
        assert_string_equal(w->at_hand, "probe.lua:probe");
    }
    assert_rest_is_fine(w);
    assert_true(clock_now_ns() - begin < 20 * DEADLINE_NS);
    assert_grew_less(before, 16);
    watched_free(w);
}

static void outside_has_no_name(void **state)
{
    (void)state;
    static const char *const names[] = {
        "io",     "os",       "debug",          "ffi",          "package",         "jit",       "require",
        "module", "load",     "loadstring",     "loadfile",     "dofile",          "getfenv",   "setfenv",
        "rawset", "newproxy", "collectgarbage", "setmetatable", "getmetatable",    "coroutine", "cjson",
        "host",   "_G.io",    "string.dump",    "math.random",  "math.randomseed", "table.new",
    };
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        CLEANUP(free_ptr)
        char *code = xasprintf("local ok, v = pcall(function() return %s end) return ok and v", names[i]);
        struct watched *w = run_script(code, "");
        const char *answer = text_of(w, "probe.lua:probe");
        /* nil, false, or an error: no function, no table */
        if (!map_get(&w->failures, "probe.lua:probe") && strcmp(answer, "nil") != 0 && strcmp(answer, "false") != 0)
            fail_msg("%s: %s%s", names[i], answer, w->refusal);
        assert_rest_is_fine(w);
        watched_free(w);
    }
}

static void files_processes_network_are_errors(void **state)
{
    (void)state;
    assert_fails("return io.open('/etc/passwd')");
    assert_fails("return io.open('/var/run/secrets/kubernetes.io/serviceaccount/token')");
    assert_fails("return os.execute('true')");
    assert_fails("return os.getenv('PATH')");
    assert_fails("return require('ffi').C.getpid()");
    assert_fails("return require('socket')");
    assert_fails("return package.loadlib('x.so', '*')");
    assert_fails("return debug.getregistry()");
    assert_fails("return debug.getinfo(1)");
}

static void environments_can_not_be_swapped(void **state)
{
    (void)state;
    assert_fails("return getfenv(pairs).io");
    assert_fails("return getfenv(0)");
    assert_fails("setfenv(1, {})");
    assert_fails("return load('return io')()");
    assert_fails("return loadstring('\\\\27LJ')()");
    assert_fails("return string.dump(function() end)");
    assert_fails("return ('x'):dump()");
    assert_fails("rawset(string, 'rep', 1)");
    assert_fails("string.rep = nil");
    assert_fails("getmetatable('').__index = {}");
    assert_fails("return ('x').rep.x");
    assert_fails("pairs = nil return pairs({})");
}

static void bytecode_is_refused(void **state)
{
    (void)state;
    struct watched *w = watched_new(NULL);
    static const char program[] =
        "{\"kinds\":[],\"scripts\":[{\"name\":\"b.lua\",\"source\":\"\\u001bLJ\\u0002\\u0002\"}],\"snippets\":{},"
        "\"maps\":{},\"files\":{},\"haproxyConfig\":null,\"extraContext\":{},\"capabilities\":{}}";

    renderer_set_program(w->renderer, program, strlen(program));
    WAIT_UNTIL(w, w->refusals);
    assert_non_null(strstr(w->refusal, "wrong mode"));
    watched_free(w);
}

static void hostile_code_ends(void **state)
{
    (void)state;
    assert_ends("while true do end");
    assert_ends("return ('x'):rep(1e9)");
    assert_ends("return string.rep('x', 1e9)");
    assert_ends("return (('a'):rep(300) .. 'b'):find(('a-'):rep(40) .. 'c')");
    assert_ends("return (('a'):rep(1e5)):gsub('.', ('b'):rep(1e5))");
    assert_ends("local function f(n) return 1 + f(n + 1) end return f(1)");
    assert_ends("local function f() return (('x'):gsub('x', f)) end return f()");
    assert_ends("local t = {} while true do t[#t + 1] = {t} end");
    assert_ends("local s = 'x' while true do s = s .. s end");
    assert_ends("return ('%s'):rep(1e4):format(unpack({}))");
    assert_ends("return string.format('%99999999d', 1)");
    assert_ends(
        "local s = ('x'):rep(1e6) return ('%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s'):format(s,s,s,s,s,s,s,s,s,s,s,s,s,s,s,s,s,s,s,s)");
    assert_ends("while true do pcall(error, 'again') end");
    assert_ends("local t = {} for i = 1, 1e7 do t[i] = i end table.concat(t, ('x'):rep(1e4))");
    assert_ends("for i = 1, 1e9 do out:file('f' .. i, ('x'):rep(1000)) end");
    assert_ends("table.sort({3, 2, 1, 5, 4, 7, 6, 9, 8}, function() while true do end end)");
}

static void odd_errors_are_told(void **state)
{
    (void)state;
    static const char *const codes[] = {"error()",  "error(nil)", "error({})", "error(true)", "error(function() end)",
                                        "error(42)"};

    for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
        struct watched *w = run_script(codes[i], "");
        const char *message = map_get(&w->failures, "probe.lua:probe");
        if (!message || !message[0])
            fail_msg("%s: %s", codes[i], message ? "an empty message" : "no failure");
        assert_int_equal(w->deaths, 0);
        assert_rest_is_fine(w);
        watched_free(w);
    }
}

/* A script that does not end, or eats all memory, while it loads: the program is refused. */
static void hostile_scripts_are_refused(void **state)
{
    (void)state;
    static const char *const scripts[] = {
        "while true do end", "local t = {} while true do t[#t + 1] = {t} end", "io.open('/etc/passwd')", "error('no')",
        "this is no Lua",
    };
    for (size_t i = 0; i < ARRAY_LEN(scripts); i++) {
        struct watched *w = run_script_within("return 1", scripts[i], DEADLINE_NS);
        if (!w->refusals || !w->refusal[0])
            fail_msg("%s: not refused", scripts[i]);
        watched_free(w);
    }
}

/* Output without end is stopped at the call that is too much, with its line and the object, long before memory or time
 * are short; nobody has to be killed. */
static void endless_output_is_stopped_at_its_line(void **state)
{
    (void)state;
    static const struct {
        const char *code, *complaint;
    } cases[] = {
        {"for i = 1, 1e9 do out:map_entry('a.map', 'k' .. i, 'v') end", "larger than"},
        {"for i = 1, 1e9 do out:file('f' .. i, ('x'):rep(1000)) end", "larger than"},
        {"for i = 1, 1e9 do out:map('m' .. i) end", "larger than"},
        {"while true do out:global('maxconn', 5) end", "larger than"},
        {"out:backend('b', function(b) while true do b:line('option', 'x') end end)", "larger than"},
        {"out:backend('b', function(b) while true do b:comment('x') end end)", "larger than"},
        {"out:backend('b', function(b) while true do b:raw('a b') end end)", "larger than"},
        {"out:backend('b', function(b) while true do b:server({name = 's', address = '10.0.0.1', port = 80}) end end)",
         "larger than"},
        {"out:backend('b', function(b) while true do b:acl('a', 'path', '/') end end)", "larger than"},
        {"local function f(i) out:backend('b' .. i, function(b) b:line('x', ('y'):rep(8000)) f(i + 1) end) end f(1)",
         "larger than"},
    };
    size_t before = 0;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        CLEANUP(free_ptr)
        char *code = xasprintf("each(resources.things, 'endless', function(o, out)\n%s\nend)", cases[i].code);
        struct watched *w = run_script("return 1", code);
        const char *message = map_get(&w->failures, "probe.lua:endless/things/default/good");
        if (!message || strncmp(message, "probe.lua:2: ", 13) != 0 || !strstr(message, cases[i].complaint) ||
            !strstr(message, "(things default/good)"))
            fail_msg("%s: %s%s%s", cases[i].code, message ? message : "no failure; ", w->refusal, w->reason);
        assert_int_equal(w->deaths, 0);
        assert_rest_is_fine(w);
        watched_free(w);
        before = before ? before : resident_bytes();
    }
    assert_grew_less(before, 8);
}

/* A template that catches the errors of its emissions: what it put out is cut off where the limit is, and is told as a
 * failure, not as its output. */
static void a_limit_is_not_for_a_template_to_catch(void **state)
{
    (void)state;
    static const char code[] = "each(resources.things, 'map', function(o, out)\n"
                               "  for i = 1, o.spec.text == 'much' and 20000 or 2 do\n"
                               "    pcall(out.map_entry, out, 'a.map', 'k' .. i, ('v'):rep(500))\n"
                               "  end\n"
                               "end)";
    static const char id[] = "probe.lua:map/things/default/good";
    struct watched *w = run_script("return 1", code);
    const struct fragment *f = map_get(&w->fragments, id);

    assert_non_null(f);
    assert_int_equal(f->count, 2);
    watched_put(w, "things", "good", "much");
    watched_render(w);
    const char *message = map_get(&w->failures, id);
    if (!message)
        fail_msg("no failure, of 20000 entries there are %zu", ((struct fragment *)map_get(&w->fragments, id))->count);
    assert_string_equal(message,
                        "probe.lua:3: the output of one fragment is larger than 4194304 bytes (things default/good)");
    assert_null(map_get(&w->fragments, id));
    assert_int_equal(w->deaths, 0);
    assert_string_equal(text_of(w, "good.lua:each/things/default/good"), "much");

    watched_put(w, "things", "good", "few");
    watched_render(w);
    f = map_get(&w->fragments, id);
    assert_non_null(f);
    assert_int_equal(f->count, 2);
    assert_null(map_get(&w->failures, id));
    watched_free(w);
}

static const char big_files[] =
    "{\"kinds\":[{\"name\":\"things\",\"parts\":2}],\"scripts\":[{\"name\":\"big.lua\",\"source\":"
    "\"each(resources.things, function(o, out) "
    "out:file(o.metadata.name, ('x'):rep(2^20 * tonumber(o.spec.text))) end)\"}],"
    "\"snippets\":{},\"maps\":{},\"files\":{},\"haproxyConfig\":null,\"extraContext\":{},\"capabilities\":{}}";

static void put_big(struct watched *w, const char *namespace_name, const char *name, const char *size)
{
    CLEANUP(free_ptr)
    char *json = xasprintf("{\"metadata\":{\"namespace\":\"%s\",\"name\":\"%s\"},\"spec\":{\"text\":\"%s\"}}",
                           namespace_name, name, size);
    struct err err;
    bool changed;

    if (store_put_json(watched_kind(w, "things"), json, strlen(json), &changed, &err) < 0)
        fail_msg("%s", err.text);
}

static void delete_big(struct watched *w, const char *namespace_name, const char *name)
{
    bool existed;

    store_delete(watched_kind(w, "things"), namespace_name, name, &existed);
    assert_true(existed);
}

/* Many fragments that are each within their limit: a namespace holds no more than what stays free for others. What is
 * more waits, is told, and is rendered when there is room; others' changes in the same rendering are not harmed. */
static void room_is_shared(void **state)
{
    (void)state;
    static const struct renderer_limits limits = {.output_bytes = (size_t)8 << 20}; /* an eighth is for messages */
    struct watched *w = watched_new(&limits);

    for (int i = 0; i < 20; i++) {
        char name[16];
        snprintf(name, sizeof(name), "t%02d", i);
        put_big(w, "greedy", name, "1");
    }
    put_big(w, "victim", "small", "0.01");
    renderer_render(w->renderer);
    renderer_set_program(w->renderer, big_files, strlen(big_files));
    WAIT_UNTIL(w, w->renders || w->refusals || w->deaths);
    assert_int_equal(w->deaths, 0);
    assert_non_null(map_get(&w->fragments, "big.lua:each/things/victim/small"));
    assert_int_equal(w->fragments.count, 4); /* 3 of 7 MiB, as 3.5 is the half */
    assert_int_equal(w->failures.count, 17);
    const char *message = map_get(&w->failures, "big.lua:each/things/greedy/t19");
    assert_non_null(message);
    assert_non_null(strstr(message, "held back: namespace greedy has its share of the room"));
    assert_non_null(strstr(message, "(things greedy/t19)"));
    assert_int_equal(w->held_by_size, 17);

    /* The victim's change in the same rendering as the other's attempts. */
    put_big(w, "greedy", "t19", "1.1");
    put_big(w, "victim", "small", "1.5");
    watched_render(w);
    assert_null(map_get(&w->failures, "big.lua:each/things/victim/small"));
    assert_int_equal(w->fragments.count, 4);

    /* What waits is rendered as soon as there is room, without a change of its own. */
    delete_big(w, "victim", "small");
    delete_big(w, "greedy", "t00");
    watched_render(w);
    assert_non_null(map_get(&w->fragments, "big.lua:each/things/greedy/t03"));
    assert_int_equal(w->fragments.count, 3);
    assert_int_equal(w->held_by_size, 16);
    for (int i = 1; i < 18; i++) {
        char name[16];
        snprintf(name, sizeof(name), "t%02d", i);
        delete_big(w, "greedy", name);
        watched_render(w);
    }
    assert_int_equal(w->fragments.count, 2);
    assert_int_equal(w->failures.count, 0);
    assert_int_equal(w->held_by_size, 0);
    assert_int_equal(w->deaths, 0);
    watched_free(w);
}

/* One namespace's work is cut into parts, between which others are heard; a fragment that ends the renderer lets its
 * namespace rest in the next one, not the others. */
static void work_is_shared(void **state)
{
    (void)state;
    static const struct renderer_limits limits = {.deadline_ns = 6 * NS_PER_S};
    static const char program[] =
        "{\"kinds\":[{\"name\":\"things\",\"parts\":2}],\"scripts\":[{\"name\":\"work.lua\",\"source\":"
        "\"each(resources.things, function(o, out) local n = 0 if o.spec.text == 'hang' then while true do end end "
        "for i = 1, tonumber(o.spec.text) do n = (n * 31 + i) % 1000003 end out:file(o.metadata.name, n .. '') end)\"}],"
        "\"snippets\":{},\"maps\":{},\"files\":{},\"haproxyConfig\":null,\"extraContext\":{},\"capabilities\":{}}";
    struct watched *w = watched_new(&limits);

    put_big(w, "victim", "small", "1");
    for (int i = 0; i < 40; i++) {
        char name[16];
        snprintf(name, sizeof(name), "t%02d", i);
        put_big(w, "greedy", name, "1");
    }
    renderer_render(w->renderer);
    renderer_set_program(w->renderer, program, strlen(program));
    WAIT_UNTIL(w, w->renders || w->refusals || w->deaths);

    /* Its namespace has more to do than one turn, and the victim's change comes in the middle. */
    for (int i = 0; i < 40; i++) {
        char name[16];
        snprintf(name, sizeof(name), "t%02d", i);
        put_big(w, "greedy", name, "6000000");
    }
    renderer_render(w->renderer);
    uv_run(&w->loop, UV_RUN_NOWAIT);
    put_big(w, "victim", "small", "2");
    unsigned told = w->fragments_told;
    w->waited_for = "work.lua:each/things/victim/small";
    uint64_t request = renderer_render(w->renderer);
    WAIT_UNTIL(w, w->seen_after && !w->in_rendering);
    assert_true(w->stats.unfinished || w->held_by_time);
    assert_in_range(w->fragments_told - told, 1, 39);
    WAIT_UNTIL(w, w->stats.request >= request && !w->stats.unfinished && w->held_by_time == 0);
    assert_int_equal(w->fragments.count, 41);
    assert_int_equal(w->fragments_told - told, 41);
    assert_int_equal(w->deaths, 0);

    /* All of them hang: the first one costs a renderer, the others wait; the victim does not. */
    for (int i = 0; i < 40; i++) {
        char name[16];
        snprintf(name, sizeof(name), "t%02d", i);
        put_big(w, "greedy", name, "hang");
    }
    put_big(w, "victim", "small", "3");
    request = renderer_render(w->renderer);
    WAIT_UNTIL(w, w->deaths == 1 && w->stats.request >= request && w->stats.complete);
    assert_int_equal(w->deaths, 1);
    assert_int_equal(w->held_by_time, 39);
    assert_non_null(map_get(&w->failures, "work.lua:each/things/greedy/t00")); /* told at once */
    assert_string_equal(w->owner, "greedy/t00");
    put_big(w, "victim", "small", "4");
    watched_render(w);
    assert_int_equal(w->deaths, 1);
    watched_free(w);
}

/* An empty heap is not left to the fragments that come after one that filled it. */
static void successors_of_a_glutton_have_memory(void **state)
{
    (void)state;
    struct watched *w = run_script("local t = {} while true do t[#t + 1] = {t} end", "");

    if (!w->deaths)
        assert_non_null(map_get(&w->failures, "probe.lua:probe"));
    assert_rest_is_fine(w);
    watched_put(w, "things", "good", "still fine");
    watched_render(w);
    assert_string_equal(text_of(w, "good.lua:each/things/default/good"), "still fine");
    watched_free(w);
}

static void harmless_code_runs(void **state)
{
    (void)state;
    assert_answers("return 6 * 7", "42");
    assert_answers("return ('x'):rep(3) .. #resources.things:list()", "xxx1");
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "renderer") == 0)
        worker_run(&(struct vm_options){0});
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(harmless_code_runs),
        cmocka_unit_test(outside_has_no_name),
        cmocka_unit_test(files_processes_network_are_errors),
        cmocka_unit_test(environments_can_not_be_swapped),
        cmocka_unit_test(bytecode_is_refused),
        cmocka_unit_test(hostile_code_ends),
        cmocka_unit_test(odd_errors_are_told),
        cmocka_unit_test(hostile_scripts_are_refused),
        cmocka_unit_test(endless_output_is_stopped_at_its_line),
        cmocka_unit_test(a_limit_is_not_for_a_template_to_catch),
        cmocka_unit_test(room_is_shared),
        cmocka_unit_test(work_is_shared),
        cmocka_unit_test(successors_of_a_glutton_have_memory),
    };

    log_set_level(LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
