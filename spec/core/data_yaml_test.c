/* YAML: what scalars mean, how structures become JSON, where errors are, and what hostile texts are stopped by. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "data/yaml.h"

static void reads_as(const char *yaml, const char *json)
{
    CLEANUP(yaml_docs_done) struct yaml_docs docs = {0};
    CLEANUP(buf_done) struct buf out = {0};
    struct err err = {0};

    if (yaml_parse(yaml, strlen(yaml), 1 << 20, &docs, NULL, &err) < 0)
        fail_msg("%s: %s", yaml, err.text);
    for (size_t i = 0; i < docs.length; i++) {
        buf_puts(&out, i ? " " : "");
        assert_int_equal(json_write(&out, yyjson_doc_get_root(docs.items[i].json), NULL, NULL), 0);
    }
    if (strcmp(buf_str(&out), json) != 0)
        fail_msg("%s is read as %s and not as %s", yaml, buf_str(&out), json);
}

static void scalars(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"true", "true"},
        {"True", "true"},
        {"TRUE", "true"},
        {"tRUE", "\"tRUE\""},
        {"yes", "true"},
        {"YES", "true"},
        {"on", "true"},
        {"y", "true"},
        {"Y", "true"},
        {"false", "false"},
        {"no", "false"},
        {"No", "false"},
        {"off", "false"},
        {"OFF", "false"},
        {"n", "false"},
        {"nO", "\"nO\""},
        {"null", "null"},
        {"~", "null"},
        {"Null", "null"},
        {"NULL", "null"},
        {"nULL", "\"nULL\""},
        {"", "null"},
        {"0", "0"},
        {"-0", "0"},
        {"+12", "12"},
        {"-12", "-12"},
        {"1_000", "1000"},
        {"0x1F", "31"},
        {"-0x10", "-16"},
        {"0b101", "5"},
        {"0o17", "15"},
        {"010", "8"},
        {"0777", "511"},
        {"08", "8"},
        {"09.5", "9.5"},
        {"0x", "\"0x\""},
        {"0b2", "\"0b2\""},
        {"1__0", "10"},
        {"_1", "\"_1\""},
        {"9223372036854775807", "9223372036854775807"},
        {"18446744073709551615", "18446744073709551615"},
        {"-9223372036854775808", "-9223372036854775808"},
        {"0xffffffffffffffffff", "\"0xffffffffffffffffff\""},
        {"18446744073709551616", "18446744073709552000.0"},
        {"1.5", "1.5"},
        {"-1.5", "-1.5"},
        {"+1.5", "1.5"},
        {".5", "0.5"},
        {"-.5", "-0.5"},
        {"5.", "5"},
        {"1.0", "1"},
        {"1e3", "1000"},
        {"1E3", "1000"},
        {"1e+3", "1000"},
        {"1e-3", "0.001"},
        {"1e30", "1e30"},
        {"1e999", "\"1e999\""},
        {"1e", "\"1e\""},
        {".", "\".\""},
        {"..5", "\"..5\""},
        {"1.2.3", "\"1.2.3\""},
        {"12h", "\"12h\""},
        {"1:30", "\"1:30\""},
        {"2001-01-01", "\"2001-01-01\""},
        {"2001-01-01T00:00:00Z", "\"2001-01-01T00:00:00Z\""},
        {"10.0.0.1", "\"10.0.0.1\""},
        {"1,000", "\"1,000\""},
        {"+", "\"+\""},
        {"-a", "\"-a\""},
        {"0x1p3", "\"0x1p3\""},
        {"'true'", "\"true\""},
        {"\"12\"", "\"12\""},
        {"'~'", "\"~\""},
        {"''", "\"\""},
        {"!!str 12", "\"12\""},
        {"! 12", "\"12\""},
        {"!!int '12'", "12"},
        {"!!float 12", "12"},
        {"!!bool 'yes'", "true"},
        {"!!null ''", "null"},
        {"!mine 12", "\"12\""},
        {"\"a\\tb\\0\\u00e4\"", "\"a\\tb\\u0000\xc3\xa4\""},
        {"|\n a\n  b\n", "\"a\\n b\\n\""},
        {"|-\n a\n b\n", "\"a\\nb\""},
        {">\n a\n b\n\n c\n", "\"a b\\nc\\n\""},
        {"\"a\n b\"", "\"a b\""},
        {"a\n b", "\"a b\""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        CLEANUP(buf_done) struct buf yaml = {0};
        buf_printf(&yaml, "--- %s", cases[i][0]);
        reads_as(yaml.data, cases[i][1]);
    }
}

static void structures(void **state)
{
    (void)state;
    reads_as("", "");
    reads_as("-\n- -\n", "[null,[null]]");
    reads_as("# only a comment\n", "");
    reads_as("a: 1\n---\nb: 2\n---\n---\n[c, {d: e}]\n...\n", "{\"a\":1} {\"b\":2} null [\"c\",{\"d\":\"e\"}]");
    reads_as("a:\n- b: 1\n  c: x y\n- - 1\n  - 2\n", "{\"a\":[{\"b\":1,\"c\":\"x y\"},[1,2]]}");
    reads_as("\xef\xbb\xbf"
             "a: 1\n",
             "{\"a\":1}");
    reads_as("1: a\ntrue: b\n1.5: c\noff: d\n'1x': e\n0x10: f\n",
             "{\"1\":\"a\",\"true\":\"b\",\"1.5\":\"c\",\"false\":\"d\",\"1x\":\"e\",\"16\":\"f\"}");
    reads_as("y: 1\n\"n\": 2\n", "{\"true\":1,\"n\":2}");
    reads_as("{\"a\": [1, \"b\"],\t\"c\": null}", "{\"a\":[1,\"b\"],\"c\":null}");
    reads_as("a: &x {b: 1}\nc: *x\nd: [*x, *x]\n", "{\"a\":{\"b\":1},\"c\":{\"b\":1},\"d\":[{\"b\":1},{\"b\":1}]}");
    reads_as("a: &x 1\nb: &x 2\nc: *x\n", "{\"a\":1,\"b\":2,\"c\":2}");
    reads_as("&k a: 1\nb: *k\nc: {*k : 2}\n", "{\"a\":1,\"b\":\"a\",\"c\":{\"a\":2}}");
}

static void merges(void **state)
{
    (void)state;
    reads_as("a: &a {x: 1, w: 2}\nb:\n  <<: *a\n  w: 3\n", "{\"a\":{\"x\":1,\"w\":2},\"b\":{\"w\":3,\"x\":1}}");
    reads_as("a: &a {x: 1}\nb: &b {x: 2, z: 3}\nc: {<<: [*a, *b]}\n",
             "{\"a\":{\"x\":1},\"b\":{\"x\":2,\"z\":3},\"c\":{\"x\":1,\"z\":3}}");
    reads_as("a: &a {x: 1}\nb: &b {<<: *a, w: 2}\nc: {<<: *b}\n",
             "{\"a\":{\"x\":1},\"b\":{\"w\":2,\"x\":1},\"c\":{\"w\":2,\"x\":1}}");
    reads_as("a: {<<: {x: 1}}\n", "{\"a\":{\"x\":1}}");
    reads_as("a: {'<<': 1}\n", "{\"a\":{\"<<\":1}}");
}

static void refuses(const char *yaml, enum err_kind kind, size_t line, size_t column, const char *message)
{
    CLEANUP(yaml_docs_done) struct yaml_docs docs = {0};
    struct json_position at = {0};
    struct err err = {0};

    if (yaml_parse(yaml, strlen(yaml), 1 << 20, &docs, &at, &err) == 0)
        fail_msg("%s was accepted", yaml);
    if (!strstr(err.text, message))
        fail_msg("%s: \"%s\" lacks \"%s\"", yaml, err.text, message);
    assert_int_equal(err.kind, kind);
    if (at.line != line || at.column != column)
        fail_msg("%s: at %zu:%zu and not %zu:%zu", yaml, at.line, at.column, line, column);
    assert_int_equal(docs.length, 0);
}

static void errors(void **state)
{
    (void)state;
    refuses("a: 1\n\tb: 2\n", ERR_INVALID, 2, 1, "found a tab character");
    refuses("a: [1,\nb", ERR_INVALID, 3, 1, "did not find expected ',' or ']'");
    refuses("a: 1\nb: 2\na: 3\n", ERR_INVALID, 3, 1, "\"a\" occurs twice");
    refuses("x:\n  1: a\n  '1': b\n", ERR_INVALID, 3, 3, "\"1\" occurs twice");
    refuses("a: *none\n", ERR_INVALID, 1, 4, "*none has no anchor");
    refuses("a: &a [*a]\n", ERR_INVALID, 1, 8, "inside its own anchor");
    refuses("a: &x 1\n---\nb: *x\n", ERR_INVALID, 3, 4, "no anchor");
    refuses("? [1]\n: 2\n", ERR_INVALID, 1, 3, "a key must be");
    refuses("~: 2\n", ERR_INVALID, 1, 1, "a key must be");
    refuses("a: 1\nb: .nan\n", ERR_INVALID, 2, 4, "no infinity");
    refuses("a: !!binary aGk=\n", ERR_INVALID, 1, 4, "!!binary");
    refuses("a: !!int x\n", ERR_INVALID, 1, 4, "not a !!int");
    refuses("a:\n  <<: 1\n", ERR_INVALID, 2, 3, "a merge key needs");
    refuses("a: 1\nb: \xff\n", ERR_INVALID, 2, 4, "invalid");
    refuses("a: 'x\n", ERR_INVALID, 2, 1, "unexpected end of stream");
    refuses("a: b: c\n", ERR_INVALID, 1, 5, "mapping values are not allowed");

    CLEANUP(yaml_docs_done) struct yaml_docs docs = {0};
    struct err err = {0};
    assert_int_equal(yaml_parse("a: 1\nb: *x\n", 11, 100, &docs, NULL, &err), -1);
    assert_non_null(strstr(err.text, "line 2, column 4: the alias"));
    assert_int_equal(yaml_parse("a: 1\n", 5, 4, &docs, NULL, &err), -1);
    assert_int_equal(err.kind, ERR_LIMIT);
}

static void equal_keys_among_many(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf yaml = {0};

    for (int i = 0; i < 200; i++)
        buf_printf(&yaml, "k%d: %d\n", i, i);
    CLEANUP(yaml_docs_done) struct yaml_docs docs = {0};
    assert_int_equal(yaml_parse(yaml.data, yaml.length, 1 << 20, &docs, NULL, NULL), 0);
    assert_int_equal(yyjson_obj_size(yyjson_doc_get_root(docs.items[0].json)), 200);
    buf_puts(&yaml, "k77: 1\n");
    refuses(yaml.data, ERR_INVALID, 201, 1, "\"k77\" occurs twice");
}

static void bombs(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf yaml = {0};
    CLEANUP(yaml_docs_done) struct yaml_docs docs = {0};
    struct err err = {0};

    buf_puts(&yaml, "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
    for (int i = 1; i < 10; i++)
        buf_printf(&yaml, "a%d: &a%d [*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d]\n", i, i, i - 1, i - 1, i - 1, i - 1,
                   i - 1, i - 1, i - 1, i - 1);
    assert_int_equal(yaml_parse(yaml.data, yaml.length, 1 << 20, &docs, NULL, &err), -1);
    assert_int_equal(err.kind, ERR_LIMIT);
    assert_non_null(strstr(err.text, "aliases expand"));

    buf_clear(&yaml); /* the same with merge keys */
    buf_puts(&yaml, "a0: &a0 {x: 1}\n");
    for (int i = 1; i < 12; i++)
        buf_printf(&yaml, "a%d: &a%d {<<: [*a%d,*a%d,*a%d,*a%d]}\n", i, i, i - 1, i - 1, i - 1, i - 1);
    assert_int_equal(yaml_parse(yaml.data, yaml.length, 1 << 20, &docs, NULL, &err), -1);
    assert_int_equal(err.kind, ERR_LIMIT);

    buf_clear(&yaml); /* few aliases to one long text */
    buf_puts(&yaml, "a: &a '");
    for (int i = 0; i < 100000; i++)
        buf_putc(&yaml, 'x');
    buf_puts(&yaml, "'\nb: [");
    for (int i = 0; i < 1000; i++)
        buf_puts(&yaml, "*a,");
    buf_puts(&yaml, "]\n");
    assert_int_equal(yaml_parse(yaml.data, yaml.length, 1 << 20, &docs, NULL, &err), -1);
    assert_int_equal(err.kind, ERR_LIMIT);

    buf_clear(&yaml);
    for (int i = 0; i < 300; i++)
        buf_puts(&yaml, "[");
    assert_int_equal(yaml_parse(yaml.data, yaml.length, 1 << 20, &docs, NULL, &err), -1);
    assert_int_equal(err.kind, ERR_LIMIT);
}

