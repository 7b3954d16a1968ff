/* A new object's backend never serves without its profile, whatever changes while HAProxy is asked about it; with real
 * parts (reconcile_world.h). */
#include "reconcile_world.h"

/* Rules move into the profile. The second backend keeps the whole waiting for a check. */
static const char profiled[] =
    "each(resources.things, 'route', function(o, out)\n"
    "  local name, d = o.metadata.name, o.data or {}\n"
    "  out:backend(name, function(b)\n"
    "    if d.open then b:line('timeout', 'server', d.open)\n"
    "    else b:line('http-request', 'deny', 'deny_status', 403) end\n"
    "    b:server({ name = 's1', address = d.address, port = 80 })\n"
    "  end)\n"
    "  if d.external then\n"
    "    out:backend(name .. '_external', function(b)\n"
    "      b:server({ name = 'external', address = d.external, port = 80, 'init-addr', 'none' })\n"
    "    end)\n"
    "  end\n"
    "  out:map_entry('default-backend.map', name .. '.example', name)\n"
    "end)\n";

/* The status of a request to NAME.example; a backend without its rule answers 503, as its server is not there. */
static int status_of(const struct world *w, const char *name)
{
    CLEANUP(free_ptr) char *host = xasprintf("%s.example", name);
    char body[4096];
    return http_get(w->port, host, body, sizeof(body));
}

static void section_has_its_profile(void *ctx, struct section *s)
{
    (void)ctx;
    if (s->accepted_pieces && strncmp(s->name, "backend n", 9) == 0 && (!s->from || !s->from->accepted))
        fail_msg("%s is accepted without its profile", s->name);
}

static void a_new_backend_waits_for_its_profile(void **state)
{
    struct world w;
    (void)state;

    world_series = "3.4"; /* which adds backends at run time */
    begin_without_source(&w);
    set_program(&w, profiled);
    /* One of these profiles is the last "defaults" of the file. */
    for (unsigned i = 0; i < 12; i++) {
        CLEANUP(free_ptr)
        char *name = xasprintf("open%u", i), *data = xasprintf("open: %us, address: 127.0.0.2", i + 1);
        put_thing(&w, name, data);
    }
    put_thing(&w, "steady", "address: 127.0.0.2");
    start_source(&w);
    WAIT_UNTIL(&w, status_of(&w, "steady") == 403 && status(&w).live);
    CLEANUP(free_ptr) char *config = model_config(reconcile_model(w.reconcile), MODEL_ACCEPTED);
    const char *last = config, *closed = strstr(config, "\n    http-request deny deny_status 403");
    for (const char *at = config; (at = strstr(at, "\ndefaults ")) != NULL; at++)
        last = at;
    assert_true(closed != NULL && closed < last);
    for (unsigned i = 0; i < 8; i++) {
        CLEANUP(free_ptr) char *name = xasprintf("n%u", i);
        put_thing(&w, name, "address: 127.0.0.2, external: new.example");
        pass_time(&w, 3 * i);
        for (unsigned version = 3; version < 6; version++) {
            CLEANUP(free_ptr) char *data = xasprintf("address: 127.0.0.%u, external: new.example", version);
            put_thing(&w, name, data);
            pass_time(&w, 8);
            model_each_section(reconcile_model(w.reconcile), section_has_its_profile, NULL);
        }
        int64_t end = clock_now_ns() + 30 * NS_PER_S;
        for (int got = 0; got != 403;) {
            got = status_of(&w, name);
            if (got != 403 && got != 404 && got != 0)
                fail_msg("%s answers %d: it is live without its rule", name, got);
            model_each_section(reconcile_model(w.reconcile), section_has_its_profile, NULL);
            pass_time(&w, 2);
            assert_true(clock_now_ns() < end);
        }
    }
    end(&w);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_backend_waits_for_its_profile),
    };

    RECONCILE_MAIN(argc, argv, tests);
}
