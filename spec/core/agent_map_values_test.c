/* Entries of maps whose values are only data: they go live without a check, and HAProxy has them as they are in the
 * map's file. Entries that choose a backend wait for it. */
#include "agent_support.h"

#include "agent/judge.h"
#include "agent/map_uses.h"

/* ---- what texts do with maps ---- */

static void test_uses(void **state)
{
    static const struct {
        const char *text;
        struct map_use use;
    } cases[] = {
        {"path,map(maps/a.map)", {.any_key = true, .by_key = true}},
        {"path,map_str(maps/a.map,none) x", {.any_key = true, .by_key = true}},
        {"path,map_beg(maps/a.map)", {.any_key = true, .by_key = true}},
        {"path,map_dom(maps/a.map)", {.any_key = true}},
        {"path,map_str_int(maps/a.map)", {.any_key = true, .by_key = true, .integers = true}},
        {"path,map_str_str(maps/a.map)", {.any_key = true, .by_key = true}},
        {"path,map_beg_ip(maps/a.map)", {.any_key = true, .by_key = true, .addresses = true}},
        {"path,map_end_int(maps/a.map)", {.any_key = true, .integers = true}},
        {"path,map_int(maps/a.map)", {0}},
        {"path,map_ip(maps/a.map)", {0}},
        {"path,map_reg(maps/a.map)", {0}},
        {"path,map_regm(maps/a.map)", {0}},
        {"path,map_str_what(maps/a.map)", {0}},
        {"path -f maps/a.map", {0}},
        {"\"maps/a.map\"", {0}},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *at = cases[i].text, *end = at + strlen(at);
        struct map_use use;
        assert_true(map_use_next(&at, end, &use));
        if (use.name_length != 5 || memcmp(use.name, "a.map", 5) != 0 || use.any_key != cases[i].use.any_key ||
            use.by_key != cases[i].use.by_key || use.integers != cases[i].use.integers ||
            use.addresses != cases[i].use.addresses)
            fail_msg("%s is understood wrongly", cases[i].text);
        assert_false(map_use_next(&at, end, &use));
    }
}

static void note_leading(void *ctx, const char *name)
{
    buf_printf(ctx, "%s ", name);
}

static void test_ways_to_a_backend(void **state)
{
    static const struct {
        const char *text, *leading;
    } cases[] = {
        {"use_backend %[req.hdr(host),map(maps/a.map)]", "a.map "},
        {"http-request set-var(txn.a) path,map(maps/a.map)", ""},
        {"http-request set-var(txn.a) path,map(maps/a.map)\nuse_backend %[var(txn.a)]\n", "a.map "},
        {"use_backend %[var(txn.b)] if x\nhttp-request set-var(txn.b) var(txn.a),field(1,@)\n"
         "http-request set-var(txn.a) path,map_beg(maps/a.map)\n",
         "a.map "},
        {"http-request set-header X %[path,map(maps/a.map)]\nuse_backend b if TRUE\n", ""},
        {"http-request set-var-fmt(txn.c) %[path,map(maps/a.map)]\nuse_backend %[str(),concat(,txn.c)]\n", "a.map "},
        {"http-request deny if { path,map(maps/a.map),set-var(txn.d) -m found }\nuse_backend %[var(txn.d)]\n",
         "a.map "},
        {"use_backend b if { path,map(maps/a.map) -m str yes }", "a.map "},
        {"\"use_backend\" %[path,map(maps/a.map)]", "a.map "},
        {"use-server %[path,map(maps/a.map)] if TRUE", "a.map "},
        {"http-request set-var(txn.a) path,map(maps/a.map)\nuse_backend %[var(ptxn.a)]\n", "a.map "},
        {"http-request set-var(psess.a) path,map(maps/a.map)\nhttp-request set-var(req.b) var(sess.a)\n"
         "use_backend %[var(preq.b)]\n",
         "a.map "},
        {"http-request set-var(ptxn.a) path,map(maps/a.map)\nuse_backend %[var(pres.a)]\n", ""},
        {"http-request set-var(txn.e) path,map(maps/a.map)\nhttp-request set-var(txn.f) var(txn.g)\n"
         "use_backend %[var(txn.f)]\n",
         ""},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        CLEANUP(buf_done) struct buf leading = {0};
        struct map_flow flow = {0};
        map_flow_see(&flow, cases[i].text, strlen(cases[i].text));
        map_flow_each(&flow, note_leading, &leading);
        map_flow_done(&flow);
        if (strcmp(buf_str(&leading), cases[i].leading) != 0)
            fail_msg("'%s': '%s' leads", cases[i].text, buf_str(&leading));
    }
}

