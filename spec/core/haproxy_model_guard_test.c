/* Routes and the fragments that protect them: rule by rule, and under random edits, checks and acceptances. */
#include "model_support.h"

#include <time.h>

static unsigned random_state;
static unsigned dice(unsigned sides)
{
    random_state = random_state * 1664525u + 1013904223u;
    return (random_state >> 8) % sides;
}

static void put_base(struct model *m)
{
    const struct emitted base[] = {
        {CONTRIBUTION_SECTION, "defaults base", "body", "mode http\n", 200, 0},
        {CONTRIBUTION_SECTION, "frontend http", "body", "bind :80\n", 300, 0},
        {CONTRIBUTION_SECTION, "backend closed", "body", "", 400, 0},
    };
    model_put_owned(m, "base", "", 0, base, ARRAY_LEN(base));
}

/* The routes of an object: two paths to one backend. */
static void put_routes(struct model *m, const char *object, const char *servers)
{
    CLEANUP(free_ptr) char *id = xasprintf("routes/%s", object), *section = xasprintf("backend b_%s", object);
    CLEANUP(free_ptr) char *second = xasprintf("%s/second", object);
    const struct emitted routes[] = {
        {CONTRIBUTION_SECTION, section, "body", servers, 400, 0},
        {CONTRIBUTION_SECTION_FROM, section, "from", "base", 400, 0},
        {CONTRIBUTION_MAP_ENTRY, "m.map", object, strchr(section, ' ') + 1, 0, 0},
        {CONTRIBUTION_MAP_ENTRY, "m.map", second, strchr(section, ' ') + 1, 0, 0},
        {CONTRIBUTION_MAP_ENTRY, "limits.map", object, "100", 0, 0},
    };
    model_put_owned(m, id, object, 1, routes, ARRAY_LEN(routes));
}

/* What protects them: a piece of the frontend and an entry of a map that is no route. */
static void put_guard(struct model *m, const char *object, const char *text)
{
    CLEANUP(free_ptr) char *id = xasprintf("guard/%s", object);
    const struct emitted guard[] = {
        {CONTRIBUTION_GUARD, "", id, "closed", 0, 0},
        {CONTRIBUTION_SECTION, "frontend http", id, text, 300, 1},
        {CONTRIBUTION_MAP_ENTRY, "realm.map", object, "realm", 0, 0},
    };
    model_put_owned(m, id, object, 1, guard, ARRAY_LEN(guard));
}

/* It has no output: that is said in its place. */
static void put_declaration(struct model *m, const char *object)
{
    CLEANUP(free_ptr) char *guardian = xasprintf("guard/%s", object), *id = xasprintf("guard/%s#guard", object);
    const struct emitted declared[] = {{CONTRIBUTION_GUARD, "", guardian, "closed", 0, 0}};
    model_put_owned(m, id, object, 1, declared, 1);
}

static void assert_map(struct model *m, enum model_state state, const char *expected)
{
    CLEANUP(free_ptr) char *text = model_map(m, state, "m.map");
    assert_string_equal(text ? text : "", expected);
}

#define OPEN "a b_a\na/second b_a\n"
#define CLOSED "a closed\na/second closed\n"

static struct model *world(void)
{
    struct model *m = model_new();
    put_base(m);
    model_check(m, true);
    return m;
}

