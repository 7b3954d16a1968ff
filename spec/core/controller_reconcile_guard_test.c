/* A route is not served without what protects it, with real parts (reconcile_world.h). */
#include "reconcile_world.h"

/* The route and its protection are two fragments of one object. */
static const char guarded[] =
    "each(resources.things, 'route', function(o, out)\n"
    "  out:backend(o.metadata.name, { profile = false }, function(b)\n"
    "    b:line('http-request', 'return', 'status', 200, 'content-type', 'text/plain', 'string', 'inside')\n"
    "  end)\n"
    "  out:map_entry('default-backend.map', o.metadata.name .. '.example', o.metadata.name)\n"
    "end)\n"
    "each(resources.things, 'auth', { guards = true }, function(o, out)\n"
    "  local d = o.data or {}\n"
    "  if d.fail then fail(d.fail) end\n"
    "  while d.loop do end\n"
    "  out:section('userlist ' .. o.metadata.name, function(b)\n"
    "    b:line('user', 'ada', 'insecure-password', 'secret')\n"
    "    if d.raw then b:raw(d.raw) end\n"
    "  end)\n"
    "  out:section('frontend http', { order = 450, key = 'auth ' .. o.metadata.name }, function(b)\n"
    "    b:line('http-request', 'auth', 'if', '{', 'var(txn.host)', '-m', 'str', o.metadata.name .. '.example', '}',\n"
    "      '!{', 'http_auth(' .. o.metadata.name .. ')', '}')\n"
    "  end)\n"
    "end)\n";

static int status_of(const struct world *w, const char *name)
{
    CLEANUP(free_ptr) char *host = xasprintf("%s.example", name);
    char body[4096];
    return http_get(w->port, host, body, sizeof(body));
}

/* Until it answers that, it answers nothing but what is not open. */
static void wait_closed_until(struct world *w, const char *name, int wanted)
{
    int64_t end = clock_now_ns() + 30 * NS_PER_S;
    for (int got = -1; got != wanted;) {
        got = status_of(w, name);
        if (got == 200) {
            CLEANUP(free_ptr) char *log = log_text(w->log);
            fail_msg("%s is open\n%s", name, log);
        }
        pass_time(w, 3);
        if (clock_now_ns() > end)
            fail_msg("%s answers %d, not %d", name, got, wanted);
    }
}

static void a_route_without_its_protection_answers_503(void **state)
{
    static const char *const broken[] = {"raw: no-such-directive", "fail: there is no secret", "loop: \"yes\""};
    struct world w;
    (void)state;

    begin_without_source(&w);
    set_program(&w, guarded);
    put_thing(&w, "good", "text: one");
    /* From the start. */
    put_thing(&w, "first", "fail: there is no secret");
    start_source(&w);
    WAIT_UNTIL(&w, status_of(&w, "good") == 401 && status(&w).live);
    wait_closed_until(&w, "first", 503);
    put_thing(&w, "first", "text: one");
    wait_closed_until(&w, "first", 401);
    for (size_t i = 0; i < ARRAY_LEN(broken); i++) {
        CLEANUP(free_ptr) char *name = xasprintf("new%zu", i);
        /* A new one; repaired; broken again, when the older pair stays in force. */
        put_thing(&w, name, broken[i]);
        wait_closed_until(&w, name, 503);
        put_thing(&w, name, "text: one");
        wait_closed_until(&w, name, 401);
        put_thing(&w, name, broken[i]);
        WAIT_UNTIL(&w, status(&w).quarantined + status(&w).failed == 1);
        pass_time(&w, 200);
        assert_int_equal(status_of(&w, name), 401);
        put_thing(&w, name, "text: one");
        WAIT_UNTIL(&w, status(&w).quarantined + status(&w).failed == 0);
        drop_thing(&w, name);
        wait_closed_until(&w, name, 404);
    }
    assert_int_equal(status_of(&w, "good"), 401);
    end(&w);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_route_without_its_protection_answers_503),
    };

    RECONCILE_MAIN(argc, argv, tests);
}
