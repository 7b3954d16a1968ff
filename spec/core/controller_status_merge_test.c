/* What is sent to an object's status, and when nothing is. */
#include "controller_support.h"

#include "controller/status_merge.h"
#include "data/json.h"

#define NOW 1700000000
#define NOW_TEXT "2023-11-14T22:13:20Z"

static struct buf body;
static struct err err;

static int merge(const char *api_version, const char *resource, const char *object, const char *wish, bool anew)
{
    const struct status_object o = {
        .api_version = api_version, .resource = resource, .json = object, .length = strlen(object)};
    bool differs = false;

    buf_clear(&body);
    if (status_merge(&o, "7", &wish, 1, anew, NOW, &differs, &body, &err) < 0)
        return -1;
    return differs;
}

static int ingress(const char *note, const char *list, const char *wish)
{
    CLEANUP(free_ptr)
    char *annotations = note ? xasprintf(",\"annotations\":{\"" STATUS_ENTRIES "\":\"%s\"}", note) : xstrdup("");
    CLEANUP(free_ptr)
    char *status = list ? xasprintf(",\"status\":{\"loadBalancer\":{\"ingress\":%s}}", list) : xstrdup("");
    CLEANUP(free_ptr)
    char *object = xasprintf(
        "{\"apiVersion\":\"networking.k8s.io/v1\",\"kind\":\"Ingress\",\"metadata\":{\"namespace\":"
        "\"shop\",\"name\":\"web\",\"uid\":\"u1\"%s}%s}",
        annotations, status);
    return merge("networking.k8s.io/v1", "ingresses", object, wish, false);
}

#define HEAD \
    "{\"apiVersion\":\"networking.k8s.io/v1\",\"kind\":\"Ingress\",\"metadata\":{\"namespace\":\"shop\",\"name\":" \
    "\"web\",\"uid\":\"u1\",\"resourceVersion\":\"7\""
#define NOTED(names) ",\"annotations\":{\"" STATUS_ENTRIES "\":\"" names "\"}"
#define LIST(entries) "},\"status\":{\"loadBalancer\":{\"ingress\":" entries "}}}"
#define A "{\"ip\":\"192.0.2.1\"}"
#define B "{\"hostname\":\"lb.example\"}"
#define F "{\"ip\":\"203.0.113.9\",\"ports\":[{\"port\":80,\"protocol\":\"TCP\"}]}"
#define WISH(entries) "{\"loadBalancer\":{\"ingress\":" entries "}}"

static void test_first_address(void **state)
{
    (void)state;
    assert_int_equal(ingress(NULL, NULL, WISH("[" A "]")), 1);
    assert_string_equal(body.data, HEAD NOTED("192.0.2.1") LIST("[" A "]"));
    assert_int_equal(ingress("192.0.2.1", "[" A "]", WISH("[" A "]")), 0);
}

static void test_others_stay(void **state)
{
    (void)state;
    assert_int_equal(ingress(NULL, "[" F "]", WISH("[" A "]")), 1);
    assert_string_equal(body.data, HEAD NOTED("192.0.2.1") LIST("[" F "," A "]"));
    /* Ours was another one. */
    assert_int_equal(ingress("192.0.2.1", "[" A "," F "]", WISH("[" B "]")), 1);
    assert_string_equal(body.data, HEAD NOTED("lb.example") LIST("[" F "," B "]"));
    /* They may come and go beside ours. */
    assert_int_equal(ingress("192.0.2.1", "[" F "," A "]", WISH("[" A "]")), 0);
    assert_int_equal(ingress("192.0.2.1", "[" A "]", WISH("[" A "]")), 0);
    /* One of them has our address without our note: it becomes ours. */
    assert_int_equal(ingress(NULL, "[" A "]", WISH("[" A "]")), 1);
    assert_string_equal(body.data, HEAD NOTED("192.0.2.1") LIST("[" A "]"));
}

static void test_ours_was_taken_away(void **state)
{
    (void)state;
    assert_int_equal(ingress("192.0.2.1", "[" F "]", WISH("[" A "]")), 1);
    assert_string_equal(body.data, HEAD NOTED("192.0.2.1") LIST("[" F "," A "]"));
    assert_int_equal(ingress("192.0.2.1", "[]", WISH("[" A "]")), 1);
    assert_string_equal(body.data, HEAD NOTED("192.0.2.1") LIST("[" A "]"));
}

