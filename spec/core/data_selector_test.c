/* Label and field selectors: tables of what passes, what does not, and what is no selector. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "data/json.h"
#include "data/selector.h"

static struct yyjson_doc *must_parse(const char *text)
{
    struct yyjson_doc *doc = NULL;

    assert_int_equal(json_parse(text, strlen(text), 1 << 20, &doc, NULL), 0);
    return doc;
}

static void labels(void **state)
{
    (void)state;
    static const struct {
        const char *selector;
        bool passes;
    } cases[] = {
        {NULL, true},
        {"", true},
        {"  ", true},
        {"app=web", true},
        {"app==web", true},
        {"app = web", true},
        {"app=db", false},
        {"none=web", false},
        {"app!=web", false},
        {"app!=db", true},
        {"none!=x", true},
        {"app", true},
        {"none", false},
        {"!none", true},
        {"! app", false},
        {"app in (web,db)", true},
        {"app in ( db , web )", true},
        {"app in (db)", false},
        {"none in (web)", false},
        {"app notin (web)", false},
        {"app notin (db)", true},
        {"none notin (web)", true},
        {"empty=", true},
        {"empty", true},
        {"app=", false},
        {"empty in (,x)", true},
        {"n>4", true},
        {"n>5", false},
        {"n<6", true},
        {"n < 5", false},
        {"app>1", false},
        {"none<1", false},
        {"app=web,n=5", true},
        {"app=web,n=6", false},
        {"app=web, tier in (a, b) ,!none", true},
        {"example.com/part=x", true},
        {"in=1", true},
        {"in in (1)", true},
        {"notin", false},
    };
    CLEANUP(json_doc_done)
    struct yyjson_doc *doc = must_parse(
        "{\"app\":\"web\",\"tier\":\"b\",\"empty\":\"\",\"n\":\"5\",\"example.com/part\":\"x\",\"in\":\"1\"}");
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct label_selector *s = NULL;
        struct err err = {0};
        if (label_selector_compile(cases[i].selector, &s, &err) < 0)
            fail_msg("%s", err.text);
        if (label_selector_matches(s, yyjson_doc_get_root(doc)) != cases[i].passes)
            fail_msg("\"%s\" should %spass", cases[i].selector, cases[i].passes ? "" : "not ");
        label_selector_free(s);
    }
    struct label_selector *s = NULL;
    assert_int_equal(label_selector_compile("!app", &s, NULL), 0);
    assert_true(label_selector_matches(s, NULL));
    label_selector_free(s);
}

static void wrong_labels(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"=x", "character 1: expected a label key"},
        {"a=b,", "at the end: expected a label key"},
        {"a b", "character 3: expected =, =="},
        {"a in b", "character 6: expected ("},
        {"a in (b", "expected , or )"},
        {"a>x", "expected an integer"},
        {"a=b c", "character 5: expected , or the end"},
        {"a/b/c=d", "expected a label key"},
        {"/b=d", "expected a label key"},
        {"a=b$", "expected a label value"},
        {"!", "expected a label key"},
        {"a=0123456789012345678901234567890123456789012345678901234567890123", "at most 63"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct label_selector *s = NULL;
        struct err err = {0};
        if (label_selector_compile(cases[i][0], &s, &err) == 0)
            fail_msg("\"%s\" was accepted", cases[i][0]);
        if (!strstr(err.text, cases[i][1]))
            fail_msg("\"%s\" lacks \"%s\"", err.text, cases[i][1]);
    }
}

static void fields(void **state)
{
    (void)state;
    static const struct {
        const char *selector;
        bool passes;
    } cases[] = {
        {NULL, true},
        {"", true},
        {"metadata.name=web", true},
        {"metadata.name==web", true},
        {"metadata.name!=web", false},
        {"metadata.namespace=a", true},
        {"metadata.name=web,metadata.namespace=b", false},
        {"spec.ingressClassName=haproxy", true},
        {"spec.none=", true},
        {"spec.none!=x", true},
        {"spec.port=80", true},
        {"spec.on=true", true},
        {"spec.text=a\\,b\\=c\\\\", true},
        {"spec.list[?(@.a=='x,y')].b=1", true},
        {"spec.list=", true},
    };
    CLEANUP(json_doc_done)
    struct yyjson_doc *doc = must_parse(
        "{\"metadata\":{\"name\":\"web\",\"namespace\":\"a\"},\"spec\":{\"ingressClassName\":\"haproxy\",\"port\":80,\"on\":true,"
        "\"text\":\"a,b=c\\\\\",\"list\":[{\"a\":\"x,y\",\"b\":1}]}}");
    struct field_selector *s = NULL;
    struct err err = {0};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        if (field_selector_compile(cases[i].selector, &s, &err) < 0)
            fail_msg("%s", err.text);
        if (field_selector_matches(s, yyjson_doc_get_root(doc)) != cases[i].passes)
            fail_msg("\"%s\" should %spass", cases[i].selector, cases[i].passes ? "" : "not ");
        field_selector_free(s);
    }
    assert_int_equal(field_selector_compile("metadata.name", &s, &err), -1);
    assert_non_null(strstr(err.text, "expected path=value"));
    assert_int_equal(field_selector_compile("a[=x", &s, &err), -1);
    assert_int_equal(field_selector_compile("a..=x", &s, &err), -1);
    assert_non_null(strstr(err.text, "JSONPath"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(labels), cmocka_unit_test(wrong_labels),
                                       cmocka_unit_test(fields)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
