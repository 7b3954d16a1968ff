/* Equal keys of several objects: the loser is told, and told again when he wins; with real parts
 * (reconcile_world.h). */
#include "reconcile_world.h"

/* One route for each object: host → backend of the object's name. */
static const char routes[] =
    "each(resources.things, 'route', function(o, out)\n"
    "  local name = o.metadata.namespace .. '_' .. o.metadata.name\n"
    "  out:backend(name, { profile = false }, function(b)\n"
    "    b:line('http-request', 'return', 'status', 200, 'content-type', 'text/plain', 'string', name)\n"
    "  end)\n"
    "  for host in pairs(o.data or {}) do out:map_entry('path-prefix.map', host .. '/', name) end\n"
    "end)\n";

/* An object of that age with routes of these hosts ("a.example: x, b.example: x"). */
static void put_object(struct world *w, const char *ns, const char *name, int day, const char *hosts)
{
    CLEANUP(free_ptr) char *file = xasprintf("%s-%s.yaml", ns, name), *temporary = xasprintf(".%s", file);
    CLEANUP(free_ptr)
    char *text = xasprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {namespace: %s, name: %s, creationTimestamp: "
                           "\"2024-01-%02dT03:04:05Z\"}\ndata: {%s}\n",
                           ns, name, day, hosts);
    CLEANUP(free_ptr)
    char *from = xasprintf("%s/%s", w->manifests, temporary), *to = xasprintf("%s/%s", w->manifests, file);
    file_write(w->manifests, temporary, text);
    assert_int_equal(rename(from, to), 0);
}

static void drop_object(struct world *w, const char *ns, const char *name)
{
    CLEANUP(free_ptr) char *path = xasprintf("%s/%s-%s.yaml", w->manifests, ns, name);
    assert_int_equal(unlink(path), 0);
}

#define LOSES(object) "Object has a problem\" reason=DuplicatePath object_kind=things object=" object
#define GAINS(object) "Message for an object's owner\" reason=TakesOver object_kind=things object=" object

static void the_loser_is_told_and_so_is_who_takes_over(void **state)
{
    struct world w;
    (void)state;

    begin_without_source(&w);
    set_program(&w, routes);
    put_object(&w, "blue", "web", 1, "one.example: x");
    put_object(&w, "green", "web", 2, "one.example: x");
    put_object(&w, "red", "web", 3, "one.example: x, other.example: x");
    put_object(&w, "red", "young", 4, "other.example: x");
    start_source(&w);
    WAIT_UNTIL(&w, answers(&w, "one", "blue_web") && answers(&w, "other", "red_web"));
    WAIT_UNTIL(&w, log_count(w.log, "reason=DuplicatePath") == 3);
    assert_int_equal(
        log_count(
            w.log,
            LOSES(
                "green/web") " message=\"host and path one.example/ is also written by an object of another namespace, which is older"),
        1);
    assert_int_equal(
        log_count(
            w.log,
            LOSES("red/web") " message=\"host and path one.example/ is also written by an object of another namespace"),
        1);
    assert_int_equal(
        log_count(w.log,
                  LOSES("red/young") " message=\"host and path other.example/ is also written by things red/web"),
        1);
    assert_int_equal(w.notices, 3);
    assert_int_equal(status(&w).conflicts, 3);
    CLEANUP(buf_done) struct buf problems = {0};
    reconcile_describe(w.reconcile, &problems);
    assert_non_null(strstr(buf_str(&problems),
                           "{\"state\":\"conflict\",\"fragment\":\"things.lua:route/things/green/web\","
                           "\"object\":\"things green/web\""));
    assert_non_null(strstr(buf_str(&problems), "\"winner\":\"things blue/web\""));
    /* The winner goes: the next one takes over and is told; the third one has lost as before and is not told again. */
    drop_object(&w, "blue", "web");
    WAIT_UNTIL(&w, answers(&w, "one", "green_web"));
    WAIT_UNTIL(&w,
               log_count(w.log, GAINS("green/web") " message=\"host and path one.example/: the older object is gone") ==
                   1);
    assert_int_equal(status(&w).conflicts, 2);
    assert_int_equal(w.notices, 4);
    /* Nothing is contested any more. */
    drop_object(&w, "red", "web");
    WAIT_UNTIL(&w, status(&w).conflicts == 0);
    WAIT_UNTIL(&w, log_count(w.log, GAINS("red/young")) == 1);
    CLEANUP(buf_done) struct buf none = {0};
    reconcile_describe(w.reconcile, &none);
    assert_string_equal(buf_str(&none), "[]");
    end(&w);
}

/* One object that loses thousands of keys is told of some; all are counted. */
static void many_lost_keys_are_a_few_messages(void **state)
{
    CLEANUP(buf_done) struct buf hosts = {0};
    struct world w;
    (void)state;

    begin_without_source(&w);
    set_program(&w, routes);
    for (unsigned i = 0; i < 2000; i++)
        buf_printf(&hosts, "%sh%u.example: x", i ? ", " : "", i);
    put_object(&w, "blue", "web", 1, buf_str(&hosts));
    put_object(&w, "red", "web", 3, buf_str(&hosts));
    start_source(&w);
    WAIT_UNTIL(&w, status(&w).live && status(&w).conflicts == 2000);
    WAIT_UNTIL(&w, w.notices == CONFLICTS_TOLD);
    pass_time(&w, 500);
    assert_int_equal(w.notices, CONFLICTS_TOLD);
    end(&w);
}

/* A fragment with as many messages as it can have: a few are told, with the number of the others. */
static void endless_messages_are_a_few(void **state)
{
    static const char endless[] = "each(resources.things, 'talk', function(o, out)\n"
                                  "  for i = 1, tonumber(o.data.count) do\n"
                                  "    out:warn('R' .. i, o.data.text)\n"
                                  "  end\n"
                                  "end)\n";
    struct world w;
    (void)state;

    begin_without_source(&w);
    set_program(&w, endless);
    put_thing(&w, "a", "count: \"90\", text: one");
    start_source(&w);
    WAIT_UNTIL(&w, status(&w).live);
    assert_int_equal(w.notices, MESSAGES_MAX + 1);
    assert_non_null(strstr(w.notice, "MoreMessages: 40 more messages of this object are not told"));
    /* The same again is nothing new; others are, and they are as few when there are more. */
    put_thing(&w, "a", "count: \"90\", text: one, other: x");
    pass_time(&w, 1500);
    assert_int_equal(w.notices, MESSAGES_MAX + 1);
    put_thing(&w, "a", "count: \"100\", text: two");
    WAIT_UNTIL(&w, w.notices == 2 * (MESSAGES_MAX + 1));
    pass_time(&w, 500);
    assert_int_equal(w.notices, 2 * (MESSAGES_MAX + 1));
    end(&w);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_loser_is_told_and_so_is_who_takes_over),
        cmocka_unit_test(many_lost_keys_are_a_few_messages),
        cmocka_unit_test(endless_messages_are_a_few),
    };

    RECONCILE_MAIN(argc, argv, tests);
}
