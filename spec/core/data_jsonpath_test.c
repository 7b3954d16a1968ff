/* JSONPath: a table of expressions with their results, and one of errors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "data/json.h"
#include "data/jsonpath.h"

static const char object[] =
    "{\"metadata\":{\"name\":\"web\",\"labels\":{\"kubernetes.io/service-name\":\"web\",\"a.b\":\"dotted\",\"x\":\"\"},\"n\":null},"
    "\"spec\":{\"ports\":[{\"name\":\"http\",\"port\":80,\"w\":1.5},{\"name\":\"https\",\"port\":443},{\"port\":9000,\"ok\":true}],"
    "\"list\":[0,1,2,3,4],\"limit\":100,\"nested\":[[1,2],[3]]}}";

static const struct {
    const char *path, *results; /* the results as a JSON list */
} cases[] = {
    {"metadata.name", "[\"web\"]"},
    {".metadata.name", "[\"web\"]"},
    {"{.metadata.name}", "[\"web\"]"},
    {" { .metadata.name } ", "[\"web\"]"},
    {"$.metadata.name", "[\"web\"]"},
    {"{$.metadata.name}", "[\"web\"]"},
    {"@.metadata.name", "[\"web\"]"},
    {"['metadata']['name']", "[\"web\"]"},
    {"metadata.labels.kubernetes\\.io/service-name", "[\"web\"]"},
    {"metadata.labels['kubernetes.io/service-name']", "[\"web\"]"},
    {"metadata.labels['kubernetes\\.io/service-name']", "[\"web\"]"},
    {"metadata.labels[\"a.b\"]", "[\"dotted\"]"},
    {"metadata.labels.a.b", "[]"},
    {"metadata.labels.x", "[\"\"]"},
    {"metadata.n", "[null]"},
    {"metadata.nothing.at.all", "[]"},
    {"metadata.name.further", "[]"},
    {"spec.list[0]", "[0]"},
    {"spec.list[-1]", "[4]"},
    {"spec.list[5]", "[]"},
    {"spec.list[-6]", "[]"},
    {"spec.list[1:3]", "[1,2]"},
    {"spec.list[:2]", "[0,1]"},
    {"spec.list[3:]", "[3,4]"},
    {"spec.list[-2:]", "[3,4]"},
    {"spec.list[:-3]", "[0,1]"},
    {"spec.list[::2]", "[0,2,4]"},
    {"spec.list[1:9:3]", "[1,4]"},
    {"spec.list[3:1]", "[]"},
    {"spec.list[*]", "[0,1,2,3,4]"},
    {"spec.list.*", "[0,1,2,3,4]"},
    {"spec.list[0,2,-1]", "[0,2,4]"},
    {"spec.list[0, 3:]", "[0,3,4]"},
    {"metadata.labels['a.b', 'x']", "[\"dotted\",\"\"]"},
    {"spec.nested[*][0]", "[1,3]"},
    {"spec.nested[*][*]", "[1,2,3]"},
    {"spec.ports[*].port", "[80,443,9000]"},
    {"spec.ports[0].name", "[\"http\"]"},
    {"spec.ports.name", "[]"},
    {"spec.ports[?(@.name==\"https\")].port", "[443]"},
    {"spec.ports[?(@.name=='https')].port", "[443]"},
    {"spec.ports[?(@.name != 'https')].port", "[80]"},
    {"spec.ports[?(@.name)].port", "[80,443]"},
    {"spec.ports[?(@.port>100)].port", "[443,9000]"},
    {"spec.ports[?(@.port >= 443)].port", "[443,9000]"},
    {"spec.ports[?(@.port<=80)].port", "[80]"},
    {"spec.ports[?(@.port<$.spec.limit)].port", "[80]"},
    {"spec.ports[?(@.w==1.5)].port", "[80]"},
    {"spec.ports[?(@.ok==true)].port", "[9000]"},
    {"spec.ports[?(@.ok==false)].port", "[]"},
    {"spec.ports[?(@.port==\"80\")].port", "[]"},
    {"spec.list[?(@ > 2)]", "[3,4]"},
    {"{.spec.ports[?(@.name==\"a)b\")]}", "[]"},
    {"..port", "[80,443,9000]"},
    {"spec..name", "[\"http\",\"https\"]"},
    {"..ports[0].port", "[80]"},
    {"spec.nested..[0]", "[[1,2],1,3]"},
    {".", NULL}, /* the whole */
    {"{}", NULL},
    {"$", NULL},
};

static struct yyjson_doc *must_parse(const char *text)
{
    struct yyjson_doc *doc = NULL;

    assert_int_equal(json_parse(text, strlen(text), 1 << 24, &doc, NULL), 0);
    return doc;
}