static void test_not_ours_any_more(void **state)
{
    (void)state;
    /* An empty list: what is noted goes, the field is not applied any more. */
    assert_int_equal(ingress("192.0.2.1", "[" A "," F "]", WISH("[]")), 1);
    assert_string_equal(body.data, HEAD LIST("[" F "]"));
    assert_int_equal(ingress("192.0.2.1", "[" A "]", WISH("{}")), 1);
    assert_string_equal(body.data, HEAD "},\"status\":{}}");
    /* Nothing of ours is there. */
    assert_int_equal(ingress(NULL, "[" F "]", WISH("[]")), 0);
    assert_int_equal(ingress(NULL, NULL, WISH("[]")), 0);
}

static void test_no_wish_for_the_list_keeps_it(void **state)
{
    (void)state;
    assert_int_equal(ingress("192.0.2.1", "[" F "," A "]", "{}"), 0);
    assert_int_equal(ingress("192.0.2.1", "[" F "," A "]", "{\"other\":1}"), 1);
    assert_string_equal(body.data, HEAD NOTED("192.0.2.1") "},\"status\":{\"other\":1,\"loadBalancer\":{\"ingress\":[" F
                                                           "," A "]}}}");
}

/* Another controller serves the object still: nothing is written, whatever is ours there. */
static void test_alone(void **state)
{
    (void)state;
#define ALONE(entries) "{\"$options\":{\"alone\":true},\"loadBalancer\":{\"ingress\":" entries "}}"
    assert_int_equal(ingress(NULL, "[" F "]", ALONE("[" A "]")), 0);
    assert_int_equal(ingress("192.0.2.1", "[" F "]", ALONE("[" A "]")), 0);
    assert_int_equal(ingress("192.0.2.1", "[" F "," A "]", ALONE("[" B "]")), 0);
    /* Empty, or ours. */
    assert_int_equal(ingress(NULL, NULL, ALONE("[" A "]")), 1);
    assert_string_equal(body.data, HEAD NOTED("192.0.2.1") LIST("[" A "]"));
    assert_int_equal(ingress("192.0.2.1", "[]", ALONE("[" A "]")), 1);
    assert_string_equal(body.data, HEAD NOTED("192.0.2.1") LIST("[" A "]"));
    assert_int_equal(ingress("192.0.2.1", "[" A "]", ALONE("[" B "]")), 1);
    assert_string_equal(body.data, HEAD NOTED("lb.example") LIST("[" B "]"));
    assert_int_equal(ingress("192.0.2.1", "[" A "]", ALONE("[" A "]")), 0);
}

static void test_wishes_that_cannot_be(void **state)
{
    (void)state;
    assert_int_equal(ingress(NULL, NULL, WISH("[{\"ports\":[]}]")), -1);
    assert_non_null(strstr(err.text, "has no ip and no hostname"));
    assert_int_equal(ingress(NULL, NULL, "[1]"), -1);
    assert_non_null(strstr(err.text, "is no object"));
    assert_int_equal(ingress(NULL, NULL, "{\"a\":\"HapticSecret0123456789abcdef0123456789abcdefEnd\"}"), -1);
    assert_non_null(strstr(err.text, "value of a Secret"));
}

#define CONFIG(generation, status) \
    "{\"apiVersion\":\"example.org/v1\",\"kind\":\"Thing\",\"metadata\":{\"namespace\":\"a\",\"name\":\"b\"," \
    "\"generation\":" generation "}" status "}"
#define CONDITION(type, status, generation, time) \
    "{\"type\":\"" type "\",\"status\":\"" status \
    "\",\"reason\":\"R\",\"message\":\"\",\"observedGeneration\":" generation ",\"lastTransitionTime\":\"" time "\"}"
#define WISHED(type, status) "{\"type\":\"" type "\",\"status\":\"" status "\",\"reason\":\"R\",\"message\":\"\"}"

static int thing(const char *object, const char *wish)
{
    return merge("example.org/v1", "things", object, wish, false);
}

