/* JSON: what is refused, what is kept, how it is read, pruned and written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/clock.h"
#include "data/json.h"

static struct yyjson_doc *must_parse(const char *text)
{
    struct yyjson_doc *doc = NULL;
    struct err err = {0};

    if (json_parse(text, strlen(text), 1 << 20, &doc, &err) < 0)
        fail_msg("%s: %s", text, err.text);
    return doc;
}

static void refuses(const char *text, size_t length, enum err_kind kind, const char *message)
{
    struct yyjson_doc *doc = NULL;
    struct err err = {0};

    assert_int_equal(json_parse(text, length, 4096, &doc, &err), -1);
    assert_null(doc);
    assert_int_equal(err.kind, kind);
    if (!strstr(err.text, message))
        fail_msg("\"%s\" lacks \"%s\"", err.text, message);
}

static void refuses_what_is_not_json(void **state)
{
    (void)state;
    refuses("", 0, ERR_INVALID, "empty");
    refuses("{\"a\":1,\n \"b\":}", 14, ERR_INVALID, "line 2, column 6");
    refuses("[1,]", 4, ERR_INVALID, "line 1");
    refuses("{} {}", 5, ERR_INVALID, "line 1, column 4");
    refuses("\"a\xff\"", 4, ERR_INVALID, "line 1");
    refuses("\"a\xed\xa0\x80\"", 6, ERR_INVALID, "line 1"); /* a surrogate */
    refuses("NaN", 3, ERR_INVALID, "line 1");
    refuses("{\"a\":1,\"b\":2,\"a\":3}", 19, ERR_INVALID, "\"a\" occurs twice");
    refuses("[{\"x\":{\"a\":1,\"\\u0061\":3}}]", 26, ERR_INVALID, "\"a\" occurs twice");
    refuses("1", 5000, ERR_LIMIT, "5000 bytes");
}

static void refuses_equal_keys_among_many(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf text = {0};

    buf_puts(&text, "{");
    for (int i = 0; i < 100; i++)
        buf_printf(&text, "\"key%d\":%d,", i, i);
    size_t length = text.length;
    buf_puts(&text, "\"key100\":1}");
    json_doc_done(&(struct yyjson_doc *){must_parse(text.data)});
    text.length = length;
    buf_puts(&text, "\"key42\":1}");
    refuses(text.data, text.length, ERR_INVALID, "\"key42\" occurs twice");
}

static void limits_depth(void **state)
{
    (void)state;
    char text[2 * (JSON_DEPTH_MAX + 1) + 1];

    memset(text, '[', JSON_DEPTH_MAX);
    memset(text + JSON_DEPTH_MAX, ']', JSON_DEPTH_MAX);
    text[2 * JSON_DEPTH_MAX] = '\0';
    json_doc_done(&(struct yyjson_doc *){must_parse(text)});
    memset(text, '[', JSON_DEPTH_MAX + 1);
    memset(text + JSON_DEPTH_MAX + 1, ']', JSON_DEPTH_MAX + 1);
    refuses(text, sizeof(text) - 1, ERR_LIMIT, "column 257: JSON nested deeper");
    /* Brackets in strings are no depth. */
    memset(text, '[', sizeof(text) - 1);
    text[0] = text[sizeof(text) - 2] = '"';
    text[sizeof(text) - 1] = '\0';
    json_doc_done(&(struct yyjson_doc *){must_parse(text)});
}

static void reads_by_path(void **state)
{
    (void)state;
    CLEANUP(json_doc_done)
    struct yyjson_doc *doc = must_parse(
        "{\"a\":{\"s\":\"x\",\"nul\":\"x\\u0000y\",\"i\":-7,\"whole\":80.0,\"half\":0.5,\"big\":18446744073709551615,\"t\":true},\"l\":[1]}");
    struct yyjson_val *root = yyjson_doc_get_root(doc);

    assert_string_equal(json_str(root, "a", "s"), "x");
    assert_null(json_str(root, "a", "nul"));
    assert_null(json_str(root, "a", "i"));
    assert_null(json_str(root, "l", "s"));
    assert_null(json_str(root, "none", "s"));
    assert_null(json_str((struct yyjson_val *)NULL, "a"));
    assert_int_equal(json_int_or(1, root, "a", "i"), -7);
    assert_int_equal(json_int_or(1, root, "a", "whole"), 80);
    assert_int_equal(json_int_or(1, root, "a", "half"), 1);
    assert_int_equal(json_int_or(1, root, "a", "big"), 1);
    assert_int_equal(json_int_or(1, root, "a", "s"), 1);
    assert_true(json_bool_or(false, root, "a", "t"));
    assert_true(json_bool_or(true, root, "a", "s"));
    assert_ptr_equal(json_at(root), root);
}

