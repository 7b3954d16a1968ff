/* A watch with several candidate apiVersions: the first that is served is used, and changes of what is served are
 * followed. */
#include "kube_watch_world.h"

static const char *const versions[] = {"net/v1", "net/v1beta1", "net/v1alpha1", NULL};
static const char *served; /* "v1 v1beta1 " */
static unsigned looks;
static char listed[64]; /* the version of the last list */

static bool is_served(const char *version)
{
    CLEANUP(free_ptr) char *word = xasprintf("%s ", version);
    return strstr(served, word) != NULL;
}

static void several(struct script_conn *c)
{
    char version[32] = "", rest[16] = "";
    assert_true(sscanf(c->target, "/apis/net/%31[^/?]%15[/a-z]", version, rest) >= 1);
    bool is_list = strcmp(rest, "/ingresses") == 0;
    looks += !is_list;
    if (!is_served(version)) {
        script_reply(c, 404, NULL, "404 page not found");
    } else if (!is_list) {
        script_reply(c, 200, NULL, resources);
    } else {
        script_open(c);
        held = c;
        if (is_streamed_list(c)) {
            snprintf(listed, sizeof(listed), "%s", version);
            script_line(c, EVENT("ADDED", "a", "1"));
            script_line(c, LISTED("5"));
        }
    }
}

static void start(const char *what)
{
    struct kube_watch_spec spec = {
        .selection = {.api_version = "net/v1", .resource = "ingresses", .max_object_bytes = 300},
        .api_versions = versions,
        .versions_ns = 50 * NS_PER_MS,
        .backoff_base_ns = 20 * NS_PER_MS,
        .backoff_cap_ns = 100 * NS_PER_MS};
    struct err err;
    buf_clear(&told);
    lists = put_count = errors = follows = looks = 0;
    held = NULL;
    served = what;
    script_init(&server, several);
    client = script_client(&server);
    discovery = kube_discovery_new(client);
    assert_int_equal(kube_watch_new(client, discovery, &spec, &watch_ops, NULL, &watch, &err), 0);
}

static void the_first_that_is_served_is_used(void **state)
{
    (void)state;
    start("v1 v1beta1 v1alpha1 ");
    script_wait(&server, &lists, 1);
    assert_string_equal(listed, "v1");
    assert_int_equal(looks, 1);
    script_run_ms(&server, 200); /* there is no earlier one to look for */
    assert_int_equal(looks, 1);
    finish();
    start("v1alpha1 ");
    script_wait(&server, &lists, 1);
    assert_string_equal(listed, "v1alpha1");
    expect("[ n/a:1 ] ");
    finish();
}

static void an_earlier_one_that_comes_is_taken(void **state)
{
    (void)state;
    start("v1alpha1 ");
    script_wait(&server, &lists, 1);
    served = "v1beta1 v1alpha1 ";
    script_wait(&server, &lists, 2);
    assert_string_equal(listed, "v1beta1");
    served = "v1 v1beta1 v1alpha1 ";
    script_wait(&server, &lists, 3);
    assert_string_equal(listed, "v1");
    expect("[ n/a:1 ] <version> [ n/a:1 ] <version> [ n/a:1 ] ");
    finish();
}

/* A definition drops a version: its watches end, and the next one is used. */
static void one_that_goes_is_replaced_by_the_next(void **state)
{
    (void)state;
    start("v1 v1beta1 ");
    script_wait(&server, &lists, 1);
    served = "v1beta1 ";
    script_cut(held);
    script_wait(&server, &lists, 2);
    assert_string_equal(listed, "v1beta1");
    finish();
}

static void without_any_it_is_absent_once(void **state)
{
    (void)state;
    start("");
    script_wait(&server, &errors, 1);
    expect("[] (absent) ");
    assert_string_equal(last_error,
                        "ingresses in net/v1alpha1 and the versions before it is not served (is its CRD installed?)");
    assert_int_equal(looks, 3);
    finish();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_that_is_served_is_used),
        cmocka_unit_test(an_earlier_one_that_comes_is_taken),
        cmocka_unit_test(one_that_goes_is_replaced_by_the_next),
        cmocka_unit_test(without_any_it_is_absent_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
