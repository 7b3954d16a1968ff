/* Lists and watches against a server that fails in every way that a test can think of. */
#include "kube_watch_world.h"

static void stream_well(struct script_conn *c)
{
    assert_true(is_stream(c));
    assert_int_equal(is_streamed_list(c), streams == 1);
    script_open(c);
    if (streams == 1) {
        script_line(c, EVENT("ADDED", "a", "1"));
        script_line(c, EVENT("ADDED", "b", "2"));
        script_line(c, LISTED("5"));
        script_line(c, EVENT("MODIFIED", "a", "6"));
    } else {
        assert_true(script_has(c, "resourceVersion=8"));
    }
}

static void a_streamed_list_goes_over_into_the_watch(void **state)
{
    (void)state;
    begin(stream_well, false);
    script_wait(&server, &put_count, 3);
    expect("[ n/a:1  n/b:2 ] ~n/a:6 ");
    int64_t before = clock_now_ns();
    script_line(held, EVENT("DELETED", "b", "7"));
    script_wait(&server, &put_count, 4);
    assert_true(last_received_ns >= before);
    script_line(held, BOOKMARK("8"));
    script_close(held); /* the server's timeout */
    script_wait(&server, &streams, 2);
    script_line(held, EVENT("ADDED", "c", "9"));
    script_wait(&server, &put_count, 5);
    expect("[ n/a:1  n/b:2 ] ~n/a:6 -n/b:7 <closed> +n/c:9 ");
    assert_int_equal(errors, 0);
    finish();
}

static void stream_in_bytes(struct script_conn *c)
{
    is_stream(c);
    script_open(c);
    const char text[] = EVENT("ADDED", "gr\xc3\xbc\xc3\x9f", "1") "\n" LISTED("5") "\n" EVENT("MODIFIED",
                                                                                              "\xe2\x82\xac", "6") "\n";
    for (size_t i = 0; i + 1 < sizeof(text); i++)
        script_chunk(c, text + i, 1);
}

static void every_byte_may_come_alone(void **state)
{
    (void)state;
    begin(stream_in_bytes, false);
    script_wait(&server, &put_count, 2);
    expect("[ n/gr\xc3\xbc\xc3\x9f:1 ] ~n/\xe2\x82\xac:6 ");
    finish();
}

static void refuse_streamed_lists(struct script_conn *c)
{
    if (is_stream(c) && is_streamed_list(c)) {
        script_reply(c, 422, NULL, "{\"message\":\"sendInitialEvents is forbidden\"}");
    } else if (script_has(c, "watch=1")) {
        assert_true(script_has(c, "resourceVersion=9"));
        script_open(c);
        script_line(c, EVENT("MODIFIED", "b", "10"));
    } else if (script_has(c, "continue=next%2F1")) {
        script_reply(c, 200, NULL, LIST("9", "", OBJECT("b", "2")));
    } else {
        assert_true(script_has(c, "limit=500"));
        script_reply(c, 200, NULL, LIST("9", "next/1", OBJECT("a", "1")));
    }
}

static void a_server_without_streamed_lists_is_paged(void **state)
{
    (void)state;
    begin(refuse_streamed_lists, false);
    script_wait(&server, &put_count, 3);
    expect("[x [ n/a:1  n/b:2 ] ~n/b:10 ");
    assert_int_equal(errors, 0);
    finish();
}

static void expire_tokens(struct script_conn *c)
{
    if (is_stream(c)) {
        script_open(c);
        return;
    }
    list_requests++;
    if (script_has(c, "continue=") && list_requests < 7)
        script_reply(c, 410, NULL, "{\"message\":\"the continue token has expired\"}");
    else if (list_requests < 7)
        script_reply(c, 200, NULL, LIST("9", "more", OBJECT("a", "1")));
    else
        script_reply(c, 200, NULL,
                     script_has(c, "limit=") ? "{}" : LIST("9", "", OBJECT("a", "1") "," OBJECT("b", "2")));
}

static void an_expired_page_begins_the_list_anew(void **state)
{
    (void)state;
    begin(expire_tokens, true);
    script_wait(&server, &lists, 1);
    /* Three attempts in pages fail; then everything is asked for at once. */
    expect("[ n/a:1 [ n/a:1 [ n/a:1 [ n/a:1  n/b:2 ] ");
    finish();
}