static void routes_are_closed_while_nothing_protects_them(void **state)
{
    struct model *m = world();
    (void)state;

    /* Its template fails from the start. */
    put_declaration(m, "a");
    put_routes(m, "a", "server s 192.0.2.1:80\n");
    put_routes(m, "free", "server s 192.0.2.1:80\n");
    model_check(m, true);
    assert_map(m, MODEL_ACCEPTED, CLOSED "free b_free\nfree/second b_free\n");
    model_fragment_drop(m, "routes/free");
    /* What is no route is left alone. */
    CLEANUP(free_ptr) char *limits = model_map(m, MODEL_RENDERED, "limits.map");
    assert_string_equal(limits, "a 100\n");
    /* It has output, and HAProxy refuses that. */
    put_guard(m, "a", "http-request auth\n");
    model_fragment_drop(m, "guard/a#guard");
    assert_map(m, MODEL_RENDERED, OPEN);
    model_check(m, false);
    assert_true(model_convict(m, "guard/a", CONTRIBUTION_SECTION, "frontend http", "guard/a", "refused"));
    model_check(m, true);
    assert_map(m, MODEL_ACCEPTED, CLOSED);
    assert_not_accepted(m, "http-request auth");
    /* Repaired. */
    put_guard(m, "a", "http-request deny\n");
    model_check(m, true);
    assert_map(m, MODEL_ACCEPTED, OPEN);
    assert_accepted(m, "http-request deny");
    model_free(m);
}

/* Routes that are lines of a frontend: an object without what protects it has none that leads to its backend. */
static void put_lines(struct model *m, const char *object, const char *lines)
{
    CLEANUP(free_ptr) char *id = xasprintf("lines/%s", object), *section = xasprintf("backend b_%s", object);
    const struct emitted routes[] = {
        {CONTRIBUTION_SECTION, section, "body", "server s 192.0.2.1:80\n", 400, 0},
        {CONTRIBUTION_SECTION_FROM, section, "from", "base", 400, 0},
        {CONTRIBUTION_SECTION, "frontend http", id, lines, 300, 2},
    };
    model_put_owned(m, id, object, 1, routes, ARRAY_LEN(routes));
}

#define LINES "acl x path /a\nuse_backend b_a if x\n  use_backend  \"b_a\" if { path '/ b' }\ndefault_backend b_a\n"
#define LINES_CLOSED \
    "acl x path /a\nuse_backend closed if x\n  use_backend  closed if { path '/ b' }\ndefault_backend closed\n"

static void assert_lines(struct model *m, enum model_state state, const char *expected)
{
    CLEANUP(free_ptr) char *config = model_config(m, state);
    CLEANUP(buf_done) struct buf indented = {0};

    for (const char *at = expected; *at;) {
        size_t length = strcspn(at, "\n") + 1;
        buf_puts(&indented, "    ");
        buf_add(&indented, at, length);
        at += length;
    }
    if (*expected ? !strstr(config, buf_str(&indented)) : strstr(config, "_backend ") != NULL)
        fail_msg("no '%s' in '%s'", buf_str(&indented), config);
}

/* The templates protect nothing of it any more: what did goes, and the routes stay. Where another fragment protects
 * instead, that has to be in force first. */
static void what_no_longer_protects_goes(void **state)
{
    struct model *m = world();
    (void)state;
    put_guard(m, "a", "http-request deny\n");
    put_routes(m, "a", "server s 192.0.2.1:80\n");
    model_check(m, true);
    assert_map(m, MODEL_ACCEPTED, OPEN);
    model_fragment_drop(m, "guard/a");
    model_check(m, true);
    assert_map(m, MODEL_ACCEPTED, OPEN);
    assert_not_accepted(m, "http-request deny");

    put_guard(m, "a", "http-request deny\n");
    model_check(m, true);
    const struct emitted other[] = {{CONTRIBUTION_GUARD, "", "other/a", "closed", 0, 0},
                                    {CONTRIBUTION_SECTION, "frontend http", "other/a", "http-request auth\n", 300, 1}};
    model_fragment_drop(m, "guard/a");
    model_put_owned(m, "other/a", "a", 1, other, ARRAY_LEN(other));
    model_check(m, false);
    assert_true(model_convict(m, "other/a", CONTRIBUTION_SECTION, "frontend http", "other/a", "refused"));
    model_check_begin(m);
    assert_accepted(m, "http-request deny");
    model_check_end(m, true);
    assert_map(m, MODEL_ACCEPTED, CLOSED);
    model_put_owned(m, "other/a", "a", 2, other, ARRAY_LEN(other));
    model_check(m, true);
    model_free(m);
}

