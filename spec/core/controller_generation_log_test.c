/* The last generations and messages: how many, in what order, and what becomes of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "controller/generation_log.h"

#include "base/cleanup.h"
#include "data/json.h"

static struct yyjson_doc *generations(const struct generation_log *log)
{
    CLEANUP(buf_done) struct buf out = {0};
    struct yyjson_doc *doc = NULL;
    struct err err;

    generation_log_write_generations(log, &out);
    assert_int_equal(json_parse(buf_str(&out), out.length, 1 << 20, &doc, &err), 0);
    return doc;
}

static struct yyjson_val *at(struct yyjson_doc *doc, size_t i)
{
    return yyjson_arr_get(json_at(yyjson_doc_get_root(doc), "generations"), i);
}

static void a_generation_has_its_trigger_and_its_size(void **state)
{
    (void)state;
    struct generation_log log;

    generation_log_init(&log);
    generation_log_asked(&log);
    generation_log_rendered(&log, 7, 1000000, 20);
    generation_log_accepted(&log, 1, 5, 2, 3000000);
    generation_log_trigger(&log, "ingresses", "shop", "web");
    generation_log_trigger(&log, "ingresses", "shop", "other");
    generation_log_asked(&log);
    generation_log_rendered(&log, 2, 1000, 6);
    generation_log_accepted(&log, 2, 5, 0, 0);
    CLEANUP(json_doc_done) struct yyjson_doc *doc = generations(&log);
    assert_string_equal(json_str(at(doc, 0), "trigger"), "ingresses shop/web");
    assert_int_equal(json_int_or(0, at(doc, 0), "changes"), 2);
    assert_int_equal(json_int_or(0, at(doc, 0), "items"), 1);
    assert_int_equal(json_int_or(9, at(doc, 0), "checks"), 0);
    assert_string_equal(json_str(at(doc, 1), "trigger"), "start");
    assert_int_equal(json_int_or(0, at(doc, 1), "items"), 15);
    assert_int_equal(json_int_or(0, at(doc, 1), "fragments_run"), 7);
    generation_log_done(&log);
}

static void the_newest_stay(void **state)
{
    (void)state;
    struct generation_log log;

    generation_log_init(&log);
    for (uint64_t i = 1; i <= 3 * GENERATION_LOG_GENERATIONS; i++)
        generation_log_accepted(&log, i, 0, 0, 0);
    CLEANUP(json_doc_done) struct yyjson_doc *doc = generations(&log);
    assert_int_equal(yyjson_arr_size(json_at(yyjson_doc_get_root(doc), "generations")), GENERATION_LOG_GENERATIONS);
    assert_int_equal(json_int_or(0, at(doc, 0), "generation"), 3 * GENERATION_LOG_GENERATIONS);
    assert_int_equal(json_int_or(0, at(doc, GENERATION_LOG_GENERATIONS - 1), "generation"),
                     2 * GENERATION_LOG_GENERATIONS + 1);
    generation_log_done(&log);
}

/* What is refused again and again for one reason is one entry; what goes live takes those before it along. */
static void a_refusal_is_told_once_and_live_reaches_back(void **state)
{
    (void)state;
    struct generation_log log;

    generation_log_init(&log);
    generation_log_accepted(&log, 1, 0, 1, 0);
    generation_log_refused(&log, 1, 1, 5, "line 3: \xc3\xa4");
    generation_log_refused(&log, 1, 1, 6, "line 3: \xc3\xa4");
    generation_log_accepted(&log, 2, 0, 1, 0);
    generation_log_failed(&log, 2, "no answer");
    {
        CLEANUP(json_doc_done) struct yyjson_doc *doc = generations(&log);
        assert_int_equal(yyjson_arr_size(json_at(yyjson_doc_get_root(doc), "generations")), 3);
        assert_string_equal(json_str(at(doc, 0), "deployment"), "failed");
        assert_string_equal(json_str(at(doc, 0), "problem"), "no answer");
        assert_string_equal(json_str(at(doc, 1), "verdict"), "refused");
        assert_string_equal(json_str(at(doc, 2), "deployment"), "open");
    }
    generation_log_live(&log, 2, true, 3, 1000000000);
    CLEANUP(json_doc_done) struct yyjson_doc *doc = generations(&log);
    assert_string_equal(json_str(at(doc, 0), "deployment"), "live");
    assert_string_equal(json_str(at(doc, 0), "problem"), "");
    assert_true(json_bool_or(false, at(doc, 0), "reloaded"));
    assert_string_equal(json_str(at(doc, 1), "deployment"), "open");
    assert_string_equal(json_str(at(doc, 2), "deployment"), "live");
    generation_log_done(&log);
}

