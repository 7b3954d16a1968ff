/* A renderer that says more than it may, or works when nothing is asked of it: it is ended, and the core keeps its
 * memory and its time. Native code writes the frames, past what the engine's own half would refuse. */
#include "renderer_world.h"

#include "engine/ration.h"

#define OUTPUT_BYTES ((size_t)8 << 20)

/* Lua that writes frames to the socket: frame(type, field…), gathered to larger writes; flush(). */
static const char helpers[] =
    "local host, objects, skipped, on = ...\n"
    "local ffi = require('ffi') ffi.cdef 'long write(int, const void *, size_t); int poll(void *, unsigned long, int);'\n"
    "local band, rshift, char = bit.band, bit.rshift, string.char\n"
    "local function u32(n) return char(band(n, 255), band(rshift(n, 8), 255), band(rshift(n, 16), 255), rshift(n, 24)) end\n"
    "local gathered, n = {}, 0\n"
    "local function flush()\n"
    "  local s = table.concat(gathered, '', 1, n) n = 0\n"
    "  local p = ffi.cast('const char *', s) local at, len = 0, #s\n"
    "  while at < len do\n"
    "    local k = tonumber(ffi.C.write(3, p + at, len - at))\n"
    "    if k > 0 then at = at + k end\n"
    "  end\n"
    "end\n"
    "local function frame(t, ...)\n"
    "  local s = t\n"
    "  for i = 1, select('#', ...) do local f = select(i, ...) .. '' s = s .. u32(#f) .. f end\n"
    "  n = n + 1 gathered[n] = u32(#s) .. s\n"
    "  if n == 1000 then flush() end\n"
    "end\n"
    "local count = 0\n"
    "return function() %s flush() return count == 0, 0, 0 end\n";

static struct watched *start_code(const char *code)
{
    const struct renderer_limits limits = {
        .fragment_bytes = (size_t)1 << 20, .output_bytes = OUTPUT_BYTES, .deadline_ns = 20 * NS_PER_S};
    CLEANUP(free_ptr) char *source = xasprintf(helpers, code);
    return start(&limits, source);
}

static void what_floods_the_core_is_ended(void **state)
{
    (void)state;
    static const struct {
        const char *code, *complaint;
    } cases[] = {
        /* each of them a name and next to nothing else */
        {"for i = 1, 1e8 do frame('f', 'id' .. i, 't', '', '', 0) end", "the output in all"},
        {"for i = 1, 1e8 do frame('f', 'id' .. i, 't', '', '', 0, 3, 0, 0, 'f' .. i, '', '') end", "the output in all"},
        {"for i = 1, 1e8 do frame('e', 'id' .. i, 't', '', '', 0, 'm') end", "the output in all"},
        /* the same again and again */
        {"for i = 1, 1e8 do frame('f', 'id', 't', '', '', 0, 3, 0, 0, 'f' .. i, '', '') end", "one rendering"},
        {"for i = 1, 1e8 do frame('g', 'id') end", "one rendering"},
        {"for i = 1, 1e8 do frame('g', 'id' .. i) end", "one rendering"},
        {"for i = 1, 1e8 do frame('l', 0, 'text') end", "messages for the log"},
        {"local t = {'f', 'id', 't', '', '', 0} for i = 1, 200 do for _, v in ipairs({8, 0, 0, '', 'R' .. i, 'm'}) do "
         "t[#t + 1] = v end end frame(unpack(t))",
         "messages of one fragment"},
    };
    size_t before = 0;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct watched *w = start_code(cases[i].code);
        renderer_render(w->renderer);
        WAIT_UNTIL(w, w->deaths || w->renders || w->refusals);
        if (strncmp(w->reason, "protocol: ", 10) != 0 || !strstr(w->reason, cases[i].complaint))
            fail_msg("%s: %s%s", cases[i].code, w->reason, w->refusal);
        assert_true(w->fragments.count + w->failures.count <= OUTPUT_BYTES / RATION_FRAGMENT_BYTES);
        watched_free(w);
        before = before ? before : resident_bytes();
    }
    assert_grew_less(before, 32);
}

/* A little more in each rendering. */
static void what_gathers_over_time_is_counted(void **state)
{
    (void)state;
    struct watched *w = start_code(
        "count = count + 1 for i = 1, 2000 do frame('f', count .. '/' .. i, 't', '', '', 0) end "
        "flush() do return count == 1, 2000, 2000 end");
    unsigned renderings = 0;

    while (!w->deaths && renderings++ < 100) {
        uint64_t request = renderer_render(w->renderer);
        WAIT_UNTIL(w, w->deaths || w->stats.request >= request);
    }
    assert_int_equal(w->deaths, 1);
    assert_non_null(strstr(w->reason, "the output in all"));
    assert_true(renderings <= OUTPUT_BYTES / RATION_FRAGMENT_BYTES / 2000 + 1);
    watched_free(w);
}