static void finds(void **state)
{
    (void)state;
    CLEANUP(json_doc_done) struct yyjson_doc *doc = must_parse(object);
    struct yyjson_val *root = yyjson_doc_get_root(doc);

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct jsonpath *path = NULL;
        CLEANUP(json_values_done) struct json_values values = {0};
        CLEANUP(buf_done) struct buf out = {0};
        struct err err = {0};
        if (jsonpath_compile(cases[i].path, &path, &err) < 0)
            fail_msg("%s", err.text);
        assert_int_equal(jsonpath_all(path, root, &values, &err), 0);
        buf_puts(&out, "[");
        for (size_t k = 0; k < values.length; k++) {
            buf_puts(&out, k ? "," : "");
            assert_int_equal(json_write(&out, values.items[k], NULL, NULL), 0);
        }
        buf_puts(&out, "]");
        if (cases[i].results && strcmp(out.data, cases[i].results) != 0)
            fail_msg("%s: %s and not %s", cases[i].path, out.data, cases[i].results);
        if (!cases[i].results) {
            assert_int_equal(values.length, 1);
            assert_ptr_equal(values.items[0], root);
        }
        assert_ptr_equal(jsonpath_first(path, root), values.length ? values.items[0] : NULL);
        assert_null(jsonpath_first(path, NULL));
        jsonpath_free(path);
    }
}

static void says_what_is_wrong(void **state)
{
    (void)state;
    static const char *const errors[][2] = {
        {"", "at the end: expected a path"},
        {"a.", "at the end: expected a name, * or ["},
        {"a..", "expected a name"},
        {"a...b", "character 4"},
        {"a b", "character 3 ('b')"},
        {"{.a", "at the end: expected }"},
        {"{.a} x", "character 6 ('x'): expected nothing more"},
        {"a[", "at the end: expected an index"},
        {"a[x]", "character 3 ('x'): expected an index"},
        {"a[0", "expected ] or ,"},
        {"a[-]", "expected a digit"},
        {"a[99999999999]", "below 2147483648"},
        {"a[::0]", "a stride above 0"},
        {"a['b", "expected a closing '"},
        {"a[?(b==1)]", "expected @, $"},
        {"a[?(@.b==)]", "expected @, $"},
        {"a[?(@.b=1)]", "expected =="},
        {"a[?(@.b==1]", "expected )"},
        {"a[?(1)]", "expected =="},
        {"a[?(@.b==1.2.3)]", "expected a number"},
        {"a]", "expected . or ["},
    };
    for (size_t i = 0; i < ARRAY_LEN(errors); i++) {
        struct jsonpath *path = NULL;
        struct err err = {0};
        if (jsonpath_compile(errors[i][0], &path, &err) == 0)
            fail_msg("\"%s\" was accepted", errors[i][0]);
        if (!strstr(err.text, errors[i][1]))
            fail_msg("\"%s\" lacks \"%s\"", err.text, errors[i][1]);
        assert_int_equal(err.kind, ERR_INVALID);
    }
}

static void limit(const char *text)
{
    struct jsonpath *path = NULL;
    struct err err = {0};

    assert_int_equal(jsonpath_compile(text, &path, &err), -1);
    assert_int_equal(err.kind, ERR_LIMIT);
}

static void has_limits(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf text = {0};
    struct jsonpath *path = NULL;
    CLEANUP(json_values_done) struct json_values values = {0};
    struct err err = {0};

    for (int i = 0; i <= JSONPATH_STEPS_MAX; i++)
        buf_puts(&text, ".a");
    limit(text.data);
    buf_clear(&text);
    for (int i = 0; i <= JSONPATH_BYTES_MAX; i++)
        buf_puts(&text, "a");
    limit(text.data);
    limit("a[?(@[?(@[?(@[?(@[?(@.b)])])])])]");

    buf_clear(&text);
    buf_puts(&text, "[0");
    for (int i = 0; i < JSONPATH_RESULTS_MAX; i++)
        buf_puts(&text, ",0");
    buf_puts(&text, "]");
    CLEANUP(json_doc_done) struct yyjson_doc *doc = must_parse(text.data);
    assert_int_equal(jsonpath_compile("[*]", &path, NULL), 0);
    assert_int_equal(jsonpath_all(path, yyjson_doc_get_root(doc), &values, &err), -1);
    assert_int_equal(err.kind, ERR_LIMIT);
    path = jsonpath_free(path);
    /* each of 65 537 elements would look at all of them */
    assert_int_equal(jsonpath_compile("[?($[?($..x)])]", &path, NULL), 0);
    assert_int_equal(jsonpath_all(path, yyjson_doc_get_root(doc), &values, &err), -1);
    assert_null(jsonpath_first(path, yyjson_doc_get_root(doc)));
    jsonpath_free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(finds), cmocka_unit_test(says_what_is_wrong),
                                       cmocka_unit_test(has_limits)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