static void knows_lines(void **state)
{
    (void)state;
    static const char yaml[] = "# head\na: 1\n---\nb:\n  c: &c [1,\n    2]\nd: *c\ne:\n  <<: {f: 1}\n  g: |\n    x\n";
    CLEANUP(yaml_docs_done) struct yaml_docs docs = {0};

    assert_int_equal(yaml_parse(yaml, sizeof(yaml) - 1, 1 << 20, &docs, NULL, NULL), 0);
    assert_int_equal(docs.length, 2);
    struct yyjson_val *first = yyjson_doc_get_root(docs.items[0].json),
                      *second = yyjson_doc_get_root(docs.items[1].json);
    assert_int_equal(yaml_line(&docs.items[0], first), 2);
    assert_int_equal(yaml_line(&docs.items[0], json_at(first, "a")), 2);
    assert_int_equal(yaml_line(&docs.items[1], second), 4);
    assert_int_equal(yaml_line(&docs.items[1], json_at(second, "b")), 5);
    assert_int_equal(yaml_line(&docs.items[1], json_at(second, "b", "c")), 5);
    assert_int_equal(yaml_line(&docs.items[1], yyjson_arr_get(json_at(second, "b", "c"), 1)), 6);
    assert_int_equal(yaml_line(&docs.items[1], yyjson_arr_get(json_at(second, "d"), 1)), 6);
    assert_int_equal(yaml_line(&docs.items[1], json_at(second, "e", "f")), 9);
    assert_int_equal(yaml_line(&docs.items[1], json_at(second, "e", "g")), 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scalars),
        cmocka_unit_test(structures),
        cmocka_unit_test(merges),
        cmocka_unit_test(errors),
        cmocka_unit_test(equal_keys_among_many),
        cmocka_unit_test(bombs),
        cmocka_unit_test(knows_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
