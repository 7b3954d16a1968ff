/* The watch stream's decoder: lines out of chunks that are cut anywhere, the limit, and names out of heads of lines. */
#include "kube_script.h"

#include "kube/stream.h"
#include "net/backoff.h"

struct heard {
    struct buf lines; /* each followed by '|' */
    unsigned too_long, stop_after, count;
    struct kube_stream_name name;
};

static bool on_line(void *ctx, const char *line, size_t length)
{
    struct heard *h = ctx;
    buf_add(&h->lines, line, length);
    buf_putc(&h->lines, '|');
    return ++h->count != h->stop_after;
}

static bool on_too_long(void *ctx, const char *head, size_t length)
{
    struct heard *h = ctx;
    h->too_long++;
    kube_stream_find_name(head, length, &h->name);
    return true;
}

static struct kube_stream stream_for(struct heard *h, size_t max)
{
    return (struct kube_stream){.max_line_bytes = max, .line = on_line, .too_long = on_too_long, .ctx = h};
}

static void every_cut_gives_the_same_lines(void **state)
{
    const char text[] = "{\"a\":\"gr\xc3\xbc\xc3\x9f\xe2\x82\xac\"}\n\n{\"b\":1}\r\n{\"c\":\"\xf0\x9f\x98\x80\"}\n";
    const char want[] = "{\"a\":\"gr\xc3\xbc\xc3\x9f\xe2\x82\xac\"}|{\"b\":1}|{\"c\":\"\xf0\x9f\x98\x80\"}|";
    (void)state;
    for (size_t i = 0; i <= sizeof(text) - 1; i++) {
        for (size_t j = i; j <= sizeof(text) - 1; j++) {
            struct heard h = {0};
            struct kube_stream s = stream_for(&h, 100);
            assert_true(kube_stream_feed(&s, text, i));
            assert_true(kube_stream_feed(&s, text + i, j - i));
            assert_true(kube_stream_feed(&s, text + j, sizeof(text) - 1 - j));
            assert_string_equal(buf_str(&h.lines), want);
            kube_stream_done(&s);
            buf_done(&h.lines);
        }
    }
}

static void a_line_over_the_limit_is_skipped(void **state)
{
    (void)state;
    for (size_t chunk = 1; chunk < 60; chunk++) {
        struct heard h = {0};
        struct kube_stream s = stream_for(&h, 16);
        const char text[] = "0123456789abcdef\n0123456789abcdefg\nshort\n"
                            "{\"object\":{\"metadata\":{\"name\":\"big\",\"x\":1}}}\nlast\n";
        for (size_t at = 0; at < sizeof(text) - 1; at += chunk)
            assert_true(kube_stream_feed(&s, text + at, at + chunk < sizeof(text) - 1 ? chunk : sizeof(text) - 1 - at));
        assert_string_equal(buf_str(&h.lines), "0123456789abcdef|short|last|");
        assert_int_equal(h.too_long, 2);
        kube_stream_done(&s);
        buf_done(&h.lines);
    }
}

static void a_callback_can_stop(void **state)
{
    struct heard h = {.stop_after = 2};
    struct kube_stream s = stream_for(&h, 100);
    (void)state;
    assert_false(kube_stream_feed(&s, "a\nb\nc\n", 6));
    assert_string_equal(buf_str(&h.lines), "a|b|");
    kube_stream_done(&s);
    buf_done(&h.lines);
}

static void a_new_connection_forgets_the_half_line(void **state)
{
    struct heard h = {0};
    struct kube_stream s = stream_for(&h, 8);
    (void)state;
    assert_true(kube_stream_feed(&s, "half", 4));
    kube_stream_reset(&s);
    assert_true(kube_stream_feed(&s, "whole\n", 6));
    assert_true(kube_stream_feed(&s, "much too long", 13));
    kube_stream_reset(&s);
    assert_true(kube_stream_feed(&s, "next\n", 5));
    assert_string_equal(buf_str(&h.lines), "whole|next|");
    kube_stream_done(&s);
    buf_done(&h.lines);
}

static void names_are_found_in_heads(void **state)
{
    static const struct {
        const char *head, *namespace, *name;
    } cases[] = {
        {"{\"type\":\"ADDED\",\"object\":{\"kind\":\"I\",\"metadata\":{\"name\":\"n\",\"namespace\":\"s\",\"x\":\"",
         "s", "n"},
        {"{\"kind\":\"I\",\"metadata\":{\"namespace\":\"s\",\"annotations\":{\"name\":\"no\"},\"name\":\"n\"}}", "s",
         "n"},
        {"{\"object\":{\"spec\":{\"a\":{\"metadata\":{\"name\":\"no\"}}},\"metadata\":{\"name\":\"n\"}}}", "", "n"},
        {"{\"object\":{\"data\":{\"x\":\"\\\"metadata\\\":{\\\"name\\\":\\\"no\\\"\"},\"metadata\":{\"name\":\"n\"}",
         "", "n"},
        {"{\"object\":{\"metadata\":{\"name\":\"cut", "", ""},
        {"{\"object\":{\"metadata\":{\"labels\":{\"name\":\"no\"", "", ""},
        {"", "", ""},
        {"\"\\", "", ""},
        {"}}}]]:::,,\"metadata\":{\"name\":\"n\"}", "", ""},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct kube_stream_name name;
        kube_stream_find_name(cases[i].head, strlen(cases[i].head), &name);
        assert_string_equal(name.namespace, cases[i].namespace);
        assert_string_equal(name.name, cases[i].name);
    }
}

static void backoff_grows_to_its_cap(void **state)
{
    struct net_backoff b = {.base_ns = 100, .cap_ns = 1000};
    int64_t top[] = {100, 200, 400, 800, 1000, 1000};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(top); i++) {
        int64_t delay = net_backoff_next(&b, 0);
        assert_in_range(delay, top[i] / 2, top[i]);
    }
    assert_int_equal(net_backoff_step(100, 1000, 0), 100);
    assert_int_equal(net_backoff_step(100, 1000, 3), 800);
    assert_int_equal(net_backoff_step(100, 1000, 4), 1000);
    assert_int_equal(net_backoff_step(100, INT64_MAX / 2, UINT32_MAX), INT64_MAX / 2);
    assert_int_equal(net_backoff_next(&b, 5000), 5000);
    net_backoff_reset(&b);
    assert_in_range(net_backoff_next(&b, 0), 50, 100);
    b.failures = UINT32_MAX;
    assert_in_range(net_backoff_next(&b, 0), 500, 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_cut_gives_the_same_lines),
        cmocka_unit_test(a_line_over_the_limit_is_skipped),
        cmocka_unit_test(a_callback_can_stop),
        cmocka_unit_test(a_new_connection_forgets_the_half_line),
        cmocka_unit_test(names_are_found_in_heads),
        cmocka_unit_test(backoff_grows_to_its_cap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
