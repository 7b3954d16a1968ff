/* An endless loop is reported with the template and the line where it was: in compiled code, in what a fragment calls,
 * in one call of a library function, and while a program loads. */
#include "engine_support.h"

#define DEADLINE_NS (NS_PER_S / 2)

/* Scripts, snippets and haproxyConfig of a program that has an endless loop, and where that is. */
struct endless {
    const char *name, *scripts[2], *snippet, *config, *place;
};

static void add_script(struct buf *out, const char *name, const char *source)
{
    CLEANUP(free_ptr) char *quoted = json_quoted(source);

    buf_printf(out, "%s{\"name\":\"%s\",\"source\":%s}", out->length ? "," : "", name, quoted);
}

static struct watched *run_program(const struct endless *c)
{
    const struct renderer_limits limits = {.deadline_ns = DEADLINE_NS, .memory_bytes = (size_t)512 << 20};
    CLEANUP(buf_done) struct buf scripts = {0};
    CLEANUP(free_ptr) char *snippet = json_quoted(c->snippet ? c->snippet : "");
    CLEANUP(free_ptr) char *config = json_quoted(c->config ? c->config : "");
    struct watched *w = watched_new(&limits);

    if (c->scripts[0])
        add_script(&scripts, "a.lua", c->scripts[0]);
    if (c->scripts[1])
        add_script(&scripts, "b.lua", c->scripts[1]);
    CLEANUP(free_ptr)
    char *program = xasprintf(
        "{\"kinds\":[{\"name\":\"things\",\"parts\":2}],\"scripts\":[%s],\"snippets\":{\"part\":%s},"
        "\"maps\":{},\"files\":{},\"haproxyConfig\":%s,\"extraContext\":{},\"capabilities\":{},"
        "\"allowRaw\":true}",
        buf_str(&scripts), snippet, c->config ? config : "null");
    watched_put(w, "things", "one", "fine");
    renderer_render(w->renderer);
    renderer_set_program(w->renderer, program, strlen(program));
    return w;
}