static void lines_are_routes_as_well(void **state)
{
    struct model *m = world();
    (void)state;

    /* The template of what protects fails from the start. */
    put_declaration(m, "a");
    put_lines(m, "a", LINES);
    put_lines(m, "free", "use_backend b_free if TRUE\n");
    model_check(m, true);
    assert_lines(m, MODEL_ACCEPTED, LINES_CLOSED);
    assert_lines(m, MODEL_ACCEPTED, "use_backend b_free if TRUE\n");
    /* It has output: that is accepted first, then the lines open. */
    put_guard(m, "a", "http-request deny\n");
    model_fragment_drop(m, "guard/a#guard");
    assert_lines(m, MODEL_RENDERED, LINES_CLOSED);
    model_check(m, true);
    assert_lines(m, MODEL_ACCEPTED, LINES_CLOSED);
    assert_accepted(m, "http-request deny");
    assert_lines(m, MODEL_RENDERED, LINES);
    model_check(m, true);
    assert_lines(m, MODEL_ACCEPTED, LINES);
    /* Refused: the older pair stays; other lines are closed. */
    put_guard(m, "a", "http-request auth\n");
    assert_true(model_convict(m, "guard/a", CONTRIBUTION_SECTION, "frontend http", "guard/a", "refused"));
    assert_lines(m, MODEL_RENDERED, LINES);
    put_lines(m, "a", "use_backend b_a if { path /new }\n");
    model_check(m, true);
    assert_lines(m, MODEL_ACCEPTED, "use_backend closed if { path /new }\n");
    put_lines(m, "a", LINES);
    put_guard(m, "a", "http-request deny 1\n");
    for (int i = 0; i < 2; i++)
        model_check(m, true);
    assert_lines(m, MODEL_ACCEPTED, LINES);
    /* What protects is not given any more, and the object says no longer that it is protected. */
    model_fragment_drop(m, "guard/a");
    for (int i = 0; i < 2; i++)
        model_check(m, true);
    assert_lines(m, MODEL_ACCEPTED, LINES);
    assert_not_accepted(m, "http-request deny");
    /* It fails without an older version: closed, and only then the protection goes. */
    put_guard(m, "a", "http-request deny\n");
    for (int i = 0; i < 2; i++)
        model_check(m, true);
    put_declaration(m, "a");
    model_fragment_drop(m, "guard/a");
    model_check(m, true);
    assert_lines(m, MODEL_ACCEPTED, LINES_CLOSED);
    model_free(m);
}

static void an_older_pair_stays_in_force_and_nothing_else(void **state)
{
    struct model *m = world();
    (void)state;

    put_guard(m, "a", "http-request deny\n");
    put_routes(m, "a", "server s 192.0.2.1:80\n");
    model_check(m, true);
    assert_map(m, MODEL_ACCEPTED, OPEN);
    /* Refused: the older one protects what it protected; a new route is not opened; servers follow. */
    put_guard(m, "a", "http-request auth\n");
    assert_true(model_convict(m, "guard/a", CONTRIBUTION_SECTION, "frontend http", "guard/a", "refused"));
    put_routes(m, "a", "server s 192.0.2.2:80\n");
    const struct emitted more[] = {{CONTRIBUTION_MAP_ENTRY, "m.map", "a/third", "b_a", 0, 0}};
    model_put_owned(m, "routes/a/more", "a", 1, more, 1);
    model_check(m, true);
    assert_map(m, MODEL_ACCEPTED, OPEN "a/third closed\n");
    assert_accepted(m, "http-request deny");
    assert_accepted(m, "192.0.2.2");
    /* The older one is refused as well. */
    assert_true(model_convict(m, "guard/a", CONTRIBUTION_SECTION, "frontend http", "guard/a", "refused"));
    assert_map(m, MODEL_RENDERED, CLOSED "a/third closed\n");
    model_check(m, true);
    assert_map(m, MODEL_ACCEPTED, CLOSED "a/third closed\n");
    /* Its template fails, later: the same. */
    put_guard(m, "a", "http-request deny\n");
    model_check(m, true);
    assert_map(m, MODEL_ACCEPTED, OPEN "a/third b_a\n");
    model_fragment_keep(m, "guard/a");
    const struct emitted fourth[] = {{CONTRIBUTION_MAP_ENTRY, "m.map", "a/fourth", "b_a", 0, 0}};
    model_put_owned(m, "routes/a/more", "a", 1, fourth, 1);
    model_check(m, true);
    assert_map(m, MODEL_ACCEPTED, "a b_a\na/fourth closed\na/second b_a\n");
    model_free(m);
}