/* ---- what is judged how ---- */

#define READERS \
    "http-request set-var(txn.record) req.hdr(host),lower,map(maps/host.map),field(2,@)\n" \
    "http-request set-header X-D %[var(txn.record),map_str(maps/data.map)]\n" \
    "http-request set-var(txn.n) var(txn.record),map_str_int(maps/numbers.map)\n" \
    "http-request set-var(txn.ip) var(txn.record),map_beg_ip(maps/addresses.map)\n" \
    "http-request set-var(txn.way) var(txn.record),map_str(maps/way.map)\n" \
    "use_backend %[var(txn.way)] if { var(txn.way) -m found }\n"

static void put_readers(struct model *m, int port, const char *more)
{
    CLEANUP(free_ptr) char *lines = xasprintf("%s%s", more, READERS);
    const struct emitted maps[] = {{CONTRIBUTION_MAP_ENTRY, "data.map", "", "", 0, 0},
                                   {CONTRIBUTION_MAP_ENTRY, "numbers.map", "", "", 0, 0},
                                   {CONTRIBUTION_MAP_ENTRY, "addresses.map", "", "", 0, 0},
                                   {CONTRIBUTION_MAP_ENTRY, "way.map", "", "", 0, 0}};
    model_put_base(m, port, lines);
    model_put_owned(m, "maps", "", 0, maps, ARRAY_LEN(maps));
}

static bool is_harmless(struct judge *judge, struct model *m, const char *map, const char *key, const char *value)
{
    const struct emitted entry[] = {{CONTRIBUTION_MAP_ENTRY, map, key, value, 0, 0}};
    model_put(m, "x", entry, 1);
    struct item *item = model_map_item(m, map, key);
    judge_begin(judge);
    bool harmless = judge_is_structural(judge, &item, 1);
    model_fragment_drop(m, "x");
    return harmless;
}