/* As many fragments as there may be come and go as often as they like. */
static void what_is_gone_is_not_counted(void **state)
{
    (void)state;
    struct watched *w = start_code("count = count + 1 for i = 1, 2000 do frame('f', count .. '/' .. i, 't', '', '', 0) "
                                   "if count > 1 then frame('g', (count - 1) .. '/' .. i) end end "
                                   "flush() do return count == 1, 2000, 2000 end");

    for (unsigned i = 0; i < 50; i++)
        watched_render(w);
    assert_int_equal(w->deaths, 0);
    assert_int_equal(w->fragments.count, 2000);
    watched_free(w);
}

/* Nothing is owed when objects come and nobody asks for a rendering. */
static void a_restless_renderer_is_ended(void **state)
{
    (void)state;
    struct watched *w = start(&(struct renderer_limits){.deadline_ns = FAST_NS},
                              "local host, objects, skipped, on = ...\n"
                              "local first = true\n"
                              "function on.put() while not first do end end\n"
                              "return function() local was = first first = false return was, 0, 0 end\n");

    watched_render(w);
    watched_put(w, "things", "a", "x");
    WAIT_UNTIL(w, w->deaths);
    assert_non_null(strstr(w->reason, "deadline: it worked on"));
    watched_free(w);
}

/* One that does what it should is left alone for as long as it rests. */
static void a_resting_renderer_lives(void **state)
{
    (void)state;
    struct watched *w = start_each(&(struct renderer_limits){.deadline_ns = FAST_NS / 5});

    for (int i = 0; i < 100; i++) {
        char name[16];
        snprintf(name, sizeof(name), "n%d", i);
        watched_put(w, "things", name, name);
    }
    watched_render(w);
    int64_t end = clock_now_ns() + 2 * NS_PER_S;
    WAIT_UNTIL(w, w->deaths || clock_now_ns() >= end);
    assert_int_equal(w->deaths, 0);
    watched_free(w);
}

/* The table by itself: many names, sums that come out even. */
static void sums_are_kept(void **state)
{
    struct ration r = {0};
    struct err err;
    char id[32];
    (void)state;

    ration_begin(&r, SIZE_MAX / 2);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 10000; i++) {
            snprintf(id, sizeof(id), "id%d", i);
            assert_int_equal(ration_fragment(&r, id, 100 + (size_t)round, &err), 0);
        }
        assert_int_equal(r.alive_bytes, 10000 * (100 + (size_t)round));
    }
    for (int i = 0; i < 9999; i++) {
        snprintf(id, sizeof(id), "id%d", i);
        assert_int_equal(ration_gone(&r, id, &err), 0);
        assert_int_equal(ration_gone(&r, id, &err), 0);
    }
    assert_int_equal(r.alive_bytes, 102);
    for (int i = 0; i < 100000; i++) { /* names that come and go do not make it grow */
        snprintf(id, sizeof(id), "other%d", i);
        assert_int_equal(ration_fragment(&r, id, 1, &err), 0);
        assert_int_equal(ration_gone(&r, id, &err), 0);
    }
    assert_int_equal(r.alive_bytes, 102);
    assert_true(r.capacity <= 32768);
    /* The log: a burst, then so many a second. */
    int64_t now = 1000 * NS_PER_S;
    for (int i = 0; i < RATION_LOG_BURST; i++)
        assert_int_equal(ration_log(&r, now, &err), 0);
    assert_int_equal(ration_log(&r, now, &err), -1);
    ration_begin(&r, 1000);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(ration_log(&r, now += NS_PER_S / RATION_LOG_PER_S, &err), 0);
    assert_int_equal(ration_fragment(&r, "a", 600, &err), 0);
    assert_int_equal(ration_fragment(&r, "a", 300, &err), 0);
    assert_int_equal(ration_fragment(&r, "a", 300, &err), -1); /* of one rendering */
    ration_rendering(&r);
    assert_int_equal(ration_fragment(&r, "b", 700, &err), 0);
    assert_int_equal(ration_fragment(&r, "c", 1, &err), -1); /* in all */
    ration_done(&r);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_floods_the_core_is_ended), cmocka_unit_test(what_gathers_over_time_is_counted),
        cmocka_unit_test(what_is_gone_is_not_counted),   cmocka_unit_test(a_restless_renderer_is_ended),
        cmocka_unit_test(a_resting_renderer_lives),      cmocka_unit_test(sums_are_kept),
    };

    RENDERER_MAIN(argc, argv, tests);
}