static void a_fragment_says_its_line(void **state)
{
    (void)state;
    static const struct endless cases[] = {
        {"nothing in it",
         {"fragment('f', function(out)\n  local a = 1\n  while true do end\nend)"},
         NULL,
         NULL,
         "a.lua:3"},
        {"arithmetic",
         {"fragment('f', function(out)\n  local n = 0\n\n  repeat n = n + 1 until n < 0\nend)"},
         NULL,
         NULL,
         "a.lua:4"},
        {"goto", {"fragment('f', function(out)\n::again::\n goto again\nend)"}, NULL, NULL, "a.lua:"},
        {"of an object",
         {"each(resources.things, function(o, out)\n  local x = o.spec.text\n  while #x > 0 do end\nend)"},
         NULL,
         NULL,
         "a.lua:3"},
        {"in a function",
         {"local function f(n)\n  while n > 0 do\n    n = n + 1\n  end\nend\nfragment('f', function(out) f(1) end)"},
         NULL,
         NULL,
         "a.lua:"},
        {"recursion",
         {"local function f(n)\n  return f(n + 1)\nend\nfragment('f', function(out) f(1) end)"},
         NULL,
         NULL,
         "a.lua:2"},
        {"pcall", {"fragment('f', function(out)\n  while true do\n pcall(error, 'x') end\nend)"}, NULL, NULL, "a.lua:"},
        {"strings",
         {"fragment('f', function(out)\n  local s = 'x'\n  while true do s = ('y' .. s):sub(1, 9) end\nend)"},
         NULL,
         NULL,
         "a.lua:3"},
        {"tables",
         {"fragment('f', function(out)\n  while true do\n local t = {}; t[1] = t\n end\nend)"},
         NULL,
         NULL,
         "a.lua:"},
        {"many iterations",
         {"fragment('f', function(out)\n  local n = 0\n  for i = 1, 1e15 do n = n + i end\nend)"},
         NULL,
         NULL,
         "a.lua:3"},
        {"pairs",
         {"fragment('f', function(out)\n  local t = { a = 1 }\n  while true do for _ in pairs(t) do end end\nend)"},
         NULL,
         NULL,
         "a.lua:3"},
        {"emitters",
         {"fragment('f', function(out)\n  while true do\n    out:backend('b', function(b) b:line('mode', 'http') end)\n  end\nend)"},
         NULL,
         NULL,
         NULL},
        {"shared",
         {"local v = shared('v', function()\n  local n = 0\n  while true do n = n + 1 end\nend)\nfragment('f', function(out) v() end)"},
         NULL,
         NULL,
         "a.lua:3"},
        {"another script",
         {"fragment('ok', function(out) out:file('ok', 'x') end)",
          "\n\nfragment('f', function(out)\n  while true do end\nend)"},
         NULL,
         NULL,
         "b.lua:4"},
        {"compiled before",
         {"fragment('f', function(out)\n  local n = 0\n  for _ = 1, 1000 do\n    for i = 1, 100 do n = n + i end\n  end\n  while n > 0 do n = n + 1 end\nend)"},
         NULL,
         NULL,
         "a.lua:6"},
        {"a pattern",
         {"fragment('f', function(out)\n  local s = ('a'):rep(400)\n  local m = s:match('.-.-.-.-.-.-b')\nend)"},
         NULL,
         NULL,
         "a.lua:3"},
        {"gsub calls back",
         {"fragment('f', function(out)\n  local s = ('a'):rep(400)\n  s:gsub('a', function(x)\n    while true do x = x end\n  end)\nend)"},
         NULL,
         NULL,
         "a.lua:4"},
        {"a text template", {NULL}, NULL, "global\n  # one\n{% while true do end %}\n", "haproxyConfig:3"},
        {"a text template's output",
         {NULL},
         NULL,
         "global\n{%- for i = 1, 1e15 do -%}\n{%- end -%}\n",
         "haproxyConfig:"},
        {"an included snippet",
         {NULL},
         "\n\n{% local n = 1 while n > 0 do n = n + 1 end %}\n",
         "global\n{% include 'part' %}\n",
         "part:3"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct endless *c = &cases[i];
        struct watched *w = run_program(c);
        WAIT_UNTIL(w, w->renders || w->refusals);
        if (w->refusals)
            fail_msg("%s: %s", c->name, w->refusal);
        if (c->place && (w->deaths != 1 || strcmp(w->reason, "deadline") != 0 ||
                         strncmp(w->place, c->place, strlen(c->place)) != 0 ||
                         (c->place[strlen(c->place) - 1] != ':' && strcmp(w->place, c->place) != 0)))
            fail_msg("%s: %u deaths, %s at '%s', not %s", c->name, w->deaths, w->reason, w->place, c->place);
        watched_free(w);
    }
}

/* Of a fragment that works, and of one that ends in another way, no line is told. */
static void others_have_no_line(void **state)
{
    (void)state;
    static const struct endless memory = {
        "memory",
        {"fragment('f', function(out)\n  local t = {}\n  for i = 1, 1e9 do t[i] = { i } end\nend)"},
        NULL,
        NULL,
        NULL};
    struct watched *w = run_program(&memory);

    WAIT_UNTIL(w, w->renders);
    assert_true(w->deaths <= 1);
    if (w->deaths && strcmp(w->reason, "memory") == 0)
        assert_string_equal(w->place, "");
    watched_free(w);
}

static void a_program_that_does_not_load_says_its_line(void **state)
{
    (void)state;
    static const struct endless cases[] = {
        {"at the top",
         {"local n = 1\nwhile n > 0 do n = n + 1 end"},
         NULL,
         NULL,
         "a.lua:2: the renderer ended while it loaded"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct watched *w = run_program(&cases[i]);
        WAIT_UNTIL(w, w->refusals);
        if (strncmp(w->refusal, cases[i].place, strlen(cases[i].place)) != 0)
            fail_msg("%s: %s", cases[i].name, w->refusal);
        watched_free(w);
    }
}

/* New templates with an endless loop end their renderer, and the namespace rests in the next one: what waits there is
 * no failure. */
static void what_waits_is_no_failure(void **state)
{
    (void)state;
    static const struct endless good = {
        "good", {"each(resources.things, function(o, out) out:file(o.metadata.name, 'x') end)"}, NULL, NULL, NULL};
    static const char loops[] =
        "{\"kinds\":[{\"name\":\"things\",\"parts\":2}],\"scripts\":[{\"name\":\"a.lua\",\"source\":"
        "\"each(resources.things, function(o, out) if o.spec.text == 'hang' then while true do end end "
        "out:file(o.metadata.name, 'x') end)\"}],\"snippets\":{},\"maps\":{},\"files\":{},"
        "\"haproxyConfig\":null,\"extraContext\":{},\"capabilities\":{},\"allowRaw\":true}";
    struct watched *w = run_program(&good);

    watched_put(w, "things", "hangs", "hang");
    WAIT_UNTIL(w, w->renders);
    watched_render(w);
    renderer_set_program(w->renderer, loops, strlen(loops));
    WAIT_UNTIL(w, w->deaths == 1 && w->asked > 0);
    assert_int_equal(w->asked_failures, 1);
    assert_int_equal(w->refusals, 0);
    watched_free(w);
}

/* A place is the child's to write: whatever it holds, what the core reads is a short text without control
 * characters. */
static void a_place_is_not_trusted(void **state)
{
    (void)state;
    struct shared_page page = {0};
    struct at_hand at_hand;
    char name[200];

    shared_page_place(&page, "ingress.lua", 120);
    assert_false(shared_page_read(&page, &at_hand));
    assert_string_equal(at_hand.place, "ingress.lua:120");
    memset(name, 'x', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    shared_page_place(&page, name, 2147483647);
    shared_page_read(&page, &at_hand);
    assert_true(strlen(at_hand.place) <= AT_HAND_PLACE_MAX);
    assert_string_equal(strchr(at_hand.place, ':'), ":2147483647");
    page.place_length = AT_HAND_PLACE_MAX + 1;
    shared_page_read(&page, &at_hand);
    assert_string_equal(at_hand.place, "");
    shared_page_place(&page, "a\nb", 1);
    shared_page_read(&page, &at_hand);
    assert_string_equal(at_hand.place, "");
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "renderer") == 0)
        worker_run(&(struct vm_options){0});
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_fragment_says_its_line),
        cmocka_unit_test(others_have_no_line),
        cmocka_unit_test(a_program_that_does_not_load_says_its_line),
        cmocka_unit_test(what_waits_is_no_failure),
        cmocka_unit_test(a_place_is_not_trusted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