static void test_conditions_are_stamped(void **state)
{
    (void)state;
    const char *wish = "{\"conditions\":[" WISHED("Ready", "True") "]}";

    assert_int_equal(thing(CONFIG("3", ""), wish), 1);
    assert_non_null(strstr(body.data, "\"status\":{\"conditions\":[" CONDITION("Ready", "True", "3", NOW_TEXT) "]}"));
    assert_null(strstr(body.data, "resourceVersion"));
    /* Level, whatever others have there. */
    assert_int_equal(
        thing(CONFIG("3", ",\"status\":{\"x\":1,\"conditions\":[" CONDITION("Other", "False", "1", "t") "," CONDITION(
                              "Ready", "True", "3", "2020-01-01T00:00:00Z") "]}"),
              wish),
        0);
    /* A new generation of the object: the time stays. */
    assert_int_equal(
        thing(CONFIG("4", ",\"status\":{\"conditions\":[" CONDITION("Ready", "True", "3", "2020-01-01T00:00:00Z") "]}"),
              wish),
        1);
    assert_non_null(strstr(body.data, CONDITION("Ready", "True", "4", "2020-01-01T00:00:00Z")));
    /* Another status: the time is now. */
    assert_int_equal(thing(CONFIG("3", ",\"status\":{\"conditions\":[" CONDITION("Ready", "False", "3",
                                                                                 "2020-01-01T00:00:00Z") "]}"),
                           wish),
                     1);
    assert_non_null(strstr(body.data, CONDITION("Ready", "True", "3", NOW_TEXT)));
}

static void test_conditions_deep_in_lists(void **state)
{
    (void)state;
    const char *wish = "{\"parents\":[{\"name\":\"p\",\"conditions\":[" WISHED("Accepted", "True") "]}]}";

    assert_int_equal(thing(CONFIG("2", ",\"status\":{\"parents\":[{\"name\":\"p\",\"conditions\":[" CONDITION(
                                           "Accepted", "True", "1", "2020-01-01T00:00:00Z") "]}]}"),
                           wish),
                     1);
    assert_non_null(strstr(body.data, CONDITION("Accepted", "True", "2", "2020-01-01T00:00:00Z")));
}

#define SHARED_PARENTS \
    "{\"$options\":{\"shared\":{\"parents\":{\"owner\":\"controllerName\",\"value\":\"us\"}}},\"parents\":"
#define PARENT(controller, name) "{\"controllerName\":\"" controller "\",\"name\":\"" name "\"}"
#define PARENTS(list) CONFIG("1", ",\"status\":{\"parents\":[" list "]}")

/* Elements of other controllers stay in their places, and the write is refused when they changed in between. */
static void test_lists_by_owner(void **state)
{
    (void)state;
    assert_int_equal(thing(PARENTS(PARENT("them", "a")), SHARED_PARENTS "[" PARENT("us", "a") "]}"), 1);
    assert_non_null(strstr(body.data, "\"parents\":[" PARENT("them", "a") "," PARENT("us", "a") "]"));
    assert_non_null(strstr(body.data, "\"resourceVersion\":\"7\""));
    assert_null(strstr(body.data, "$options"));
    assert_int_equal(
        thing(PARENTS(PARENT("us", "a") "," PARENT("them", "a")), SHARED_PARENTS "[" PARENT("us", "a") "]}"), 0);
    /* Ours that is not wished any more goes; another controller's never. */
    assert_int_equal(thing(PARENTS(PARENT("us", "old") "," PARENT("them", "a") "," PARENT("us", "a")),
                           SHARED_PARENTS "[" PARENT("us", "a") "]}"),
                     1);
    assert_non_null(strstr(body.data, "\"parents\":[" PARENT("them", "a") "," PARENT("us", "a") "]"));
    assert_int_equal(thing(PARENTS(PARENT("us", "a") "," PARENT("them", "a")), SHARED_PARENTS "{}}"), 1);
    assert_non_null(strstr(body.data, "\"parents\":[" PARENT("them", "a") "]"));
    /* An element in another one's name is refused. */
    assert_int_equal(thing(PARENTS(PARENT("them", "a")), SHARED_PARENTS "[" PARENT("them", "a") "]}"), -1);
    assert_non_null(strstr(err.text, "an element of status.parents has no controllerName us"));
}