/* The first list goes round: a, b, c, b, c, ... */
static void circle_then_good_pages(struct script_conn *c)
{
    if (is_stream(c)) {
        script_open(c);
        return;
    }
    list_requests++;
    if (errors > 0)
        script_reply(c, 200, NULL, LIST("9", "", OBJECT("a", "1")));
    else if (script_has(c, "continue=b"))
        script_reply(c, 200, NULL, LIST("9", "c", OBJECT("b", "1")));
    else if (script_has(c, "continue=c"))
        script_reply(c, 200, NULL, LIST("9", "b", OBJECT("c", "1")));
    else
        script_reply(c, 200, NULL, LIST("9", "b", OBJECT("a", "1")));
}

static void a_list_whose_pages_go_round_is_given_up(void **state)
{
    (void)state;
    begin(circle_then_good_pages, true);
    script_wait(&server, &lists, 1);
    assert_int_equal(errors, 1);
    assert_true(list_requests < 10);
    finish();
}

static void end_each_watch(struct script_conn *c)
{
    if (!is_stream(c)) {
        script_reply(c, 200, NULL, LIST("9", "", OBJECT("a", "1")));
        return;
    }
    script_open(c);
    script_line(c, EVENT("MODIFIED", "b", "10"));
    script_close(c);
}

static void a_server_that_ends_each_watch_is_asked_once_a_second(void **state)
{
    (void)state;
    begin(end_each_watch, true);
    int64_t begun_ns = clock_now_ns();
    script_wait(&server, &put_count, 4); /* that of the list, and of three watches */
    assert_true(clock_now_ns() - begun_ns >= 2 * NS_PER_S - NS_PER_S / 10);
    assert_int_equal(errors, 0);
    finish();
}

static void bad_then_good_pages(struct script_conn *c)
{
    static const char *const bad[] = {
        "{}",
        "",
        "{\"kind\":\"Status\"}",
        "{\"kind\":\"IngressList\",\"metadata\":{},\"items\":[]}",
        "{\"kind\":\"IngressList\",",
        "[]",
        "{\"kind\":\"IngressList\",\"metadata\":{\"resourceVersion\":\"1\"},\"items\":[{\"metadata\":{}}]}"};
    if (is_stream(c)) {
        script_open(c);
        return;
    }
    if (list_requests < ARRAY_LEN(bad))
        script_reply(c, 200, NULL, bad[list_requests++]);
    else
        script_reply(c, 200, NULL, LIST("9", "", OBJECT("a", "1")));
}

static void what_is_no_list_is_not_an_empty_list(void **state)
{
    (void)state;
    begin(bad_then_good_pages, true);
    script_wait(&server, &lists, 1);
    assert_int_equal(errors, 7);
    script_wait(&server, &follows, 1);
    assert_non_null(strstr(buf_str(&told), "(list) [ n/a:1 ] "));
    assert_null(strstr(buf_str(&told), "[] "));
    finish();
}

static void gone_in_the_stream_lists_again(void **state)
{
    (void)state;
    played = (struct played){.first = {EVENT("ADDED", "a", "1"), LISTED("5"), GONE},
                             .later = {EVENT("ADDED", "b", "2"), LISTED("6")}};
    begin(play, false);
    script_wait(&server, &lists, 2);
    expect("[ n/a:1 ] <gone> [ n/b:2 ] ");
    assert_int_equal(errors, 0);
    finish();
}

static void gone_by_http(struct script_conn *c)
{
    if (!is_stream(c)) {
        list_requests++;
        script_reply(c, 200, NULL, LIST("9", "", OBJECT("a", "1")));
    } else if (streams < 4) {
        script_reply(c, 410, NULL, "{\"message\":\"too old\"}");
    } else {
        script_open(c);
        script_line(c, EVENT("ADDED", "b", "10"));
    }
}

static void gone_by_http_lists_again_and_slows_down(void **state)
{
    (void)state;
    begin(gone_by_http, true);
    script_wait(&server, &put_count, 5);
    /* The first is normal, the next are failures. */
    expect("[ n/a:1 ] <gone> [ n/a:1 ] <gone> (watch) [ n/a:1 ] <gone> (watch) [ n/a:1 ] +n/b:10 ");
    finish();
}

static void a_silent_connection_is_given_up(void **state)
{
    (void)state;
    played = (struct played){.first = {EVENT("ADDED", "a", "1"), LISTED("5")},
                             .version = "resourceVersion=5",
                             .later = {EVENT("ADDED", "b", "6")}};
    begin(play, false);
    script_wait(&server, &lists, 1);
    int64_t start = clock_now_ns();
    script_wait(&server, &put_count, 2);
    assert_true(clock_now_ns() - start > 250 * NS_PER_MS);
    expect("[ n/a:1 ] <stall> (stall) +n/b:6 ");
    assert_non_null(strstr(last_error, "timeout"));
    assert_int_equal(follows, 2);
    finish();
}

