/* Backends that one fragment gives and entries of another one lead to, while the one is gone and the other one has its
 * last output in force. */
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
        {CONTRIBUTION_SECTION, "defaults base", "body", "mode http\n", 10, 0},
        {CONTRIBUTION_MAP_ENTRY, "host.map", "", "", 0, 0},
    };
    model_put_owned(m, "base", "", 0, base, ARRAY_LEN(base));
}

static void put_backend(struct model *m, const char *name, const char *server)
{
    CLEANUP(free_ptr) char *id = xasprintf("backend/%s", name), *section = xasprintf("backend %s", name);
    const struct emitted backend[] = {
        {CONTRIBUTION_SECTION, section, "body", "", 30, 0},
        {CONTRIBUTION_SECTION_FROM, section, "from", "base", 30, 0},
        {CONTRIBUTION_SECTION, section, "first", server, 30, 1},
        {CONTRIBUTION_SECTION, section, "second", "server other 192.0.2.99:80\n", 30, 2},
    };
    model_put_owned(m, id, name, 1, backend, ARRAY_LEN(backend));
}

static void drop_backend(struct model *m, const char *name)
{
    CLEANUP(free_ptr) char *id = xasprintf("backend/%s", name);
    model_fragment_drop(m, id);
}

static void put_route(struct model *m, const char *route, const char *backend)
{
    CLEANUP(free_ptr) char *id = xasprintf("route/%s", route);
    const struct emitted entry[] = {{CONTRIBUTION_MAP_ENTRY, "host.map", route, backend, 0, 0}};
    model_put_owned(m, id, route, 1, entry, 1);
}

static void accept_item(void *ctx, struct item *item)
{
    model_accept(ctx, item);
}

/* What the controller does where nothing needs a check. */
static void accept_all(struct model *m)
{
    model_review_gone(m);
    model_each_pending(m, accept_item, m);
    model_review_gone(m);
}

static struct model *world(void)
{
    struct model *m = model_new();
    put_base(m);
    put_backend(m, "a", "server a1 192.0.2.1:80\n");
    put_route(m, "r", "a");
    model_check(m, true);
    return m;
}

static void a_kept_route_keeps_its_backend(void **state)
{
    struct model *m = world();
    (void)state;

    /* A complete rendering, in which the route's template fails: nobody asks for the backend. */
    model_replace_begin(m);
    put_base(m);
    model_fragment_keep(m, "route/r");
    model_replace_end(m);
    for (int i = 0; i < 2; i++) {
        accept_all(m);
        model_check(m, true);
        assert_int_equal(model_pending(m), 0);
        assert_accepted(m, "server a1 192.0.2.1:80");
        assert_accepted(m, "server other");
        assert_true(model_has_good(m, "backend/a"));
    }

    /* Others who give it today come before it. */
    put_backend(m, "b", "server b1 192.0.2.2:80\n");
    const struct emitted same[] = {{CONTRIBUTION_SECTION, "backend a", "body", "", 30, 0},
                                   {CONTRIBUTION_SECTION_FROM, "backend a", "from", "base", 30, 0},
                                   {CONTRIBUTION_SECTION, "backend a", "first", "server a2 192.0.2.3:80\n", 30, 1}};
    model_put(m, "other", same, ARRAY_LEN(same));
    accept_all(m);
    assert_accepted(m, "server a2 192.0.2.3:80");
    assert_not_accepted(m, "server a1");
    assert_not_accepted(m, "backend a from base\n    server other");
    assert_false(model_has_good(m, "backend/a"));

    model_fragment_drop(m, "other");
    put_backend(m, "a", "server a4 192.0.2.4:80\n");
    accept_all(m);
    assert_accepted(m, "server a4");
    drop_backend(m, "a");
    put_route(m, "r", "b"); /* it is well again */
    accept_all(m);
    assert_int_equal(model_pending(m), 0);
    assert_not_accepted(m, "backend a");
    assert_false(model_has_good(m, "backend/a"));
    model_free(m);
}

static void a_quarantined_route_gets_its_backend_back(void **state)
{
    struct model *m = world();
    (void)state;

    put_backend(m, "b", "server b1 192.0.2.2:80\n");
    put_route(m, "r", "b");
    drop_backend(m, "a");
    model_review_gone(m);
    model_check(m, false);
    assert_true(model_quarantine(m, "route/r", "refused"));
    assert_accepted(m, "server a1");
    /* The next check has it, and so does everything after that. */
    model_check_begin(m);
    CLEANUP(free_ptr) char *checking = model_config(m, MODEL_CHECKING);
    assert_non_null(strstr(checking, "server a1"));
    model_check_end(m, true);
    assert_int_equal(model_pending(m), 0);
    assert_accepted(m, "server a1");
    assert_true(model_has_good(m, "backend/a"));
    model_release(m, "route/r");
    accept_all(m);
    assert_int_equal(model_pending(m), 0);
    assert_not_accepted(m, "server a1");
    model_free(m);
}

