/* What a watch believes of the server: when it works, when a list makes progress, when silence is usual, and whether
 * the version to go on from is still one of the server's. */
#include "kube_watch_world.h"

/* Asked beside a watch after a failure: how far has the server come? */
static bool is_probe(const struct script_conn *c)
{
    return script_has(c, "limit=1") && !script_has(c, "limit=1&") && !script_has(c, "limit=10");
}

/* ---- lists without an end ---- */

static uv_timer_t chatter;
static struct script_conn *busy;
static unsigned changes, list_ends_late;

static bool is_alive(const struct script_conn *c)
{
    const struct script_conn *known = server.conns;
    while (known && known != c)
        known = known->next;
    return known && !known->is_closing;
}

static void on_chatter(uv_timer_t *timer)
{
    (void)timer;
    if (!is_alive(busy))
        return;
    script_line(busy, EVENT("MODIFIED", "a", "7"));
    changes++;
}

static void busy_without_bookmarks(struct script_conn *c)
{
    if (!is_stream(c)) {
        list_requests++;
        script_reply(c, 200, NULL, LIST("9", "", OBJECT("a", "8")));
    } else if (is_streamed_list(c)) {
        script_open(c);
        script_line(c, EVENT("ADDED", "a", "1"));
        busy = c;
    } else {
        script_open(c);
        if (list_requests == 1)
            script_line(c, GONE);
    }
}

static void a_busy_list_that_does_not_end_is_asked_for_in_pages(void **state)
{
    (void)state;
    begin(busy_without_bookmarks, false);
    uv_timer_init(&server.loop, &chatter);
    uv_timer_start(&chatter, on_chatter, 20, 20);
    script_wait(&server, &lists, 2);
    assert_true(changes > 5); /* it was busy all the time */
    /* The list after the 410 is not tried as a stream again. */
    assert_int_equal(streams, 3);
    assert_int_equal(list_requests, 2);
    assert_int_equal(errors, 1);
    assert_non_null(strstr(last_error, "list ingresses.net: timeout: the end of the streamed list did not come"));
    assert_non_null(strstr(last_error, "(1 objects came"));
    assert_non_null(strstr(buf_str(&told), "x (stall) [ n/a:8 ] <gone> [ n/a:8 ] "));
    uv_close((uv_handle_t *)&chatter, NULL);
    finish();
}

static void hang_then_stream(struct script_conn *c)
{
    assert_true(is_stream(c) && is_streamed_list(c));
    if (streams == 1)
        return;
    script_open(c);
    script_line(c, LISTED("9"));
}

static void a_request_that_hangs_says_nothing_of_streams(void **state)
{
    (void)state;
    begin(hang_then_stream, false);
    script_wait(&server, &lists, 1);
    assert_int_equal(streams, 2);
    assert_string_equal(last_error, "list ingresses.net: timeout: no answer within 0s");
    finish();
}

/* 120 objects, one each 10 ms: three times the bound for a list that brings nothing. */
static void on_slow_object(uv_timer_t *timer)
{
    if (!is_alive(busy))
        return;
    if (list_ends_late < 120) {
        CLEANUP(free_ptr)
        char *line = xasprintf("{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"name\":\"o%u\",\"namespace\":\"n\","
                               "\"resourceVersion\":\"1\"}}}",
                               list_ends_late++);
        script_line(busy, line);
        script_line(busy, EVENT("ADDED", "more", "1"));
        return;
    }
    script_line(busy, LISTED("200"));
    uv_timer_stop(timer);
}

static void slow(struct script_conn *c)
{
    assert_true(is_stream(c) && is_streamed_list(c));
    script_open(c);
    busy = c;
    uv_timer_start(&chatter, on_slow_object, 0, 10);
}

static void a_long_list_that_goes_on_has_its_time(void **state)
{
    (void)state;
    list_ends_late = 0;
    begin(slow, false);
    uv_timer_init(&server.loop, &chatter);
    script_wait(&server, &lists, 1);
    assert_int_equal(streams, 1);
    assert_int_equal(errors, 0);
    uv_close((uv_handle_t *)&chatter, NULL);
    finish();
}

/* ---- silence ---- */

static void without_bookmarks(struct script_conn *c)
{
    if (is_probe(c)) {
        list_requests++;
        script_reply(c, 200, NULL, LIST("5", "", ""));
        return;
    }
    assert_true(is_stream(c));
    script_open(c);
    if (streams == 1) {
        script_line(c, EVENT("ADDED", "a", "1"));
        script_line(c, LISTED("5"));
    } else if (streams == 6) {
        script_line(c, EVENT("ADDED", "b", "6"));
    } else {
        assert_true(script_has(c, "resourceVersion=5"));
    }
}

static void silence_without_bookmarks_is_told_once(void **state)
{
    (void)state;
    begin(without_bookmarks, false);
    script_wait(&server, &put_count, 2);
    expect("[ n/a:1 ] <stall> (stall) <silent> {silent} <silent> <silent> <silent> +n/b:6 ");
    assert_int_equal(errors, 1);
    assert_true(list_requests >= 4); /* each time the server's version was looked at */
    finish();
}

static void with_bookmarks(struct script_conn *c)
{
    if (is_probe(c)) {
        script_reply(c, 200, NULL, LIST("9", "", ""));
        return;
    }
    assert_true(is_stream(c));
    script_open(c);
    if (streams == 1)
        script_line(c, LISTED("5"));
    if (streams <= 2)
        script_line(c, BOOKMARK("6"));
}

static void silence_of_a_server_that_sends_bookmarks_is_an_error(void **state)
{
    (void)state;
    begin(with_bookmarks, false);
    script_wait(&server, &errors, 3);
    expect("[] <stall> (stall) <stall> (stall) <stall> (stall) ");
    assert_int_equal(silences, 0);
    finish();
}