static void repeated_events_pass_and_unknown_ones_reconnect(void **state)
{
    (void)state;
    played = (struct played){.first = {EVENT("ADDED", "a", "1"), LISTED("5"), EVENT("MODIFIED", "a", "7"),
                                       EVENT("MODIFIED", "a", "7"), EVENT("ADDED", "a", "7"),
                                       EVENT("DELETED", "zz", "6"), EVENT("SURPRISE", "a", "8")},
                             .version = "resourceVersion=6"};
    begin(play, false);
    script_wait(&server, &errors, 1);
    expect("[ n/a:1 ] ~n/a:7 ~n/a:7 +n/a:7 -n/zz:6 <error> (watch) ");
    finish();
}

static void an_object_over_the_limit_is_named_and_passed(void **state)
{
    char filler[600];
    (void)state;
    memset(filler, 'x', sizeof(filler) - 1);
    filler[sizeof(filler) - 1] = '\0';
    CLEANUP(free_ptr)
    char *line = xasprintf("{\"type\":\"MODIFIED\",\"object\":{\"metadata\":{\"name\":\"big\",\"namespace\":\"n\"},"
                           "\"data\":\"%s\"}}",
                           filler);
    played = (struct played){.first = {EVENT("ADDED", "a", "1"), LISTED("5"), line, EVENT("MODIFIED", "a", "7")}};
    begin(play, false);
    script_wait(&server, &put_count, 2);
    expect("[ n/a:1 ] !n/big ~n/a:7 ");
    assert_string_equal(
        last_error, "ingresses.net n/big: the object is larger than the limit of 300 bytes; its last readable version "
                    "stays in use");
    assert_int_equal(streams, 1);
    finish();
}

static void a_missing_resource_is_empty_until_it_appears(void **state)
{
    (void)state;
    begin(stream_well, false);
    is_discoverable = false;
    script_wait(&server, &errors, 1);
    expect("[] (absent) ");
    assert_non_null(strstr(last_error, "is its CRD installed?"));
    is_discoverable = true;
    script_wait_for(&server, &put_count, 3, 10);
    expect("[] (absent) [ n/a:1  n/b:2 ] ~n/a:6 ");
    finish();
}

static unsigned last_empty; /* the lists from the second to this one are empty */

static void have_empty_lists(struct script_conn *c)
{
    if (is_stream(c)) {
        script_open(c);
        if (streams == 1)
            script_line(c, GONE);
        return;
    }
    list_requests++;
    script_reply(c, 200, NULL,
                 list_requests >= 2 && list_requests <= last_empty ? LIST("10", "", "")
                                                                   : LIST("9", "", OBJECT("a", "1")));
}

static void one_empty_answer_is_not_believed(void **state)
{
    (void)state;
    last_empty = 2;
    begin(have_empty_lists, true);
    script_wait(&server, &lists, 2);
    expect("[ n/a:1 ] <gone> [x (empty-list) [ n/a:1 ] ");
    finish();
}

static void two_empty_answers_are(void **state)
{
    (void)state;
    last_empty = 3;
    begin(have_empty_lists, true);
    script_wait(&server, &lists, 2);
    expect("[ n/a:1 ] <gone> [x (empty-list) [] ");
    finish();
}

static void denied(struct script_conn *c)
{
    script_reply(
        c, 403, NULL,
        "{\"message\":\"ingresses.net is forbidden: User \\\"u\\\" cannot list resource \\\"ingresses\\\" in API "
        "group \\\"net\\\" at the cluster scope\"}");
}

static void a_denied_list_says_which_verb(void **state)
{
    (void)state;
    begin(denied, false);
    script_wait(&server, &errors, 1);
    expect("[x [x (list) ");
    assert_string_equal(last_error,
                        "list ingresses.net: 403: the user u may not list ingresses.net at the cluster scope; add the "
                        "verb \"list\" to its cluster role");
    finish();
}