static void accept_item(void *ctx, struct item *item)
{
    model_accept(ctx, item);
}

static void accept_routes(void *ctx, struct item *item)
{
    if (item->winner && strncmp(item->winner->id, "routes/", 7) == 0)
        model_accept(ctx, item);
}

static void a_route_is_opened_after_what_protects_it(void **state)
{
    struct model *m = world();
    (void)state;

    put_guard(m, "a", "http-request deny\n");
    put_routes(m, "a", "server s 192.0.2.1:80\n");
    model_each_pending(m, accept_routes, m);
    assert_map(m, MODEL_ACCEPTED, "");
    assert_accepted(m, "192.0.2.1");
    /* What waited is carried out with the last of it. */
    model_each_pending(m, accept_item, m);
    assert_map(m, MODEL_ACCEPTED, OPEN);
    assert_true(model_is_guarded(m, model_map_item(m, "m.map", "a")));
    assert_false(model_is_guarded(m, model_map_item(m, "limits.map", "a")));
    /* During a check that has not seen it: not by its end either. */
    model_fragment_drop(m, "guard/a");
    model_fragment_drop(m, "routes/a");
    model_check(m, true);
    put_routes(m, "a", "server s 192.0.2.1:80\n");
    model_check_begin(m);
    put_guard(m, "a", "http-request deny\n");
    model_check_end(m, true);
    assert_map(m, MODEL_ACCEPTED, "");
    model_check(m, true);
    assert_map(m, MODEL_ACCEPTED, OPEN);
    model_free(m);
}

/* ---- under random edits ---- */

enum { OBJECTS = 4, ROUNDS = 4000 };

static void route_is_protected(void *ctx, const char *key, const char *value)
{
    struct model *m = ctx;
    char name[32];
    if (strncmp(value, "b_", 2) != 0)
        return;
    snprintf(name, sizeof(name), "guard/%s", value + 2);
    const struct section *s = model_section(m, "frontend http");
    for (size_t i = 0; s && i < s->pieces.length; i++)
        if (strcmp(s->pieces.items[i]->key, name) == 0 && s->pieces.items[i]->accepted)
            return;
    fail_msg("%s is open, and nothing protects it", key);
}

/* Of each object one line, too. */
static void lines_are_protected(struct model *m)
{
    CLEANUP(free_ptr) char *config = model_config(m, MODEL_ACCEPTED);
    for (const char *at = config; (at = strstr(at, "use_backend b_"));) {
        char object[2] = {at[strlen("use_backend b_")], '\0'}, value[8];
        snprintf(value, sizeof(value), "b_%s", object);
        route_is_protected(m, at, value);
        at += strlen("use_backend b_");
    }
}

static void accept_one(void *ctx, struct item *item)
{
    if (dice(3) == 0)
        model_accept(ctx, item);
}