/* A deployment takes along what is accepted and not live yet; its line in the log tells of all of it. */
static void a_deployment_has_the_sum_of_what_it_brings(void **state)
{
    (void)state;
    struct generation_log log;
    struct generation_sum sum;

    generation_log_init(&log);
    generation_log_trigger(&log, "ingresses", "shop", "web");
    generation_log_asked(&log);
    generation_log_rendered(&log, 1, 10, 1);
    generation_log_accepted(&log, 1, 0, 1, 100);
    generation_log_live(&log, 1, false, 1, 1);
    for (uint64_t i = 2; i <= 3; i++) {
        generation_log_trigger(&log, "services", "shop", i == 2 ? "cart" : "pay");
        generation_log_trigger(&log, "services", "shop", "more");
        generation_log_asked(&log);
        generation_log_rendered(&log, 1, 10, 1);
        generation_log_accepted(&log, i, 0, 1, 100);
    }
    generation_log_refused(&log, 3, 1, 1000, "no");
    generation_log_sum(&log, 3, &sum);
    assert_string_equal(sum.trigger, "services shop/cart");
    assert_int_equal(sum.changes, 4);
    assert_int_equal(sum.render_ns, 20);
    assert_int_equal(sum.check_ns, 200);
    generation_log_sum(&log, 2, &sum);
    assert_int_equal(sum.changes, 2);
    generation_log_live(&log, 3, false, 1, 1);
    generation_log_sum(&log, 3, &sum);
    assert_string_equal(sum.trigger, "");
    assert_int_equal(sum.changes, 0);
    generation_log_done(&log);
}

/* Texts are cut between characters: the page stays JSON. */
static void long_texts_are_cut(void **state)
{
    (void)state;
    struct generation_log log;
    char text[4 * GENERATION_LOG_TEXT];

    for (size_t shift = 0; shift < 3; shift++) {
        CLEANUP(buf_done) struct buf out = {0};
        CLEANUP(json_doc_done) struct yyjson_doc *doc = NULL;
        struct err err;
        generation_log_init(&log);
        memset(text, 'x', shift);
        for (size_t i = shift; i + 4 < sizeof(text); i += 3)
            memcpy(text + i, "\xe2\x82\xac", 4);
        generation_log_tell(&log, true, "ingresses", text, text, text);
        generation_log_refused(&log, 0, 1, 0, text);
        generation_log_trigger(&log, text, text, text);
        generation_log_write_events(&log, &out);
        assert_int_equal(json_parse(buf_str(&out), out.length, 1 << 20, &doc, &err), 0);
        struct yyjson_val *event = yyjson_arr_get_first(json_at(yyjson_doc_get_root(doc), "events"));
        assert_non_null(json_str(event, "message"));
        assert_in_range(strlen(json_str(event, "message")), GENERATION_LOG_TEXT - 4, GENERATION_LOG_TEXT - 1);
        json_doc_done(&doc);
        doc = generations(&log);
        assert_string_equal(json_str(at(doc, 0), "verdict"), "refused");
        generation_log_done(&log);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_generation_has_its_trigger_and_its_size),
        cmocka_unit_test(the_newest_stay),
        cmocka_unit_test(a_refusal_is_told_once_and_live_reaches_back),
        cmocka_unit_test(a_deployment_has_the_sum_of_what_it_brings),
        cmocka_unit_test(long_texts_are_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