static void test_values(void **state)
{
    CLEANUP(free_ptr) char *longest = xasprintf("%07990d", 1), *longer = xasprintf("%08001d", 1);
    const struct {
        const char *map, *key, *value;
        bool expected;
    } cases[] = {
        {"data.map", "a", "302:443:shop_web_80", true},
        {"data.map", "a", "5000", true},
        {"data.map", "a", "two words; \\and 'quotes' # \"x\" %[y]", true},
        {"data.map", "a", "\xc3\xa4", true},
        {"data.map", "a", longest, true},
        {"data.map", "a", longer, false},
        {"data.map", "a", "", false},
        {"data.map", "a", " x", false},
        {"data.map", "a", "x ", false},
        {"data.map", "a", "x\ty", false},
        {"data.map", "a", "x\ny", false},
        {"data.map", "a", "<<", false},
        {"data.map", "a", "x <<;y", false}, /* a command that ends so has a payload */
        {"data.map", "a", "x<<y", true},
        {"data.map", "a", "HapticSecret0123456789abcdef0123456789abcdefEnd", false},
        {"data.map", "#a", "x", false},
        {"data.map", "a b", "x", false},
        {"data.map", "a", "web", true},     /* there */
        {"data.map", "a", "coming", false}, /* has to be accepted first */
        {"data.map", "a", "coming@r@", false},
        {"numbers.map", "a", "5000", true},
        {"numbers.map", "a", "-1", true},
        {"numbers.map", "a", "5s", false},
        {"numbers.map", "a", "-", false},
        {"numbers.map", "a", "1234567890123456789", false},
        {"numbers.map", "a", "0x10", false},
        {"addresses.map", "a", "192.0.2.1", true},
        {"addresses.map", "a", "2001:db8::1", true},
        {"addresses.map", "a", "192.0.2.0/24", false},
        {"addresses.map", "a", "192.0.2", false},
        {"addresses.map", "a", "localhost", false},
        {"way.map", "a", "web", true},
        {"way.map", "a", "nowhere", false}, /* it would choose what is not there */
        {"host.map", "a", "nowhere", false},
    };
    struct model *m = model_new();
    struct judge *judge = judge_new(m, NULL);
    (void)state;
    put_readers(m, 8000, "");
    model_put_route(m, "web", "web", "web", "server s1 127.0.0.1:80 check\n");
    model_check(m, true);
    const struct emitted coming[] = {{CONTRIBUTION_SECTION, "backend coming", "body", "http-request deny\n", 30, 0}};
    model_put(m, "coming", coming, 1);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if (is_harmless(judge, m, cases[i].map, cases[i].key, cases[i].value) != cases[i].expected)
            fail_msg("'%s %.60s' in %s is judged wrongly", cases[i].key, cases[i].value, cases[i].map);
    judge_free(judge);
    model_free(m);
}

/* A text that is on its way reads the map in another way: its entries are for HAProxy to judge. */
static void test_readers_to_come(void **state)
{
    static const struct {
        const char *line;
        bool expected;
    } cases[] = {
        {"http-request set-header X-E %[path,map_beg(maps/data.map)]\n", true},
        {"http-request set-header X-E %[path,map_reg(maps/data.map)]\n", false},
        {"http-request set-header X-E %[path,map_str_int(maps/data.map)]\n", false},
        {"http-request deny if { path -f maps/data.map }\n", false},
        {"http-request set-header X-E %[path,map_reg(maps/other.map)]\n", true},
    };
    struct model *m = model_new();
    struct judge *judge = judge_new(m, NULL);
    (void)state;
    put_readers(m, 8000, "");
    model_check(m, true);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        put_readers(m, 8000, cases[i].line);
        if (is_harmless(judge, m, "data.map", "a", "some text") != cases[i].expected)
            fail_msg("rendered: %s is judged wrongly", cases[i].line);
        model_check_begin(m);
        put_readers(m, 8000, "");
        if (is_harmless(judge, m, "data.map", "a", "some text") != cases[i].expected)
            fail_msg("being checked: %s is judged wrongly", cases[i].line);
        model_check_end(m, false);
    }
    judge_free(judge);
    model_free(m);
}

/* ---- HAProxy's word for it ---- */

static unsigned random_state;

static unsigned draw(unsigned below)
{
    random_state = random_state * 1103515245u + 12345u;
    return (random_state >> 16) % below;
}

static void random_text(char *out, size_t max, const char *alphabet)
{
    size_t length = 1 + draw((unsigned)max - 1);
    for (size_t i = 0; i < length; i++)
        out[i] = alphabet[draw((unsigned)strlen(alphabet))];
    out[length] = '\0';
}