static void an_open_route_is_a_protected_one(void **state)
{
    static const char *const texts[] = {"http-request deny\n", "http-request auth\n", "http-request auth realm x\n"};
    static const char *const servers[] = {"server s 192.0.2.1:80\n", "server s 192.0.2.2:80\n"};
    const char *seed = getenv("SPEC_SEED"), *rounds = getenv("SPEC_ROUNDS");
    unsigned end = rounds ? (unsigned)strtoul(rounds, NULL, 10) : ROUNDS, opened = 0;
    struct model *m = world();
    (void)state;

    random_state = seed ? (unsigned)strtoul(seed, NULL, 10) : (unsigned)time(NULL);
    print_message("    SPEC_SEED=%u\n", random_state);
    for (unsigned i = 0; i < OBJECTS; i++) {
        char object[2] = {(char)('a' + i), '\0'};
        put_declaration(m, object);
    }
    for (unsigned round = 0; round < end; round++) {
        char object[2] = {(char)('a' + dice(OBJECTS)), '\0'}, guard[16], routes[16], declared[32], lines[16], line[64];
        snprintf(guard, sizeof(guard), "guard/%s", object);
        snprintf(declared, sizeof(declared), "%s#guard", guard);
        snprintf(routes, sizeof(routes), "routes/%s", object);
        snprintf(lines, sizeof(lines), "lines/%s", object);
        snprintf(line, sizeof(line), "use_backend b_%s if { path /%u }\n", object, dice(2));
        switch (dice(18)) {
        case 16:
            put_lines(m, object, line);
            break;
        case 17:
            model_fragment_drop(m, lines);
            break;
        case 0:
            put_guard(m, object, texts[dice(3)]);
            model_fragment_drop(m, declared);
            break;
        case 1:
            put_routes(m, object, servers[dice(2)]);
            break;
        case 2:
            model_fragment_keep(m, guard);
            put_declaration(m, object);
            break;
        case 3:
            (void)!model_quarantine(m, dice(2) ? guard : routes, "because");
            break;
        case 4:
            (void)!model_convict(m, guard, CONTRIBUTION_SECTION, "frontend http", guard, "because");
            break;
        case 5:
            model_release(m, dice(2) ? guard : routes);
            break;
        case 6:
        case 7:
            model_check_begin(m);
            break;
        case 8:
        case 9:
            model_check_end(m, dice(4) != 0);
            break;
        case 10:
            model_fragment_drop(m, routes);
            break;
        case 11: /* the object goes, and one of its name comes */
            model_fragment_drop(m, dice(2) ? guard : declared);
            model_fragment_drop(m, routes);
            model_fragment_drop(m, lines);
            model_fragment_drop(m, guard);
            put_declaration(m, object);
            break;
        default:
            model_each_pending(m, accept_one, m);
            break;
        }
        model_each_map_entry(m, MODEL_ACCEPTED, "m.map", route_is_protected, m);
        lines_are_protected(m);
        CLEANUP(free_ptr) char *map = model_map(m, MODEL_ACCEPTED, "m.map");
        opened += map && strstr(map, " b_") != NULL;
    }
    assert_true(opened > end / 50);
    /* All is well in the end. */
    for (unsigned i = 0; i < OBJECTS; i++) {
        char object[2] = {(char)('a' + i), '\0'}, guard[16], routes[16];
        snprintf(guard, sizeof(guard), "guard/%s", object);
        snprintf(routes, sizeof(routes), "routes/%s", object);
        model_release(m, guard);
        model_release(m, routes);
        put_guard(m, object, texts[0]);
        put_routes(m, object, servers[0]);
    }
    for (int i = 0; i < 2; i++) /* lines open a check later */
        model_check(m, true);
    assert_int_equal(model_pending(m), 0);
    CLEANUP(free_ptr) char *map = model_map(m, MODEL_ACCEPTED, "m.map");
    assert_null(strstr(map, "closed"));
    CLEANUP(free_ptr) char *config = model_config(m, MODEL_ACCEPTED);
    assert_null(strstr(config, "use_backend closed"));
    model_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(routes_are_closed_while_nothing_protects_them),
        cmocka_unit_test(what_no_longer_protects_goes),
        cmocka_unit_test(lines_are_routes_as_well),
        cmocka_unit_test(an_older_pair_stays_in_force_and_nothing_else),
        cmocka_unit_test(a_route_is_opened_after_what_protects_it),
        cmocka_unit_test(an_open_route_is_a_protected_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