static void writes_what_it_read(void **state)
{
    (void)state;
    static const char *const same[] = {
        "{}",
        "[]",
        "null",
        "true",
        "[false,0,-1,9223372036854775807,-9223372036854775808,18446744073709551615]",
        "[123456789012345678901234567890,-1e999,1.5,0.1,1e100]",
        "\"\\\"\\\\\\n\\t\\r\\b\\f\\u0000\\u001f/\xc3\xa4\xf0\x9f\x98\x80\"",
        "{\"a\":{\"b\":[{\"c\":[[]]},{}]},\"\":\"\"}",
    };
    for (size_t i = 0; i < ARRAY_LEN(same); i++) {
        CLEANUP(json_doc_done) struct yyjson_doc *doc = must_parse(same[i]);
        CLEANUP(buf_done) struct buf out = {0};
        assert_int_equal(json_write(&out, yyjson_doc_get_root(doc), NULL, NULL), 0);
        assert_string_equal(out.data, same[i]);
        CLEANUP(buf_done) struct buf small = {.max = out.length - 1};
        struct err err = {0};
        assert_int_equal(json_write(&small, yyjson_doc_get_root(doc), NULL, &err), -1);
        assert_int_equal(err.kind, ERR_LIMIT);
    }
}

static void prunes(void **state)
{
    (void)state;
    static const struct {
        const char *paths[3], *json, *pruned;
    } cases[] = {
        {{"a"}, "{\"a\":1,\"b\":{\"a\":2}}", "{\"b\":{\"a\":2}}"},
        {{"m.f"}, "{\"m\":{\"n\":1,\"f\":[{}]},\"f\":1}", "{\"m\":{\"n\":1},\"f\":1}"},
        {{"m.a['k/l.m']", "m.a[\"x\"]"}, "{\"m\":{\"a\":{\"k/l.m\":1,\"x\":2,\"y\":3}}}", "{\"m\":{\"a\":{\"y\":3}}}"},
        {{"m.k\\.l"}, "{\"m\":{\"k.l\":1,\"k\":{\"l\":2}}}", "{\"m\":{\"k\":{\"l\":2}}}"},
        {{"l[*].x", ".l.*.y"}, "{\"l\":[{\"x\":1,\"y\":2,\"z\":3},{\"x\":1}]}", "{\"l\":[{\"z\":3},{}]}"},
        {{"*.x", "a.y"}, "{\"a\":{\"x\":1,\"y\":2},\"b\":{\"x\":1,\"y\":2}}", "{\"a\":{},\"b\":{\"y\":2}}"},
        {{"l.x"}, "{\"l\":[{\"x\":1}]}", "{\"l\":[{\"x\":1}]}"},
        {{"a.b.c"}, "{\"a\":{\"b\":5}}", "{\"a\":{\"b\":5}}"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        CLEANUP(json_doc_done) struct yyjson_doc *doc = must_parse(cases[i].json);
        CLEANUP(json_prune_done) struct json_prune prune = {0};
        CLEANUP(buf_done) struct buf out = {0};
        for (size_t k = 0; k < 3 && cases[i].paths[k]; k++)
            assert_int_equal(json_prune_add(&prune, cases[i].paths[k], NULL), 0);
        assert_int_equal(json_write(&out, yyjson_doc_get_root(doc), &prune, NULL), 0);
        assert_string_equal(out.data, cases[i].pruned);
    }
    CLEANUP(json_prune_done) struct json_prune prune = {0};
    struct err err = {0};
    assert_int_equal(json_prune_add(&prune, "a[0]", &err), -1);
    assert_non_null(strstr(err.text, "only names and [*]"));
    assert_int_equal(json_prune_add(&prune, "a..b", &err), -1);
    assert_int_equal(json_prune_add(&prune, ".", &err), -1);
    for (int i = 0; i < JSON_PRUNE_MAX; i++)
        assert_int_equal(json_prune_add(&prune, "a.b", &err), 0);
    assert_int_equal(json_prune_add(&prune, "a", &err), -1);
    assert_int_equal(err.kind, ERR_LIMIT);
}

static void scalars_have_text(void **state)
{
    (void)state;
    static const char *const cases[][2] = {{"\"x y\"", "x y"},
                                           {"80", "80"},
                                           {"-3", "-3"},
                                           {"80.0", "80"},
                                           {"-2.0", "-2"},
                                           {"1.5", "1.5"},
                                           {"true", "true"},
                                           {"null", ""},
                                           {"[1]", ""},
                                           {"{}", ""},
                                           {"123456789012345678901", "123456789012345678901"}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        CLEANUP(json_doc_done) struct yyjson_doc *doc = must_parse(cases[i][0]);
        CLEANUP(buf_done) struct buf out = {0};
        assert_int_equal(json_scalar_text(yyjson_doc_get_root(doc), &out, NULL), 0);
        assert_string_equal(buf_str(&out), cases[i][1]);
    }
}

/* 30 000 objects of the size of an Ingress take well under a second even with sanitizers; the bound only catches a
 * change of order. */
static void is_fast(void **state)
{
    (void)state;
    static const char object[] =
        "{\"apiVersion\":\"networking.k8s.io/v1\",\"kind\":\"Ingress\",\"metadata\":{\"name\":\"shop\",\"namespace\":\"team-a\",\"uid\":\"5d1c\","
        "\"labels\":{\"app\":\"shop\",\"tier\":\"front\"},\"annotations\":{\"kubectl.kubernetes.io/last-applied-configuration\":\"{\\\"a\\\":1}\","
        "\"haproxy.org/load-balance\":\"leastconn\"},\"managedFields\":[{\"manager\":\"kubectl\",\"operation\":\"Update\",\"fieldsV1\":"
        "{\"f:spec\":{\"f:rules\":{},\"f:tls\":{}}}}]},\"spec\":{\"ingressClassName\":\"haproxy\",\"rules\":[{\"host\":\"shop.example\",\"http\":"
        "{\"paths\":[{\"path\":\"/\",\"pathType\":\"Prefix\",\"backend\":{\"service\":{\"name\":\"shop\",\"port\":{\"number\":80}}}}]}}]},"
        "\"status\":{\"loadBalancer\":{\"ingress\":[{\"ip\":\"192.0.2.1\"}]}}}";
    CLEANUP(json_prune_done) struct json_prune prune = {0};
    CLEANUP(buf_done) struct buf out = {0};

    assert_int_equal(json_prune_add(&prune, "metadata.managedFields", NULL), 0);
    assert_int_equal(
        json_prune_add(&prune, "metadata.annotations['kubectl.kubernetes.io/last-applied-configuration']", NULL), 0);
    int64_t start = clock_now_ns();
    for (int i = 0; i < 30000; i++) {
        CLEANUP(json_doc_done) struct yyjson_doc *doc = must_parse(object);
        buf_clear(&out);
        assert_int_equal(json_write(&out, yyjson_doc_get_root(doc), &prune, NULL), 0);
    }
    int64_t took = clock_now_ns() - start;
    print_message("30 000 objects parsed, pruned and written in %d ms\n", (int)(took / NS_PER_MS));
    assert_null(strstr(out.data, "managedFields"));
    assert_true(took < 20 * NS_PER_S);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses_what_is_not_json),
        cmocka_unit_test(refuses_equal_keys_among_many),
        cmocka_unit_test(limits_depth),
        cmocka_unit_test(reads_by_path),
        cmocka_unit_test(writes_what_it_read),
        cmocka_unit_test(prunes),
        cmocka_unit_test(scalars_have_text),
        cmocka_unit_test(is_fast),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