/* Whatever is judged harmless goes live without a reload, and a HAProxy that starts with the file has the same. */
static void entries(struct world *w, const char *series)
{
    static const char values[] = " ab1@:;\\'\"#%[]{}<>$`~,|/-+=\xc3\xa4\t", keys[] = "ab1@:;\\'\"%/.-#*";
    static const char *const maps[] = {"data.map", "data.map", "numbers.map", "addresses.map"};
    static const char *const payloads[] = {"a <<b", "<<b", "a <<", "\\ <<;b", "a<<b", "a << b"};
    static const char *const addresses[] = {"192.0.2.7", "2001:db8::7", "::", "1.2.3.256", "1::g", "7"};
    unsigned taken = 0;
    (void)series;
    put_readers(w->model, w->port, "");
    model_check(w->model, true);
    world_apply(w, false);
    for (unsigned i = 0; i < 150; i++) {
        char key[12], value[24];
        size_t map = draw(ARRAY_LEN(maps));
        random_text(key, sizeof(key), keys);
        if (map == 3)
            snprintf(value, sizeof(value), "%s", addresses[draw(ARRAY_LEN(addresses))]);
        else if (map < 2 && draw(8) == 0)
            snprintf(value, sizeof(value), "%s", payloads[draw(ARRAY_LEN(payloads))]);
        else
            random_text(value, sizeof(value), map == 2 ? "0123456789-" : values);
        CLEANUP(free_ptr) char *id = xasprintf("x%u", i % 40);
        const struct emitted entry[] = {{CONTRIBUTION_MAP_ENTRY, maps[map], key, value, 0, 0}};
        model_put(w->model, id, entry, 1);
        struct item *item = model_map_item(w->model, maps[map], key);
        agent_judge_begin(w->agent);
        if (!item || !item->pending || !agent_is_structural(w->agent, &item, 1)) {
            model_fragment_drop(w->model, id);
        } else {
            model_accept(w->model, item);
            taken++;
        }
        model_check(w->model, true);
        world_apply(w, false);
        if (w->reloaded)
            fail_msg("a reload for '%s %s' in %s: %s", key, value, maps[map], w->reason);
    }
    assert_true(taken > 40);
    world_apply(w, true);
    assert_int_equal(w->operations, 0);
    /* From the files. */
    put_readers(w->model, w->port, "http-request set-header X-F f\n");
    model_check(w->model, true);
    world_apply(w, false);
    assert_true(w->reloaded);
    world_apply(w, true);
    assert_int_equal(w->operations, 0);
    assert_false(w->reloaded);
}

static void test_entries(void **state)
{
    const char *seed = getenv("SPEC_SEED");
    (void)state;
    random_state = seed ? (unsigned)strtoul(seed, NULL, 10) : (unsigned)time(NULL);
    print_message("    SPEC_SEED=%u\n", random_state);
    each_series(entries, NULL);
}

/* A route with a record behind its backend waits, as others do, until the reload that brings the backend. */
static void waiting(struct world *w, const char *series)
{
    (void)series;
    CLEANUP(free_ptr) char *line = server_line("s2", 1, "");
    CLEANUP(free_ptr) char *ruled = xasprintf("%shttp-request set-header X y\n", line);
    const struct emitted leads[] = {{CONTRIBUTION_SECTION, "backend late", "body", ruled, 30, 0},
                                    {CONTRIBUTION_SECTION_FROM, "backend late", "from", "base", 30, 0},
                                    {CONTRIBUTION_MAP_ENTRY, "host.map", "late.example", "late@r@+x+", 0, 0}};
    put_readers(w->model, w->port, "");
    model_check(w->model, true);
    world_apply(w, false);
    agent_set_times(w->agent, 0, 3600 * NS_PER_S);
    model_put(w->model, "late", leads, ARRAY_LEN(leads));
    model_check(w->model, true);
    world_try(w, false);
    assert_true(w->reload_after_ns > 0);
    assert_false(world_shows(w, "show map maps/host.map", "late.example"));
}

static void test_waiting(void **state)
{
    (void)state;
    each_series(waiting, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_uses),    cmocka_unit_test(test_ways_to_a_backend),
        cmocka_unit_test(test_values),  cmocka_unit_test(test_readers_to_come),
        cmocka_unit_test(test_entries), cmocka_unit_test(test_waiting),
    };
    return cmocka_run_group_tests(tests, group_begin, group_end);
}
