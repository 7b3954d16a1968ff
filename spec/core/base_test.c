/* The base layer: limits hold, formats round-trip, a map agrees with a plain list. */
#include <fcntl.h>
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/digest.h"
#include "base/log.h"
#include "base/map.h"
#include "base/metric.h"
#include "base/terminal.h"
#include "base/text.h"
#include "base/vec.h"

/* A peer may hang up before it says anything: the room made for its words was never filled. */
static void room_that_is_not_filled_reads_as_nothing(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf b;
    struct err err;

    mallopt(M_PERTURB, 0xa5); /* fresh memory is not zero */
    buf_init(&b, 8192);
    assert_non_null(buf_room(&b, 4095, &err));
    mallopt(M_PERTURB, 0);
    assert_string_equal(buf_str(&b), "");
}

static void buffer_refuses_more_than_its_maximum(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf b;
    struct err err;

    buf_init(&b, 8);
    assert_int_equal(buf_try_add(&b, "12345678", 8, &err), 0);
    assert_int_equal(buf_try_add(&b, "9", 1, &err), -1);
    assert_int_equal(err.kind, ERR_LIMIT);
    assert_string_equal(b.data, "12345678");
    buf_consume(&b, 3);
    assert_string_equal(b.data, "45678");
    buf_printf(&b, "%s", "abc");
    assert_string_equal(b.data, "45678abc");
}

static void long_printf_is_whole(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf b = {0};
    char big[1000];

    memset(big, 'x', sizeof(big) - 1);
    big[sizeof(big) - 1] = '\0';
    buf_printf(&b, "<%s>", big);
    assert_int_equal(b.length, sizeof(big) + 1);
    assert_int_equal(b.data[b.length - 1], '>');
}

static void error_text_is_cut_at_a_character(void **state)
{
    (void)state;
    struct err err;
    char big[sizeof(err.text) + 8];

    memset(big, 'a', sizeof(big));
    memcpy(big + sizeof(err.text) - 2, "\xc3\xa4", 3);
    assert_int_equal(err_set(&err, ERR_INVALID, "%s", big), -1);
    assert_int_equal(strlen(err.text), sizeof(err.text) - 2);
    err_set(&err, ERR_CONFLICT, "inner");
    err_wrap(&err, "outer %d", 1);
    assert_string_equal(err.text, "outer 1: inner");
    assert_int_equal(err.kind, ERR_CONFLICT);
}

static void map_agrees_with_a_list(void **state)
{
    (void)state;
    enum { KEYS = 97, STEPS = 20000 };
    struct map m;
    char *model[KEYS] = {0};
    char values[KEYS];
    unsigned seed = 1;

    map_init(&m, false);
    for (int i = 0; i < STEPS; i++) {
        seed = seed * 1103515245U + 12345U;
        unsigned k = (seed >> 16) % KEYS;
        char key[16];
        snprintf(key, sizeof(key), "key-%u", k);
        if ((seed >> 8) % 3 == 0) {
            assert_ptr_equal(map_del(&m, key), model[k]);
            model[k] = NULL;
        } else {
            assert_ptr_equal(map_put(&m, key, &values[k]), model[k]);
            model[k] = &values[k];
        }
    }
    size_t live = 0;
    for (unsigned k = 0; k < KEYS; k++) {
        char key[16];
        snprintf(key, sizeof(key), "key-%u", k);
        assert_ptr_equal(map_get(&m, key), model[k]);
        live += model[k] != NULL;
    }
    assert_int_equal(m.count, live);
    size_t walked = 0;
    for (size_t it = 0; map_next(&m, &it) != NULL;)
        walked++;
    assert_int_equal(walked, live);
    map_done(&m);
}