/* ---- a history that went back ---- */

static const char *present; /* the server's version when it is looked at */

static void restored(struct script_conn *c)
{
    if (is_probe(c)) {
        list_requests++;
        script_reply(c, 200, NULL, present);
        return;
    }
    assert_true(is_stream(c));
    script_open(c);
    if (is_streamed_list(c) && streams == 1) {
        script_line(c, EVENT("ADDED", "a", "999"));
        script_line(c, EVENT("ADDED", "b", "1000"));
        script_line(c, LISTED("1000"));
    } else if (is_streamed_list(c)) {
        script_line(c, EVENT("ADDED", "a", "400"));
        script_line(c, LISTED("998"));
    } else {
        assert_true(script_has(c, "resourceVersion=1000")); /* and never an event: 999 is no news to it */
    }
}

static void versions_that_went_back_are_listed_again(void **state)
{
    (void)state;
    present = LIST("998", "", "");
    played = (struct played){0};
    begin(restored, false);
    script_wait(&server, &lists, 1);
    script_cut(held);
    script_wait(&server, &lists, 2);
    assert_non_null(strstr(buf_str(&told), "<reset> (reset) [ n/a:400 ] "));
    assert_non_null(strstr(last_error, "resourceVersion went back from 1000 to 998"));
    script_wait(&server, &follows, 2);
    finish();
}

static void versions_that_cannot_be_compared_are_believed(void **state)
{
    static const char *const others[] = {LIST("1000", "", ""),
                                         LIST("1001", "", ""),
                                         LIST("abc", "", ""),
                                         LIST("0998", "", ""),
                                         LIST("", "", ""),
                                         "{}",
                                         "no json"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        present = others[i];
        begin(restored, false);
        script_wait(&server, &lists, 1);
        script_cut(held);
        script_wait(&server, &list_requests, 1);
        script_run_ms(&server, 20);
        assert_int_equal(lists, 1);
        assert_null(strstr(buf_str(&told), "reset"));
        finish();
    }
}

/* ---- when it works again ---- */

static bool may_watch;

static void only_lists(struct script_conn *c)
{
    if (!is_stream(c)) {
        list_requests++;
        script_reply(c, list_requests == 1 ? 500 : 200, NULL, LIST("9", "", OBJECT("a", "1")));
    } else if (may_watch) {
        script_open(c);
    } else {
        script_reply(c, 500, NULL, "{\"message\":\"not now\"}");
    }
}

static void a_list_alone_is_no_recovery(void **state)
{
    (void)state;
    may_watch = false;
    begin(only_lists, true);
    script_wait(&server, &errors, 3);
    assert_int_equal(lists, 1);
    assert_int_equal(follows, 0);
    expect("[x (list) [ n/a:1 ] <error> (watch) <error> (watch) ");
    may_watch = true;
    script_wait(&server, &follows, 1);
    finish();
}

/* ---- how far apart the attempts are ---- */

static void cut_with(struct script_conn *c, const char *line, int healthy_ms)
{
    unsigned before = errors;
    if (line)
        script_line(c, line);
    script_run_ms(&server, healthy_ms);
    script_cut(c);
    script_wait(&server, &errors, before + 1);
    script_wait(&server, &streams, streams + 1);
    script_run_ms(&server, 10);
}

static void just_open(struct script_conn *c)
{
    if (is_probe(c)) {
        script_reply(c, 200, NULL, LIST("9", "", ""));
        return;
    }
    is_stream(c);
    script_open(c);
    if (streams == 1)
        script_line(c, LISTED("5"));
}

static void what_was_well_is_tried_again_soon(void **state)
{
    static const struct {
        const char *name, *line;
        int healthy_ms;
        bool is_soon;
    } rows[] = {
        {"nothing came", NULL, 0, false},
        {"an object", EVENT("ADDED", "a", "6"), 5, true},
        {"a bookmark", BOOKMARK("7"), 5, true},
        {"as long as the longest delay", NULL, 2100, true},
    };
    /* What is healthy for as long as the longest delay was well: the cap is out of a slow machine's reach. */
    const struct kube_watch_spec spec = {.selection = {.api_version = "net/v1",
                                                       .resource = "ingresses",
                                                       .max_object_bytes = 300,
                                                       .label_selector = "a in (b,c)"},
                                         .stall_ns = 60 * NS_PER_S,
                                         .backoff_base_ns = 20 * NS_PER_MS,
                                         .backoff_cap_ns = 2 * NS_PER_S};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        begin_spec(just_open, &spec);
        script_wait(&server, &lists, 1);
        for (int cut = 0; cut < 5; cut++)
            cut_with(held, NULL, 0);
        assert_true(last_retry_ns >= 100 * NS_PER_MS); /* doubled four times, less a random half */
        cut_with(held, rows[i].line, rows[i].healthy_ms);
        if ((last_retry_ns <= 20 * NS_PER_MS) != rows[i].is_soon)
            fail_msg("%s: tried again after %lld ms", rows[i].name, (long long)(last_retry_ns / NS_PER_MS));
        finish();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_busy_list_that_does_not_end_is_asked_for_in_pages),
        cmocka_unit_test(a_long_list_that_goes_on_has_its_time),
        cmocka_unit_test(a_request_that_hangs_says_nothing_of_streams),
        cmocka_unit_test(silence_without_bookmarks_is_told_once),
        cmocka_unit_test(silence_of_a_server_that_sends_bookmarks_is_an_error),
        cmocka_unit_test(versions_that_went_back_are_listed_again),
        cmocka_unit_test(versions_that_cannot_be_compared_are_believed),
        cmocka_unit_test(a_list_alone_is_no_recovery),
        cmocka_unit_test(what_was_well_is_tried_again_soon),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