/* It goes as a whole, and not before what leads to it: no request meets a backend without servers. */
static void a_backend_goes_after_its_routes(void **state)
{
    struct model *m = world();
    (void)state;

    put_backend(m, "b", "server b1 192.0.2.2:80\n");
    put_route(m, "r", "b");
    drop_backend(m, "a");
    model_review_gone(m);
    struct item *entry = model_map_item(m, "host.map", "r");
    const struct section *a = model_section(m, "backend a");
    for (size_t i = 0; i < a->pieces.length; i++)
        model_accept(m, a->pieces.items[i]);
    model_accept(m, a->from);
    assert_accepted(m, "server a1");
    assert_accepted(m, "server other");
    model_accept(m, entry); /* waits for its new backend */
    assert_accepted(m, "server a1");
    accept_all(m);
    assert_int_equal(model_pending(m), 0);
    assert_not_accepted(m, "backend a");
    assert_accepted(m, "server b1");

    /* All of it in one check: nothing is left for another one. */
    put_backend(m, "c", "server c1 192.0.2.3:80\n");
    put_route(m, "r", "c");
    drop_backend(m, "b");
    model_check(m, true);
    model_review_gone(m);
    assert_int_equal(model_pending(m), 0);
    assert_not_accepted(m, "server b1");
    assert_accepted(m, "server c1");
    assert_false(model_has_good(m, "backend/b"));
    model_free(m);
}

/* Routes at random, of which some fail or are quarantined: whatever is accepted leads to a backend with its servers,
 * and nothing stays when they are well again. */
enum { ROUTES = 6, BACKENDS = 4, STEPS = 20000 };

struct world {
    struct model *m;
    int newest[ROUTES];   /* the backend that the fragment asked for last; -1: there is none */
    bool failing[ROUTES]; /* it could not be rendered since */
    unsigned versions;
};

static void ask(struct world *w)
{
    for (int b = 0; b < BACKENDS; b++) {
        char name[8];
        bool asked = false;
        snprintf(name, sizeof(name), "b%d", b);
        for (int r = 0; r < ROUTES; r++)
            asked = asked || (w->newest[r] == b && !w->failing[r]);
        CLEANUP(free_ptr) char *id = xasprintf("backend/%s", name);
        if (asked && (model_fragment(w->m, id) == NULL || dice(4) == 0)) {
            CLEANUP(free_ptr) char *server = xasprintf("server s 192.0.2.%u:80\n", w->versions++ % 200);
            put_backend(w->m, name, server);
        } else if (!asked) {
            drop_backend(w->m, name);
        }
    }
}

static void assert_leads(void *ctx, const char *key, const char *value)
{
    const struct model *m = ctx;
    CLEANUP(free_ptr) char *name = xasprintf("backend %s", value);
    const struct section *s = model_section(m, name);

    if (s == NULL || s->accepted_pieces != 3)
        fail_msg("%s leads to %s, of which %u pieces are accepted", key, value, s ? s->accepted_pieces : 0);
}

static void accept_some(void *ctx, struct item *item)
{
    if (dice(2))
        model_accept(ctx, item);
}

static void step(struct world *w)
{
    int r = (int)dice(ROUTES);
    char name[8];
    snprintf(name, sizeof(name), "r%d", r);
    CLEANUP(free_ptr) char *id = xasprintf("route/%s", name);
    CLEANUP(free_ptr) char *backend = NULL;

    switch (dice(8)) {
    case 0:
        w->newest[r] = -1;
        w->failing[r] = false;
        model_fragment_drop(w->m, id);
        break;
    case 1:
        w->failing[r] = true; /* and the renderer, a new one, knows nothing of what it asked for */
        model_fragment_keep(w->m, id);
        break;
    case 2:
        (void)model_quarantine(w->m, id, "refused");
        break;
    case 3:
        if (!w->failing[r]) /* what it asks for in its newest version is there */
            model_release(w->m, id);
        break;
    default:
        w->newest[r] = (int)dice(BACKENDS);
        w->failing[r] = false;
        backend = xasprintf("b%d", w->newest[r]);
        put_route(w->m, name, backend);
    }
    ask(w);
    switch (dice(4)) {
    case 0:
        model_check(w->m, dice(3) > 0);
        break;
    case 1:
        model_review_gone(w->m);
        model_each_pending(w->m, accept_some, w->m);
        break;
    case 2:
        accept_all(w->m);
        break;
    }
    model_each_map_entry(w->m, MODEL_ACCEPTED, "host.map", assert_leads, w->m);
}

static void what_is_accepted_leads_somewhere(void **state)
{
    struct world w = {.m = model_new()};
    const char *seed = getenv("SPEC_SEED");
    (void)state;

    random_state = seed ? (unsigned)strtoul(seed, NULL, 10) : (unsigned)time(NULL);
    print_message("    SPEC_SEED=%u\n", random_state);
    put_base(w.m);
    model_check(w.m, true);
    for (int r = 0; r < ROUTES; r++)
        w.newest[r] = -1;
    for (int i = 0; i < STEPS; i++)
        step(&w);
    /* All are well again. */
    for (int r = 0; r < ROUTES; r++) {
        CLEANUP(free_ptr) char *name = xasprintf("r%d", r), *id = xasprintf("route/%s", name);
        model_release(w.m, id);
        w.newest[r] = 0;
        w.failing[r] = false;
        put_route(w.m, name, "b0");
    }
    ask(&w);
    accept_all(w.m);
    model_check(w.m, true);
    model_review_gone(w.m);
    assert_int_equal(model_pending(w.m), 0);
    assert_accepted(w.m, "backend b0");
    assert_not_accepted(w.m, "backend b1");
    assert_not_accepted(w.m, "backend b2");
    assert_not_accepted(w.m, "backend b3");
    assert_false(model_has_good(w.m, "backend/b1"));
    model_free(w.m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_kept_route_keeps_its_backend),
        cmocka_unit_test(a_quarantined_route_gets_its_backend_back),
        cmocka_unit_test(a_backend_goes_after_its_routes),
        cmocka_unit_test(what_is_accepted_leads_somewhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