static void digest_sum_forgets_order(void **state)
{
    (void)state;
    struct digest a = digest_of("a", 1), b = digest_of("b", 1), zero = {0, 0};
    const char *ab_c[] = {"ab", "c"}, *a_bc[] = {"a", "bc"};

    assert_true(digest_equal(digest_add(a, b), digest_add(b, a)));
    assert_true(digest_equal(digest_sub(digest_sub(digest_add(a, b), a), b), zero));
    assert_false(digest_equal(digest_of_parts(2, ab_c, (size_t[]){2, 1}), digest_of_parts(2, a_bc, (size_t[]){1, 2})));
}

static void durations_are_gos(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ns;
        const char *back;
    } good[] = {{"0", 0, "0s"},
                {"60s", 60 * NS_PER_S, "1m"},
                {"1h2m3.5s", 3723500000000, "1h2m3.5s"},
                {"300ms", 300000000, "300ms"},
                {"1.5h", 5400 * NS_PER_S, "1h30m"},
                {"15us", 15000, "15us"},
                {"2ms500us", 2500000, "2.5ms"}};
    static const char *const bad[] = {"", "5", "s", "-1s", "1 s", "1x", "1.s.", "10000000h10000000h"};
    struct err err;
    int64_t ns;
    char text[DURATION_SIZE];

    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        assert_int_equal(duration_parse(good[i].text, &ns, &err), 0);
        assert_int_equal(ns, good[i].ns);
        assert_string_equal(duration_format(ns, text), good[i].back);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(duration_parse(bad[i], &ns, &err), -1);
}

static void times_are_rfc3339(void **state)
{
    (void)state;
    struct err err;
    int64_t us;
    char text[CLOCK_RFC3339_SIZE];

    assert_int_equal(clock_parse_rfc3339("2024-02-29T12:30:01.25+02:00", &us, &err), 0);
    assert_string_equal(clock_format_micro(us, text), "2024-02-29T10:30:01.250000Z");
    assert_int_equal(clock_parse_rfc3339("1970-01-01T00:00:00Z", &us, &err), 0);
    assert_int_equal(us, 0);
    assert_int_equal(clock_parse_rfc3339("yesterday", &us, &err), -1);
    assert_int_equal(clock_parse_rfc3339("2024-02-29T12:30:01", &us, &err), -1);
}

static void log_repeats_with_growing_distance(void **state)
{
    (void)state;
    const int64_t hour = 3600 * NS_PER_S;
    struct log_repeat r = {0};
    uint64_t similar = 9;
    assert_true(log_repeat_pass(&r, hour, 3 * hour, &similar));
    assert_int_equal(similar, 0);
    static const int64_t distances[] = {1, 2, 3, 3}; /* hours */
    for (size_t i = 0; i < ARRAY_LEN(distances); i++) {
        for (int k = 0; k < 5; k++)
            assert_false(log_repeat_pass(&r, hour, 3 * hour, &similar));
        assert_int_equal(r.distance_ns, distances[i] * hour);
        r.limit.last_ns -= distances[i] * hour; /* time passes, and the message comes all the while */
        assert_true(log_repeat_pass(&r, hour, 3 * hour, &similar));
        assert_int_equal(similar, 5);
    }
    r.seen_ns -= 7 * hour; /* it did not come for so long */
    assert_true(log_repeat_pass(&r, hour, 3 * hour, &similar));
    assert_int_equal(r.distance_ns, hour);
}

static void log_line_is_logfmt(void **state)
{
    (void)state;
    int fds[2];
    char line[8192];

    assert_int_equal(pipe(fds), 0);
    log_set_fd(fds[1]);
    log_info("Leader election started", "identity", "pod-abc12", "note", "two words\n\"x\"", "empty", "");
    log_debug("not printed");
    log_set_fd(STDOUT_FILENO);
    close(fds[1]);
    ssize_t n = read(fds[0], line, sizeof(line) - 1);
    close(fds[0]);
    assert_true(n > 0);
    line[n] = '\0';
    assert_non_null(strstr(
        line,
        " level=INFO msg=\"Leader election started\" identity=pod-abc12 note=\"two words\\n\\\"x\\\"\" empty=\"\"\n"));
    assert_null(strstr(line, "not printed"));
}