#define SHARED_CONDITIONS "{\"$options\":{\"shared\":{\"conditions\":{\"key\":\"type\"}}},\"conditions\":"

/* A list of conditions that the server exchanges as a whole: types of others stay. */
static void test_lists_by_key(void **state)
{
    (void)state;
    const char *wish = SHARED_CONDITIONS "[" WISHED("Ready", "True") "]}";
    const char *object = CONFIG("3", ",\"status\":{\"conditions\":[" CONDITION(
                                         "Ready", "False", "1", "t") "," CONDITION("Other", "False", "1", "t") "]}");

    assert_int_equal(thing(object, wish), 1);
    assert_non_null(strstr(body.data, "\"conditions\":[" CONDITION("Ready", "True", "3", NOW_TEXT) "," CONDITION(
                                          "Other", "False", "1", "t") "]"));
    assert_int_equal(
        thing(CONFIG("3", ",\"status\":{\"conditions\":[" CONDITION("Other", "False", "1", "t") "," CONDITION(
                              "Ready", "True", "3", "2020-01-01T00:00:00Z") "]}"),
              wish),
        0);
    assert_int_equal(thing(CONFIG("3", ""), wish), 1);
    assert_non_null(strstr(body.data, "\"conditions\":[" CONDITION("Ready", "True", "3", NOW_TEXT) "]"));
    assert_int_equal(thing(object, SHARED_CONDITIONS "[" WISHED("Ready", "True") "," WISHED("Ready", "False") "]}"),
                     -1);
    assert_non_null(strstr(err.text, "two elements with the type Ready"));
    assert_int_equal(thing(object, "{\"$options\":{\"shared\":{\"conditions\":{}}},\"conditions\":[]}"), -1);
    assert_non_null(strstr(err.text, "say {owner =, value =} or {key =}"));
}

static void test_wishes_of_several(void **state)
{
    (void)state;
    const char *const wishes[] = {"{\"a\":1,\"o\":{\"x\":1},\"conditions\":[" WISHED("Ready", "True") "],\"l\":[1,2]}",
                                  "{\"a\":2,\"o\":{\"x\":2,\"y\":3},\"conditions\":[" WISHED(
                                      "Ready", "False") "," WISHED("Live", "True") "],\"l\":[2,3]}"};
    buf_clear(&body);
    assert_int_equal(status_merge_wishes(wishes, 2, &body, &err), 0);
    assert_string_equal(body.data, "{\"a\":1,\"o\":{\"x\":1,\"y\":3},\"conditions\":[" WISHED(
                                       "Ready", "True") "," WISHED("Live", "True") "],\"l\":[1,2,3]}");
}

static void test_what_is_not_wished_any_more(void **state)
{
    (void)state;
    const char *object = CONFIG("1", ",\"status\":{\"a\":1,\"b\":2}");

    assert_int_equal(merge("example.org/v1", "things", object, "{\"a\":1}", false), 0);
    assert_int_equal(merge("example.org/v1", "things", object, "{\"a\":1}", true), 1);
    assert_int_equal(thing(object, "{\"a\":2}"), 1);
    assert_int_equal(thing(object, "{\"a\":1,\"c\":[]}"), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first_address),
        cmocka_unit_test(test_others_stay),
        cmocka_unit_test(test_ours_was_taken_away),
        cmocka_unit_test(test_not_ours_any_more),
        cmocka_unit_test(test_no_wish_for_the_list_keeps_it),
        cmocka_unit_test(test_alone),
        cmocka_unit_test(test_wishes_that_cannot_be),
        cmocka_unit_test(test_lists_by_owner),
        cmocka_unit_test(test_lists_by_key),
        cmocka_unit_test(test_conditions_are_stamped),
        cmocka_unit_test(test_conditions_deep_in_lists),
        cmocka_unit_test(test_wishes_of_several),
        cmocka_unit_test(test_what_is_not_wished_any_more),
    };
    int result = cmocka_run_group_tests(tests, NULL, NULL);
    buf_done(&body);
    return result;
}
