/* The core's side: what is sent, what is believed, what happens when the process dies. The engine in Lua is a small
 * one of this test, so that it can misbehave on purpose; the renderer of this test has all libraries (but the jail is
 * the real one). */
#include "engine_support.h"

#define FAST_NS (NS_PER_S / 2)

/* One fragment per object. spec.text decides: "hang" does not end, "fail" fails, else it is the fragment's text. */
#define EACH_OBJECT \
    "local host, objects, skipped, on = ...\n" \
    "local cjson = require('cjson')\n" \
    "local put, delete, dirty, complete, puts = on.put, on.delete, {}, true, 0\n" \
    "function on.put(kind, id, ...)\n" \
    "  put(kind, id, ...) dirty[kind .. '/' .. id] = true puts = puts + 1\n" \
    "end\n" \
    "function on.delete(kind, id)\n" \
    "  delete(kind, id) dirty[kind .. '/' .. id] = nil host.gone(kind .. '/' .. id)\n" \
    "end\n" \
    "local function body(o)\n" \
    "  local text = cjson.decode(o.json).spec.text\n" \
    "  if text == 'hang' then while true do end end\n" \
    "  if text == 'fail' then error('it failed', 0) end\n" \
    "  if text == 'puts' then return puts end\n" \
    "  return prefix .. text\n" \
    "end\n" \
    "return function()\n" \
    "  local ids, gone = {}, {}\n" \
    "  for id in pairs(dirty) do ids[#ids + 1] = id end\n" \
    "  table.sort(ids)\n" \
    "  for _, id in ipairs(ids) do\n" \
    "    local o = objects[id]\n" \
    "    if skipped[id] then\n" \
    "      host.failed(id, 'each.lua', o.kind, o.id, o.created, 'skipped')\n" \
    "      skipped[id] = nil\n" \
    "    else\n" \
    "      host.at(id, 'each.lua', o.kind, o.id)\n" \
    "      local ok, text = pcall(body, o)\n" \
    "      if ok then host.fragment(id, 'each.lua', o.kind, o.id, o.created, {3, 0, 0, 'file', '', text .. ''}, 1)\n" \
    "      else host.failed(id, 'each.lua', o.kind, o.id, o.created, text) end\n" \
    "    end\n" \
    "  end\n" \
    "  dirty = {}\n" \
    "  local was = complete complete = false\n" \
    "  return was, #ids, #ids\n" \
    "end\n"

static void set_program(struct watched *w, const char *source)
{
    CLEANUP(free_ptr) char *quoted = json_quoted(source);
    CLEANUP(free_ptr)
    char *program = xasprintf(
        "{\"kinds\":[{\"name\":\"other\",\"parts\":2},{\"name\":\"things\",\"parts\":2}],\"source\":%s}", quoted);

    renderer_set_program(w->renderer, program, strlen(program));
}

static struct watched *start(const struct renderer_limits *limits, const char *source)
{
    struct watched *w = watched_new(limits);

    watched_kind(w, "things");
    watched_kind(w, "other");
    set_program(w, source);
    return w;
}

static struct watched *start_each(const struct renderer_limits *limits)
{
    return start(limits, "prefix = 'the '\n" EACH_OBJECT);
}

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
        WAIT_UNTIL(w, renderer_pid(w->renderer) && clock_now_ns() - begin > 500 * NS_PER_MS);
        kill(renderer_pid(w->renderer), SIGKILL);
        WAIT_UNTIL(w, w->deaths == kills);
        assert_string_equal(w->at_hand, "things/default/a");
    }
    WAIT_UNTIL(w, w->stats.request >= request);
    assert_string_equal(map_get(&w->failures, "things/default/a"), "skipped");
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

/* A stopped process is killed like one that computes for ever. */
static void a_stopped_renderer_is_killed(void **state)
{
    (void)state;
    struct watched *w = start_each(&(struct renderer_limits){.deadline_ns = FAST_NS});

    watched_render(w);
    kill(renderer_pid(w->renderer), SIGSTOP);
    watched_put(w, "things", "a", "x");
    watched_render(w);
    assert_int_equal(w->deaths, 1);
    assert_string_equal(w->reason, "deadline");
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
        {"frame('r', 99, 1, 0, 0, 0, 0)", "request that was not made"},
        {"frame('r', 1, 0, 0, 0, 0, 0)", "complete"},
        {"frame('r', 1, 2, 0, 0, 0, 0)", "2 is not within 0 and 1"},
        {"frame('r', 1, 1, 0, 0, 0, 0, 0)", "a field too many"},
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
        {"item(9, 0, 0, 'file', '', '')", "9 is not within"},
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
        {"for i = 1, 30 do item(3, 0, 0, 'file', '', ('x'):rep(5e5)) end", "of output"},
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
    if (!JAIL_SANITIZED)
        assert_true(resident_bytes() < before + ((size_t)16 << 20));
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
    if (!JAIL_SANITIZED)
        assert_true(resident_bytes() < before + ((size_t)8 << 20));
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
    if (argc == 2 && strcmp(argv[1], "renderer") == 0)
        worker_run(&(struct vm_options){.engine_source = open_engine, .all_libraries = true});
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(objects_become_fragments),
        cmocka_unit_test(a_change_is_told_alone),
        cmocka_unit_test(changes_of_one_object_coalesce),
        cmocka_unit_test(requests_coalesce),
        cmocka_unit_test(a_killed_renderer_is_replaced),
        cmocka_unit_test(a_new_renderer_knows_the_newest_state),
        cmocka_unit_test(restarts_back_off),
        cmocka_unit_test(a_hanging_fragment_is_left_out_until_its_object_changes),
        cmocka_unit_test(outside_kills_are_blamed_the_second_time),
        cmocka_unit_test(a_wrong_program_changes_nothing),
        cmocka_unit_test(a_new_program_takes_over_when_it_has_rendered),
        cmocka_unit_test(explanations_come_back),
        cmocka_unit_test(a_stopped_renderer_is_killed),
        cmocka_unit_test(nonsense_is_not_believed),
        cmocka_unit_test(wrong_contributions_fail_their_fragment),
        cmocka_unit_test(an_engine_that_fails_is_replaced),
        cmocka_unit_test(a_large_store_streams),
        cmocka_unit_test(garbage_is_collected),
        cmocka_unit_test(the_way_there_and_back_is_short),
    };

    log_set_level(LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