static void metrics_are_exposed_in_order_and_bounded(void **state)
{
    (void)state;
    struct metrics *m = metrics_new();
    CLEANUP(buf_done) struct buf out = {0};
    char label[16];

    metrics_set_common_label(m, "pod", "a\"b");
    metric_add(metric_counter(m, "z_total", "Z.", "k", "v"), 2);
    metric_observe_ns(metric_histogram(m, "d_seconds", "D."), 3 * NS_PER_MS);
    for (int i = 0; i < 2000; i++) {
        snprintf(label, sizeof(label), "%d", i);
        metric_add(metric_counter(m, "many_total", "Many.", "i", label), 1);
    }
    metric_expose(m, &out);
    assert_non_null(strstr(out.data, "z_total{pod=\"a\\\"b\",k=\"v\"} 2\n"));
    assert_non_null(strstr(out.data, "d_seconds_bucket{pod=\"a\\\"b\",le=\"0.002\"} 0\n"));
    assert_non_null(strstr(out.data, "d_seconds_bucket{pod=\"a\\\"b\",le=\"0.003\"} 1\n"));
    assert_non_null(strstr(out.data, "d_seconds_sum{pod=\"a\\\"b\"} 0.003\n"));
    assert_non_null(strstr(out.data, "many_total{pod=\"a\\\"b\",overflow=\"true\"} 1000\n"));
    assert_true(strstr(out.data, "d_seconds") < strstr(out.data, "z_total"));
    metrics_free(m);
}

static void texts_are_shared(void **state)
{
    (void)state;
    struct text *a = text_new("x\0y", 3), *b = text_new("x\0y", 3), *c = text_ref(a);

    assert_true(text_equal(a, b));
    assert_false(text_equal(a, NULL));
    assert_true(text_equal(NULL, NULL));
    text_unref(a);
    assert_int_equal(c->bytes[2], 'y');
    text_unref(c);
    text_unref(b);
}

/* A terminal gets colour, and a pipe does not. NO_COLOR counts when it is not empty. */
static void colours_are_for_terminals(void **state)
{
    int master = posix_openpt(O_RDWR | O_NOCTTY), pair[2];
    char name[64];
    (void)state;
    assert_true(master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0);
    assert_int_equal(ptsname_r(master, name, sizeof(name)), 0);
    FILE *terminal = fopen(name, "w");
    assert_int_equal(pipe(pair), 0);
    FILE *pipe_end = fdopen(pair[1], "w");
    assert_true(terminal && pipe_end);
    unsetenv("NO_COLOR");
    setenv("TERM", "xterm", 1);
    assert_true(terminal_has_colour(terminal));
    assert_false(terminal_has_colour(pipe_end));
    setenv("NO_COLOR", "", 1);
    assert_true(terminal_has_colour(terminal));
    setenv("NO_COLOR", "1", 1);
    assert_false(terminal_has_colour(terminal));
    unsetenv("NO_COLOR");
    setenv("TERM", "dumb", 1);
    assert_false(terminal_has_colour(terminal));
    fclose(terminal);
    fclose(pipe_end);
    close(pair[0]);
    close(master);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(room_that_is_not_filled_reads_as_nothing),
        cmocka_unit_test(buffer_refuses_more_than_its_maximum),
        cmocka_unit_test(colours_are_for_terminals),
        cmocka_unit_test(long_printf_is_whole),
        cmocka_unit_test(error_text_is_cut_at_a_character),
        cmocka_unit_test(map_agrees_with_a_list),
        cmocka_unit_test(digest_sum_forgets_order),
        cmocka_unit_test(durations_are_gos),
        cmocka_unit_test(times_are_rfc3339),
        cmocka_unit_test(log_line_is_logfmt),
        cmocka_unit_test(log_repeats_with_growing_distance),
        cmocka_unit_test(metrics_are_exposed_in_order_and_bounded),
        cmocka_unit_test(texts_are_shared),
    };

    return cmocka_run_group_tests_name("base", tests, NULL, NULL);
}