static void a_cut_connection_goes_on_from_its_version(void **state)
{
    (void)state;
    played = (struct played){.first = {EVENT("ADDED", "a", "1"), LISTED("5")},
                             .version = "resourceVersion=5",
                             .later = {EVENT("ADDED", "b", "6")}};
    begin(play, false);
    script_wait(&server, &lists, 1);
    script_chunk(held, "{\"type\":\"ADD", 12); /* the half line must not survive */
    script_run_ms(&server, 50);
    script_cut(held);
    script_wait(&server, &put_count, 2);
    expect("[ n/a:1 ] <error> (watch) +n/b:6 ");
    finish();
}

static void free_it(void *ctx, const struct kube_watch_event *e)
{
    (void)ctx;
    (void)e;
    put_count++;
    watch = kube_watch_free(watch);
}

static void a_callback_may_free_the_watch(void **state)
{
    struct kube_watch_ops freeing = watch_ops;
    struct kube_watch_spec spec = {
        .selection = {
            .api_version = "net/v1", .resource = "ingresses", .max_object_bytes = 300, .label_selector = "a in (b,c)"}};
    (void)state;
    freeing.put = free_it;
    for (int paged = 0; paged < 2; paged++) {
        lists = put_count = errors = streams = list_requests = 0;
        answer = paged ? refuse_streamed_lists : stream_well;
        is_discoverable = true;
        script_init(&server, serve);
        client = script_client(&server);
        discovery = kube_discovery_new(client);
        spec.no_streaming_list = paged;
        assert_int_equal(kube_watch_new(client, discovery, &spec, &freeing, NULL, &watch, NULL), 0);
        script_wait(&server, &put_count, 1);
        script_run_ms(&server, 50);
        assert_int_equal(put_count, 1);
        assert_null(watch);
        finish();
    }
}

static void whole_cluster(struct script_conn *c)
{
    assert_non_null(strstr(c->target, "/apis/net/v1/classes?"));
    script_open(c);
    script_line(c, "{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"name\":\"a\",\"resourceVersion\":\"1\"}}}");
    script_line(c, LISTED("5"));
}

static void a_namespace_of_what_has_none_is_ignored(void **state)
{
    struct kube_watch_spec spec = {
        .selection = {.api_version = "net/v1", .resource = "classes", .namespace = "n", .max_object_bytes = 300}};
    (void)state;
    begin_spec(whole_cluster, &spec);
    script_wait(&server, &lists, 1);
    expect("[ a:1 ] ");
    finish();
    spec.selection.resource = "reviews";
    begin_spec(whole_cluster, &spec);
    script_wait(&server, &errors, 1);
    expect("(discovery) ");
    finish();
}

static void names_are_checked(void **state)
{
    static const struct {
        const char *api_version, *resource;
    } bad[] = {{"", "x"},    {"v1", ""},         {"v1", "X"},    {"a/b/c", "x"},
               {"/v1", "x"}, {"v1", "pods/log"}, {"v1", "../x"}, {"v1?", "x"}};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct kube_watch_spec spec = {.selection = {.api_version = bad[i].api_version, .resource = bad[i].resource}};
        struct err err = {0};
        assert_int_equal(kube_watch_new(NULL, NULL, &spec, &watch_ops, NULL, &watch, &err), -1);
        assert_int_equal(err.kind, ERR_INVALID);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_streamed_list_goes_over_into_the_watch),
        cmocka_unit_test(every_byte_may_come_alone),
        cmocka_unit_test(a_server_without_streamed_lists_is_paged),
        cmocka_unit_test(an_expired_page_begins_the_list_anew),
        cmocka_unit_test(a_list_whose_pages_go_round_is_given_up),
        cmocka_unit_test(a_server_that_ends_each_watch_is_asked_once_a_second),
        cmocka_unit_test(what_is_no_list_is_not_an_empty_list),
        cmocka_unit_test(gone_in_the_stream_lists_again),
        cmocka_unit_test(gone_by_http_lists_again_and_slows_down),
        cmocka_unit_test(a_silent_connection_is_given_up),
        cmocka_unit_test(repeated_events_pass_and_unknown_ones_reconnect),
        cmocka_unit_test(an_object_over_the_limit_is_named_and_passed),
        cmocka_unit_test(a_missing_resource_is_empty_until_it_appears),
        cmocka_unit_test(one_empty_answer_is_not_believed),
        cmocka_unit_test(two_empty_answers_are),
        cmocka_unit_test(a_denied_list_says_which_verb),
        cmocka_unit_test(a_cut_connection_goes_on_from_its_version),
        cmocka_unit_test(a_callback_may_free_the_watch),
        cmocka_unit_test(a_namespace_of_what_has_none_is_ignored),
        cmocka_unit_test(names_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
